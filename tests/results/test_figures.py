"""The figures in the repository show the numbers in the repository; a stale one is caught."""

import json
from pathlib import Path

import pytest
from fake_grid import fake_grid
from matplotlib.figure import Figure
from PIL import Image

from src.common.files import read_json
from src.comparison.report.style import fingerprint, save_figure
from src.results import figures
from src.results.figures import write_figures
from src.results.grid import RESULTS, declared_grid
from src.results.markdown import FIGURES
from src.results.statistics import TUNED, measure


def source(figure: Path) -> str:
    """Return the fingerprint of the numbers that a saved figure and its SVG were drawn from."""
    with Image.open(figure) as image:
        found = image.text["Source"]
    assert f"<dc:source>{found}</dc:source>" in "".join(
        figure.with_suffix(".svg").read_text().split()
    )
    return found


def as_written(name: str) -> dict:
    """Return a record with the field names that it was written with."""
    return json.loads((RESULTS / name).read_text())


def test_the_grid_s_figures_show_the_table():
    """While no run is done, there is the one of the baselines' accuracy."""
    numbers = [as_written("table.json"), as_written("baselines.json")["scores"]]
    there = [name for name in FIGURES if (RESULTS / name).is_file()]
    for name in there:
        assert source(RESULTS / name) == fingerprint(numbers), name
    done = any(row["cells"] for row in numbers[0]["rows"])
    assert "accuracy.png" in there and done == ("curves.png" in there)


def test_the_attribution_figure_shows_the_record():
    assert source(RESULTS / "attribution.png") == fingerprint(as_written("attribution.json"))


@pytest.mark.parametrize("name", ["robustness", "speeds", "streams"])
def test_a_figure_beside_its_record_shows_it(name):
    record, figure = RESULTS / f"{name}.json", RESULTS / f"{name}.png"
    assert record.is_file() == figure.is_file()
    if record.is_file():
        assert source(figure) == fingerprint(as_written(record.name))


def test_every_figure_of_the_results_is_checked():
    checked = {*FIGURES, "attribution.png", "robustness.png", "speeds.png", "streams.png"}
    assert {file.name for file in RESULTS.glob("*.png")} <= checked


def test_one_changed_digit_shows(tmp_path):
    saved = save_figure(Figure(), tmp_path / "figure.png", {"accuracy": 0.903})
    assert source(saved) == fingerprint({"accuracy": 0.903})
    assert source(saved) != fingerprint({"accuracy": 0.904})
    first = saved.with_suffix(".svg").read_bytes()
    save_figure(Figure(), tmp_path / "figure.png", {"accuracy": 0.903})
    assert saved.with_suffix(".svg").read_bytes() == first


@pytest.mark.parametrize("missing, shown", [((), True), (("tuned-pt-fold3-seed0",), False)])
def test_a_pool_that_lacks_a_fold_is_not_drawn(tmp_path, missing, shown):
    fake_grid(tmp_path, leave_out=("tuned-tf", *missing))
    scores = read_json(tmp_path / "baselines.json")["scores"]
    measured, drawn = measure(declared_grid(), tmp_path), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "_draw_accuracy", lambda _, models: drawn.update(models) or Figure())
        write_figures(measured, scores, tmp_path)
    assert any(row["title"] == TUNED and row["cells"] for row in measured["rows"])
    clean, official = drawn["Xception fine-tuned"]["pt"]
    assert bool(clean) == shown and official
