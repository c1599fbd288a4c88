"""The generated part of this folder's README: every measurement of how alike the twins are."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from src.common.files import read_json
from src.common.tables import markdown_table
from src.comparison.attribution.report import attribution_table, within_floor
from src.comparison.bench.answers import answers
from src.comparison.bench.report import speed_table
from src.comparison.features import features_table
from src.comparison.parity.settings import LIMITS, VERDICTS
from src.comparison.workflow import workflow_rows
from src.records import FRAMEWORKS

FIGURE = "../../notebooks/results/attribution.png"  # seen from the page
SPEEDS = "../../notebooks/results/speeds.png"


def comparison_page(results: Path) -> str:
    """Return the page as Markdown, from the records in `results`.

    Raises:
        InputError: a record is missing or damaged.
    """
    features, attribution, bench = (
        read_json(results / f"{name}.json") for name in ("features", "attribution", "bench")
    )
    parity = {file.stem: read_json(file) for file in sorted((results / "parity").glob("*.json"))}
    return "\n\n".join(
        (
            "## Same function",
            "The relative difference of the features after block13, same weights, same test "
            f"images, {features['precision']}: timm's `legacy_xception` as it is shipped, and as "
            "`src/pt/align.py` aligns it with Keras.",
            features_table(features["rows"]),
            "## Same training steps",
            "Gap and floor are relative distances of all trained weights, measured after every "
            "training step; *BatchNorm* is about its moving statistics. *Passed*: at most "
            f"{LIMITS['float32'][0]} floors apart in float32, {LIMITS['float64'][0]} in float64, "
            f"and {LIMITS['float64'][1]} for BatchNorm, limits that were set after the first "
            "measurements. Float64 is the strict test: there the gap must also stay below "
            f"{LIMITS['float64'][2]:.0e}.",
            parity_table(parity),
            "## Which default changes the result?",
            _attribution_text(attribution),
            attribution_table(attribution),
            f"![The effect of each difference, and the floor]({FIGURE})",
            *_speed_parts(results),
            "## How is each step written?",
            "Pieces of code, with the lines that the step takes in `src/tf` and `src/pt` (no "
            "comments, no docstrings), what went wrong with it here, and which defaults differ "
            "(`src/differences.csv`).",
            _table(workflow_rows()),
            "## What exactness costs",
            _cost_text(bench),
        )
    )


def _speed_parts(results: Path) -> tuple[str, ...]:
    """Return the section about speed; nothing until it was measured."""
    if not (results / "speeds.json").is_file():
        return ()
    speeds, table = (read_json(results / f"{name}.json") for name in ("speeds", "table"))
    return (
        "## Which framework is faster?",
        "*Plain* is each framework as people write it: `src/pt/plain.py` and `src/tf/plain.py`, "
        "which anyone can run alone. Here too they run without the twins' settings. The times "
        "of the twins include reading their images; the plain programs take one batch again. A "
        "BatchNorm trains where its block does. Start, build and first step have a column of their "
        "own. *Roofline*: the speed that the chip's arithmetic and memory would allow.",
        _table(answers(speeds, table["equivalence"])),
        speed_table(speeds),
        f"![Images per second, as written plainly and as twins]({SPEEDS})",
    )


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    return markdown_table(list(rows[0]), (row.values() for row in rows), left=len(rows[0]))


def parity_table(records: dict[str, dict]) -> str:
    """Return parity records {name: record} as a Markdown table."""
    lines = []
    for name, record in records.items():
        ratios = (f"{record[key]:.2f}" for key in ("largest_ratio", "largest_bn_ratio"))
        largest = f"{max(step['gap'] for step in record['steps']):.0e}"
        cells = [name.replace("_", " "), len(record["steps"]), *ratios, largest]
        lines.append([*cells, VERDICTS[record["verdict"]]])
    ratios = ("gap / floor at the worst step", "gap / floor of BatchNorm")
    return markdown_table(("run", "steps", *ratios, "largest gap", "verdict"), lines)


def _attribution_text(attribution: dict) -> str:
    config, changes = attribution["config"], attribution["rows"]
    accuracies = [entry["moved"]["accuracy"] for entry in changes]
    clear = sum(not change["low"] <= 0 <= change["high"] for change in accuracies)
    return (
        "The path starts with every framework default restored, and settles one difference after "
        f"the other ({config['image_size']} px, {config['max_images_per_epoch']} images per epoch, "
        f"{config['head_epochs']} + {config['finetune_epochs']} epochs). "
        f"{len(within_floor(attribution))} of {len(changes)} changes of the probabilities are no "
        f"larger than the floor of some seed. "
        + (
            f"{clear} of {len(changes)} changes of the accuracy have an interval without 0."
            if clear
            else "No single default is shown to change the accuracy: every interval holds 0."
        )
    )


def _cost_text(bench: dict) -> str:
    low, high = (f"{100 * bound:+.1f} %" for bound in bench["cost_interval"])
    return (
        "In the same training loop, with the framework's defaults restored or not: an exact "
        f"training step of {FRAMEWORKS[bench['framework']]} takes "
        f"{100 * bench['cost']:.1f} % longer than a stock one (*plain*, above, is another "
        f"program; 95 % interval {low} to {high}; "
        f"medians of {bench['rounds']} steps, in turns, {bench['config']['image_size']} px)."
    )
