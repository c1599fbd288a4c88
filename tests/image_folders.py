"""Small image folders for the data tests."""

import argparse
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from src.cli.data import add_data
from src.config import CLASS_NAMES

ROOT = Path(__file__).resolve().parents[1]


def picture(*words: int, size: int = 40) -> Image.Image:
    """Return a gray picture that no other words give."""
    draw = np.random.default_rng(words)
    coarse = Image.fromarray(draw.integers(0, 256, (5, 5), np.uint8))
    return coarse.resize((size, size), Image.Resampling.BICUBIC)


def write_set(
    root: Path, counts=(12, 9, 6, 12), tests: int = 4, suffix: str = ".png", classes=CLASS_NAMES
) -> Path:
    """Write the Kaggle layout: `counts` training images by class, `tests` test images of each."""
    for split, numbers in (("Training", counts), ("Testing", [tests] * len(classes))):
        for label, (name, count) in enumerate(zip(classes, numbers)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                image = picture(label, number, len(split))
                image.save(folder / f"{split[:2]}-{name[:2]}_{number:04}{suffix}")
    return root


def write_flat(root: Path, count: int = 20, classes=CLASS_NAMES) -> Path:
    """Write one folder per class, without a split."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(count):
            picture(label, number).save(root / name / f"{name[:2]}_{number:04}.png")
    return root


def claim_size(path: Path, width: int, height: int) -> None:
    """Write a small PNG whose header claims to be `width` x `height`."""
    picture(0).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)


def truncate(path: Path, share: float = 0.5) -> None:
    """Cut a file's end off."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def python(code: str, *arguments, **environment) -> subprocess.Popen:
    """Start `code` in a new interpreter at the repository's root."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def data_command(*arguments) -> None:
    """Run `python -m src data ...` in this process."""
    parser = argparse.ArgumentParser()
    add_data(parser)
    options = parser.parse_args([str(argument) for argument in arguments])
    options.func(options)


def disk_fills_up(monkeypatch) -> None:
    """Let the tenth copy of a file fail, as on a full disk."""
    copyfile, copied = shutil.copyfile, []

    def fail_late(source, target):
        copied.append(source)
        if len(copied) == 10:
            raise OSError(28, "No space left on device")
        return copyfile(source, target)

    monkeypatch.setattr(shutil, "copyfile", fail_late)
