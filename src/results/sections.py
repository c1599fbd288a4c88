"""What the scripts beside the records measured of a classifier, as tables for the pages.

Each function is named after its script in `notebooks/results`.
"""

from collections.abc import Mapping, Sequence

from src.common.tables import markdown_table
from src.records import FRAMEWORKS
from src.results.tables import INTERVAL, points, with_interval

_ROBUSTNESS_FIGURE = "../../notebooks/results/robustness.png"  # seen from the card


def heatmaps_section(record: Mapping) -> str:
    """Return the three tables as Markdown.

    Args:
        record: `heatmaps.json`.
    """
    kinds = [
        [row["kind"], f"{row['count']:,}", with_interval(row["hits"]), with_interval(row["centre"])]
        for row in record["pointing"]
    ]
    orders = [
        [row["order"], with_interval(row["deletion"]), with_interval(row["insertion"])]
        for row in record["faithfulness"]
    ]
    steps = [
        [row["randomised"] or "nothing", f"{row['correlation']:.2f}", f"{row['hits']:.1%}"]
        for row in record["cascade"]
    ]
    return "\n\n".join(
        (
            f"Heat maps ({record['method']} at {', '.join(record['blocks'])}) by class and by size "
            "of the tumour's box, in thirds:",
            markdown_table(
                ("", "images", f"points into the box {INTERVAL}", f"the centre would {INTERVAL}"),
                kinds,
            ),
            "The mean probability of the true class while an image's pixels are made black "
            "(*deletion*, lower is better), or shown in a blurred image (*insertion*, higher is "
            f"better), in three orders; one image in {record['every']}:",
            markdown_table(
                ("order of the pixels", f"deletion {INTERVAL}", f"insertion {INTERVAL}"), orders
            ),
            f"On the same one image in {record['every']}, blocks get random weights one after the "
            "other, from the head on. A map that shows what was learned changes:",
            markdown_table(
                (
                    "randomised down to",
                    "rank correlation with the trained map",
                    "into the box",
                ),
                steps,
            ),
        )
    )


def robustness_section(record: Mapping) -> str:
    """Return the shortcuts, and the last step of each kind of bad quality, as Markdown.

    Args:
        record: `robustness.json`.
    """
    lines = [
        [row["name"], f"{row['count']:,}", with_interval(row["accuracy"])]
        for row in record["shortcuts"]
    ]
    head = (
        f"a part taken away ({record['border']:.0%} of the side is border)",
        "images",
        f"accuracy {INTERVAL}",
    )
    shortcuts = markdown_table(head, lines)
    whole, *steps = record["quality"]
    last = {row["kind"]: row for row in steps}
    lines = [["as it is", *(with_interval(whole[key]) for key in FRAMEWORKS)]]
    lines += [
        [f"{kind}: {row['step']:g}", *(with_interval(row[key]) for key in FRAMEWORKS)]
        for kind, row in last.items()
    ]
    names = [f"{name} {INTERVAL}" for name in FRAMEWORKS.values()]
    quality = markdown_table(("quality, the strongest step of each kind", *names), lines)
    figure = f"![Accuracy of both twins over steps of image quality]({_ROBUSTNESS_FIGURE})"
    about = f"Quality is judged on one test image in {record['every']}."
    return f"{shortcuts}\n\n{quality}\n\n{about}\n\n{figure}"


def sources_section(rows: Sequence[Mapping]) -> str:
    """Return the accuracy on a source that training has not seen, as Markdown; "" without rows.

    Args:
        rows: those of `sources.json`.
    """
    if not rows:
        return ""
    head = (
        "trained on", "tumours of unknown source that test", "answers", f"accuracy {INTERVAL}",
        f"with all sources in training {INTERVAL}", f"change, points {INTERVAL}",
    )  # fmt: skip
    lines = [
        [
            f"{' and '.join(row['trained'])} ({row['train_images']:,})",
            *(
                ", ".join(f"{count} {name}" for name, count in row[which].items())
                for which in ("images", "answers")
            ),
            with_interval(row["held_out"]),
            with_interval(row["all_sources"]),
            points(row["change"]),
        ]
        for row in rows
    ]
    about = (
        "The linear probe, tested on all tumours that are not figshare's: once with none of them "
        "in training, and once in the five folds, where some are. They may come "
        "from several sources, and most are of one class."
    )
    return f"{markdown_table(head, lines, left=3)}\n\n{about}"


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
    return f"{markdown_table(head, lines)}\n\n{_about_planes(record)}"


def axial_shares(rows: Sequence[Mapping]) -> dict[str, float]:
    """Return which share of the "tumours" and of "notumor" is axial; `rows` of `planes.json`."""
    counts = {kind: {} for kind in ("tumours", "notumor")}
    for row in rows:
        counts[row["kind"]][row["plane"]] = row["images"]
    return {kind: of["axial"] / sum(of.values()) for kind, of in counts.items()}


def _about_planes(record: Mapping) -> str:
    axial = axial_shares(record["rows"])
    return (
        f"The plane of {record['seen']} images was seen by eye, without a radiologist; a linear "
        "probe predicts that of the rest. On images of other patients it is right in "
        f"{with_interval(record['named_rightly'])}. {axial['tumours']:.0%} of the tumours "
        f"are axial, and {axial['notumor']:.0%} of `notumor`: **plane and class are confounded.** "
        "Where the plane is not in training, the linear probe learns from groups without any slice "
        "of that plane: from fewer images, and from other shares of the classes. So the change is "
        "not that of the plane alone."
    )
