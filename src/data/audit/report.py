"""The audit for people: lines for a terminal, and one HTML page with contact sheets."""

import base64
import io
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader
from PIL import Image

from src.common.files import atomic_write
from src.config import CLASS_NAMES
from src.data.catalog import Catalog
from src.data.duplicates.similarity import FLIPS, SAME_WHOLE, Pairs
from src.data.pixels import decode_gray
from src.data.splits.groups import Grouping

SHOWN = 30  # pairs per sheet
SIDE = 112  # px of a picture on a sheet


def audit_text(about: dict) -> str:
    """Return the findings as lines for a terminal."""
    same, patients, files = about["same_slice"], about["patients"], about["files"]
    leaks = same["test_in_train"]
    classes = ", ".join(f"{name} {leaks[name]}" for name in CLASS_NAMES)
    exact = about["exact_duplicates"]["test_in_train"]
    tests = sum(about["counts"].get("Testing", {}).values())
    lines = [
        f"{about['images']:,} images: {about['variant']}",
        f"byte-identical test images in Training: {exact} of {tests}",
        f"same-slice test images in Training: {leaks['total']} of {tests} ({classes})",
        f"same-slice pairs: {same['count']:,}; adjacent or alike: {about['adjacent']['count']:,}",
        f"test images of a known patient: {patients['known_test_images']}; "
        f"patient in Training too: {patients['test_in_train']['total']}",
        f"groups that belong together: {about['groups_count']['total']:,}, "
        f"the largest {about['groups_count']['largest']} images",
    ]
    for conflict in about["label_conflicts_judged"]:
        verdict = f"figshare says {conflict['truth']}" if conflict["truth"] else "nobody knows"
        lines.append(f"two labels for one slice: {' and '.join(conflict['paths'])}: {verdict}")
    for split, scores in about["shortcuts"].items():
        rates = ", ".join(f"{name} {score['accuracy']:.1%}" for name, score in scores.items())
        lines.append(f"shortcuts on the {split} split, accuracy: {rates}")
    lines.append(
        f"drawn on in colour: {len(files['coloured'])}; banners: {len(files['banners'])}; "
        f"odd sizes: {len(files['odd_sizes'])}; synthetic by name: {len(files['augmented'])}; "
        f"unusable: {len(files['skipped'])}"
    )
    for mode, counts in files["modes"].items():
        by_class = ", ".join(f"{name} {count}" for name, count in counts.items())
        lines.append(f"file mode {mode}: {by_class}")
    return "\n".join(lines)


def write_page(path: Path, about: dict, grouping: Grouping) -> None:
    """Write the findings and the contact sheets as one self-contained HTML page."""
    environment = Environment(loader=PackageLoader("src.data.audit", ""), autoescape=True)
    page = environment.get_template("audit.html").render(
        about=about, classes=CLASS_NAMES, sheets=_sheets(grouping), lines=audit_text(about)
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")


def _sheets(grouping: Grouping) -> list[dict]:
    """Return title and pairs of each sheet that has any: what a person should check."""
    pairs, paths = grouping.pairs, grouping.catalog.paths
    return [
        {
            "title": title,
            "pairs": [
                {
                    "first": paths[pairs.first[row]],
                    "second": paths[pairs.second[row]],
                    "picture": _picture(grouping.catalog, pairs, row),
                    "whole": f"{pairs.whole[row]:.3f}",
                    "detail": f"{pairs.detail[row]:.3f}",
                    "flip": FLIPS[pairs.flip[row]],
                }
                for row in rows
            ],
        }
        for title, rows in _choose_pairs(grouping).items()
        if len(rows)
    ]


def _choose_pairs(grouping: Grouping) -> dict[str, np.ndarray]:
    pairs, labels = grouping.pairs, grouping.catalog.labels
    official = np.array(grouping.catalog.official)
    leaks = np.flatnonzero(pairs.same & (official[pairs.first] != official[pairs.second]))
    sheets = {
        "One slice under two labels": np.flatnonzero(
            pairs.same & (labels[pairs.first] != labels[pairs.second])
        ),
        "Test images whose slice is in Training, drawn at random": np.sort(
            np.random.default_rng(0).permutation(leaks)[:SHOWN]
        ),
    }
    doubtful = np.argsort(np.abs(pairs.whole - SAME_WHOLE), kind="stable")
    same, notumor = pairs.same, labels[pairs.first] == CLASS_NAMES.index("notumor")
    for kind, of_kind in (("tumours", ~notumor), ("notumor", notumor)):
        for verdict, judged in (("the same slice", same), ("different", ~same)):
            title = f"Called {verdict}, {kind}, nearest to the threshold"
            sheets[title] = doubtful[(judged & of_kind)[doubtful]]
    return {title: rows[:SHOWN] for title, rows in sheets.items()}


def _picture(catalog: Catalog, pairs: Pairs, row: int) -> str:
    """Return both images side by side, the second turned to match, as a data URL."""
    one, other = (
        decode_gray(catalog.root / catalog.paths[image], SIDE)
        for image in (pairs.first[row], pairs.second[row])
    )
    turned = [other, other[:, ::-1], other[::-1], other[::-1, ::-1]][pairs.flip[row]]
    content = io.BytesIO()
    Image.fromarray(np.hstack([one, turned])).save(content, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()
