"""Which groups of images hold the fine-tuned network's mistakes on the clean folds."""

from collections.abc import Mapping

import numpy as np

from src.common.tables import markdown_table
from src.config import CLASS_NAMES
from src.records import FRAMEWORKS, Predictions

SHOWN = 9  # groups in the table and on the sheet


def mistakes(predictions: Predictions) -> dict:
    """Return the groups with wrong answers, those with the most first.

    Args:
        predictions: one for each image, with the classes CLASS_NAMES.
    Returns:
        images, wrong, groups, groups_wrong (with a wrong answer), groups_half (the fewest groups
        that hold half of the wrong answers) and largest: of the SHOWN first groups, group, label,
        images, wrong, answers (class -> how many wrong ones); of its surest mistake path, answer
        and probability.
    """
    given, sure = predictions.probs.argmax(axis=1), predictions.probs.max(axis=1)
    wrong = given != predictions.labels
    numbers, index = np.unique(predictions.groups, return_inverse=True)
    counts = np.bincount(index, wrong).astype(int)
    order = np.argsort(-counts, kind="stable")
    largest = []
    for group in order[:SHOWN][counts[order[:SHOWN]] > 0]:
        rows = np.flatnonzero((index == group) & wrong)
        surest = rows[sure[rows].argmax()]
        classes, times = np.unique(given[rows], return_counts=True)
        largest.append(
            {
                "group": int(numbers[group]),
                "label": CLASS_NAMES[predictions.labels[surest]],
                "images": int((index == group).sum()),
                "wrong": len(rows),
                "answers": {CLASS_NAMES[k]: int(n) for k, n in zip(classes, times)},
                "path": str(predictions.paths[surest]),
                "answer": CLASS_NAMES[given[surest]],
                "probability": float(sure[surest]),
            }
        )
    return {
        "images": len(wrong),
        "wrong": int(wrong.sum()),
        "groups": len(numbers),
        "groups_wrong": int((counts > 0).sum()),
        "groups_half": int((counts[order].cumsum() - counts[order] < wrong.sum() / 2).sum()),
        "largest": largest,
    }


def mistakes_section(found: Mapping[str, dict | None]) -> str:
    """Return the groups with the most mistakes, as Markdown; "" where no framework has five folds.

    Args:
        found: {"tf", "pt"} -> what `mistakes` returns.
    """
    framework = next((key for key in ("pt", "tf") if found[key] and found[key]["wrong"]), None)
    if not framework:
        return ""
    first = found[framework]
    lines = [
        [
            str(row["group"]),
            row["label"],
            f"{row['wrong']} of {row['images']}",
            ", ".join(f"{count} {name}" for name, count in row["answers"].items()),
            f"{row['path']}, {row['answer']} {row['probability']:.0%}",
        ]
        for row in first["largest"]
    ]
    head = ("group", "is", "images wrong", "taken for", "surest mistake")
    about = (
        f"Fine-tuned in {FRAMEWORKS[framework]}, {first['wrong']} of {first['images']:,} images "
        f"are wrong. They lie in {first['groups_wrong']} of {first['groups']} groups, and "
        f"{first['groups_half']} hold{'s' * (first['groups_half'] == 1)} half of them. A group is "
        "a patient where known, else images too similar to come from two."
    )
    return f"{markdown_table(head, lines, left=5)}\n\n{about}"
