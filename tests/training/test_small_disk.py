"""A full disk loses nothing: a sentence, what was there stays, with room the command goes on."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from image_folders import write_set

from src.config import FRAMEWORKS

ROOT = Path(__file__).parents[2]
MEGABYTES = 900


class Disk:
    """A small file system, filled up but for what is asked."""

    def __init__(self, path: Path):
        self.path, self._filler = path, path / "filler"

    def fill(self, leave: float) -> None:
        """Leave so many megabytes."""
        self.free()
        room = os.statvfs(self.path)
        with self._filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - int(leave * 1e6))

    def free(self) -> None:
        self._filler.unlink(missing_ok=True)

    def files(self) -> dict[str, bytes]:
        """Return what lies in the runs, without the empty locks."""
        runs = self.path / "runs"
        found = [p for p in runs.rglob("*") if p.is_file() and p.name != ".lock"]
        return {str(path.relative_to(runs)): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    path = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(path)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no small file system can be mounted here")
    yield Disk(path)
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture(scope="module")
def command(disk, tmp_path_factory):
    """A function that runs a command of `src` with its cache on the small disk."""
    data = write_set(tmp_path_factory.mktemp("data"))
    environment = os.environ | {"BRAIN_TUMOR_CACHE": str(disk.path / "cache")}

    def run(*arguments) -> tuple[int, str]:
        given = [sys.executable, "-m", "src", *map(str, arguments)]
        given += ["--data", str(data)] * (arguments[0] != "export")
        done = subprocess.run(given, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert "Traceback" not in done.stderr, done.stderr[-3000:]
        return done.returncode, done.stderr

    return run


def refused(command, disk, leave, *arguments):
    """Check that a command ends in a sentence on a full disk, and what was there stays."""
    before = disk.files()
    disk.fill(leave)
    code, said = command(*arguments)
    disk.free()
    assert code == 2 and "No space left on device" in said, said[-2000:]
    after = disk.files()
    assert {name: after.get(name) for name in before} == before
    assert not [name for name in after if ".tmp" in name]


@pytest.mark.full
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_full_disk_loses_nothing(framework, disk, command):
    runs = disk.path / "runs"
    shutil.rmtree(disk.path / "cache", ignore_errors=True)
    run = runs / framework
    train = ("train", "--framework", framework, "--preset", "smoke", "--out", run, "--evaluate")
    refused(command, disk, 0.05, *train)  # the pixels' cache
    refused(command, disk, 100, *train)  # the weights to test fit, a checkpoint does not
    refused(command, disk, 0.05, *train[:-3], "--out", runs / "other", "--feature-cache")
    assert command(*train)[0] == 0
    refused(command, disk, 0.001, "evaluate", run)
    assert command("evaluate", run)[0] == 0


@pytest.mark.full
def test_a_full_disk_loses_no_report_and_no_model(disk, command):
    runs = disk.path / "runs"
    compare = ("compare", "--preset", "smoke", "--no-floor", "--out", runs)
    assert command(*compare)[0] == 0
    for name in ("report.html", "comparison.json"):
        (runs / name).unlink()
    refused(command, disk, 0.02, *compare)  # the report
    assert command(*compare)[0] == 0 and (runs / "report.html").is_file()
    export = ("export", "--to", "onnx", "--model", runs / "pt", "--out", disk.path / "pt.onnx")
    refused(command, disk, 1, *export)
    assert command(*export)[0] == 0
