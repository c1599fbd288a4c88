"""Answers as rows of a table: what the command prints, the page shows and its HTTP API gives."""

import csv
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TextIO

from src.serving.classifier import Answer, Classifier

COLUMNS = ("name", "label", "probabilities", "unsure", "not_mri", "why")


def answer_row(answer: Answer) -> dict:
    """Return what JSON says of an answer."""
    return {name: getattr(answer, name) for name in COLUMNS}


def with_series(
    classifier: Classifier, answers: Iterable[Answer], frame: int | None = None
) -> Iterator[Answer]:
    """Yield the answers, and after the frames of a file or the files of a series one for all.

    Args:
        frame: the one that was asked about, if one was: then there is none for all.
    """
    for series, some in itertools.groupby(answers, lambda answer: answer.series):
        slices = []
        for answer in some:
            yield answer
            if series and frame is None:
                slices.append(replace(answer, heatmap=None, pixels=None))
        if slices:
            yield classifier.series(slices)


def write_csv(rows: Sequence[dict], classes: Sequence[str], file: TextIO) -> None:
    """Write rows as CSV, with a column for each class in place of `probabilities`."""
    single = [name for name in rows[0] if name != "probabilities"]  # one column each
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow((*single[:2], *classes, *single[2:]))
    for row in rows:
        values = [row[name] for name in single]
        probs = [row["probabilities"].get(name) for name in classes]
        writer.writerow((*values[:2], *probs, *values[2:]))
