"""A finished run -> the shipped classifier: float16 weights, card, record, scores and page."""

import dataclasses
import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from src import experiment
from src.common.errors import InputError
from src.common.files import read_json, write_json
from src.common.tables import markdown_table
from src.config import ExperimentConfig, with_defaults
from src.data.dataset import Dataset, open_dataset
from src.data.splits.folds import CT, PARTS, SELECTION, SINGLE
from src.data.splits.frozen import read_frozen, shipped_file
from src.evaluation.intervals import group_intervals, mean_interval
from src.pretrained.calibrate import calibrate
from src.pretrained.foreign import KINDS, PHANTOM, foreign
from src.records import FRAMEWORKS, Run, read_run
from src.results.calibration import calibration
from src.results.counted import COUNTED, accuracy_by
from src.results.grid import RESULTS
from src.results.headline import whole_rows
from src.results.markdown import write_between_markers
from src.results.sections import heatmaps_section, robustness_section
from src.results.statistics import TUNED
from src.results.tables import NOT_RUN, with_interval
from src.serving.calibration import ARRAYS
from src.serving.classifier import load_classifier
from src.training.checkpoint import read_model, read_model_card, write_model
from src.xception.weight_files import PRETRAINED, Weights

LARGEST = 45_000_000  # bytes, of a file that every clone carries
FILES = ("model.safetensors", "model.json", ARRAYS, "record.json", "predictions.npz")
FOREIGN = 40  # pictures of each kind that is no head MRI
_REAL_CT = "real_ct"  # beside the drawn one of KINDS


def publish(run: Path, data_dir: Path | None = None, out: Path = PRETRAINED) -> None:
    """Make the shipped classifier from a finished run, and test the file that ships.

    Args:
        run: the run's folder.
        data_dir: the images that it was trained on.
        out: where the files go; its README.md is brought up to date.
    Raises:
        InputError: the run is not one that may ship, or its images are not there.
    """
    _, config = read_model_card(run)
    record = read_json(run / "record.json")
    _check_run(run, record, config)
    weights, _ = read_model(run)
    # Both twins compute in float32 from what ships, whatever the run trained in.
    card = dataclasses.replace(config, init=Path(config.init).name, precision="float32")
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".pretrained.") as name:
        folder = Path(name)
        write_model(folder, _halve(weights, run), card, record["framework"])
        size = (folder / FILES[0]).stat().st_size
        if size > LARGEST:
            raise InputError(
                f"The weights of {run} take {size / 1e6:.1f} MB as float16; at most "
                f"{LARGEST / 1e6:.0f} MB ship. Train with fewer --hidden-units."
            )
        trained = record["config"] | {"init": card.init}  # no path of this machine
        write_json(folder / "record.json", record | {"config": trained, "metrics": {}})
        experiment.evaluate(folder, data_dir)
        calibrate(folder, data_dir)
        refused = _refused(folder, open_dataset(card, data_dir))
        record = read_json(folder / "record.json")
        write_json(folder / "record.json", record | {"refused": refused})
        for name in FILES:
            shutil.copyfile(folder / name, out / name)
    write_between_markers(out / "README.md", model_page(out))


def _check_run(run: Path, record: Mapping, config: ExperimentConfig) -> None:
    """Refuse a run that may not ship."""
    frozen = read_frozen(shipped_file("clean"))
    counts = Counter(each.part for each in frozen.assignments.values())
    counts["train"] += counts[SELECTION]
    cut = {
        "split": (config.split, "clean"),
        "fold": (config.fold, SINGLE),
        "rule": (record["dataset"].get("split_rule"), frozen.about),
        "parts": (record["dataset"]["parts"], {part: counts[part] for part in PARTS}),
    }
    wrong = [name for name, (has, wanted) in cut.items() if has != wanted]
    if wrong:
        raise InputError(
            f"{run} cannot ship: it was not trained on the 80/10/10 cut of the whole shipped clean "
            f"split (split=clean, fold=-1, all images); different: {', '.join(wrong)}."
        )
    if config.init == "pretrained":
        raise InputError(
            f"{run} cannot ship: it was itself started from the shipped model (init=pretrained), "
            "so its card could not say what trained it. Start from other weights."
        )
    if config.restore_defaults:
        raise InputError(
            f"{run} cannot ship: with the defaults restored ({', '.join(config.restore_defaults)}) "
            "the frameworks would give different answers."
        )


def _halve(weights: Weights, run: Path) -> Weights:
    """Return `weights` as float16."""
    with np.errstate(over="ignore"):
        small = {name: array.astype(np.float16) for name, array in weights.items()}
    for name, array in small.items():
        if not np.isfinite(array).all():
            raise InputError(f"{run} cannot ship: {name} is beyond the range of float16.")
    return small


def _refused(folder: Path, dataset: Dataset) -> dict:
    """Return the shares that are taken for no head MRI, with the images counted.

    Of the test images and of CT, which is in no part, with intervals; of what `foreign` makes.
    """
    classifier, refused = load_classifier(folder), {}
    for name, part in {"test": "test", _REAL_CT: CT}.items():
        rows = dataset.parts.get(part, ())
        answers = classifier.stream(dataset.test_pixels[row] for row in rows)
        taken = np.array([answer.not_mri for answer in answers])
        if len(rows):
            refused[name] = mean_interval(taken, dataset.groups[rows]) | {"count": len(rows)}
    for kind in (*KINDS, PHANTOM):
        taken = [answer.not_mri for answer in classifier.stream(foreign(kind, FOREIGN))]
        refused[kind] = {"value": float(np.mean(taken)), "low": None, "count": FOREIGN}
    return refused


def model_page(folder: Path = PRETRAINED) -> str:
    """Return the generated part of the model's README, from its record and predictions.

    Beside them it shows the same recipe on five folds, if `table.json` of the results holds it.

    Args:
        folder: of the shipped classifier.
    Raises:
        InputError: a file is damaged.
    """
    run = read_run(folder)
    record, dataset, predictions = run.record, run.record["dataset"], run.predictions
    labels, probs, groups = predictions.labels, predictions.probs, predictions.groups
    test = group_intervals(labels, probs, groups)
    test["by"] = accuracy_by(predictions.paths, labels, probs.argmax(axis=1)[None], groups)
    results = read_json(RESULTS / "table.json")
    folds = whole_rows(results).get((TUNED, run.framework), {})  # the same recipe
    parts = ", ".join(f"{dataset['parts'][part]:,} {part}" for part in PARTS)
    minutes, hardware = record["seconds"] / 60, record["hardware"]
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    facts = {
        "file": f"`model.safetensors`, float16, {(folder / FILES[0]).stat().st_size / 1e6:.1f} MB",
        "SHA-256": f"`{hashlib.sha256((folder / FILES[0]).read_bytes()).hexdigest()}`",
        "images": f"{dataset['source']['variant']}: {parts}; fingerprint "
        f"`{dataset['fingerprint'][:16]}`",
        "split": f"the 80/10/10 cut of `dataset/clean_split.csv`: {dataset['split_rule']}",
        "starts from": f"`{record['weights']['init']}`, SHA-256 of the arrays "
        f"`{record['weights']['sha256'][:16]}`",
        "recipe": f"{_recipe(record['config'])}; all else as in `ExperimentConfig`",
        "trained with": f"{FRAMEWORKS[run.framework]} at commit `{record['commit'] or 'unknown'}`, "
        f"{minutes:.0f} minutes on {hardware['gpu'] or hardware['cpu']}; {versions}",
    }
    lines = []
    for name in COUNTED:
        rates = [row.get("by", {}).get(name) for row in (test, folds)]
        count = f"{rates[0]['count']:,}" if rates[0] else ""
        lines.append([f"accuracy, {name}", count, *map(with_interval, rates)])
    for label, name in enumerate(run.classes):
        rates = [row["per_class"][name]["sensitivity"] if row else None for row in (test, folds)]
        count = f"{(labels == label).sum():,}"
        lines.append([f"sensitivity, {name}", count, *map(with_interval, rates)])
    areas = [f"{row['macro_auroc']['value']:.3f}" if row else NOT_RUN for row in (test, folds)]
    lines.append(["macro AUROC", f"{len(labels):,}", *areas])
    recipe = "the same recipe, five folds pooled"
    head = ("95 % intervals over groups", "images", "held-out test part", recipe)
    pooled = results.get("calibration", {}).get(run.framework) if folds else None
    use = _use_text(run, read_model_card(folder)[0]["calibration"], pooled)
    parts = [markdown_table(("", ""), facts.items(), left=2), markdown_table(head, lines), use]
    sections = {"heatmaps.json": heatmaps_section, "robustness.json": robustness_section}
    for name, section in sections.items() if folder == PRETRAINED else ():
        if (more := RESULTS / name).is_file():
            parts.append(section(read_json(more)))
    return "\n\n".join(parts)


def _use_text(run: Run, card: Mapping, pooled: Mapping | None) -> str:
    """Return a table of what thresholds do on images that did not choose them, and a sentence.

    Args:
        run: the model's, whose test part judges those of its card.
        card: the model's calibration.
        pooled: `src.results.calibration` of the same recipe on the five folds, if it was run.
    """
    judged = dataclasses.replace(run, record=run.record | {"thresholds": card})
    found, folds = calibration([judged]), pooled or {}
    titles = {
        "error": "calibration error of the softmax",
        "tempered_error": f"after division by the temperature, {card['temperature']:.2f}",
        "coverage": f"sure (a class has {card['sure_from']:.0%} or more)",
        "risk": "wrong among the sure answers",
    }
    rows = {title: (found[name], folds.get(name)) for name, title in titles.items()}
    for wanted, point in card["operating_points"].items():
        for name in ("sensitivity", "specificity"):
            fold = folds.get("points", {}).get(wanted, {}).get(name)
            title = f"any tumour from {point['threshold']:.3f} on: {name}"
            rows[title] = found["points"][wanted][name], fold
    shown = {"test": "test images", _REAL_CT: "CT files of the set, which are in no part"}
    shown |= KINDS | {PHANTOM: "heads of the phantom set"}
    for kind, rate in run.record["refused"].items():
        rows[f"refused as not a head MRI: {rate['count']} {shown[kind]}"] = rate, None
    lines = [
        [title, with_interval(here), with_interval(there) if there else ""]
        for title, (here, there) in rows.items()
    ]
    recipe = "the same recipe, five folds pooled, each with its own"
    head = ("thresholds from validation images", "held-out test part", recipe)
    told = f"The temperature {_moved(found)} the calibration error of the held-out test part"
    told += f"; each fold's own {_moved(folds)} that of the five folds" if folds else ""
    return f"{markdown_table(head, lines)}\n\n{told}. The intervals are too wide to say more."


def _moved(found: Mapping) -> str:
    raises = found["tempered_error"]["value"] > found["error"]["value"]
    return "raises" if raises else "lowers"


def _recipe(config: Mapping) -> str:
    """Return the fields of a config that are not the default, as text."""
    default = ExperimentConfig().to_json()
    changed = {k: v for k, v in with_defaults(config).items() if v != default[k] and k != "init"}
    shown = {k: " ".join(v) if isinstance(v, list) else v for k, v in changed.items()}
    return ", ".join(f"`{name}={value}`" for name, value in sorted(shown.items()))
