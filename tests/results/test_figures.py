"""The figures in the repository show the numbers in the repository; a stale one is caught."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from src.common.files import read_json
from src.comparison.report.style import fingerprint, save_figure
from src.results.markdown import FIGURES
from src.results.run import RESULTS


def source(figure: Path) -> str:
    """Return the fingerprint of the numbers that a saved figure was drawn of."""
    with Image.open(figure) as image:
        return image.text["Source"]


@pytest.mark.parametrize("name", FIGURES)
def test_the_grid_s_figures_show_the_table(name):
    scores = read_json(RESULTS / "baselines.json")["scores"]
    assert source(RESULTS / name) == fingerprint([read_json(RESULTS / "table.json"), scores])


def test_the_attribution_figure_shows_the_record():
    kept = read_json(RESULTS / "attribution.json")
    assert source(RESULTS / "attribution.png") == fingerprint(kept)


def test_every_figure_of_the_results_is_looked_after():
    found = {figure.name for figure in RESULTS.glob("*.png")}
    assert found == {*FIGURES, "attribution.png"}


def test_one_changed_digit_shows(tmp_path):
    drawn = save_figure(Figure(), tmp_path / "figure.png", {"accuracy": 0.903})
    assert source(drawn) == fingerprint({"accuracy": 0.903})
    assert source(drawn) != fingerprint({"accuracy": 0.904})
