"""From a made-up grid to numbers: computed again in other ways, refused where folds do not fit."""

import csv

import numpy as np
import pytest
from fake_grid import FakeGrid, fake_grid

from src.common.errors import InputError
from src.comparison.baselines import PROBE
from src.config import CLASS_NAMES
from src.evaluation.intervals import OVERALL, PER_CLASS
from src.evaluation.metrics import score, score_groups
from src.results.grid import RECIPE, declared_grid
from src.results.statistics import OFFICIAL, POOLED, ROWS, measure, pool, read_grid

SEEDS = "exact, first fold, all seeds"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the images, the cells written, and what was measured of them."""
    results = tmp_path_factory.mktemp("grid")
    grid, cells = fake_grid(results)
    return grid, {cell.name: cell for cell in cells}, measure(declared_grid(), results), results


def row_of(measured, title, framework):
    rows = {(row["title"], row["framework"]): row for row in measured["rows"]}
    return rows[title, framework]


def classes_of(grid, cell):
    """Return the classes that the cell gave to its test images."""
    return grid.probs(cell)[grid.rows(cell)].argmax(axis=1)


def right(grid, cell):
    return classes_of(grid, cell) == grid.labels[grid.rows(cell)]


def test_every_cell_of_the_grid_is_in_a_row():
    for cell in declared_grid():
        assert any(values.items() <= vars(cell).items() for values in ROWS.values()), cell.name


def test_five_folds_score_every_image_once(made):
    grid, cells, measured, _ = made
    row = row_of(measured, POOLED, "tf")
    probs = np.zeros((len(grid.labels), 4))
    for fold in range(5):
        cell = cells[f"exact-tf-fold{fold}-seed0"]
        probs[grid.rows(cell)] = grid.probs(cell)[grid.rows(cell)]
    probs = probs.astype(np.float32)
    whole, votes = score(grid.labels, probs), score_groups(grid.labels, probs, grid.groups)
    assert (row["images"], row["groups"], row["seeds"]) == (400, len(set(grid.groups)), 1)
    whole["group_accuracy"] = votes["accuracy"]
    for name in OVERALL:
        assert row[name]["value"] == pytest.approx(whole[name])
        assert row[name]["low"] < whole[name] < row[name]["high"]
    for name in CLASS_NAMES:
        assert row["support"][name] == whole["per_class"][name]["support"]
        of_class = grid.groups[grid.labels == CLASS_NAMES.index(name)]
        assert row["class_groups"][name] == len(set(of_class))
        for key in PER_CLASS:
            rate = row["per_class"][name][key]
            assert rate["value"] == pytest.approx(whole["per_class"][name][key])
            assert rate["low"] < rate["value"] < rate["high"]


def test_seeds_are_means_and_no_ensemble(made):
    grid, cells, measured, _ = made
    row = row_of(measured, SEEDS, "pt")
    runs = [cells[f"exact-pt-fold0-seed{seed}"] for seed in range(3)]
    rates = [right(grid, cell).mean() for cell in runs]
    assert row["accuracies"] == pytest.approx(rates)
    assert row["accuracy"]["value"] == pytest.approx(np.mean(rates)) and row["seeds"] == 3
    rows = grid.rows(runs[0])
    labels, groups = grid.labels[rows], grid.groups[rows]
    each = [grid.probs(cell)[rows] for cell in runs]
    votes = [score_groups(labels, probs, groups)["accuracy"] for probs in each]
    assert row["group_accuracy"]["value"] == pytest.approx(np.mean(votes))
    whole = [score(labels, probs) for probs in each]
    for name in ("macro_f1", "macro_auroc"):
        assert row[name]["value"] == pytest.approx(np.mean([scores[name] for scores in whole]))
    ensemble = score_groups(labels, np.mean(each, axis=0), groups)["accuracy"]
    assert ensemble != pytest.approx(np.mean(votes))  # so an average of seeds would be seen
    assert row["images"] == len(rows)


def image_twice(cell, columns):
    if cell.fold == 1:
        columns["paths"][0] = FakeGrid().paths[0]


def group_in_two_folds(cell, columns):
    columns["groups"][0] = 1000


def image_left_out(cell, columns):
    if cell.fold == 2 or cell.seed == 2:
        columns |= {name: column[1:] for name, column in columns.items()}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (image_twice, "Training/glioma/0000.jpg is in exact-tf-fold0-seed0 and exact-tf-fold1"),
        (group_in_two_folds, "groups of two folds overlap: 1000 is in exact-tf-fold0-seed0 and ex"),
        (image_left_out, "score 399 images of 400"),
    ],
)
def test_folds_that_overlap_or_leave_out_are_refused(tmp_path, fault, message):
    cells = declared_grid()[:10]
    FakeGrid().write(tmp_path, cells, fault)
    with pytest.raises(InputError, match=message):
        measure(cells, tmp_path)


def test_runs_of_other_recipes_or_images_are_not_pooled(tmp_path):
    cells = [cell for cell in declared_grid()[:10] if cell.framework == "pt"]
    grid = FakeGrid()
    grid.write(tmp_path, cells)
    pool(read_grid(cells, tmp_path))
    grid.write(tmp_path, cells[4:], weights={"sha256": "ff"})
    with pytest.raises(InputError, match=r"fold4-seed0 are not one .* in the initial weights"):
        pool(read_grid(cells, tmp_path))
    grid.write(tmp_path, cells[4:], dataset={"kind": "real", "fingerprint": "ff", "parts": {}})
    with pytest.raises(InputError, match="they differ in the dataset"):
        pool(read_grid(cells, tmp_path))


def another_group(cell, columns):
    columns["groups"][0] += 1000 * (cell.seed == 2)


@pytest.mark.parametrize(
    ("fault", "difference"),
    [(image_left_out, "the number of test images"), (another_group, "the group of test image 1")],
)
def test_seeds_of_different_images_share_no_row(tmp_path, fault, difference):
    cells = [c for c in declared_grid() if c.framework == "tf" and c.seed and c.arm == "exact"]
    FakeGrid().write(tmp_path, cells, fault)
    with pytest.raises(InputError, match=f"different images: {difference} "):
        measure(cells, tmp_path)


def test_twins_are_compared_with_the_probe_image_by_image(made):
    grid, cells, measured, results = made
    with (results / "baselines.csv").open() as file:
        table = {
            row["path"]: row[PROBE] == row["label"]
            for row in csv.DictReader(file)
            if row["split"].startswith("fold")
        }
    ours = np.concatenate([right(grid, cells[f"exact-pt-fold{k}-seed0"]) for k in range(5)])
    difference = measured["against_probe"]["pt"]
    assert difference["images"] == 400
    assert difference["value"] == pytest.approx(ours.mean() - np.mean(list(table.values())))
    assert difference["only_a"] - difference["only_b"] == round(400 * difference["value"])
    assert difference["low"] < difference["value"] < difference["high"]


def test_a_probe_of_other_images_is_refused(tmp_path):
    grid = FakeGrid()
    cells = declared_grid()[:10]
    grid.write(tmp_path, cells)
    grid.write_baselines(tmp_path)
    file = tmp_path / "baselines.csv"
    file.write_text(file.read_text().replace("0003.jpg", "0003.png"))
    with pytest.raises(InputError, match=r"holds other images .* python -m src baselines"):
        measure(cells, tmp_path)
    file.write_text("split,path\nfold 0,a.jpg\n")
    with pytest.raises(InputError, match="holds other images or labels"):
        measure(cells, tmp_path)


@pytest.mark.parametrize("old, new", [(PROBE, "probe"), ("notumor\n", "healthy\n")])
def test_a_probe_without_its_column_or_with_other_classes_is_refused(tmp_path, old, new):
    grid = FakeGrid()
    cells = declared_grid()[:10]
    grid.write(tmp_path, cells)
    grid.write_baselines(tmp_path)
    file = tmp_path / "baselines.csv"
    file.write_text(file.read_text().replace(old, new))
    message = r"baselines.csv: column linear probe must .* python -m src baselines"
    with pytest.raises(InputError, match=message):
        measure(cells, tmp_path)


def test_the_leak_and_the_defaults_are_differences_on_the_same_images(made):
    grid, cells, measured, _ = made
    official = right(grid, cells["exact-tf-official-seed0"])
    clean = np.zeros(400, bool)
    for cell in (cells[f"exact-tf-fold{k}-seed0"] for k in range(5)):
        clean[grid.rows(cell)] = right(grid, cell)
    leak = measured["leak"]["tf"]
    assert leak["difference"] == pytest.approx(official.mean() - clean.mean())
    same = leak["same_images"]
    assert same["images"] == grid.official.sum() == row_of(measured, OFFICIAL, "tf")["images"]
    assert same["value"] == pytest.approx(official.mean() - clean[grid.official].mean())
    exact, stock = (cells[f"{arm}-pt-fold0-seed0"] for arm in ("exact", "stock"))
    cost = measured["defaults"]["pt"]["value"]
    assert cost == pytest.approx(right(grid, stock).mean() - right(grid, exact).mean()) and cost < 0


def test_twins_are_compared_with_seeds(made):
    grid, cells, measured, _ = made
    tf, pt = (
        [classes_of(grid, cells[f"exact-{name}-fold0-seed{seed}"]) for seed in range(3)]
        for name in ("tf", "pt")
    )
    agreement = measured["agreement"]
    twins = [(one == two).mean() for one, two in zip(tf, pt)]
    assert agreement["twins"] == pytest.approx(twins)
    for name, seeds in (("tf", tf), ("pt", pt)):
        pairs = [(seeds[one] == seeds[two]).mean() for one, two in ((0, 1), (0, 2), (1, 2))]
        assert agreement["seeds"][name] == pytest.approx(pairs)
    assert agreement["images"] == len(tf[0]) and agreement["difference"]["images"] == 400
    pair = measured["defaults"]["agreement"]
    assert pair["exact"] == pytest.approx(twins[0]) and pair["stock"] < pair["exact"]


def test_times_leave_out_the_cache_that_all_share(made):
    _, _, measured, _ = made
    speed = measured["speed"]
    assert speed["filling_minutes"] == pytest.approx(30) and len(speed["arms"]) == 4
    assert speed["arms"]["exact"]["ratio"] == pytest.approx(100 / 80)
    row = row_of(measured, POOLED, "tf")
    epochs = RECIPE["finetune_epochs"]
    assert row["minutes"] == pytest.approx((epochs * 6000 / 80 + 40) / 60)
    assert row["epoch_minutes"] == pytest.approx(epochs * 6000 / 80 / 60)
    assert row["hardware"] == ["Example CPU @ 2.50GHz, 2 cores, 8 GiB, no GPU"]


def test_speeds_are_compared_on_one_machine_alone(tmp_path):
    tf, pt, *others = declared_grid()[:4]
    grid = FakeGrid()
    grid.write(tmp_path, [tf, *others])
    gpu = {"cpu": "Other", "cores": 16, "memory_gb": 128.0, "gpu": "Example GPU"}
    grid.write(tmp_path, [pt], hardware=gpu, images_per_second={"train": 4000})
    measured = measure([tf, pt], tmp_path)
    assert measured["speed"]["arms"]["exact"]["ratio"] is None
    assert row_of(measured, POOLED, "pt")["hardware"] == ["Example GPU"]
    measured = measure([tf, pt, *others], tmp_path)
    assert measured["speed"]["arms"]["exact"]["ratio"] == pytest.approx(100 / 80)


def test_what_is_not_decided_yet_is_none(tmp_path):
    cells = declared_grid()
    measured = measure(cells, tmp_path)
    assert not any(row["cells"] for row in measured["rows"])
    assert measured["agreement"] is None and measured["speed"]["arms"] == {}
    assert measured["against_probe"] == measured["leak"] == {"tf": None, "pt": None}
    pairs = {"stock": None, "exact": None}
    assert measured["defaults"] == {"tf": None, "pt": None, "agreement": pairs}
    grid = FakeGrid()
    grid.write_baselines(tmp_path)
    some = [c for c in cells if c.arm == "exact" and c.fold != 4 and c.framework == "tf"]
    grid.write(tmp_path, some)
    measured = measure(cells, tmp_path)
    assert measured["against_probe"]["tf"] is measured["leak"]["tf"] is None
    assert row_of(measured, POOLED, "tf")["images"] == (grid.folds != 4).sum()
    assert measured["agreement"]["difference"] is None and not measured["agreement"]["twins"]
