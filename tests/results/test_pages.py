"""From numbers to pages: the tables of a made-up grid, and what the committed pages say now."""

import re
from pathlib import Path

import pytest
from fake_grid import FakeGrid, fake_grid

from src.cli.results import write_results
from src.common.errors import InputError
from src.common.files import read_json, write_json
from src.comparison.baselines import BASELINES, NEIGHBOUR, PROBE, SKULL
from src.comparison.report.style import PHANTOM_NOTICE
from src.comparison.report.tables import signed
from src.results import figures
from src.results.counted import COUNTED
from src.results.figures import write_figures
from src.results.grid import FROM_BLOCK13, RECIPE, RESULTS, declared_grid
from src.results.grid import SCRATCH as SCRATCH_RECIPE
from src.results.markdown import (
    BEGIN,
    END,
    FIGURES,
    results_page,
    short_table,
    write_between_markers,
)
from src.results.statistics import (
    CURVES,
    OFFICIAL,
    POOLED,
    SCRATCH,
    TUNED,
    TUNED_OFFICIAL,
    measure,
)
from src.results.tables import margin, points, with_interval

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
    """Return table.json, the baselines' scores and how a learning rate was chosen, as committed."""
    names = ("table", "baselines", "first_build/recipes")
    table, baselines, recipes = (read_json(RESULTS / f"{name}.json") for name in names)
    return table, baselines["scores"], recipes


def page_of(measured, scores):
    """Return the page of made-up results."""
    return results_page(measured, scores, RECIPES)


def short_of(measured, scores):
    """Return the README's table of made-up results."""
    return short_table(measured, scores, RECIPES)


def leaves(value, name=""):
    """Return {dotted name: value} of nested dicts and lists."""
    if not isinstance(value, dict | list):
        return {name: value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    inner = [leaves(item, f"{name}.{key}") for key, item in items]
    return {key: leaf for part in inner for key, leaf in part.items()}


def between_markers(file):
    return file.read_text().partition(BEGIN)[2].partition(END)[0].strip()


def ends(values):
    """Return the least and the greatest."""
    return min(values), max(values)


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
        # Arithmetic alone: another machine may round a last digit another way.
        expected = pytest.approx(value, abs=1e-9) if isinstance(value, float) else value
        assert recorded[name] == expected, name


def test_the_pages_show_table_json(committed):
    there = [name for name in FIGURES if (RESULTS / name).is_file()]
    assert between_markers(RESULTS / "README.md") == results_page(*committed, there)
    short = short_table(*committed)
    assert between_markers(README) == short
    assert len(short.partition("\n\n")[0].splitlines()) <= 2 + 8
    assert f"on {committed[2]['val_images']} validation images of fold 0" in short


def test_the_records_are_of_the_published_files_and_version_2():
    """So the page says, and so does the README."""
    said = (
        "use the files that Kaggle published first (version 1: 5,712 + 1,311 images) and version 2"
    )
    assert said in one_line(RESULTS / "README.md") and said in one_line(README)
    for file in (RESULTS / "grid").glob("*.json"):
        dataset = read_json(file)["dataset"]
        counts = [sum(dataset["counts"][part].values()) for part in ("Training", "Testing")]
        assert counts == [5712, 1311], file.name
        assert "version 2" in dataset["split_rule"] or dataset["split"] == "official", file.name


def test_the_page_describes_the_grid():
    page = one_line(RESULTS / "README.md")
    assert f"for {RECIPE['finetune_epochs']} epochs at a learning rate of 1e-3" in page
    epochs = FROM_BLOCK13["head_epochs"], FROM_BLOCK13["finetune_epochs"]
    assert (
        "{} such epochs, then {} more in which block13 trains too, at 1e-4".format(*epochs) in page
    )
    rates = [RECIPE["finetune_learning_rate"], FROM_BLOCK13["finetune_learning_rate"]]
    assert rates == [1e-3, 1e-4] and RECIPE["image_size"] == 224 and RECIPE["augment"] == "none"
    images = "{finetune_epochs} epochs of {max_images_per_epoch:,} images".format(**SCRATCH_RECIPE)
    assert f"{SCRATCH_RECIPE['image_size']} px | the whole network, {images}" in page


def test_the_sentences_of_the_readme_hold_the_numbers_of_table_json(committed):
    """They are written by hand; those that need a missing run must not be there."""
    table = committed[0]
    agreement, leak = table["agreement"], table["leak"]
    stock, seeds = table["defaults"]["pt"], [*agreement["seeds"]["tf"], *agreement["seeds"]["pt"]]
    parts = leak["pt"]["apart"]["parts"]
    repeated = parts["same file"]["count"] + parts["same slice"]["count"]
    said = [
        f"fine-tuned, they put {agreement['five_folds']['tuned']:.1%} of the test images into the "
        "same class, and PyTorch minus TensorFlow is "
        f"{points(agreement['differences']['tuned'])} percentage points; with block14 alone, "
        f"{agreement['five_folds']['exact']:.1%} and {points(agreement['differences']['exact'])}.",
        "the 90 % intervals lie within {} and {} points".format(
            *(margin(table["equivalence"][name]) for name in ("tuned images", "images"))
        ),
        "two seeds of one framework agree on {:.1%} to {:.1%} of the images, the twins on "
        "{:.1%} to {:.1%}.".format(*ends(seeds), *ends(agreement["twins"])),
        f"(*stock*), the twins put {agreement['five_folds']['stock']:.1%} of the images into the "
        "same class, and PyTorch minus TensorFlow is "
        f"{points(agreement['differences']['stock'])} points.",
        "PyTorch's accuracy changes by {:+.1f} to {:+.1f} points".format(
            *(100 * end for end in ends(stock["folds"]["each"]))
        ),
        f"{repeated} of its {parts['all']['count']:,} test images show a",
        f"block14 alone gains {points(leak['tf']['same_images'])} points on the official split in "
        f"TensorFlow, and {points(leak['pt']['same_images'])} in PyTorch",
    ]
    gains = table["gains"]
    tuned = next(row for row in table["rows"] if row["title"] == TUNED and row["framework"] == "pt")
    said += [
        f"the same recipe names **{tuned['accuracy']['value']:.1%}**",
        "that gains {} percentage points over block14 alone in TensorFlow and {} in PyTorch".format(
            *(points(gains["exact"][name]["folds"]) for name in ("tf", "pt"))
        ),
        "block13's features), {} and {}.".format(
            *(points(gains["linear probe"][name]["folds"]) for name in ("tf", "pt"))
        ),
        f"sensitivity {with_interval(tuned['per_class']['meningioma']['sensitivity'])}",
    ]
    first = table["sources"][0]
    said += [
        f"trained without the {sum(first['images'].values())} tumours that are not figshare's",
        f"takes {first['answers']['notumor']} of them for `notumor`, and is right in "
        f"{with_interval(first['held_out'])}; trained with some of them, in "
        f"{with_interval(first['all_sources'])}.",
    ]
    text = one_line(README)
    for words in said:
        assert " ".join(words.split()) in text, words


def test_every_score_of_the_tables_is_measured(made):
    _, measured, scores = made
    page, short = page_of(measured, scores), short_of(measured, scores)
    names = {"tf": "TensorFlow", "pt": "PyTorch"}
    for row in measured["rows"]:
        title = row["title"] + " ¹" * (row["title"] == POOLED)
        if not row["wanted"]:  # no such cell is declared
            assert f"| {title} | {names[row['framework']]} |" not in page
            continue
        cells = cells_of(page, title, names[row["framework"]])
        assert cells == [
            "random" if row["arm"] == "scratch" else "block14 random",
            with_interval(row["accuracy"]),
            with_interval(row["by"]["patient"]),
            f"{row['balanced_accuracy']['value']:.1%}",
            f"{row['macro_f1']['value']:.3f}",
            f"{row['macro_auroc']['value']:.3f}",
            f"{len(row['cells'])}/{row['wanted']}",
        ]
        clean, official = (
            row["title"] in (POOLED, TUNED),
            row["title"] in (OFFICIAL, TUNED_OFFICIAL),
        )
        if clean or official:
            tuned = row["arm"] == "tuned"
            kind = "Xception fine-tuned in {}" if tuned else "only block14 trained in {} ¹"
            shown = cells_of(short, kind.format(names[row["framework"]]))
            assert shown[0 if clean else 2] == with_interval(row["accuracy"])
        if clean:
            rate = row["by"]["patient"]
            right = f"{rate['value'] * 49:.0f} of 49"
            assert shown[1] == f"{with_interval(rate)}, {right}" and rate["count"] == 49
    for name in BASELINES:
        accuracies = [scores[split][name]["accuracy"] for split in ("pooled", "fold 0", "official")]
        cells = cells_of(page.partition("### Baselines")[2], name)
        assert [cells[0], *cells[-2:]] == [with_interval(rate) for rate in accuracies]
        assert cells[1] == with_interval(measured["baselines"][name]["patient"])
        in_short = f"| {cells[1]}, " in short and with_interval(accuracies[2]) in short
        assert in_short == (name not in ("thumbnail 8x8", SKULL))
    pooled = [row for row in measured["rows"] if row["title"] == POOLED]
    pituitary = [row["per_class"]["pituitary"] for row in pooled]
    of_pooled = page.partition("### Class by class")[2].partition(POOLED)[2]
    assert cells_of(of_pooled, "pituitary")[1:] == [
        *(
            f"{each[kind]['value']:.1%}"
            for kind in ("sensitivity", "specificity")
            for each in pituitary
        ),
        *(f"{each['auroc']['value']:.3f}" for each in pituitary),
    ]
    by = [row["by"] for row in pooled] + [measured["baselines"][PROBE]]
    counted = page.partition("### By patient")[2].partition("###")[0].partition(POOLED)[2]
    for name in COUNTED:
        cells = cells_of(counted, name)
        assert cells == [f"{by[0][name]['count']}", *(with_interval(each[name]) for each in by)]
    folds = [rate for row in pooled for rate in row["accuracies"]]
    assert f"Single folds of *exact* lie between {min(folds):.1%} and {max(folds):.1%}." in page


def test_every_difference_and_cost_of_the_tables_is_measured(made):
    _, measured, scores = made
    page = page_of(measured, scores)
    for title, differences in {
        "exact minus linear probe, five folds": measured["against_probe"],
    }.items():
        assert cells_of(page, title) == [points(differences[name]) for name in ("tf", "pt")]
    gains = {f"tuned minus {other}": gain for other, gain in measured["gains"].items()}
    for title, gain in (gains | {"stock minus exact": measured["defaults"]}).items():
        for kind, over in {"images": "", "folds": ", interval over folds"}.items():
            shown = cells_of(page, f"{title}, five folds{over}")
            assert shown == [points(gain[name][kind]) for name in ("tf", "pt")]
    for arm, leak in {"exact": measured["leak"], "tuned": measured["tuned_leak"]}.items():
        assert cells_of(page, f"{arm}, official split minus clean split") == [
            signed(100 * leak[name]["difference"], 1) for name in ("tf", "pt")
        ]
        same = cells_of(page, f"{arm}, the same, on images of the official test part only")
        assert same == [points(leak[name]["same_images"]) for name in ("tf", "pt")]
    agreement = measured["agreement"]
    for arm, difference in agreement["differences"].items():
        between = cells_of(page, f"{arm}, PyTorch minus TensorFlow, five folds")
        assert between == ["", points(difference)] and difference["images"] == 400
        shown = cells_of(page, f"{arm} twins, one seed, five folds")
        assert shown == [f"{agreement['five_folds'][arm]:.1%}"]
    twins = f"{min(agreement['twins']):.1%} to {max(agreement['twins']):.1%}"
    assert cells_of(page, "exact twins, one seed") == [twins]
    assert cells_of(page, "scratch twins, one seed") == [f"{agreement['scratch']:.1%}"]
    for arm, share in agreement["perturbed"].items():
        assert cells_of(page, f"{arm} PyTorch and itself, perturbed start") == [f"{share:.1%}"]
    right = measured["ct"]["tuned"]["pt"]["notumor"]["right"]
    shown = f"{sum(right) / 75:.1%} ({min(right)} to {max(right)} of 15)"
    ct = cells_of(page.partition("CT, tuned")[2].partition("\n\n")[0], "notumor")
    assert (ct[0], ct[2]) == ("15", shown)
    stock = measured["costs"]["stock"]
    minutes = [f"{stock[name]['minutes']:.1f}" for name in ("tf", "pt")]
    assert cells_of(page, "stock") == [*minutes, "80", "100", "2,310", "1,480"]
    assert "Measured on Example CPU @ 2.50GHz, 2 cores, 8 GiB, no GPU." in page
    assert "the 30 minutes in all" in page and PHANTOM_NOTICE not in page


def test_tables_are_whole(made):
    """All rows of a table have its columns, and an empty line stands before it."""
    _, measured, scores = made
    page = page_of(measured, scores)
    for block in [*page.split("\n\n"), *short_of(measured, scores).split("\n\n")]:
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1
        assert not rows or len(rows) == len(block.splitlines())


def test_one_command_writes_table_figures_and_both_pages(made, tmp_path):
    results, measured, _ = made
    write_json(results / "first_build/recipes.json", RECIPES)
    for file in (results / "README.md", tmp_path / "README.md"):
        file.write_text(f"before\n{BEGIN}\nOLD\n{END}\nafter\n")
    page = write_results(results, tmp_path / "README.md")
    assert (results / "README.md").read_text() == f"before\n{BEGIN}\n{page}\n{END}\nafter\n"
    assert leaves(read_json(results / "table.json")) == leaves(measured)
    assert "| Xception fine-tuned in PyTorch |" in between_markers(tmp_path / "README.md")
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
    assert page_of(nothing, scores) == "No run of the grid is recorded yet."
    assert [path.name for path in write_figures(nothing, scores, tmp_path)] == ["accuracy.png"]
    short = short_of(nothing, scores)
    assert cells_of(short, "linear probe on the frozen features")[1] == "not run here"
    assert "Xception" not in short and "block14" not in short
    FakeGrid().write(tmp_path, cells[1:2])
    measured = measure(cells, tmp_path)
    page = page_of(measured, scores)
    assert cells_of(page, f"{POOLED} ¹", "PyTorch")[-1] == "1/5"
    assert cells_of(page, SCRATCH, "PyTorch") == ["not run here", *[""] * 5, "0/1"]
    assert "stock minus exact" not in page  # before its folds are done
    assert "### Class by class" not in page  # one fold is not five
    row = next(row for row in measured["rows"] if row["cells"])
    assert cells_of(page, "exact")[:2] == ["not run here", f"{row['minutes']:.1f}"]
    # Of one fold, its scores are those of other images than the baselines'.
    counted = page.partition("### By patient")[2].partition("###")[0]
    assert cells_of(counted, "image")[1:] == ["not run here"] * 3
    assert "block14" not in short_of(measured, scores)  # one fold is not five


def test_all_machines_are_named_and_phantoms_are_named(made, tmp_path):
    tf, pt = declared_grid()[:2]
    grid = FakeGrid()
    grid.write(tmp_path, [tf])
    gpu = {"cpu": "Other", "cores": 16, "memory_gb": 128.0, "gpu": "Example GPU"}
    data = {"kind": "phantom", "fingerprint": "ff", "parts": {}, "aside": {}}
    grid.write(tmp_path, [pt], hardware=gpu, dataset=data)
    page = page_of(measure([tf, pt], tmp_path), made[2])
    assert page.startswith(f"**{PHANTOM_NOTICE}**")
    assert "Measured on Example CPU @ 2.50GHz, 2 cores, 8 GiB, no GPU; Example GPU." in page


@pytest.mark.parametrize("kind", ["real", "phantom"])
def test_figures_have_all_points_and_their_text_inside(made, monkeypatch, kind):
    results, measured, scores = made
    measured = measured | {"rows": [dict(row, kind=kind) for row in measured["rows"]]}
    folds = [[0.5 + 0.1 * k, 0.9 - 0.01 * k] for k in range(5)]  # no two alike
    curves = measured["curves"]
    several = {"pt": curves[TUNED]["pt"] | {"val_accuracy": folds}}
    measured["curves"] = curves | {TUNED: curves[TUNED] | several}
    drawn = {}
    monkeypatch.setattr(
        figures, "save_figure", lambda figure, path, _: drawn.update({path.name: figure})
    )
    write_figures(measured, scores, results)
    assert list(drawn) == list(FIGURES)
    for name, figure in drawn.items():
        figure.draw_without_rendering()
        width, height = figure.get_size_inches()
        inked = figure.get_tightbbox()  # inches
        assert min(inked.x0, inked.y0) > -0.01, name
        assert inked.x1 < width + 0.01 and inked.y1 < height + 0.01, name
    shown = {float(x) for line in drawn["accuracy.png"].axes[0].lines for x in line.get_xdata()}
    titles = (TUNED, TUNED_OFFICIAL, POOLED, OFFICIAL)
    rates = [row["accuracy"] for row in measured["rows"] if row["title"] in titles]
    baselines = (PROBE, NEIGHBOUR, "border", "majority")
    rates += [scores[cut][name]["accuracy"] for cut in ("pooled", "official") for name in baselines]
    assert {rate["value"] for rate in rates} <= shown
    twins = [x for line in drawn["twins.png"].axes[0].lines for x in line.get_xdata()]
    assert len(twins) == 3 + 6 + 1 + 1 + 2 + 2
    panels = drawn["curves.png"].axes
    titles = [axes.get_title("left").replace("\n", " ") for axes in panels]
    assert titles == [title.removesuffix(" pooled") for title in CURVES]
    lines = [line.get_ydata().tolist() for line in panels[CURVES.index(SCRATCH)].lines]
    curves = measured["curves"][SCRATCH]
    assert sorted(lines) == sorted(runs[0] for twin in curves.values() for runs in twin.values())
    panel = panels[CURVES.index(TUNED)]
    means = [line.get_ydata().tolist() for line in panel.lines]
    assert pytest.approx([0.7, 0.88]) in means
    bands = [band.get_paths()[0].vertices[:, 1] for band in panel.collections]
    assert any({0.5, 0.9, 0.86} <= {round(y, 9) for y in band} for band in bands)
