"""The paper's pages are what the records give, with and without the deeper runs."""

import shutil
from pathlib import Path

import pytest
from fake_grid import fake_grid

from src.common.errors import InputError
from src.common.files import read_json
from src.results.grid import RESULTS
from src.results.paper import paper, write_paper
from src.results.statistics import measure
from src.results.tables import with_interval

ROOT = Path(__file__).parents[2]
PAGE = (RESULTS / "paper.md").read_text()


def test_the_page_is_what_the_records_give():
    assert paper(read_json(RESULTS / "table.json"), RESULTS) == PAGE


def test_it_is_about_four_pages():
    assert 1000 < len(PAGE.split()) < 2000


def test_what_it_says_of_the_images_stands_with_the_images():
    text = " ".join((ROOT / "dataset/README.md").read_text().split())
    counts = read_json(RESULTS / "grid/exact-pt-fold0-seed0.json")["dataset"]["aside"]
    assert f"{counts['ct']} files are CT and 4 have" in PAGE and "4 dropped because" in text
    for fact in ("4,750", "994 of the 1,311", "6,936 images in 589 groups"):
        assert fact in text and fact in " ".join(PAGE.split()), fact


def test_what_is_said_in_words_holds():
    assert "Only the figshare folds" in PAGE
    records = [read_json(path) for path in (RESULTS / "grid").glob("*.json")]
    on_gpu = {record["split"] for record in records if record["hardware"]["gpu"]}
    assert on_gpu == {"patient"}


def test_without_the_exact_runs_there_is_no_page(made):
    results, cells = made
    (results / "grid" / "exact-tf-fold1-seed0.json").unlink()
    assert paper(measure(cells, results), results).startswith("# Not written")


@pytest.fixture
def made(tmp_path):
    """A made-up grid with all runs, and the other records."""
    for name in ("pointing.json", "features.json", "heatmaps.json", "robustness.json"):
        shutil.copyfile(RESULTS / name, tmp_path / name)
    shutil.copytree(RESULTS / "parity", tmp_path / "parity")
    _, cells = fake_grid(tmp_path)
    return tmp_path, cells


def test_finished_folds_are_told(made):
    results, cells = made
    measured = measure(cells, results)
    text = write_paper(measured, results).read_text()
    row = next(r for r in measured["rows"] if r["arm"] == "tuned" and r["framework"] == "pt")
    assert f"reaches {with_interval(row['accuracy'])} by image" in text
    assert "**The deeper recipe is better.**" in text and "not all run yet" not in text
    assert "On figshare's slices alone" in text


def test_a_missing_fold_is_no_result(made):
    results, cells = made
    (results / "grid" / "tuned-pt-fold3-seed0.json").unlink()
    text = paper(measure(cells, results), results)
    assert "**The deeper recipe is better.**" not in text and "not all run yet" in text


def test_a_missing_record_is_a_sentence(made):
    results, cells = made
    (results / "pointing.json").unlink()
    with pytest.raises(InputError, match=r"No such file: .*pointing\.json"):
        paper(measure(cells, results), results)
