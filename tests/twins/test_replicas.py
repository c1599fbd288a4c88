"""Two replicas that share each batch train as one does, to the rounding floor; one of them writes.

Each framework is compared with itself: the gap is the distance of two replicas from one, the floor
that of one from itself when every initial weight is moved by one machine epsilon.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from image_folders import write_set
from made_weights import made_weights

from src.common.errors import InputError
from src.common.files import read_json, write_json
from src.comparison.agreement import LARGEST_RATIO, relative_distance
from src.config import preset
from src.data.dataset import open_dataset
from src.experiment import load_twin
from src.training.run import TrainingRun
from src.xception.stages import FINETUNE, trainable_layers
from src.xception.weight_files import load_arrays, write_safetensors

ROOT = Path(__file__).parents[2]
# Whatever differs where a batch is split: BatchNorm's statistics, dropout's masks, loss weights,
# clipping (of some steps only: it hides a wrong scale), decay, the average, and a last batch of 3
# images, which cannot be halved.
FIELDS = dict(
    image_size=73, max_images_per_epoch=19, head_epochs=0, finetune_epochs=2, batch_norm="update",
    unfreeze_from="block13", dropout=0.3, clip_norm=8.0, optimizer="sgd", weight_decay=0.01,
    finetune_learning_rate=0.01, balance="class_weights", ema_decay=0.5,
)  # fmt: skip
CONFIG = preset("smoke", **FIELDS)
# `python -m src` for one run after another, which also keeps a copy of each one's first checkpoint.
PROGRAM = """
import json, shutil, sys
from src.__main__ import main
from src.training.run import TrainingRun
save = TrainingRun.save
def save_and_copy(self):
    save(self)
    if self._writes and self.schedule.epoch == 1:
        folder = self._folder
        shutil.copytree(folder, f"{folder}-half")
TrainingRun.save = save_and_copy
sys.exit(any([main(arguments) for arguments in json.loads(sys.argv[1])]))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with images, and weights."""
    folder = tmp_path_factory.mktemp("replicas")
    write_set(folder / "data")
    write_safetensors(folder / "weights.safetensors", made_weights())
    config = CONFIG.to_json() | {"init": str(folder / "weights.safetensors")}
    write_json(folder / "config.json", config)
    return folder


def train(files: Path, framework: str, runs: dict[str, list[str]], replicas: int = 1) -> list[Path]:
    """Train in folders with options, all in one process, or in PyTorch in one for each replica.

    Return the runs' folders.
    """
    program, options = files / "program.py", []
    program.write_text(PROGRAM)
    command = [sys.executable]
    if replicas > 1 and framework == "pt":
        command += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
        command.append(str(replicas))
    elif replicas > 1:
        options = ["--replicas", str(replicas)]
    options += ["--framework", framework, "--data", str(files / "data")]
    options += ["--config", str(files / "config.json")]
    folders = [files / f"{framework}-{name}" for name in runs]
    arguments = [
        ["train", *options, *own, "--out", str(folder)]
        for own, folder in zip(runs.values(), folders)
    ]
    done = subprocess.run(
        [*command, program, json.dumps(arguments)], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("Saved the model") == len(runs)  # one process speaks, as one writes
    return folders


def distance(run: Path, reference: Path) -> tuple[float, float]:
    """Return the relative distances of the trained weights, and of the moving statistics."""
    values = [load_arrays(folder / "model.safetensors") for folder in (run, reference)]
    trained = [n for n in values[0] if n.split("/")[0] in trainable_layers(CONFIG, FINETUNE)]
    moving = [name for name in trained if "/moving" in name]
    weights = [name for name in trained if "/moving" not in name]
    return tuple(
        relative_distance(*(np.concatenate([v[n].ravel() for n in names]) for v in values))
        for names in (weights, moving)
    )


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["pt", "tf"])
def test_two_replicas_train_as_one_and_one_goes_on_with_what_they_began(files, framework):
    (two,) = train(files, framework, {"two": []}, replicas=2)
    alone = {"one": [], "floor": ["--perturbed"], "two-half": []}
    one, perturbed, began_as_two = train(files, framework, alone)
    floors = distance(perturbed, one)
    for run in (two, began_as_two):
        gaps = distance(run, one)
        print(framework, run.name, "gap", gaps, "floor", floors)
        assert all(g < LARGEST_RATIO * f for g, f in zip(gaps, floors)), (run.name, gaps, floors)
        history, expected = (read_json(each / "record.json")["history"] for each in (run, one))
        assert history["rate"] == expected["rate"]
        for name in ("loss", "val_loss", "step_loss", "accuracy"):
            np.testing.assert_allclose(history[name], expected[name], rtol=1e-4, err_msg=name)
    assert read_json(two / "record.json")["replicas"] == 2


@pytest.mark.parametrize(
    "fields, replicas, message",
    [
        ({"restore_defaults": ["dropout"]}, 2, "Leave out --restore-defaults dropout"),
        ({"max_images_per_epoch": 17}, 2, "2 replicas cannot share a batch of 1 images.*train"),
        ({"batch_size": 5}, 4, "4 replicas cannot share a batch of 5 images"),  # 2, 2, 1, none
    ],
)
def test_what_replicas_would_not_train_alike_is_refused(fields, replicas, message, tmp_path):
    config = preset("smoke", **fields)
    dataset = open_dataset(config).with_counts({"val": 8})
    with pytest.raises(InputError, match=message):
        TrainingRun("pt", config, tmp_path, dataset, dict, replicas=replicas)


def test_each_framework_says_how_it_is_distributed(monkeypatch):
    with pytest.raises(InputError, match="torchrun --nproc-per-node 2"):
        load_twin("pt").runtime.distributed(2).__enter__()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    with pytest.raises(InputError, match="torchrun is for PyTorch"):
        load_twin("tf").runtime.distributed(1).__enter__()
