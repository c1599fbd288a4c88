"""What `notebooks/results/planes.py` measured in each plane, as a table."""

from collections.abc import Mapping, Sequence

from src.records import FRAMEWORKS
from src.results.tables import INTERVAL, markdown_table, points, with_interval


def planes_section(record: Mapping) -> str:
    """Return the accuracy in each plane, as Markdown; "" without a record.

    Args:
        record: `planes.json`, or nothing.
    """
    if not record:
        return ""
    head = (
        "", "images", *(f"{name} {INTERVAL}" for name in FRAMEWORKS.values()),
        f"linear probe {INTERVAL}", "images that train without the plane",
        f"the plane not in training {INTERVAL}",
        f"change, points {INTERVAL}",
    )  # fmt: skip
    lines = [
        [
            f"{row['plane']}, {row['kind']}",
            f"{row['images']:,}",
            *(with_interval(row[name]) for name in (*FRAMEWORKS, "probe")),
            f"{row['train_images']:,}",
            with_interval(row["held_out"]),
            points(row["change"]),
        ]
        for row in record["rows"]
    ]
    return f"{markdown_table(head, lines)}\n\n{_about(record)}"


def axial_shares(rows: Sequence[Mapping]) -> dict[str, float]:
    """Return which share of the "tumours" and of "notumor" is axial; `rows` of `planes.json`."""
    counts = {kind: {} for kind in ("tumours", "notumor")}
    for row in rows:
        counts[row["kind"]][row["plane"]] = row["images"]
    return {kind: of["axial"] / sum(of.values()) for kind, of in counts.items()}


def _about(record: Mapping) -> str:
    axial = axial_shares(record["rows"])
    return (
        f"The plane of {record['seen']} images was seen by eye, without a radiologist; a linear "
        "probe names the others'. On images of other patients it names "
        f"{with_interval(record['named_rightly'])} rightly. {axial['tumours']:.0%} of the tumours "
        f"are axial, and {axial['notumor']:.0%} of `notumor`: **plane and class are confounded.** "
        "Where the plane is not in training, the linear probe learns from groups without any slice "
        "in it: from fewer images, and from other shares of the classes. So the change is not that "
        "of the plane alone."
    )
