"""The grid runs the cells that are not done, and keeps record and predictions of each."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from fake_grid import FakeGrid

from src.common.errors import InputError
from src.common.files import read_json, write_json
from src.comparison.report.style import PHANTOM_NOTICE
from src.config import preset
from src.data.dataset import open_dataset
from src.results import grid
from src.results.figures import write_figures
from src.results.grid import (
    RESULTS,
    Cell,
    choose,
    declared_grid,
    finished_record,
    list_cells,
    run_grid,
)
from src.results.markdown import results_page
from src.results.statistics import measure

SMOKE = preset("smoke", max_images_per_epoch=16, finetune_epochs=0)
FIELDS = {name: value for name, value in SMOKE.to_json().items() if name not in ("split", "fold")}
TINY = [Cell("scratch", "pt", fold=0, fields=FIELDS)]


@pytest.mark.slow
def test_a_tiny_grid_is_run_once_and_then_skipped(tmp_path, monkeypatch):
    results = tmp_path / "results"
    assert "not timed yet" in list_cells(TINY, results)
    ran = list(run_grid(TINY, tmp_path / "runs", None, None, results))
    assert ran == [(TINY[0], 0)] and "done" in list_cells(TINY, results)
    record = read_json(results / "grid" / f"{TINY[0].name}.json")
    assert record["dataset"]["kind"] == "phantom" and record["fold"] == 0 and record["seed"] == 0
    with np.load(results / "grid" / f"{TINY[0].name}.npz", allow_pickle=False) as kept:
        dataset = open_dataset(TINY[0].config(None))
        np.testing.assert_array_equal(kept["groups"], dataset.groups[dataset.parts["test"]])
        accuracy = (kept["probs"].argmax(1) == kept["labels"]).mean()
    assert not list((tmp_path / "runs").rglob("*.safetensors"))

    def never(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(grid, "train_once", never)
    assert not list(run_grid(TINY, tmp_path / "runs", None, None, results))
    measured = measure(TINY, results)
    (row,) = [each for each in measured["rows"] if each["cells"]]
    assert row["accuracy"]["value"] == pytest.approx(accuracy) and row["kind"] == "phantom"
    scores = read_json(RESULTS / "baselines.json")["scores"]
    figures = write_figures(measured, scores, results)
    assert [figure.name for figure in figures] == ["accuracy.png", "curves.png"]
    page = results_page(measured, scores, {"val_images": 1})
    assert f"| {accuracy:.1%} (" in page and "not run here" in page and PHANTOM_NOTICE in page
    changed = [Cell("scratch", "pt", fold=0, fields=FIELDS | {"dropout": 0.1})]
    with pytest.raises(InputError, match="another experiment than the grid declares: dropout"):
        list(run_grid(changed, tmp_path / "runs", None, None, results))
    (results / "grid" / f"{TINY[0].name}.json").unlink()  # killed before the record was written
    with pytest.raises(AssertionError, match="trained again"):
        list(run_grid(TINY, tmp_path / "runs", None, None, results))


def test_phantoms_never_enter_the_committed_grid(tmp_path, monkeypatch):
    monkeypatch.setattr(grid, "RESULTS", tmp_path)
    monkeypatch.setattr(grid, "open_dataset", lambda *_: SimpleNamespace(kind="phantom"))
    with pytest.raises(InputError, match="needs the real images, and none are found"):
        list(run_grid(TINY, tmp_path / "runs", None, None, tmp_path))


def test_the_committed_records_are_of_the_declared_grid():
    done = [cell for cell in declared_grid() if finished_record(cell)]
    assert len(done) == len(list((RESULTS / "grid").glob("*.json")))


def test_a_field_that_a_record_lacks_had_its_default(tmp_path):
    cell = declared_grid()[0]
    FakeGrid().write(tmp_path, [cell])
    file = tmp_path / "grid" / f"{cell.name}.json"
    record = read_json(file)
    del record["config"]["warmup_epochs"]
    write_json(file, record)
    assert finished_record(cell, tmp_path) == record
    changed = replace(cell, fields=cell.fields | {"warmup_epochs": 0.5})
    with pytest.raises(InputError, match="grid declares: warmup_epochs"):
        finished_record(changed, tmp_path)


def test_the_grid_is_what_the_issue_asks_for():
    cells = declared_grid()
    assert len({cell.name for cell in cells}) == len(cells)
    twins = [cell.framework for cell in cells if not cell.perturbed]
    tuned = [cell.name for cell in cells if cell.arm == "tuned"]
    assert twins.count("tf") == 15 + 6 + 1 and twins.count("pt") == 15 + 6 + 5 + 5 + 1
    assert tuned[4:7] == ["tuned-pt-fold4-seed0", "tuned-pt-official-seed0",
                          "tuned-pt-patient-fold0-seed0"]  # fmt: skip
    assert tuned[11:] == [name.replace("-pt-", "-tf-") for name in tuned[:6]]
    perturbed = [(cell.arm, cell.framework) for cell in cells if cell.perturbed]
    assert perturbed == [("exact", "pt"), ("scratch", "pt"), ("small", "pt")]
    assert {c.fold for c in cells[:10]} == {0, 1, 2, 3, 4} and len(cells) == 32 + 17 + 5 + 3
    for cell in cells:
        config = cell.config("file.safetensors")
        assert (config.split, config.seed) == (cell.split, cell.seed)
        assert config.image_size >= 224 or cell.arm in ("scratch", "small")
    assert {c.config("f").init for c in cells} == {"f", "scratch"}


def test_only_selects_by_name_and_refuses_what_is_not_there():
    cells = declared_grid()
    assert [c.name for c in choose(cells, ["stock-pt-fold0"])] == ["stock-pt-fold0-seed0"]
    assert choose(cells) == cells
    with pytest.raises(InputError, match="--list"):
        choose(cells, ["nothing"])
