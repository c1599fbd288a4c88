"""Two runs in, one folder out: comparison.json, predictions, figures, and an HTML report."""

import base64
import dataclasses
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import jinja2
import numpy as np

from src.common import hardware
from src.common.files import atomic_write, write_json
from src.comparison.agreement import FIRST_STEP_TOLERANCE, largest_ratio, measure_agreement
from src.comparison.report import tables
from src.comparison.report.plots import write_figures
from src.comparison.report.style import PHANTOM_NOTICE, figure_notices
from src.comparison.workflow import workflow_rows
from src.config import CLASS_NAMES, ExperimentConfig
from src.records import FRAMEWORKS, Predictions, Run, write_predictions

KAGGLE_TEST_IMAGES = 1311  # the official Testing folder of the Kaggle merge, all variants at hand
HOW_CHOSEN = (
    "Two random images of each class, then the worst mistakes: the images to whose true class the "
    "two models together gave the lowest probability."
)


def choose_samples(tf: Predictions, pt: Predictions) -> np.ndarray:
    """Return (n,) rows of the test part: two random ones of each class, then the four worst."""
    rng = np.random.default_rng(0)
    random = []
    for label in range(tf.probs.shape[1]):
        random += sorted(rng.permutation(np.flatnonzero(tf.labels == label))[:2])
    everyone = np.arange(len(tf.labels))
    of_truth = tf.probs[everyone, tf.labels] + pt.probs[everyone, pt.labels]
    ranked = [row for row in np.argsort(of_truth, kind="stable") if row not in random]
    return np.array([*random, *ranked[:4]], dtype=np.int64)


def make_samples(
    tf: Predictions,
    pt: Predictions,
    rows: np.ndarray,
    images: np.ndarray,
    classes: Sequence[str] = CLASS_NAMES,
) -> list[dict]:
    """Join `images` (n, S, S) uint8, the pixels of test rows `rows` (n,), with the predictions.

    `classes` are the names of the predictions' columns.

    Returns:
        [{image, path, truth, tf, tf_prob, pt, pt_prob}]: the true class, and the class that each
        twin predicts with its probability.
    """
    samples = []
    for row, image in zip(rows, images, strict=True):
        sample = {"image": image, "path": str(tf.paths[row]), "truth": classes[tf.labels[row]]}
        for name, probs in (("tf", tf.probs[row]), ("pt", pt.probs[row])):
            sample |= {name: classes[probs.argmax()], f"{name}_prob": float(probs.max())}
        samples.append(sample)
    return samples


def write_report(
    out: Path,
    tf_run: Run,
    pt_run: Run,
    floor_run: Run | None = None,
    samples: list[dict] = (),
) -> Path:
    """Write comparison.json, predictions_tf.npz, predictions_pt.npz, plots/*.png, report.html.

    Args:
        out: the folder; it is made if it is missing.
        tf_run, pt_run: one experiment in both frameworks, from `read_run`.
        floor_run: PyTorch again, every initial weight changed by one epsilon: the floor.
        samples: test images to show, from `make_samples`.
    Returns:
        The path of report.html; it needs no other file and no network.
    Raises:
        InputError: `out` cannot be written.
    """
    comparison = build_comparison(tf_run, pt_run, floor_run)
    write_json(out / "comparison.json", comparison)
    for run in (tf_run, pt_run):
        file = out / f"predictions_{run.framework}.npz"
        write_predictions(file, **vars(run.predictions), classes=run.classes)
    figures = write_figures(out / "plots", comparison, samples)
    html = render_report(comparison, figures, samples)
    with atomic_write(out / "report.html") as temporary:
        # A file name that is not UTF-8 holds lone surrogates, which no encoding accepts.
        temporary.write_text(html, encoding="utf-8", errors="xmlcharrefreplace")
    return out / "report.html"


def build_comparison(tf_run: Run, pt_run: Run, floor_run: Run | None = None) -> dict:
    """Return the content of comparison.json; NaN and infinity become None."""
    comparison = {"created": datetime.now(UTC).isoformat(timespec="seconds")}
    for name in ("commit", "hardware", "dataset", "config"):
        comparison[name] = tf_run.record.get(name)
    for run in (tf_run, pt_run):
        hidden = ("config", "dataset")  # stand above
        comparison[run.framework] = {k: v for k, v in run.record.items() if k not in hidden}
    comparison["pt_floor"] = {"history": floor_run.record["history"]} if floor_run else None
    comparison["agreement"] = measure_agreement(tf_run, pt_run, floor_run)
    return _without_nan(comparison)


def render_report(comparison: dict, figures: dict[str, Path], samples: list[dict] = ()) -> str:
    """Return the HTML of a report with `figures` {name: path of a PNG} inside."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for show in (tables.percent, tables.decimal, tables.tiny, tables.times):
        environment.filters[show.__name__] = show
    config = comparison["config"]
    starts = {comparison[name]["weights"].get("sha256") for name in ("tf", "pt")}
    return environment.get_template("report.html.j2").render(
        c=comparison,
        frameworks=FRAMEWORKS,
        class_names=list(comparison["tf"]["metrics"]["test"]["per_class"]),
        figures={k: base64.b64encode(path.read_bytes()).decode() for k, path in figures.items()},
        notices=figure_notices(comparison),
        phantom_notice=PHANTOM_NOTICE,
        metric_rows=tables.metric_rows(comparison),
        cost_rows=tables.cost_rows(comparison),
        workflow_rows=workflow_rows(),
        machine=hardware.name(comparison["hardware"]),
        sample_rows=samples,
        how_chosen=HOW_CHOSEN,
        fields={spec.name: spec.metadata for spec in dataclasses.fields(ExperimentConfig)},
        # A report does not show the folders of its machine.
        weights_name=PurePosixPath(config.get("init", "").replace("\\", "/")).name,
        own_heads="head_init" in config.get("restore_defaults", ()) and len(starts - {None}) == 2,
        largest_ratio=largest_ratio(comparison["agreement"]["steps"]),
        first_tolerance=FIRST_STEP_TOLERANCE[config.get("precision", "float32")],
        kaggle_test_images=KAGGLE_TEST_IMAGES,
    )


def _without_nan(value: object) -> object:
    """Return `value` with every number that JSON cannot hold as None."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
