"""Damaged files, thousands of them: every reader answers, or refuses with a sentence.

    python -m tests.fuzz [--count 10000] [--only NAME ...] [--json FILE]

Each reader gets files that were good and are not: bytes changed, taken out, put in, repeated, cut
off. It may return something or raise InputError. Anything else, a crash, or more than LIMIT_SECONDS
is a finding, named by the seed that makes the file again (`damaged`); so is another answer from a
damaged file of the cache. Every reader runs in a process of its own. `fuzz.json` is the last
campaign's outcome; FILE keeps what it holds of other readers.
"""

import argparse
import json
import multiprocessing
import os
import resource
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent))  # for what stands beside this file

import numpy as np
from fake_runs import fake_run
from image_folders import write_set
from made_medical import dicom, nifti
from made_sources import write_folds, write_mat
from PIL import Image

from src.common.cache import cache_folder
from src.common.errors import InputError
from src.common.files import read_json, write_json
from src.config import CLASS_NAMES, ExperimentConfig, preset
from src.data.catalog import Catalog, read_catalog
from src.data.patients.recover import SHIPPED, shipped_table
from src.data.pixels import Pixels, load_pixels
from src.data.sources.matlab import read_facts, read_folds, read_pixels
from src.data.sources.readers import BOX, read_source
from src.data.splits.frozen import read_frozen, shipped_file
from src.data.splits.groups import PATIENT_TABLE, patients_from_file
from src.feature_cache.cache import FeatureMap
from src.records import read_predictions, read_run
from src.results.rescore import rescore
from src.serving.calibration import read_calibration
from src.serving.images import read_image
from src.serving.medical_files import read_frames
from src.training.checkpoint import read_checked, read_model_card, write_checked
from src.xception import weight_files
from src.xception.blocks import BACKBONE_TENSORS
from src.xception.weight_files import PRETRAINED, read_weights, write_safetensors

LIMIT_SECONDS = 20  # for one file, on a machine that does other work
H5, PTH = "weights .h5", "weights .pth"  # each of their files is read in a process of its own
ODD = (b"", b"0", b"-1", b"1e999", b"NaN", b"null", b"[]", b"{}", b'"' + b"x" * 300 + b'"', b"\xff")


class Reader(NamedTuple):
    """How a good file is made in a folder, and what reads it."""

    make: Callable[[Path], Path]
    read: Callable[[Path], object]


def _picture(suffix: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        rng = np.random.default_rng(0)
        pixels = np.add.outer(np.arange(48), np.arange(40)) * 2 + rng.integers(0, 20, (48, 40))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"scan{suffix}")
        return folder / f"scan{suffix}"

    return make


def _nifti(name: str) -> Callable[[Path], Path]:
    return lambda folder: nifti(folder / name, np.arange(96, dtype=np.int16).reshape(6, 8, 2))


def _mat(folder: Path) -> Path:
    write_mat(folder / "1.mat")
    return folder / "1.mat"


def _folds(folder: Path) -> Path:
    write_folds(folder / "cvind.mat", 30)
    return folder / "cvind.mat"


def _slices(folder: Path) -> Path:
    (folder / "images").mkdir()
    lines = [f"id,label,pid,{','.join(BOX)}"]
    for number in range(1, 4):
        Image.new("L", (8, 8)).save(folder / "images" / f"{number}.jpg")
        lines.append(f"{number},glioma,p{number},0.5,0.5,0.1,0.1")
    (folder / "slices.csv").write_text("\n".join(lines) + "\n")
    return folder / "slices.csv"


def _patients(folder: Path) -> Path:
    lines = [f"{name}/{number}.png,p{number}" for name in CLASS_NAMES for number in range(5)]
    (folder / PATIENT_TABLE).write_text("\n".join(["path,patient", *lines]) + "\n")
    return folder / PATIENT_TABLE


def _read_patients(path: Path) -> dict[str, str]:
    nothing = np.zeros(0, np.int64)
    return patients_from_file(Catalog(path.parent, CLASS_NAMES, (), nothing, (), (), (), ()))


def _safetensors(folder: Path) -> Path:
    arrays = {t.name: np.ones(t.shape, np.float32) for t in BACKBONE_TENSORS[:6]}
    write_safetensors(folder / "weights.safetensors", arrays, {"a": "b"})
    return folder / "weights.safetensors"


def _h5(folder: Path) -> Path:
    import h5py

    with h5py.File(folder / "weights.h5", "w") as file:
        file.attrs["layer_names"] = [b"block1_conv1", b"block1_conv1_bn"]
        for layer in ("block1_conv1", "block1_conv1_bn"):
            names = [t.name for t in BACKBONE_TENSORS[:5] if t.layer.name == layer]
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in names]
            for tensor in (t for t in BACKBONE_TENSORS[:5] if t.name in names):
                group[tensor.name] = np.ones(tensor.shape, np.float32)
    return folder / "weights.h5"


def _pth(folder: Path) -> Path:
    import torch

    arrays = {t.torch_name: t.to_torch(np.ones(t.shape)) for t in BACKBONE_TENSORS[:6]}
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    torch.save(state, folder / "weights.pth")
    return folder / "weights.pth"


def _checkpoint(folder: Path) -> Path:
    arrays = {f"weight{k}": np.full((4, 3), k, np.float32) for k in range(5)}
    write_checked(folder / "last.safetensors", arrays, {"step": 3, "history": [0.5] * 9})
    return folder / "last.safetensors"


def _card(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        for file in ("model.json", "calibration.safetensors"):
            shutil.copy(PRETRAINED / file, folder)
        write_json(folder / "config.json", read_model_card(PRETRAINED)[1].to_json())
        return folder / name

    return make


def _run(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        fake_run(folder, "pt")
        return folder / name

    return make


def _config(folder: Path) -> Path:
    write_json(folder / "config.json", preset("smoke").to_json())
    return folder / "config.json"


def _head(file: Path, lines: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        text = file.read_text(encoding="utf-8").splitlines(keepends=True)[:lines]
        (folder / file.name).write_text("".join(text), encoding="utf-8")
        return folder / file.name

    return make


def _answers(folder: Path) -> Path:
    names = [f"Te-glTr_{number:04d}.jpg,glioma,0.7,0.1,0.1,0.1" for number in range(40)]
    head = "path,label,glioma,meningioma,notumor,pituitary"
    (folder / "answers.csv").write_text("\n".join([head, *names]) + "\n")
    return folder / "answers.csv"


def _read_config(path: Path) -> ExperimentConfig:
    fields = read_json(path)
    if not isinstance(fields, dict):
        raise InputError("no JSON object")
    return ExperimentConfig.from_json(fields)


def _cached(answer: Callable[[Path], object], file: Callable[[Path], Path]) -> Reader:
    """Return a reader of what the cache keeps of some images: it must answer as the good file.

    Args:
        answer: of a folder of images, from the cache where that has it.
        file: which one of the cache, for that folder.
    """
    good = {}

    def make(folder: Path) -> Path:
        with _cache_in(folder):
            root = write_set(folder / "set", counts=(2, 1, 1, 1), tests=1)
            good[folder] = answer(root)
            return file(root)

    def read(path: Path) -> None:
        folder = path.parents[2]
        with _cache_in(folder):
            if answer(folder / "set") != good[folder]:
                raise RuntimeError("a damaged file was believed")

    return Reader(make, read)


def _cache_in(folder: Path):
    return mock.patch.dict(os.environ, BRAIN_TUMOR_CACHE=str(folder / "cache"))


def _pixels(root: Path) -> Pixels:
    return load_pixels(read_catalog(root), 16)[1]


_OUTPUTS = np.arange(48, dtype=np.float32).reshape(4, 2, 2, 3)


def _feature_map(path: Path) -> FeatureMap:
    return FeatureMap(path, len(_OUTPUTS), _OUTPUTS.shape[1:], "<f4")


def _kept_outputs(folder: Path) -> Path:
    _feature_map(folder / "block4.bin").write(np.arange(4), _OUTPUTS, "pt")
    return folder / "block4.bin"


def _read_kept_outputs(path: Path) -> None:
    kept = _feature_map(path)
    for row, maker in enumerate(kept.makers(np.arange(4))):
        if maker and (kept.output(row) != _OUTPUTS[row]).any():
            raise RuntimeError("a damaged file was believed")


def _read_elsewhere(path: Path) -> object:
    """Read it in its own process, whose tracebacks and signals are findings all the same."""
    run, ended = subprocess.run, []

    def remembered(*command, **options):
        ended.append(run(*command, **options))
        return ended[-1]

    with mock.patch.object(subprocess, "run", remembered):
        try:
            return read_weights(path)
        except InputError as error:
            for each in ended:
                if each.returncode < 0 or "Traceback (most recent call last)" in each.stderr:
                    raise RuntimeError(str(error)) from error
            raise


READERS = {
    **{f"image {s}": Reader(_picture(s), lambda path: read_image(path, 32))
       for s in (".jpg", ".png", ".bmp", ".tif", ".webp", ".gif")},
    "DICOM": Reader(lambda folder: dicom(folder / "a.dcm"), lambda path: [*read_frames(path)]),
    "NIfTI": Reader(_nifti("a.nii"), lambda path: [*read_frames(path)]),
    "NIfTI, zipped": Reader(_nifti("a.nii.gz"), lambda path: [*read_frames(path)]),
    "MATLAB, slice": Reader(_mat, lambda path: (read_pixels(path), read_facts(path))),
    "MATLAB, folds": Reader(_folds, read_folds),
    "slices.csv": Reader(_slices, lambda path: read_source(path.parent)),
    "patients beside the images": Reader(_patients, _read_patients),
    "weights .safetensors": Reader(_safetensors, read_weights),
    H5: Reader(_h5, _read_elsewhere),
    PTH: Reader(_pth, _read_elsewhere),
    "checkpoint": Reader(_checkpoint, read_checked),
    "model card": Reader(_card("model.json"), lambda path: read_model_card(path.parent)),
    "config beside it": Reader(_card("config.json"), lambda path: read_model_card(path.parent)),
    "calibration": Reader(
        _card("calibration.safetensors"),
        lambda path: read_calibration(path.parent, read_model_card(path.parent)[0]),
    ),
    "config": Reader(_config, _read_config),
    "record": Reader(_run("record.json"), lambda path: read_run(path.parent)),
    "predictions": Reader(_run("predictions.npz"), read_predictions),
    "split": Reader(_head(shipped_file("clean"), 60), read_frozen),
    "recovered patients": Reader(_head(SHIPPED, 60), shipped_table.__wrapped__),
    "answers to rescore": Reader(_answers, rescore),
}  # fmt: skip
CACHES = {
    "catalogue in the cache": _cached(
        lambda root: (read_catalog(root).fingerprint, read_catalog(root).sizes),
        lambda _: next(cache_folder("catalog").glob("*.json")),
    ),
    "pixels in the cache": _cached(
        lambda root: _pixels(root).array.tobytes(), lambda root: _pixels(root).path
    ),
    "their index": _cached(
        lambda root: _pixels(root).array.tobytes(),
        lambda root: _pixels(root).path.with_suffix(".json"),
    ),
    "kept outputs": Reader(_kept_outputs, _read_kept_outputs),
}
READERS |= CACHES


def damaged(good: bytes, seed: int) -> bytes:
    """Return a file as `seed` damages it, in one to three ways."""
    rng, content = np.random.default_rng(seed), bytearray(good)
    for _ in range(rng.integers(1, 4)):
        size = len(content)
        at = int(rng.integers(0, size + 1))
        length = int(min(size - at, rng.geometric(1 / 16)))
        match rng.integers(0, 7):
            case 0:  # single bytes
                for place in rng.integers(0, max(size, 1), int(rng.integers(1, 9))):
                    content[place : place + 1] = bytes([rng.integers(0, 256)]) * (size > 0)
            case 1:  # a run of one byte
                content[at : at + length] = bytes([rng.choice([0, 255, 127])]) * length
            case 2:
                del content[at:]
            case 3:
                del content[at : at + length]
            case 4:
                content[at:at] = rng.bytes(int(rng.geometric(1 / 8)))
            case 5:  # a piece from elsewhere
                start = int(rng.integers(0, size + 1))
                content[at : at + length] = content[start : start + length]
            case 6:  # a word of a text, such as a number
                words = [*_words(bytes(content))]
                if words:
                    start, end = words[rng.integers(0, len(words))]
                    content[start:end] = ODD[rng.integers(0, len(ODD))]
    return bytes(content)


def _words(content: bytes):
    start = None
    for place, byte in enumerate(content[:20_000] + b" "):
        inside = chr(byte).isalnum() or byte in b"._-+"
        if inside and start is None:
            start = place
        elif not inside and start is not None:
            yield start, place
            start = None


def work(name: str, seeds: range, report: Path) -> None:
    """Read the files of `seeds`, and write what happened to `report` as it happens."""
    # stdout and stderr of the readers are nobody's; HDF5 and libtiff print what they dislike.
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    reader = READERS[name]
    with tempfile.TemporaryDirectory() as folder, report.open("w", buffering=1) as lines:
        path = reader.make(Path(folder))
        weight_files.subprocess.run = _fork
        reader.read(path)  # the good file
        weight_files.LONGEST = 6  # s
        good = path.read_bytes()
        before = _peak_mb()
        for seed in seeds:
            path.write_bytes(damaged(good, seed))
            print(json.dumps({"seed": seed}), file=lines)
            started, found = time.monotonic(), ""
            try:
                reader.read(path)
                result = "answered"
            except InputError as error:
                result = "refused"
                found = "" if str(error).strip() else "a refusal without a sentence"
            except BaseException as error:  # whatever else a reader raises is what is looked for
                result, found = "finding", f"{type(error).__name__}: {error}"[:200]
            seconds = time.monotonic() - started
            print(json.dumps({"result": result, "found": found, "seconds": seconds}), file=lines)
        print(json.dumps({"grown_mb": _peak_mb() - before}), file=lines)


def _fork(command: list[str], *, timeout: float, **_) -> subprocess.CompletedProcess:
    """Run `python -m module ...` in a fork, where the libraries it reads with are loaded already.

    To load PyTorch for each of ten thousand files would take hours.
    """
    import h5py  # noqa: F401  # only loaded, for the forks
    import torch  # noqa: F401  # likewise

    with tempfile.TemporaryFile("w+") as stderr:

        def run() -> None:
            os.dup2(stderr.fileno(), 2)
            sys.argv = command[2:]
            runpy.run_module(command[2], run_name="__main__")

        process = multiprocessing.get_context("fork").Process(target=run)
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(command, timeout)
        stderr.seek(0)
        return subprocess.CompletedProcess(command, process.exitcode, "", stderr.read())


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def campaign(name: str, count: int, folder: Path) -> dict:
    """Return how a reader took `count` files: answered, refused, findings, and what it needed."""
    told = {"files": count, "answered": 0, "refused": 0, "findings": []}
    slowest = grown = 0.0
    first = 0
    while first < count:
        report = folder / f"{name.replace(' ', '-').replace('/', '')}-{first}.jsonl"
        command = [sys.executable, "-m", "tests.fuzz", "--work", name, str(first), str(count)]
        process = subprocess.Popen([*command, str(report)], cwd=Path(__file__).parents[1])
        seen, since = -1, time.monotonic()
        while process.poll() is None:  # killed where one file takes too long
            time.sleep(0.2)
            size = report.stat().st_size if report.exists() else -1
            if size != seen:
                seen, since = size, time.monotonic()
            elif time.monotonic() - since > LIMIT_SECONDS + 40 * (seen <= 0):
                process.kill()
        rows = [json.loads(line) for line in report.read_text().splitlines()] if seen >= 0 else []
        if not rows:
            raise RuntimeError(f"{name}: the process for its files did not start.")
        for seed, row in zip(rows[::2], rows[1::2]):
            slowest = max(slowest, row["seconds"])
            if row["found"]:
                told["findings"].append({"seed": seed["seed"], "found": row["found"]})
            else:
                told[row["result"]] += 1
        if "grown_mb" in rows[-1]:
            grown, first = max(grown, rows[-1]["grown_mb"]), count
        else:  # it ended while it read the last one
            seed = next(row["seed"] for row in reversed(rows) if "seed" in row)
            told["findings"].append({"seed": seed, "found": f"ended with {process.returncode}"})
            first = seed + 1
    return told | {"slowest_seconds": round(slowest, 2), "grown_mb": round(grown)}


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.fuzz")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--only", nargs="+", choices=[*READERS], default=[*READERS])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        name, first, count, report = options.work
        work(name, range(int(first), int(count)), Path(report))
        return
    kept = options.json and options.json.is_file()
    found = read_json(options.json)["readers"] if kept else {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            found[name] = campaign(name, options.count, Path(folder))
            print(name, json.dumps(found[name]), flush=True)
    if options.json:
        write_json(options.json, {"readers": dict(sorted(found.items()))})


if __name__ == "__main__":
    main()
