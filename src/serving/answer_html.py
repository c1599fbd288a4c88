"""Answers as HTML for the page. Pictures lie inside of it, as data, so that none becomes a file."""

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

from src.config import FRAMEWORKS
from src.serving.classifier import Answer
from src.serving.overlay import heat_layer
from src.serving.rows import write_csv

_SHORT = {"onnx": "ONNX"} | FRAMEWORKS


def answer_html(found: dict[str, Answer], calibrated: bool) -> str:
    """Return what is said of one image.

    Args:
        found: the answer by backend; the first one's is the headline.
        calibrated: whether the probabilities are.
    """
    answer = next(iter(found.values()))
    if answer.label:
        state = "unsure" if answer.unsure else "sure"
        title = "Unsure: " * answer.unsure + escape(answer.label)
        title += f" <small>{answer.probabilities[answer.label]:.0%}</small>"
    else:
        state = "none"
        title = "Not a head MRI: no answer" if answer.not_mri else "No answer"
    why = f": {answer.why}" if answer.why else ""
    parts = [f'<div class="answer {state}" role="status"><h2>{title}</h2>']
    parts.append(f"<p>{escape(answer.name + why)}</p>")
    if answer.label:
        parts.append(_bars(found, calibrated))
    if answer.heatmap is not None:
        parts.append(_picture(answer))
    return "".join([*parts, "</div>"])


def table_html(rows: Sequence[dict], classes: Sequence[str]) -> str:
    """Return rows (of `answer_row`) as a table, and a link that saves them as CSV."""
    file = io.StringIO()
    write_csv(rows, classes, file)
    lines = ["".join(f"<th>{escape(name)}</th>" for name in ("file", "answer", *classes, ""))]
    for row in rows:
        label = (row["label"] or "no answer") + " (unsure)" * row["unsure"]
        probs = (row["probabilities"].get(name) for name in classes)
        cells = ("" if prob is None else f"{prob:.1%}" for prob in probs)
        cells = (row["name"], label, *cells, row["why"] or "")
        lines.append("".join(f"<td>{escape(cell)}</td>" for cell in cells))
    link = f'download="answers.csv" href="{_data("text/csv", file.getvalue().encode())}"'
    table = "".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<a class="save" {link}>Save as CSV</a>'
        f'<div class="answers" tabindex="0"><table>{table}</table></div>'
    )


def _bars(found: dict[str, Answer], calibrated: bool) -> str:
    """Return the probabilities as a table with bars, and a column for each backend."""
    lines = []
    if len(found) > 1:
        heads = "".join(f"<th>{_SHORT[name]}</th>" for name in found)
        lines.append(f"<tr><td></td><td></td>{heads}</tr>")
    for kind, prob in next(iter(found.values())).probabilities.items():
        digits = (f"{each.probabilities.get(kind, 0):.1%}" for each in found.values())
        digits = "".join(f"<td>{text}</td>" for text in digits)
        bar = f'<div style="width: {prob:.1%}"></div>'
        lines.append(f'<tr><th>{escape(kind)}</th><td class="bar">{bar}</td>{digits}</tr>')
    title = "Calibrated probability" if calibrated else "Probability, not calibrated"
    return f"<table><caption>{title}</caption>{''.join(lines)}</table>"


def _picture(answer: Answer) -> str:
    """Return the image and its heat map, one upon the other."""
    image, heat = map(_png, (Image.fromarray(answer.pixels), heat_layer(answer.heatmap)))
    return (
        f'<figure><div class="layers"><img src="{image}" alt="The image as the model saw it">'
        f'<img class="heat" src="{heat}" alt="Heat map"></div><figcaption>What spoke for '
        f"{escape(answer.label)}: a coarse region, never an outline.</figcaption></figure>"
    )


def _png(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return _data("image/png", file.getvalue())


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
