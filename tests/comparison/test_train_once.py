"""A finished run is taken only if it is of this experiment and of these images."""

from types import SimpleNamespace

import pytest

from src.comparison import run
from src.config import CLASS_NAMES, preset


@pytest.mark.parametrize("images, seed, trained", [("a", 0, False), ("b", 0, True), ("a", 1, True)])
def test_a_finished_run_of_something_else_is_not_taken(
    images, seed, trained, tmp_path, monkeypatch
):
    record = {"config": preset("smoke").to_json(), "dataset": {"fingerprint": "a"}}
    del record["config"]["clip_norm"]  # an older run: it had what is now the default
    started = []
    monkeypatch.setattr(run, "read_run", lambda _: SimpleNamespace(record=record))
    monkeypatch.setattr(
        run, "read_catalog", lambda _: SimpleNamespace(fingerprint=images, classes=CLASS_NAMES)
    )
    monkeypatch.setattr(run, "run_twin", lambda *_, **__: started.append(1))
    (tmp_path / "predictions.npz").touch()
    run.train_once("pt", tmp_path, preset("smoke", seed=seed), tmp_path, quiet=True)
    assert bool(started) == trained
