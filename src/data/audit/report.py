"""The audit for people: lines for a terminal, and one HTML page with contact sheets."""

import base64
import io
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader
from PIL import Image

from src.common.files import atomic_write
from src.data.catalog import Catalog, named_files
from src.data.duplicates.similarity import FLIPS, SAME_WHOLE, Pairs
from src.data.pixels import decode_gray
from src.data.splits.groups import Grouping

SHOWN = 30  # pairs per sheet
SIDE = 112  # px of a picture on a sheet


def audit_text(about: dict) -> str:
    """Return the findings as lines for a terminal."""
    same, patients, groups = about["same_slice"], about["patients"], about["groups_count"]
    leaks, exact = same["test_in_train"], about["exact_duplicates"]["test_in_train"]
    tests = sum(about["counts"].get("Testing", {}).values())
    files = {name: len(paths) for name, paths in about["files"].items()}
    lines = [
        f"{about['images']:,} images: {about['variant']}",
        f"byte-identical test images in Training: {exact} of {tests}",
        f"same-slice test images in Training: {leaks['total']} of {tests} ({_by_class(leaks)})",
        f"same-slice pairs: {same['count']:,}; adjacent or alike: {about['adjacent']['count']:,}",
        f"test images of a known patient: {patients['known_test_images']}; "
        f"patient in Training too: {patients['test_in_train']['total']}",
        f"groups that belong together: {groups['total']:,}, the largest {groups['largest']} images",
    ]
    for conflict in about["label_conflicts_judged"]:
        verdict = f"figshare says {conflict['truth']}" if conflict["truth"] else "nobody knows"
        lines.append(f"two labels for one slice: {' and '.join(conflict['paths'])}: {verdict}")
    for split, scores in about["shortcuts"].items():
        rates = ", ".join(f"{name} {score['accuracy']:.1%}" for name, score in scores.items())
        lines.append(f"shortcuts on the {split} split, accuracy: {rates}")
    lines.append(
        f"drawn on in colour: {files['coloured']}; banners: {files['banners']}; "
        f"odd sizes: {files['odd_sizes']}; synthetic by name: {files['augmented']}"
    )
    modes = about["files"]["modes"].items()
    lines += [f"file mode {mode}: {_by_class(counts)}" for mode, counts in modes]
    return "\n".join(filter(None, [*lines, named_files(about["files"]["skipped"])]))


def _by_class(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if name != "total")


def write_page(path: Path, about: dict, grouping: Grouping) -> None:
    """Write the findings and the contact sheets as one self-contained HTML page."""
    environment = Environment(loader=PackageLoader("src.data.audit", ""), autoescape=True)
    page = environment.get_template("audit.html").render(
        about=about,
        classes=grouping.catalog.classes,
        sheets=_sheets(grouping),
        lines=audit_text(about),
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")


def _sheets(grouping: Grouping) -> list[dict]:
    """Return title and pairs of each sheet that has any: what a person should check."""
    catalog, pairs = grouping.catalog, grouping.pairs
    labels, official = catalog.labels, np.array(catalog.official)
    conflict = pairs.same & (labels[pairs.first] != labels[pairs.second])
    leaks = np.flatnonzero(pairs.same & (official[pairs.first] != official[pairs.second]))
    sampled = np.random.default_rng(0).permutation(leaks)[:SHOWN]
    rows_of = {
        "One slice under two labels": np.flatnonzero(conflict),
        "Test images whose slice is in Training, drawn at random": np.sort(sampled),
    }
    doubtful = np.argsort(np.abs(pairs.whole - SAME_WHOLE), kind="stable")
    names = np.array(catalog.classes)[labels[pairs.first]]
    kinds = {"tumours": names != "notumor", "notumor": names == "notumor"}
    if "notumor" not in catalog.classes:
        kinds = {"all classes": np.ones(len(names), bool)}
    for kind, of_kind in kinds.items():
        for verdict, judged in (("the same slice", pairs.same), ("different", ~pairs.same)):
            title = f"Called {verdict}, {kind}, nearest to the threshold"
            rows_of[title] = doubtful[(judged & of_kind)[doubtful]]
    return [
        {"title": title, "pairs": [_show_pair(catalog, pairs, row) for row in rows[:SHOWN]]}
        for title, rows in rows_of.items()
        if len(rows)
    ]


def _show_pair(catalog: Catalog, pairs: Pairs, row: int) -> dict[str, str]:
    """Return what the page says of a pair; in its picture the second is turned to match."""
    first, second = (catalog.paths[image] for image in (pairs.first[row], pairs.second[row]))
    one, other = (decode_gray(catalog.root / path, SIDE) for path in (first, second))
    turned = [other, other[:, ::-1], other[::-1], other[::-1, ::-1]][pairs.flip[row]]
    content = io.BytesIO()
    Image.fromarray(np.hstack([one, turned])).save(content, "JPEG", quality=80)
    return {
        "first": first,
        "second": second,
        "picture": "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode(),
        "whole": f"{pairs.whole[row]:.3f}",
        "detail": f"{pairs.detail[row]:.3f}",
        "flip": FLIPS[pairs.flip[row]],
    }
