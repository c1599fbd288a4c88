"""What `notebooks/results/heatmaps.py` measured of the shipped classifier's maps, as tables."""

from collections.abc import Mapping

from src.results.tables import INTERVAL, markdown_table, with_interval


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
