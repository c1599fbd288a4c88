"""What `notebooks/results/robustness.py` measured of the shipped classifier, as tables."""

from collections.abc import Mapping

from src.records import FRAMEWORKS
from src.results.tables import INTERVAL, markdown_table, with_interval

FIGURE = "../../notebooks/results/robustness.png"  # seen from the card


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
    figure = f"![Accuracy of both twins over steps of image quality]({FIGURE})"
    about = f"Quality is judged on one test image in {record['every']}."
    return f"{shortcuts}\n\n{quality}\n\n{about}\n\n{figure}"
