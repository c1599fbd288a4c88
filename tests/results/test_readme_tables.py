"""From the grid's numbers to the README: all of a made-up grid, and what the README shows now."""

import re
from pathlib import Path

import pytest
from fake_grid import FakeGrid, fake_grid

from src.common.errors import InputError
from src.common.files import read_json
from src.comparison.baselines import BASELINES
from src.comparison.report.style import PHANTOM_MARK
from src.results import figures
from src.results.figures import write_figures
from src.results.grid import FROM_BLOCK13, RECIPE, SCRATCH, declared_grid
from src.results.markdown import BEGIN, END, as_markdown, figure_links, span, write_table
from src.results.run import RESULTS
from src.results.statistics import POOLED, measure
from src.results.words import findings_in_words, points

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with a README and results, what was measured, and the baselines' scores."""
    root = tmp_path_factory.mktemp("made")
    results = root / "notebooks" / "results"
    fake_grid(results)
    (root / "README.md").write_text(f"before\n{BEGIN}\nOLD\n{END}\nafter\n")
    scores = read_json(results / "baselines.json")["scores"]
    return root, measure(declared_grid(), results), scores


def leaves(value, name=""):
    """Return {dotted name: value} of nested dicts and lists."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {
            key: leaf
            for part, inner in items
            for key, leaf in leaves(inner, f"{name}.{part}").items()
        }
    return {name: value}


def test_the_readme_shows_the_records():
    """The README is what `table.json` says, and that is what the records give here."""
    kept, found = leaves(read_json(RESULTS / "table.json")), leaves(measure(declared_grid()))
    assert kept.keys() == found.keys()
    for name, value in found.items():
        # Another SciPy may draw other resamples; all else is arithmetic.
        close = 0.01 if name.endswith((".low", ".high")) else 1e-9
        expected = pytest.approx(value, abs=close) if isinstance(value, float) else value
        assert kept[name] == expected, name
    scores = read_json(RESULTS / "baselines.json")["scores"]
    between = README.read_text().partition(BEGIN)[2].partition(END)[0].strip()
    measured = read_json(RESULTS / "table.json")
    assert between == as_markdown(measured, scores, figure_links(README, RESULTS))
    told = f"{RECIPE['image_size']} px, no augmentation, blocks 1 to 13 frozen, block14 (drawn at"
    assert told in README.read_text()
    assert f"together for {RECIPE['finetune_epochs']} epochs." in README.read_text()
    first, then = FROM_BLOCK13["head_epochs"], FROM_BLOCK13["finetune_epochs"]
    told = f"From block13: after {first} such epochs, {then} more in which block13 trains too, at a"
    assert f"{told} tenth of the rate" in README.read_text()
    rates = (
        RECIPE["finetune_learning_rate"],
        FROM_BLOCK13["head_learning_rate"],
        FROM_BLOCK13["finetune_learning_rate"],
    )
    assert rates == (1e-3, 1e-3, 1e-4)
    size, epochs, images = (
        SCRATCH[n] for n in ("image_size", "finetune_epochs", "max_images_per_epoch")
    )
    told = f"Scratch: {size} px, the whole network, {epochs} epochs of {images:,} images;"
    assert told in README.read_text()


def test_every_number_of_the_table_is_measured(made):
    root, measured, scores = made
    results = root / "notebooks" / "results"
    write_figures(measured, scores, results)
    shown = write_table(measured, scores, root / "README.md", results)
    assert (root / "README.md").read_text() == f"before\n{BEGIN}\n{shown}\n{END}\nafter\n"
    assert leaves(read_json(results / "table.json")) == leaves(measured)
    lines = shown.splitlines()
    for row in measured["rows"]:
        (line,) = [
            each
            for each in lines
            if each.startswith(f"| {row['title']} | ")
            and {"tf": "| TensorFlow |", "pt": "| PyTorch |"}[row["framework"]] in each
        ]
        if not row["cells"]:
            assert "| 0/1 | not run here |" in line
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[2] == f"{len(row['cells'])}/{row['wanted']}"
        assert cells[3] == ("random" if row["arm"] == "scratch" else "partial")
        assert cells[4:] == [
            span(row["accuracy"]),
            span(row["group_accuracy"]),
            f"{row['balanced_accuracy']['value']:.1%}",
            f"{row['macro_f1']['value']:.3f}",
            f"{row['macro_auroc']['value']:.3f}",
        ]
    for name in BASELINES:
        (line,) = [each for each in lines if each.startswith(f"| {name} |")]
        for cut in ("pooled", "fold 0", "official"):
            assert f"| {span(scores[cut][name]['accuracy'])} |" in line
    pooled = [row for row in measured["rows"] if row["title"] == POOLED]
    (line,) = [each for each in lines if each.startswith("| pituitary |")]
    for key, show in (("sensitivity", "{:.1%}"), ("specificity", "{:.1%}"), ("auroc", "{:.3f}")):
        pair = [show.format(row["per_class"]["pituitary"][key]["value"]) for row in pooled]
        assert f"| {' | '.join(pair)} |" in line
    folds = [rate for row in pooled for rate in row["accuracies"]]
    assert f"Single folds lie between {min(folds):.1%} and {max(folds):.1%}." in shown
    stock = measured["speed"]["arms"]["stock"]
    minutes = [f"{stock[name]['minutes']:.1f}" for name in ("tf", "pt")]
    assert f"| stock | {' | '.join(minutes)} | 80 | 100 | 2,310 | 1,480 |" in lines
    assert "`python -m src reproduce --data DIR --init FILE --only imagenet`" in shown
    assert "*partial*: `block1-13.safetensors`, block14 begun from a random draw." in shown
    assert "Times hold for Example CPU @ 2.50GHz, 2 cores, 8 GiB, no GPU." in shown
    assert "Nothing is cached for stock PT, scratch TF, scratch PT." in shown
    assert "in 30 minutes" in shown and PHANTOM_MARK not in shown
    for target in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", shown):
        assert (root / target).is_file()
    assert shown.count("](notebooks/results/") == 3


def test_tables_are_whole(made):
    """All rows of a table have its columns, and an empty line stands before it."""
    _, measured, scores = made
    for block in as_markdown(measured, scores).split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1
        assert not rows or len(rows) == len(block.splitlines())


def test_the_findings_are_said_in_their_numbers(made):
    _, measured, _ = made
    said = findings_in_words(measured)
    assert len(said.splitlines()) == 5
    for line, asked in zip(said.splitlines(), ("equal?", "leak", "defaults", "faster?", "use?")):
        assert asked in line and line.count(". ") == 0 and line.endswith(".")
    for found in (measured["against_probe"], measured["defaults"]):
        assert f"TensorFlow {points(found['tf'])}, PyTorch {points(found['pt'])}" in said
    twins = measured["agreement"]["twins"]
    assert f"{min(twins):.1%} to {max(twins):.1%} of the images the same class" in said
    assert points(measured["agreement"]["difference"]) in said
    assert points(measured["leak"]["pt"]["same_images"]) in said
    assert f"times {measured['speed']['arms']['exact']['ratio']:.2f} (exact)," in said
    assert "(stock)" not in said  # one twin had no cache there
    assert "Yes, to within a point: on the first" in said
    assert "Either framework, trained from block14 on: not proved to be more often right" in said
    proved = {key: found | {"low": 0.001} for key, found in measured["against_probe"].items()}
    apart = measured["agreement"] | {"difference": dict(value=0.0, low=-0.009, high=0.011)}
    said = findings_in_words(measured | {"against_probe": proved, "agreement": apart})
    assert "within a point" not in said
    assert "A twin, trained from block14 on: more often right than a linear probe" in said


@pytest.mark.parametrize(
    "ratios, said", [((1.1, 1.2), "PyTorch,"), ((0.9, 0.8), "TensorFlow,"), ((1.1, 0.9), "Neither")]
)
def test_which_is_faster_is_said_where_all_arms_agree(made, ratios, said):
    _, measured, _ = made
    arms = dict(measured["speed"]["arms"])
    for arm, ratio in zip(("exact", "block13"), ratios):
        arms[arm] = arms[arm] | {"ratio": ratio}
    arms |= {arm: arms[arm] | {"ratio": None} for arm in ("stock", "scratch")}
    lines = findings_in_words(measured | {"speed": {"arms": arms, "filling_minutes": 0}})
    assert f"**Which is faster?** {said}" in lines


def test_a_grid_just_begun_says_what_it_knows(tmp_path):
    cells = declared_grid()
    assert as_markdown(measure(cells, tmp_path)) == "No run of the grid is recorded yet."
    assert not write_figures(measure(cells, tmp_path), None, tmp_path)
    FakeGrid().write(tmp_path, cells[1:2])
    shown = as_markdown(measure(cells, tmp_path))
    assert "| PyTorch | 1/5 |" in shown and "--only exact stock block13 scratch imagenet" in shown
    assert "\n- " not in shown  # one run decides nothing
    assert "| glioma |" in shown


def test_machines_are_told_apart_and_phantoms_are_named(tmp_path):
    tf, pt = declared_grid()[:2]
    grid = FakeGrid()
    grid.write(tmp_path, [tf])
    gpu = {"cpu": "Other", "cores": 16, "memory_gb": 128.0, "gpu": "Example GPU"}
    data = {"kind": "phantom", "fingerprint": "ff", "parts": {}}
    grid.write(tmp_path, [pt], hardware=gpu, dataset=data)
    shown = as_markdown(measure([tf, pt], tmp_path))
    assert shown.startswith(f"**{PHANTOM_MARK}**")
    assert f"no GPU ({POOLED}; exact, first fold, all seeds); Example GPU ({POOLED};" in shown


def test_a_readme_without_the_markers_is_refused(made, tmp_path):
    _, measured, scores = made
    (tmp_path / "README.md").write_text("nothing\n")
    with pytest.raises(InputError, match="must hold the lines <!-- results"):
        write_table(measured, scores, tmp_path / "README.md", tmp_path)
    assert not (tmp_path / "table.json").exists()


@pytest.mark.parametrize("kind", ["real", "phantom"])
def test_figures_have_all_points_and_their_text_inside(made, monkeypatch, kind):
    root, measured, scores = made
    measured = measured | {"rows": [dict(row, kind=kind) for row in measured["rows"]]}
    drawn = {}
    monkeypatch.setattr(
        figures, "save_figure", lambda figure, path, _: drawn.update({path.name: figure})
    )
    write_figures(measured, scores, root)
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
