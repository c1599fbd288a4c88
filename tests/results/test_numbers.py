"""From a made-up grid to numbers: computed again in other ways, refused where folds do not fit."""

import csv
from collections import defaultdict

import numpy as np
import pytest
from fake_grid import FakeGrid, fake_grid
from scipy.stats import ttest_1samp

from src.common.errors import InputError
from src.common.files import read_json
from src.comparison.baselines import PROBE
from src.config import CLASS_NAMES
from src.data.patients.recover import shipped_table
from src.evaluation.intervals import PER_CLASS
from src.evaluation.metrics import AVERAGES, score
from src.results.counted import accuracy_by
from src.results.grid import RECIPE, declared_grid
from src.results.pool import pool, read_grid
from src.results.statistics import (
    OFFICIAL,
    OVER_FOLDS,
    PERTURBED,
    POOLED,
    ROWS,
    SCRATCH,
    SEEDS,
    measure,
)


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
    whole = score(grid.labels, probs)
    assert (row["images"], row["groups"], row["seeds"]) == (400, len(set(grid.groups)), 1)
    for name in AVERAGES:
        assert row[name]["value"] == pytest.approx(whole[name])
        assert row[name]["low"] < whole[name] < row[name]["high"]
    for name in CLASS_NAMES:
        assert row["support"][name] == whole["per_class"][name]["support"]
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
    each = [grid.probs(cell)[rows] for cell in runs]
    whole = [score(grid.labels[rows], probs) for probs in each]
    for name in ("macro_f1", "macro_auroc"):
        assert row[name]["value"] == pytest.approx(np.mean([scores[name] for scores in whole]))
    ensemble = score(grid.labels[rows], np.mean(each, axis=0))["accuracy"]
    assert ensemble != pytest.approx(np.mean(rates))  # so an average of seeds would be seen
    assert row["by"]["image"]["value"] == pytest.approx(np.mean(rates))
    assert row["images"] == len(rows)


def test_equivalence_is_that_of_scipys_one_sided_tests(made):
    grid, cells, measured, _ = made
    found = measured["equivalence"]
    rates = {
        name: [right(grid, cells[f"exact-{name}-fold0-seed{seed}"]).mean() for seed in range(3)]
        for name in ("tf", "pt")
    }
    differences = np.subtract(rates["pt"], rates["tf"])
    margin = found["seeds"]["margin"]
    tests = {"greater": -margin, "less": margin}
    p = [ttest_1samp(differences, at, alternative=side).pvalue for side, at in tests.items()]
    assert max(p) == pytest.approx(0.05) and found["seeds"]["count"] == 3
    for arm, name in {"exact": "", "stock": "stock ", "tuned": "tuned "}.items():
        which = f"{name}images"
        images, wide = found[which], measured["agreement"]["differences"][arm]
        assert images["value"] == wide["value"] and images["count"] == len(grid.labels)
        assert wide["low"] < images["low"] < images["high"] < wide["high"]  # 90 in 95 %
        folds = found[which.replace("images", "folds")]
        rates = [
            [right(grid, cells[f"{arm}-{name}-fold{k}-seed0"]).mean() for k in range(5)]
            for name in ("tf", "pt")
        ]
        assert folds["value"] == pytest.approx(np.subtract(rates[1], rates[0]).mean())
    assert images["margin"] < found["stock images"]["margin"]
    assert found["tuned folds"]["margin"] < found["stock folds"]["margin"]
    assert found["needed"]["shared"][1] < found["needed"]["own"][1]
    assert found["variance"]["seed"] > 10 * found["variance"]["framework"]


def one_by_one(grid, predicted):
    """Return (value, number) by patient and by slice, counted image by image."""
    origins, images = shipped_table(), defaultdict(list)
    for path, label, group, answer in zip(grid.paths, grid.labels, grid.groups, predicted):
        if path in origins:
            images["patient", origins[path].patient].append((label, answer))
        of_slice = origins[path].slice if path in origins else f"of group {group}"
        images["slice", of_slice].append((label, answer))
    by = {"patient": [], "slice": []}
    for (what, _), answers in images.items():
        label, right = answers[0][0], [label == answer for label, answer in answers]
        wrong = [sum(answer == k for _, answer in answers) for k in range(4) if k != label]
        by[what].append(sum(right) > max(wrong) if what == "patient" else np.mean(right))
    return {what: (np.mean(values), len(values)) for what, values in by.items()}


def test_patients_slices_and_sources_are_counted(made):
    grid, cells, measured, results = made
    predicted = np.zeros(400, int)
    for cell in (cells[f"exact-pt-fold{k}-seed0"] for k in range(5)):
        predicted[grid.rows(cell)] = classes_of(grid, cell)
    by, right = row_of(measured, POOLED, "pt")["by"], predicted == grid.labels
    counted = one_by_one(grid, predicted)
    for name, what in (("patient", "patient"), ("distinct slice", "slice")):
        value, count = counted[what]
        assert by[name]["value"] == pytest.approx(value) and by[name]["count"] == count
        assert by[name]["low"] < value < by[name]["high"]
    known, notumor = np.isin(grid.paths, list(shipped_table())), grid.labels == 2
    rows = {"image": right, "figshare tumours": right[known], "notumor": right[notumor]}
    rows["tumours of unknown source"] = right[~known & ~notumor]
    for name, some in rows.items():
        assert by[name]["value"] == pytest.approx(some.mean()) and by[name]["count"] == len(some)
    with (results / "baselines.csv").open() as file:
        probe = {
            row["path"]: CLASS_NAMES.index(row[PROBE])
            for row in csv.DictReader(file)
            if row["split"].startswith("fold")
        }
    counted = one_by_one(grid, [probe[path] for path in grid.paths])
    for name, what in (("patient", "patient"), ("distinct slice", "slice")):
        assert measured["baselines"][PROBE][name]["value"] == pytest.approx(counted[what][0])


def test_a_patient_with_as_many_slices_elsewhere_is_not_right():
    origins = shipped_table()
    patient = [path for path, origin in origins.items() if origin.patient == "MR050791"][:4]
    own = origins[patient[0]].label
    two_of_four = np.array([[own, own, 3, 3], [own, own, 3, 2]])
    paths, labels = np.array(patient), np.full(4, own)
    (tie, most), both = (
        [accuracy_by(paths, labels, some, np.zeros(4, int))["patient"] for some in seeds]
        for seeds in (two_of_four[:, None], two_of_four[None])
    )
    assert (tie["value"], most["value"], both[0]["value"]) == (0, 1, 0.5)
    assert tie["count"] == 1 and tie["low"] is None  # one patient has no interval


def test_the_table_of_patients_gives_each_one_class():
    classes = {(origin.patient, origin.label) for origin in shipped_table().values()}
    assert len(classes) == len({patient for patient, _ in classes}) == 209


def test_ct_is_counted_fold_by_fold(made):
    *_, measured, results = made
    ct = measured["ct"]["exact"]["tf"]
    assert {name: about["count"] for name, about in ct.items()} == {"meningioma": 5, "notumor": 15}
    records = [read_json(results / f"grid/exact-tf-fold{k}-seed0.json") for k in range(5)]
    matrices = [record["metrics"]["ct"]["confusion_matrix"] for record in records]
    assert ct["meningioma"]["right"] == [matrix[1][1] for matrix in matrices]
    assert ct["notumor"]["right"] == [matrix[2][2] for matrix in matrices]


def test_curves_are_those_of_the_records(made):
    *_, measured, results = made
    curves = measured["curves"]
    assert len(curves[POOLED]["tf"]["accuracy"]) == 5 and len(curves) == len(ROWS) - 1
    record = read_json(results / "grid/scratch-pt-fold0-seed0.json")
    shown = {kind: [record["history"][kind]] for kind in ("accuracy", "val_accuracy")}
    assert curves[SCRATCH]["pt"] == shown


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


def test_gains_of_the_tuned_network_by_image_and_over_folds(made):
    grid, cells, measured, _ = made
    folds = [
        [right(grid, cells[f"{arm}-pt-fold{k}-seed0"]) for k in range(5)]
        for arm in ("tuned", "exact")
    ]
    gain, each = measured["gains"]["exact"]["pt"], np.subtract(*map(rates_of, folds))
    assert gain["folds"]["each"] == pytest.approx(each)
    images = np.subtract(*(np.concatenate(some).mean() for some in folds))
    assert gain["images"]["value"] == pytest.approx(images)
    # The t-test of SciPy on independent folds, widened by Nadeau and Bengio's factor.
    low, high = ttest_1samp(each, 0).confidence_interval(0.95)
    wider = np.sqrt((1 / 5 + 60 / 330) / (1 / 5))  # the parts of the made records
    assert gain["folds"]["high"] - each.mean() == pytest.approx((high - low) / 2 * wider)
    assert gain["folds"]["value"] == pytest.approx(each.mean())
    probe = measured["gains"][PROBE]["tf"]
    assert probe["images"]["images"] == 400 and len(probe["folds"]["each"]) == 5


def rates_of(folds):
    return np.array([fold.mean() for fold in folds])


def test_a_probe_of_other_images_is_refused(tmp_path):
    grid = FakeGrid()
    cells = declared_grid()[:10]
    grid.write(tmp_path, cells)
    grid.write_baselines(tmp_path)
    file = tmp_path / "baselines.csv"
    file.write_text(file.read_text().replace("0003.jpg", "0003.png"))
    with pytest.raises(InputError, match=r"holds other images .* python -m src baselines"):
        measure(cells, tmp_path)


@pytest.mark.parametrize(
    "old, new", [(PROBE, "probe"), ("notumor\n", "healthy\n"), ("fold", "part")]
)
def test_baselines_without_a_column_or_with_other_classes_are_refused(tmp_path, old, new):
    FakeGrid().write_baselines(tmp_path)
    file = tmp_path / "baselines.csv"
    file.write_text(file.read_text().replace(old, new))
    message = r"baselines.csv must hold a group, the label .* python -m src baselines"
    with pytest.raises(InputError, match=message):
        measure([], tmp_path)


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
    exact, stock = (
        [right(grid, cells[f"{arm}-pt-fold{k}-seed0"]) for k in range(5)]
        for arm in ("exact", "stock")
    )
    cost = measured["defaults"]["pt"]
    lost = np.concatenate(stock).mean() - np.concatenate(exact).mean()
    assert cost["images"]["value"] == pytest.approx(lost) and lost < 0
    assert cost["folds"]["each"] == pytest.approx(
        [one.mean() - other.mean() for one, other in zip(stock, exact)]
    )


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
    assert agreement["images"] == len(tf[0]) and agreement["differences"]["exact"]["images"] == 400
    assert agreement["stock"] < agreement["twins"][0]


def test_pytorch_is_compared_with_itself_from_perturbed_weights(made):
    grid, cells, measured, _ = made
    tf, pt, moved = (
        classes_of(grid, cells[f"scratch-{name}"])
        for name in ("tf-fold0-seed0", "pt-fold0-seed0", "pt-fold0-seed0-perturbed")
    )
    agreement = measured["agreement"]
    assert agreement["scratch"] == pytest.approx((tf == pt).mean())
    assert agreement["perturbed"]["scratch"] == pytest.approx((pt == moved).mean())
    assert agreement["perturbed"]["scratch"] < 1
    exact = [classes_of(grid, cells[f"exact-pt-fold0-seed0{end}"]) for end in ("", "-perturbed")]
    assert agreement["perturbed"]["exact"] == pytest.approx((exact[0] == exact[1]).mean())
    # They are in no other row.
    assert len(row_of(measured, SCRATCH, "pt")["cells"]) == 1


def test_costs_are_of_the_least_disturbed_run_without_the_cache_that_all_share(tmp_path):
    cells, grid = declared_grid()[:6], FakeGrid()
    grid.write(tmp_path, cells)
    grid.write(tmp_path, cells[:1], speed={"train": {"images_per_second": 8}}, seconds=9e4)
    gpu = {"cpu": "Other", "cores": 16, "memory_gb": 128.0, "gpu": "Example GPU"}
    on_gpu = {"hardware": gpu, "speed": {"train": {"images_per_second": 999}}, "seconds": 1}
    grid.write(tmp_path, cells[2:3], **on_gpu)  # of the same arm and framework
    measured = measure(cells, tmp_path)
    costs, row = measured["costs"]["exact"]["tf"], row_of(measured, POOLED, "tf")
    assert costs["minutes"] == pytest.approx((RECIPE["finetune_epochs"] * 6000 / 80 + 40) / 60)
    assert costs["images_per_second"] == 80
    assert row["hardware"] == ["Example CPU @ 2.50GHz, 2 cores, 8 GiB, no GPU"]


def test_the_time_for_filling_the_cache_is_summed(made):
    _, _, measured, _ = made
    assert measured["filling_minutes"] == pytest.approx(30) and len(measured["costs"]) == 7


def test_what_is_not_decided_yet_is_none(tmp_path):
    cells = declared_grid()
    measured = measure(cells, tmp_path)
    assert not any(row["cells"] for row in measured["rows"])
    agreement, nothing = measured["agreement"], {"tf": None, "pt": None}
    assert agreement["seeds"] == {"tf": [], "pt": []} and not agreement["images"]
    assert agreement["stock"] is agreement["scratch"] is agreement["small"] is None
    assert agreement["five_folds"] == agreement["differences"] == dict.fromkeys(OVER_FOLDS)
    assert agreement["perturbed"] == dict.fromkeys(PERTURBED)
    assert measured["against_probe"] == measured["leak"] == measured["defaults"] == nothing
    assert set(measured["gains"]) == {"exact", PROBE}
    assert all(gain == nothing for gain in measured["gains"].values())
    assert measured["costs"] == {} and measured["ct"]["tuned"] == {"tf": {}, "pt": {}}
    assert not any(measured["curves"].values())
    grid = FakeGrid()
    grid.write_baselines(tmp_path)
    some = [c for c in cells if c.arm == "exact" and c.fold != 4 and c.framework == "tf"]
    grid.write(tmp_path, some)
    measured = measure(cells, tmp_path)
    assert measured["against_probe"]["tf"] is measured["leak"]["tf"] is None
    assert row_of(measured, POOLED, "tf")["images"] == (grid.folds != 4).sum()
    assert (
        measured["agreement"]["differences"]["exact"] is None and not measured["agreement"]["twins"]
    )
