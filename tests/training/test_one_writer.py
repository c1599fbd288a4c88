"""Four processes on one empty cache and one run folder: one builds, one trains, three are told."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from image_folders import write_set

ROOT = Path(__file__).parents[2]
PROCESSES = 4


def start(framework: str, data: Path, out: Path, cache: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "src", "train", "--framework", framework, "--evaluate"]
    command += ["--preset", "smoke", "--data", str(data), "--out", str(out), "--feature-cache"]
    command += ["--finetune-epochs", "12"]  # it still trains when the others' patience ends
    environment = os.environ | {"BRAIN_TUMOR_CACHE": str(cache)}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.full
@pytest.mark.parametrize("framework", ["pt", "tf"])
def test_one_of_four_trains_and_the_others_name_it(framework, tmp_path):
    data, out, cache = write_set(tmp_path / "data"), tmp_path / "run", tmp_path / "cache"
    processes = [start(framework, data, out, cache) for _ in range(PROCESSES)]
    told = [process.communicate()[1] for process in processes]
    codes = [process.returncode for process in processes]
    assert sorted(codes) == [0, 2, 2, 2], told
    writer = processes[codes.index(0)]
    for code, text in zip(codes, told):
        assert "Traceback" not in text
        named = re.findall(r"Process (\d+) on \S+ writes to .*run\. Wait", text)
        assert named == ([str(writer.pid)] if code else [])
    built = [path.suffix for path in sorted((cache / "pixels").glob("[!.]*"))]
    assert built == [".bin", ".json"]
    assert not [path for path in tmp_path.rglob("*") if ".tmp" in path.name]
    # Whoever trains alone gets the same bytes.
    alone = start(framework, data, tmp_path / "alone", tmp_path / "another cache")
    assert alone.communicate() and alone.returncode == 0
    for name in ("model.safetensors", "predictions.npz"):
        assert (tmp_path / "alone" / name).read_bytes() == (out / name).read_bytes(), name
    again = start(framework, data, out, cache)  # a finished run is read
    assert again.communicate() and again.returncode == 0
