"""From numbers to pages: the tables of a made-up grid, and what the committed pages say now."""

import re
from pathlib import Path

import pytest
from fake_grid import FakeGrid, fake_grid

from src.cli.results import write_results
from src.common.errors import InputError
from src.common.files import read_json, write_json
from src.comparison.baselines import BASELINES
from src.comparison.report.style import PHANTOM_NOTICE
from src.comparison.report.tables import signed
from src.results import figures
from src.results.figures import write_figures
from src.results.grid import FROM_BLOCK13, RECIPE, RESULTS, SCRATCH, declared_grid
from src.results.markdown import (
    BEGIN,
    END,
    FIGURES,
    points,
    results_page,
    short_table,
    with_interval,
    write_between_markers,
)
from src.results.statistics import OFFICIAL, POOLED, measure

README = Path(__file__).parents[2] / "README.md"
RECIPES = {"val_images": 559}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder of made-up results, what is measured of them, and the baselines' scores."""
    results = tmp_path_factory.mktemp("results")
    fake_grid(results)
    scores = read_json(results / "baselines.json")["scores"]
    return results, measure(declared_grid(), results), scores


@pytest.fixture(scope="module")
def committed():
    """Return table.json, the baselines' scores and the recipes as committed."""
    scores = read_json(RESULTS / "baselines.json")["scores"]
    return read_json(RESULTS / "table.json"), scores, read_json(RESULTS / "recipes.json")


def leaves(value, name=""):
    """Return {dotted name: value} of nested dicts and lists."""
    if not isinstance(value, dict | list):
        return {name: value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    inner = [leaves(item, f"{name}.{key}") for key, item in items]
    return {key: leaf for part in inner for key, leaf in part.items()}


def between_markers(file):
    return file.read_text().partition(BEGIN)[2].partition(END)[0].strip()


def one_line(file):
    return " ".join(file.read_text().split())


def cells_of(table, *start):
    """Return the cells of the one line of a table that starts with these cells."""
    lines = [[cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines()]
    (line,) = [line for line in lines if line[: len(start)] == list(start)]
    return line[len(start) :]


@pytest.mark.slow
def test_table_json_is_what_the_records_give(committed):
    recorded, measured = leaves(committed[0]), leaves(measure(declared_grid()))
    assert recorded.keys() == measured.keys()
    for name, value in measured.items():
        # Another SciPy may draw other resamples; all else is arithmetic.
        close = 0.01 if name.endswith((".low", ".high")) else 1e-9
        expected = pytest.approx(value, abs=close) if isinstance(value, float) else value
        assert recorded[name] == expected, name


def test_the_pages_show_table_json(committed):
    assert between_markers(RESULTS / "README.md") == results_page(*committed, list(FIGURES))
    assert between_markers(README) == short_table(*committed)
    assert len(short_table(*committed).partition("\n\n")[0].splitlines()) <= 2 + 8
    assert f"the {committed[2]['val_images']} validation images of fold 0" in README.read_text()


def test_the_sentences_hold_the_numbers_of_table_json(committed):
    measured, page = committed[0], one_line(RESULTS / "README.md")
    agreement, leak, defaults = (measured[name] for name in ("agreement", "leak", "defaults"))
    between = agreement["difference"]
    value, low, high = (signed(100 * between[name], 1) for name in ("value", "low", "high"))
    assert max(-between["low"], between["high"]) < 0.01
    assert "Yes, to within one percentage point." in page
    assert f"the twins put {agreement['five_folds']:.1%} of the images into the same class" in page
    assert f"minus TensorFlow's is {value} points (95 % interval {low} to {high})" in page
    seeds = [share for shares in agreement["seeds"].values() for share in shares]
    assert f"agree on {min(seeds):.1%} to {max(seeds):.1%} only" in page
    flatters = [f"{100 * leak[name]['difference']:.1f}" for name in ("tf", "pt")]
    sentence = "flatters accuracy by {} (TensorFlow) and {} (PyTorch) percentage points"
    assert sentence.format(*flatters) in page and sentence.format(*flatters) in one_line(README)
    costs = [signed(100 * defaults[name]["value"], 1) for name in ("tf", "pt")]
    sentence = "stock minus exact is {} points (TensorFlow) and {} points (PyTorch)"
    assert f"{sentence.format(*costs)}, and both intervals contain 0" in page
    assert all(defaults[name]["low"] < 0 < defaults[name]["high"] for name in ("tf", "pt"))
    pairs = defaults["agreement"]
    assert f"agree on only {pairs['stock']:.1%} of the images of the first fold" in page
    assert f"the exact twins agree on {pairs['exact']:.1%}" in page
    ratios = [f"{measured['speed']['arms'][arm]['ratio']:.2f}" for arm in ("exact", "block13")]
    slower = measured["speed"]["arms"]["scratch"]["ratio"]
    sentence = "Neither is consistently faster: PyTorch trains {} times as many images per second"
    assert sentence.format(ratios[0]) in page and ratios[0] > "1" > f"{slower:.2f}"
    assert f"{ratios[1]} times from block13, {slower:.2f} times from scratch" in page
    arms = measured["speed"]["arms"]
    uncached = [(arm, key) for arm in arms for key in ("tf", "pt") if not arms[arm][key]["cached"]]
    assert uncached == [("stock", "pt"), ("scratch", "tf"), ("scratch", "pt")]
    assert "stock PyTorch and the runs from scratch use no cache" in page
    probe = measured["against_probe"]
    gains = [f"{100 * probe[name]['value']:.1f}" for name in ("tf", "pt")]
    sentence = "the twins are {} (TensorFlow) and {} (PyTorch) percentage points more accurate"
    assert sentence.format(*gains) in page and all(probe[name]["low"] > 0 for name in ("tf", "pt"))


def test_the_page_describes_the_grid_and_its_images():
    page = one_line(RESULTS / "README.md")
    record = read_json(RESULTS / "grid" / "exact-tf-fold0-seed0.json")
    counts = [sum(record["dataset"]["counts"][part].values()) for part in ("Training", "Testing")]
    copy = (
        "made on a copy of the merge that somebody had resized to 224 px, with four files missing"
    )
    assert (copy in page) == (sum(counts) == 7019) and "{:,} + {:,} images".format(*counts) in page
    assert f"for {RECIPE['finetune_epochs']} epochs at a learning rate of 1e-3" in page
    epochs = FROM_BLOCK13["head_epochs"], FROM_BLOCK13["finetune_epochs"]
    assert (
        "{} such epochs, then {} more in which block13 trains too, at 1e-4".format(*epochs) in page
    )
    rates = [RECIPE["finetune_learning_rate"], FROM_BLOCK13["finetune_learning_rate"]]
    assert rates == [1e-3, 1e-4] and RECIPE["image_size"] == 224 and RECIPE["augment"] == "none"
    images = f"{SCRATCH['finetune_epochs']} epochs of {SCRATCH['max_images_per_epoch']:,} images"
    assert f"{SCRATCH['image_size']} px | the whole network, {images}" in page


def test_every_score_of_the_tables_is_measured(made):
    _, measured, scores = made
    page, short = results_page(measured, scores, RECIPES), short_table(measured, scores, RECIPES)
    names = {"tf": "TensorFlow", "pt": "PyTorch"}
    for row in measured["rows"]:
        title = row["title"] + " ¹" * (row["title"] == POOLED)
        cells = cells_of(page, title, names[row["framework"]])
        if not row["cells"]:
            assert (cells[0], cells[-1]) == ("not run here", "0/1")
            continue
        assert cells == [
            "random" if row["arm"] == "scratch" else "block14 random",
            with_interval(row["accuracy"]),
            with_interval(row["group_accuracy"]),
            f"{row['balanced_accuracy']['value']:.1%}",
            f"{row['macro_f1']['value']:.3f}",
            f"{row['macro_auroc']['value']:.3f}",
            f"{len(row['cells'])}/{row['wanted']}",
        ]
        if row["title"] in (POOLED, OFFICIAL):
            shown = cells_of(short, f"Xception in {names[row['framework']]} ¹")
            assert shown[2 if row["title"] == OFFICIAL else 0] == with_interval(row["accuracy"])
    for name in BASELINES:
        accuracies = [scores[split][name]["accuracy"] for split in ("pooled", "fold 0", "official")]
        cells = cells_of(page.partition("### Baselines")[2], name)
        assert [cells[0], *cells[-2:]] == [with_interval(rate) for rate in accuracies]
        assert with_interval(accuracies[0]) in short and with_interval(accuracies[2]) in short
    pooled = [row for row in measured["rows"] if row["title"] == POOLED]
    pituitary = [row["per_class"]["pituitary"] for row in pooled]
    assert cells_of(page, "pituitary")[1:] == [
        *(
            f"{each[kind]['value']:.1%}"
            for kind in ("sensitivity", "specificity")
            for each in pituitary
        ),
        *(f"{each['auroc']['value']:.3f}" for each in pituitary),
    ]
    folds = [rate for row in pooled for rate in row["accuracies"]]
    assert f"Single folds lie between {min(folds):.1%} and {max(folds):.1%}." in page


def test_every_difference_and_cost_of_the_tables_is_measured(made):
    _, measured, scores = made
    page = results_page(measured, scores, RECIPES)
    for title, differences in {
        "difference to the linear probe, five folds": measured["against_probe"],
        "stock minus exact, first fold": measured["defaults"],
    }.items():
        assert cells_of(page, title) == [points(differences[name]) for name in ("tf", "pt")]
    leak, agreement = measured["leak"], measured["agreement"]
    assert cells_of(page, "official split minus clean split") == [
        signed(100 * leak[name]["difference"], 1) for name in ("tf", "pt")
    ]
    same = cells_of(page, "the same, on images of the official test part only")
    assert same == [points(leak[name]["same_images"]) for name in ("tf", "pt")]
    between = cells_of(page, "PyTorch minus TensorFlow, five folds")
    assert between == ["", points(agreement["difference"])]
    twins = f"{min(agreement['twins']):.1%} to {max(agreement['twins']):.1%}"
    assert cells_of(page, "exact twins, one seed, first fold") == [twins]
    stock = measured["speed"]["arms"]["stock"]
    minutes = [f"{stock[name]['minutes']:.1f}" for name in ("tf", "pt")]
    # One twin had no cache there, so the two speeds are not compared.
    assert cells_of(page, "stock") == [*minutes, "80", "100", "2,310", "1,480", "-"]
    ratio = measured["speed"]["arms"]["exact"]["ratio"]
    assert cells_of(page, "exact")[-1] == f"{ratio:.2f}"
    assert "Measured on Example CPU @ 2.50GHz, 2 cores, 8 GiB, no GPU." in page
    assert "the 30 minutes in all" in page and PHANTOM_NOTICE not in page


def test_tables_are_whole(made):
    """All rows of a table have its columns, and an empty line stands before it."""
    _, measured, scores = made
    page = results_page(measured, scores, RECIPES)
    for block in [*page.split("\n\n"), *short_table(measured, scores, RECIPES).split("\n\n")]:
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1
        assert not rows or len(rows) == len(block.splitlines())


def test_one_command_writes_table_figures_and_both_pages(made, tmp_path):
    results, measured, _ = made
    write_json(results / "recipes.json", RECIPES)
    for file in (results / "README.md", tmp_path / "README.md"):
        file.write_text(f"before\n{BEGIN}\nOLD\n{END}\nafter\n")
    page = write_results(results, tmp_path / "README.md")
    assert (results / "README.md").read_text() == f"before\n{BEGIN}\n{page}\n{END}\nafter\n"
    assert leaves(read_json(results / "table.json")) == leaves(measured)
    assert "| Xception in PyTorch ¹ |" in between_markers(tmp_path / "README.md")
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page)
    assert shown == list(FIGURES) and all((results / name).is_file() for name in shown)


def test_a_page_without_the_markers_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("nothing\n")
    with pytest.raises(InputError, match="must hold the lines <!-- results"):
        write_between_markers(tmp_path / "README.md", "text")
    assert (tmp_path / "README.md").read_text() == "nothing\n"


def test_a_grid_just_begun_shows_what_is_known(made, tmp_path):
    cells, scores = declared_grid(), made[2]
    nothing = measure(cells, tmp_path)
    assert results_page(nothing, scores, RECIPES) == "No run of the grid is recorded yet."
    assert not write_figures(nothing, scores, tmp_path)
    FakeGrid().write(tmp_path, cells[1:2])
    measured = measure(cells, tmp_path)
    page = results_page(measured, scores, RECIPES)
    assert cells_of(page, f"{POOLED} ¹", "PyTorch")[-1] == "1/5"
    assert cells_of(page, "stock minus exact, first fold") == ["not run here"] * 2
    assert len(cells_of(page, "glioma")) == 4  # images, and three scores of PyTorch alone
    assert cells_of(page, "exact")[:2] == ["not run here", f"{measured['rows'][1]['minutes']:.1f}"]
    short = short_table(measured, scores, RECIPES)
    assert cells_of(short, "Xception in TensorFlow ¹") == ["not run here"] * 3


def test_all_machines_are_named_and_phantoms_are_named(made, tmp_path):
    tf, pt = declared_grid()[:2]
    grid = FakeGrid()
    grid.write(tmp_path, [tf])
    gpu = {"cpu": "Other", "cores": 16, "memory_gb": 128.0, "gpu": "Example GPU"}
    data = {"kind": "phantom", "fingerprint": "ff", "parts": {}, "aside": {}}
    grid.write(tmp_path, [pt], hardware=gpu, dataset=data)
    page = results_page(measure([tf, pt], tmp_path), made[2], RECIPES)
    assert page.startswith(f"**{PHANTOM_NOTICE}**")
    assert "Measured on Example CPU @ 2.50GHz, 2 cores, 8 GiB, no GPU; Example GPU." in page


@pytest.mark.parametrize("kind", ["real", "phantom"])
def test_figures_have_all_points_and_their_text_inside(made, monkeypatch, kind):
    results, measured, scores = made
    measured = measured | {"rows": [dict(row, kind=kind) for row in measured["rows"]]}
    drawn = {}
    monkeypatch.setattr(
        figures, "save_figure", lambda figure, path, _: drawn.update({path.name: figure})
    )
    write_figures(measured, scores, results)
    assert list(drawn) == ["accuracy.png", "twins.png", "time.png"]
    for name, figure in drawn.items():
        figure.draw_without_rendering()
        width, height = figure.get_size_inches()
        inked = figure.get_tightbbox()  # inches
        assert min(inked.x0, inked.y0) > -0.01, name
        assert inked.x1 < width + 0.01 and inked.y1 < height + 0.01, name
    shown = {float(x) for line in drawn["accuracy.png"].axes[0].lines for x in line.get_xdata()}
    rates = [row["accuracy"] for row in measured["rows"] if row["cells"]]
    rates += [scores[cut][name]["accuracy"] for cut in ("pooled", "official") for name in BASELINES]
    assert {rate["value"] for rate in rates} <= shown
    twins = [x for line in drawn["twins.png"].axes[0].lines for x in line.get_xdata()]
    assert len(twins) == 3 + 6 + 1
    bars = drawn["time.png"].axes[0].patches
    arms = measured["speed"]["arms"].values()
    minutes = [arm[name]["minutes"] for arm in arms for name in ("tf", "pt")]
    assert sum(bar.get_width() for bar in bars) == pytest.approx(sum(minutes) + 30)
