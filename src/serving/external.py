"""An external test: a saved model asked about somebody's own images, whose classes are known."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from src.common.cache import progress
from src.common.errors import InputError
from src.config import NO_TUMOUR
from src.data.catalog import Catalog, named_files, read_catalog
from src.data.dataset import PHANTOM_NOTE, find_data
from src.data.duplicates.thumbnails import catalog_thumbnails
from src.data.folders import standard_class
from src.data.phantom.write import is_phantom
from src.data.splits.groups import group_copies
from src.data.splits.seen import seen_images
from src.evaluation.calibration import rates_at
from src.evaluation.intervals import group_intervals, mean_interval
from src.records import read_record
from src.serving.classifier import load_classifier
from src.training.checkpoint import read_model_card
from src.xception.weight_files import is_pretrained

TUMOUR = "any tumour"
_NONE = ("no", "none", "normal", "healthy", "negative")  # what folders without a tumour are called
_SOME = ("yes", "tumor", "tumour", "positive")


def external_test(model: Path, data_dir: Path | None = None, *, allow_seen: bool = False) -> dict:
    """Score a model on every image of a folder, whichever part it lies in.

    Where all classes of the folder are the model's, class by class. Otherwise any tumour against
    none: folders named `no`, `normal`, `healthy`, ... mean none, `yes`, `tumor`, ... and the
    model's classes a tumour.

    Args:
        model: folder of a run.
        data_dir: a folder of images by class; see `open_dataset`.
        allow_seen: score the shipped model on images that it has seen, too.
    Returns:
        note: what must be said of these images: that they are a phantom; else "".
        classes: what was told apart.
        images; answered, unsure, refused (taken for no head MRI) of them; unreadable: files
        besides these; seen: images that the shipped model has seen.
        skipped, unanswered: (path, reason) of what is not used, and of images without an answer.
        scores: of the images with an answer, from `group_intervals`; None without any.
        right: of all images, where no answer counts as wrong: value, low, high.
        points: sensitivity as text -> threshold, sensitivity, specificity.
    Raises:
        InputError: a class has no counterpart, or the model was trained on these images, or has
            seen some; what `load_classifier` raises.
    """
    every = read_catalog(find_data(data_dir))
    card, config = read_model_card(model)
    _refuse_own(model, every)
    catalog, _ = catalog_thumbnails(every)  # without what cannot be decoded
    classes, labels = _meaning(catalog, config.classes)
    groups = group_copies(catalog, by_name=True)
    shipped = is_pretrained(model) or config.init == "pretrained"
    seen = int(seen_images(catalog, groups).sum()) if shipped else 0
    if seen and not allow_seen:
        raise InputError(
            f"{seen:,} of the {len(catalog):,} images in {catalog.root}, or others of their "
            "patient or slice, trained or validated the shipped model: the scores would measure "
            "memory. Give --data a folder of other images, or --allow-seen-test, which marks them."
        )
    classifier = load_classifier(model)
    stream = classifier.stream([catalog.root / path for path in catalog.paths])
    answers = list(progress(stream, len(catalog), "Predicting"))
    answered = np.array([bool(answer.label) for answer in answers])
    told = {
        "note": PHANTOM_NOTE if is_phantom(every.root) else "",
        "classes": list(classes),
        "images": len(answers),
        "answered": int(answered.sum()),
        "unreadable": len(every)
        - len(catalog)
        + sum(not (every.root / path).is_dir() for path, _ in every.skipped),
        "refused": sum(answer.not_mri for answer in answers),
        "unsure": sum(answer.unsure for answer in answers),
        "seen": seen,
        "skipped": [list(row) for row in catalog.skipped],
        "unanswered": [
            [path, answer.why] for path, answer in zip(catalog.paths, answers) if not answer.label
        ],
        "scores": None,
        "points": {},
    }
    probs = np.array([[*answer.probabilities.values()] for answer in answers if answer.label])
    right = np.zeros(len(answers), bool)
    if answered.any():
        healthy = config.classes.index(NO_TUMOUR) if NO_TUMOUR in config.classes else None
        chances = probs
        if TUMOUR in classes:
            chances = np.stack([probs[:, healthy], 1 - probs[:, healthy]], axis=1)
        given = labels[answered], chances, groups[answered]
        told["scores"] = group_intervals(*given, classes=classes)
        right[answered] = chances.argmax(axis=1) == labels[answered]
        if healthy is not None:
            none = classes.index(NO_TUMOUR)
            told["points"] = _points(card, labels[answered] != none, 1 - probs[:, healthy])
    return told | {"right": mean_interval(right, groups)}


def _refuse_own(model: Path, catalog: Catalog) -> None:
    """Refuse the folder that a run was trained on: nothing in it is external."""
    record = Path(model) / "record.json"
    if record.is_file() and read_record(model)["dataset"]["fingerprint"] == catalog.fingerprint:
        raise InputError(
            f"The model in {model} was trained on images of {catalog.root}. Give --data a folder "
            "of other images, or --part test for those that it was not trained on."
        )


def _meaning(catalog: Catalog, known: tuple[str, ...]) -> tuple[tuple[str, ...], np.ndarray]:
    """Return what can be told apart in a folder, and each image's index into it, (N,) int64.

    Args:
        catalog: the images.
        known: the model's classes.
    Raises:
        InputError: a folder's name means nothing to the model.
    """
    standard = [standard_class(name) or name for name in catalog.classes]
    if set(standard) <= set(known):
        index = np.array([known.index(name) for name in standard])
        return known, index[catalog.labels]
    words = (*_NONE, *_SOME) if NO_TUMOUR in known else ()
    named = zip(catalog.classes, standard)
    strange = [it for it, name in named if name not in known and name.lower() not in words]
    if strange:
        example = NO_TUMOUR if NO_TUMOUR in known else known[0]
        raise InputError(
            f"The folders {', '.join(strange)} in {catalog.root} mean nothing to the model, which "
            f"knows {', '.join(known)}. Say what they mean, such as --map healthy={example}, or "
            "leave out those that it cannot know."
        )
    some = [name.lower() not in (*_NONE, NO_TUMOUR) for name in standard]
    return (NO_TUMOUR, TUMOUR), np.array(some, np.int64)[catalog.labels]


def _points(card: Mapping, tumour: np.ndarray, chances: np.ndarray) -> dict:
    """Return what the operating points of the model's card do here."""
    points = card.get("calibration", {}).get("operating_points", {})
    cuts = {wanted: point["threshold"] for wanted, point in points.items()}
    return {
        wanted: {"threshold": cut} | rates_at(tumour, chances, cut) for wanted, cut in cuts.items()
    }


def external_text(told: Mapping) -> str:
    """Return what `external_test` found, in lines."""
    other = told["images"] - told["answered"] - told["refused"]
    lines = [
        f"{told['images']:,} images, {told['answered']:,} with an answer, {told['unsure']:,} of "
        f"them unsure; {told['refused']:,} taken for no head MRI; "
        + f"{other:,} with several pictures in one file; " * bool(other)
        + f"{told['unreadable']:,} more files could not be read",
        f"right, of all images: {_rate(told['right'])}",
    ]
    if told["scores"]:
        scores = told["scores"]
        lines.append(f"right, of those with an answer: {_rate(scores['accuracy'])}")
        for name in told["classes"]:
            if scores["per_class"][name]["sensitivity"]["value"] is not None:
                lines.append(f"  {name}: {_rate(scores['per_class'][name]['sensitivity'])}")
        if scores["macro_auroc"]["value"] is not None:
            lines.append(f"macro AUROC: {scores['macro_auroc']['value']:.3f}")
    for wanted, point in told["points"].items():
        rates = {name: point[name] for name in ("sensitivity", "specificity")}
        shown = [f"{name} {rate:.1%}" for name, rate in rates.items() if rate is not None]
        lines.append(
            f"any tumour from {point['threshold']:.3f} on, which found {float(wanted):.0%} in "
            f"validation: {', '.join(shown)}"
        )
    lines += filter(None, [named_files(told["skipped"])])
    lines += filter(None, [named_files(told["unanswered"], "have no answer")])
    if told["note"]:
        lines.append(f"*** {told['note']}")
    if told["seen"]:
        lines.append(
            f"*** {told['seen']:,} images, or others of their patient or slice, trained or "
            "validated the shipped model: these scores measure memory."
        )
    return "\n".join(lines)


def _rate(rate: Mapping) -> str:
    if rate["low"] is None:
        return f"{rate['value']:.1%}"
    low, high = (f"{100 * rate[name]:.1f}" for name in ("low", "high"))
    return f"{rate['value']:.1%} (95 % interval {low} to {high})"
