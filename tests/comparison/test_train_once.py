"""A finished run is taken only if it is of this experiment and of these images."""

from types import SimpleNamespace

import pytest
from fake_runs import fake_run

from src.common.errors import InputError
from src.common.files import read_json, write_json
from src.comparison import run
from src.config import CLASS_NAMES, preset
from src.training.checkpoint import LAST


@pytest.mark.parametrize("images, seed, trained", [("a", 0, False), ("b", 0, True), ("a", 1, True)])
def test_a_finished_run_of_something_else_is_not_taken(
    images, seed, trained, tmp_path, monkeypatch
):
    record = {"config": preset("smoke").to_json(), "dataset": {"fingerprint": "a"}}
    record["metrics"] = {"test": {}}
    del record["config"]["clip_norm"]  # an older run: it had what is now the default
    started = []
    monkeypatch.setattr(run, "read_run", lambda _: SimpleNamespace(record=record))
    monkeypatch.setattr(run, "read_record", lambda _: record)
    monkeypatch.setattr(
        run, "read_catalog", lambda _: SimpleNamespace(fingerprint=images, classes=CLASS_NAMES)
    )
    monkeypatch.setattr(run, "run_twin", lambda *_, **__: started.append(1))
    (tmp_path / "predictions.npz").touch()
    run.train_once("pt", tmp_path, preset("smoke", seed=seed), tmp_path, quiet=True)
    assert bool(started) == trained


def test_a_run_whose_score_is_gone_is_scored_again(tmp_path, monkeypatch):
    fake_run(tmp_path, "pt")
    write_json(tmp_path / "record.json", read_json(tmp_path / "record.json") | {"metrics": {}})
    started = []
    monkeypatch.setattr(run, "run_twin", lambda work, *_, **__: started.append(work))
    run.train_once("pt", tmp_path, preset("quick"), tmp_path, quiet=True)
    assert started == [run.train_and_test]


@pytest.mark.parametrize("checkpoint", [True, False])
def test_only_where_a_checkpoint_is_the_command_goes_on_from_it(checkpoint, tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise InputError("It stopped.")

    monkeypatch.setattr(run, "run_twin", stopped)
    if checkpoint:
        (tmp_path / LAST).touch()
    with pytest.raises(InputError) as told:
        run.train_once("pt", tmp_path, preset("smoke"), tmp_path, quiet=True)
    assert ("goes on from its last checkpoint" in str(told.value)) == checkpoint
