"""What happens in the folder of a finished run; a made-up twin, so that no framework is needed."""

import contextlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from image_folders import picture, write_set

from src import experiment
from src.common.errors import InputError
from src.common.files import read_json, write_json
from src.config import preset
from src.data.dataset import Dataset
from src.data.pixels import PILLOW_DECODER, decode_gray
from src.training.checkpoint import LAST, write_model
from src.training.history import History

CONFIG = {"init": "scratch", "schedule": "constant", "augment": "none"}
START = {"head_logits/bias": np.zeros(4, np.float32)}


@pytest.fixture
def fits(monkeypatch):
    """The runs that were trained, by their config."""
    trained = []

    def fit(_model, _dataset, config, folder, workers):
        trained.append(config)
        (folder / LAST).touch()
        return History(*([0.5] for _ in range(7)))

    twin = SimpleNamespace(
        runtime=SimpleNamespace(
            configure=id,
            gpu_name=str,
            versions=dict,
            writes=lambda: True,
            replica=lambda: (0, 1),
            distributed=lambda _: contextlib.nullcontext(),
        ),
        data=SimpleNamespace(make_decoder=lambda _: (decode_gray, PILLOW_DECODER)),
        model=SimpleNamespace(build_model=lambda *_: None),
        train=SimpleNamespace(fit=fit),
        checkpoint=SimpleNamespace(
            save_model=lambda _, *to: write_model(to[1], START, to[0], "pt")
        ),
    )
    monkeypatch.setattr(experiment, "load_twin", lambda _: twin)
    monkeypatch.setattr(experiment, "starting_weights", lambda *_: dict(START))
    return trained


@pytest.fixture
def data(tmp_path):
    return write_set(tmp_path / "data")


def train(out, data, framework="pt", perturbed=False, **fields):
    config = preset("smoke", **CONFIG | fields)
    return experiment.train(framework, config, out, data, perturbed=perturbed)


def score(out):
    """Write what `evaluate` would, in short."""
    write_json(out / "record.json", read_json(out / "record.json") | {"metrics": {"test": {}}})
    (out / "predictions.npz").touch()


def test_a_finished_run_is_left_as_it_is(fits, data, tmp_path):
    out = tmp_path / "run"
    train(out, data)
    score(out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert LAST not in before
    (out / LAST).touch()  # killed before it was removed
    assert train(out, data)["metrics"] == {"test": {}}
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before and len(fits) == 1


@pytest.mark.parametrize(
    "changed, named",
    [
        ({"framework": "tf"}, "framework"),
        ({"seed": 1}, "images of each part, seed"),
        ({"perturbed": True}, "perturbed"),
        ({"finetune_epochs": 2}, "finetune_epochs"),
        ("weights", "starting weights"),
        ("images", "images"),
        ("parts", "images of each part"),
    ],
)
def test_a_finished_run_of_something_else_is_refused(
    changed, named, fits, data, tmp_path, monkeypatch
):
    out = tmp_path / "run"
    train(out, data)
    before = (out / "record.json").read_bytes()
    if changed == "weights":
        other = {"head_logits/bias": np.ones(4, np.float32)}
        monkeypatch.setattr(experiment, "starting_weights", lambda *_: other)
    elif changed == "images":
        picture(77).save(data / "Training/glioma/Tr-gl_0000.png")  # in the place of another
    elif changed == "parts":
        monkeypatch.setattr(Dataset, "parts_fingerprint", lambda _: "of another split")
    with pytest.raises(InputError, match=rf"Different: {named}\. Choose another --out"):
        train(out, data, **(changed if isinstance(changed, dict) else {}))
    assert (out / "record.json").read_bytes() == before and len(fits) == 1


def test_a_run_without_its_model_is_trained_again(fits, data, tmp_path):
    """The grid keeps records and predictions alone."""
    train(tmp_path / "run", data)
    (tmp_path / "run" / "model.safetensors").unlink()
    train(tmp_path / "run", data)
    assert len(fits) == 2


@pytest.mark.parametrize("content", ["{}", "[]", "{", '{"config": []}'])
def test_a_damaged_record_is_a_sentence(content, fits, data, tmp_path):
    train(tmp_path, data)
    (tmp_path / "record.json").write_text(content)
    for again in (lambda: train(tmp_path, data), lambda: experiment.evaluate(tmp_path, data)):
        with pytest.raises(InputError, match=r"record\.json"):
            again()


def test_a_record_from_before_the_parts_were_named_is_taken(fits, data, tmp_path):
    record = train(tmp_path, data)
    del record["dataset"]["parts_sha256"]
    write_json(tmp_path / "record.json", record)
    train(tmp_path, data)
    assert len(fits) == 1


def test_another_split_is_not_scored():
    described = {"fingerprint": "a" * 64, "name": "set"}
    dataset = SimpleNamespace(
        describe=lambda: described, parts_fingerprint=lambda: "now", root=Path("set")
    )
    experiment.check_same_images(described, dataset)
    with pytest.raises(InputError, match="into other parts"):
        experiment.check_same_images(described | {"parts_sha256": "then"}, dataset)
