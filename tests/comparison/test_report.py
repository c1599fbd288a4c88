"""The folder a comparison leaves: complete, self-contained, safe to open, legible."""

import copy
import json
import subprocess
import sys
from html.parser import HTMLParser

import matplotlib.image
import numpy as np
import pytest
from fake_runs import fake_run, fake_trio
from matplotlib.backends.backend_agg import FigureCanvasAgg

from src.common.errors import InputError
from src.comparison.report import plots
from src.comparison.report.report import (
    build_comparison,
    choose_samples,
    make_samples,
    render_report,
    write_report,
)
from src.comparison.report.style import PHANTOM_NOTICE
from src.comparison.report.tables import cost_rows, costs, summary_table
from src.config import CLASS_NAMES
from src.records import read_predictions

HOSTILE = "Testing/glioma/<script>alert('$x_1$')</script>\"&<img src=//evil.example/p.png>.jpg"


class Page(HTMLParser):
    """What a browser would see: tags, the addresses in them, the text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.addresses, self.text, self.images = [], [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        for name in ("src", "href", "srcset", "action", "data", "poster", "background"):
            if name in attributes:
                self.addresses.append((tag, attributes[name]))
        if tag == "img":
            self.images.append(attributes)

    def handle_data(self, data):
        self.text += data


def some_samples(tf_run, pt_run, size=32):
    rows = choose_samples(tf_run.predictions, pt_run.predictions)
    images = np.random.default_rng(0).integers(0, 256, (len(rows), size, size), dtype=np.uint8)
    return make_samples(tf_run.predictions, pt_run.predictions, rows, images)


@pytest.fixture(scope="module")
def trio(tmp_path_factory):
    return fake_trio(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def written(trio, tmp_path_factory):
    """One whole report: its folder and the content of comparison.json."""
    out = tmp_path_factory.mktemp("out") / "new"
    report = write_report(out, *trio, samples=some_samples(*trio[:2]))
    assert report == out / "report.html"
    return out, json.loads((out / "comparison.json").read_text(encoding="utf-8"))


def test_comparison_json_holds_what_was_promised(written):
    _, comparison = written
    assert comparison["dataset"]["kind"] in ("real", "phantom")
    assert set(comparison["dataset"]["counts"]) == {"Training", "Testing"}
    for counts in comparison["dataset"]["counts"].values():
        assert set(counts) == set(CLASS_NAMES)
    assert comparison["config"]["batch_size"] > 0
    for name in ("tf", "pt"):
        run = comparison[name]
        assert 0 <= run["metrics"]["test"]["accuracy"] <= 1
        history = run["history"]
        assert len(history["loss"]) == len(history["val_loss"]) == 3
        assert len(history["step_loss"]) == 20
        assert run["speed"]["train"]["images_per_second"] > 0
        assert run["peak_memory_mb"] > 0
        assert run["versions"]["python"]
        assert run["seconds"] > 0
        assert "config" not in run and "dataset" not in run
    assert comparison["pt_floor"]["history"]["loss"]
    agreement = comparison["agreement"]
    assert [step["step"] for step in agreement["steps"]] == list(range(1, 21))
    assert set(agreement["steps"][0]) == {"step", "gap", "floor"}
    wanted = {"epoch", "loss_gap", "loss_floor", "val_loss_gap", "val_loss_floor"}
    assert set(agreement["epochs"][0]) == wanted
    for name in ("first_step_gap", "steps_ratio", "epochs_ratio", "test_same_label"):
        assert isinstance(agreement[name], float)
    assert {"created", "commit", "hardware"} <= set(comparison)


def test_predictions_lie_beside_it(written, trio):
    out, _ = written
    for run in trio[:2]:
        again = read_predictions(out / f"predictions_{run.framework}.npz")
        np.testing.assert_array_equal(again.probs, run.predictions.probs)
        np.testing.assert_array_equal(again.paths, run.predictions.paths)


def test_figures_are_pictures(written):
    out, _ = written
    names = {path.name for path in (out / "plots").iterdir()}
    assert names == {
        f"{name}.png" for name in ("confusion", "agreement", "curves", "resources", "samples")
    }
    for path in (out / "plots").iterdir():
        image = matplotlib.image.imread(path)
        assert image.shape[1] == 1080 and image.std() > 0.05


def test_figures_show_the_numbers_of_each_twin(written):
    comparison = copy.deepcopy(written[1])
    for shift, name in enumerate(("tf", "pt", "pt_floor")):  # made runs are nearly equal
        history = comparison[name]["history"]
        for series in ("loss", "val_loss", "accuracy", "val_accuracy"):
            history[series] = [value + shift for value in history[series]]
    for axes, name in zip(plots.draw_curves(comparison).axes, ("loss", "accuracy"), strict=True):
        drawn = [list(line.get_ydata()) for line in axes.lines]
        for run in ("tf", "pt", "pt_floor"):
            for series in (name, f"val_{name}"):
                assert comparison[run]["history"][series] in drawn, (run, series)
    for axes, name in zip(plots.draw_confusion(comparison).axes, ("tf", "pt"), strict=True):
        matrix = np.array(comparison[name]["metrics"]["test"]["confusion_matrix"])
        assert (matrix != matrix.T).any()
        shown = {text.get_position()[::-1]: int(text.get_text()) for text in axes.texts}
        assert shown == dict(np.ndenumerate(matrix))
    bars = [bar for axes in plots.draw_resources(comparison).axes for bar in axes.patches]
    known = [costs(comparison[name]).values() for name in ("tf", "pt")]
    assert sorted(bar.get_width() for bar in bars) == pytest.approx(
        sorted(value for pair in zip(*known) if any(pair) for value in pair)
    )


def test_report_needs_no_other_file(written):
    html = (written[0] / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    for tag, address in page.addresses:
        assert address.startswith("data:image/png;base64," if tag == "img" else "#"), address
    assert len(page.images) == 5
    assert all(image["alt"] for image in page.images)
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style and "@import" not in style
    targets = {address[1:] for tag, address in page.addresses if tag == "a"}
    assert all(f'id="{target}"' in html for target in targets)


def test_report_says_what_matters(written):
    page = Page((written[0] / "report.html").read_text(encoding="utf-8"))
    text = " ".join(page.text.split())
    for words in (
        "Not a medical device",
        "The official split leaks.",
        "994 of the 1,311",
        "agree to the rounding floor",
        "brain-tumor-mri",
        "5,708",
        "1 file skipped",
        "2.21.0",
        "2.14.0",
        "Example CPU",
        "peak memory",
        "cd34cd34",
    ):
        assert words in text, words
    assert PHANTOM_NOTICE not in text


def changed(comparison, **dataset):
    comparison = copy.deepcopy(comparison)
    comparison["dataset"].update(dataset)
    return comparison


@pytest.mark.parametrize(
    "dataset, said, not_said",
    [
        ({"kind": "phantom"}, PHANTOM_NOTICE, "The official split leaks"),
        (
            {"split": "made at runtime", "counts": {"unsplit": {"glioma": 3}}},
            "patients of these images are unknown",
            "994 of",
        ),
        ({"counts": {"Training": {}, "Testing": {"glioma": 5}}}, "split in another way", "phantom"),
    ],
)
def test_limits_fit_the_data(written, dataset, said, not_said):
    text = Page(render_report(changed(written[1], **dataset), figures_of_nothing())).text
    text = " ".join(text.split())
    assert said in text and not_said not in text


def figures_of_nothing():
    """Replacements for figures: paths of any PNG-like file."""

    class Nothing:
        def read_bytes(self):
            return bytes(32)

    return dict.fromkeys(("confusion", "agreement", "curves", "resources", "samples"), Nothing())


def test_scratch_and_reinitialised_blocks_are_named(written):
    comparison = copy.deepcopy(written[1])
    comparison["config"]["init"] = "/someone/secret/weights.safetensors"  # files, never folders
    comparison["config"]["reinit"] = ["block14"]
    html = render_report(comparison, figures_of_nothing())
    assert "block14 started from random weights" in html
    assert "weights.safetensors" in html and "someone" not in html
    comparison["config"]["init"] = "scratch"
    html = render_report(comparison, figures_of_nothing())
    assert "from scratch" in html and "block14 randomly" not in html


def test_hostile_names_stay_text(tmp_path, trio):
    tf_run, pt_run, _ = trio
    comparison = build_comparison(tf_run, pt_run)
    comparison["dataset"] |= {
        "name": HOSTILE,
        "note": HOSTILE,
        "skipped": [[HOSTILE, HOSTILE], ["lone \udcff surrogate.jpg", "no UTF-8"]],
    }
    comparison["hardware"]["cpu"] = comparison["tf"]["hardware"]["cpu"] = HOSTILE
    comparison["commit"] = "<b>"
    samples = some_samples(tf_run, pt_run)
    for sample in samples:
        sample["path"] = HOSTILE
    page = Page(render_report(comparison, figures_of_nothing(), samples))
    assert "script" not in page.tags and "b" not in page.tags
    assert all("evil" not in address for _, address in page.addresses)
    assert page.text.count(HOSTILE) >= 4 + len(samples)


def test_a_name_that_is_no_utf8_can_be_written(tmp_path):
    runs = fake_trio(tmp_path / "runs")
    for run in runs:
        run.record["dataset"]["skipped"] = [["lone \udcff surrogate.jpg", "no UTF-8"]]
    write_report(tmp_path / "out", *runs).read_text(encoding="utf-8")


def test_bare_runs_make_a_report_too(tmp_path):
    """No floor, no samples, one epoch, a class without test images, a loss that is NaN."""
    runs = [fake_run(tmp_path / name, name, finetune_epochs=0, n=12) for name in ("tf", "pt")]
    for run in runs:
        run.record["history"]["val_loss"] = [float("nan")]
        run.record["history"]["step_loss"] = []
        run.record["speed"] = {}
        glioma = run.record["metrics"]["test"]["per_class"]["glioma"]
        glioma.update(sensitivity=None, f1=None, auroc=None, support=0)
    out = write_report(tmp_path / "out", *runs).parent
    comparison = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    assert comparison["pt_floor"] is None
    assert comparison["tf"]["history"]["val_loss"] == [None]
    assert not (out / "plots" / "samples.png").exists()
    assert "nan" not in summary_table(comparison).lower()


def test_twins_that_start_from_different_heads_get_a_report(tmp_path):
    """`--restore-defaults head_init`: each framework draws its own head, which is no other run."""
    tf_run, *pytorch = fake_trio(tmp_path / "runs", restore_defaults=("head_init",))
    for run in pytorch:
        run.record["weights"]["sha256"] = "ee" * 32
    step_loss = tf_run.record["history"]["step_loss"]
    step_loss[0] += 0.1  # another head, another first loss
    out = write_report(tmp_path / "out", tf_run, *pytorch).parent
    verdict = json.loads((out / "comparison.json").read_text())["agreement"]["verdict"]
    assert "Not an exact twin" in verdict and "restored for head_init" in verdict
    text = " ".join(Page((out / "report.html").read_text()).text.split())
    assert "order, but each begins with its framework's own head." in text
    assert "cd34cd34cd34cd34 (TensorFlow) and eeeeeeeeeeeeeeee (PyTorch) of all tensors" in text


def test_a_folder_that_cannot_be_written_is_said(tmp_path, trio):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="Cannot write"):
        write_report(tmp_path / "file" / "out", *trio)


def test_summary_is_an_aligned_plain_table(written):
    text = summary_table(written[1])
    assert text.isascii()
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    tables = text.split("\n\n")
    for block in (tables[0], "\n".join(tables[-1].splitlines()[1:])):
        assert len({len(line) for line in block.splitlines()}) == 1
    for words in ("step 20", "epoch 3, training", "epoch 3, validation", "TensorFlow", "PyTorch"):
        assert words in text
    for words in ("accuracy", "training images/s", "peak memory (MiB)", "rounding floor"):
        assert words in text


def test_a_speed_has_its_range_its_first_step_and_its_machine(written):
    rows = {row.name: tuple(row[1:]) for row in cost_rows(written[1])}
    assert rows["training images/s"] == ("21.4", "24.9", "1.16x")
    assert rows["training images/s, 90 % of turns"] == ("19.3-23.5", "22.4-27.4", "-")
    assert rows["first training step (s)"] == ("6.5", "6.5", "-")
    assert rows["first prediction step (s)"] == ("1.5", "1.5", "-")
    machine = "Example CPU @ 2.50GHz, 2 cores, 8 GiB, no GPU"
    page = Page((written[0] / "report.html").read_text(encoding="utf-8"))
    for shown in (summary_table(written[1]), page.text):
        assert machine in " ".join(shown.split())


def test_an_old_record_shows_its_training_speed_alone(written):
    comparison = copy.deepcopy(written[1])
    for name in ("tf", "pt"):
        del comparison[name]["speed"]
        comparison[name]["images_per_second"] = {"train": 21.4, "predict": 6.3}
    rows = {row.name: tuple(row[1:]) for row in cost_rows(comparison)}
    assert rows["training images/s"] == ("21.4", "21.4", "1.00x")
    assert not [name for name in rows if "predict" in name or "turns" in name or "first" in name]
    assert "6.3" not in render_report(comparison, figures_of_nothing())


def test_summary_says_phantom(written):
    assert "synthetic, not real MRI" in summary_table(changed(written[1], kind="phantom"))


DRAWINGS = {
    "curves": plots.draw_curves,
    "agreement": plots.draw_agreement,
    "confusion": plots.draw_confusion,
    "resources": plots.draw_resources,
}


def draw(name, comparison, trio):
    if name == "samples":
        return plots.draw_samples(comparison, some_samples(*trio[:2]))
    return DRAWINGS[name](comparison)


@pytest.mark.parametrize("name", [*DRAWINGS, "samples"])
def test_every_figure_bears_the_phantom_notice(written, trio, name):
    real, phantom = written[1], changed(written[1], kind="phantom")
    texts = [[t.get_text() for t in draw(name, c, trio).texts] for c in (real, phantom)]
    assert PHANTOM_NOTICE not in texts[0]
    assert PHANTOM_NOTICE in texts[1]


@pytest.mark.parametrize("name", [*DRAWINGS, "samples"])
def test_no_text_is_cut_off(written, trio, name):
    comparison = changed(written[1], kind="phantom")
    comparison["config"]["init"] = "scratch"
    figure = draw(name, comparison, trio)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    box = figure.get_tightbbox(canvas.get_renderer())  # inches, of everything that is drawn
    width, height = figure.get_size_inches()
    assert min(box.x0, box.y0) > -0.02, box
    assert box.x1 < width + 0.02 and box.y1 < height + 0.02, box


def test_samples_are_chosen_by_rule(trio):
    tf_run, pt_run, _ = trio
    rows = choose_samples(tf_run.predictions, pt_run.predictions)
    labels = tf_run.predictions.labels
    assert len(set(rows)) == 12
    assert labels[rows[:8]].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    everyone = np.arange(len(labels))
    belief = [run.predictions.probs[everyone, labels] for run in (tf_run, pt_run)]
    left = np.setdiff1d(everyone, rows)
    assert sum(belief)[rows[8:]].max() <= sum(belief)[left].min()
    again = choose_samples(tf_run.predictions, pt_run.predictions)
    np.testing.assert_array_equal(rows, again)


def test_no_framework_is_loaded():
    code = (
        "import sys, src.comparison.report.report, src.evaluation.metrics\n"
        "print(sorted({'tensorflow', 'keras', 'torch', 'torchvision', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_run_is_not_slower_for_computing_what_its_twin_reads(trio):
    record = trio[1].record | {"seconds": 180.0, "feature_cache": {}}
    assert costs(record)["whole run (minutes)"] == 3.0
    record["feature_cache"] = {"2": {"seconds": 60.0}}
    assert costs(record)["run, kept outputs aside (minutes)"] == 2.0


def test_a_stage_without_epochs_is_not_spoken_of(written):
    comparison = copy.deepcopy(written[1])
    comparison["config"] |= {"init": "imagenet", "head_epochs": 0, "finetune_epochs": 4}
    comparison["config"]["unfreeze_from"] = "block13"
    text = " ".join(render_report(comparison, figures_of_nothing()).split())
    assert "4 epochs of all from block13 on" in text and "0 epochs" not in text
