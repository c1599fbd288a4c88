"""What `notebooks/results/sources.py` measured of tumours from elsewhere, as a table."""

from collections.abc import Mapping, Sequence

from src.results.tables import INTERVAL, markdown_table, points, with_interval


def sources_section(rows: Sequence[Mapping]) -> str:
    """Return the accuracy on a source that training has not seen, as Markdown; "" without rows.

    Args:
        rows: those of `sources.json`.
    """
    if not rows:
        return ""
    head = (
        "tested", "trained on", "images", f"accuracy {INTERVAL}",
        f"with all sources in training {INTERVAL}", f"change, points {INTERVAL}",
    )  # fmt: skip
    lines = [
        [
            row["tested"],
            f"{' and '.join(row['trained'])} ({row['train_images']:,})",
            f"{row['images']:,}",
            with_interval(row["held_out"]),
            with_interval(row["all_sources"]),
            points(row["change"]),
        ]
        for row in rows
    ]
    about = (
        "The linear probe, tested on images of a source that is not in training, and on the same "
        "images by the five folds. Only tumours are held out: where each image without one comes "
        "from is not known."
    )
    return f"{markdown_table(head, lines, left=2)}\n\n{about}"
