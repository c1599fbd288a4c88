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
        "The linear probe, tested on all tumours that are not figshare's while none of them "
        "trains, and on the same images by the five folds, where some of them do. They may come "
        "from several sources, and most are of one class."
    )
    return f"{markdown_table(head, lines, left=3)}\n\n{about}"
