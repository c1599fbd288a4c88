"""The study as a paper would tell it: `paper.md.j2` filled with the numbers of the records."""

from collections.abc import Mapping
from pathlib import Path

import jinja2

from src.common.files import atomic_write, read_json
from src.common.tables import markdown_table
from src.comparison.baselines import NEIGHBOUR, PROBE
from src.config import CLASS_NAMES
from src.records import FRAMEWORKS
from src.results.grid import RECIPE
from src.results.grid import TUNED as TUNED_RECIPE
from src.results.headline import BASELINE_TITLES, BLOCK14, FINE_TUNED, headline, whole_rows
from src.results.sections import axial_shares
from src.results.statistics import OFFICIAL, POOLED, TUNED, TUNED_PATIENTS
from src.results.tables import margin, points, range_of, with_interval
from src.xception.blocks import BACKBONE_LAYERS

_TITLES = {
    "tuned": TUNED,
    "tuned_patients": TUNED_PATIENTS,
    "exact": POOLED,
    "exact_official": OFFICIAL,
}
_MODELS = {  # of the README's table -> its name in this one
    FINE_TUNED: "all blocks but the first",
    BLOCK14: "block14 alone",
    BASELINE_TITLES[PROBE]: "linear probe",
    BASELINE_TITLES[NEIGHBOUR]: "nearest neighbour, 32 px",
}


def write_paper(measured: Mapping, results: Path) -> Path:
    """Write `paper.md` into the folder of the records; return its path.

    Args:
        measured: from `src.results.statistics.measure`.
        results: with `baselines.json`, `pointing.json`, `features.json`, `heatmaps.json`,
            `robustness.json` and `parity/`.
    """
    path = results / "paper.md"
    with atomic_write(path) as temporary:
        temporary.write_text(paper(measured, results), encoding="utf-8")
    return path


def paper(measured: Mapping, results: Path) -> str:
    """Return the pages as Markdown: of the deeper recipe what is done, without the exact runs none.

    Raises:
        InputError: a record is missing or damaged.
    """
    rows = whole_rows(measured)
    arms = {name: {key: rows[title, key] for key in FRAMEWORKS} for name, title in _TITLES.items()}
    exact = [*arms["exact"].values(), *arms["exact_official"].values()]
    if not all(exact) or not measured["equivalence"]["variance"]:
        return "# Not written\n\nRuns of the exact arms are missing: `python -m src reproduce`.\n"
    apart = measured["leak"]["pt"]["apart"]
    names = ("baselines", "pointing", "features", "heatmaps", "robustness")
    baselines, pointing, features, maps, robustness = (
        read_json(results / f"{name}.json") for name in names
    )
    parity = [read_json(file) for file in sorted((results / "parity").glob("float*.json"))]
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "rate": with_interval,
        "points": points,
        "percent": lambda value: f"{value:.1%}",
        "margin": margin,
    }
    template = environment.from_string(Path(__file__).with_suffix(".md.j2").read_text("utf-8"))
    return template.render(
        arms,
        measured=measured,
        classes=CLASS_NAMES,
        baselines=baselines["scores"],
        pointing=pointing,
        faithful={row["order"]: row for row in maps["faithfulness"]},
        shortcuts={row["name"]: row["accuracy"] for row in robustness["shortcuts"]},
        coverage=[
            row["found"]
            for kind in ("an accuracy", "a difference")
            for row in measured["simulations"]
            if f"of {kind} covers" in row["what"]
        ],
        apart=apart if apart and all(apart["parts"].values()) else None,
        features=features["rows"],
        largest=max(record["largest_ratio"] for record in parity),
        parity_runs=len(parity),
        parameters=sum(layer.parameters() for layer in BACKBONE_LAYERS),
        block14=RECIPE,
        deep=TUNED_RECIPE,
        scores=_scores(measured, baselines["scores"]),
        range_of=range_of,
        axial=axial_shares(measured["planes"]["rows"]) if measured["planes"] else None,
    )


def _scores(measured: Mapping, baselines: Mapping) -> str:
    """Return the table of accuracies: by image, by patient, and on the official split."""
    models, lines = headline(measured, baselines), []
    for model, name in _MODELS.items():
        for framework, (clean, official) in models.get(model, {}).items():
            if clean:
                title = f"{name}, {FRAMEWORKS[framework]}" if framework else name
                rates = clean["accuracy"], clean["by"].get("patient"), official.get("accuracy")
                lines.append([title, *map(with_interval, rates)])
    head = ("what trains", "by image (95 % interval)", "by patient", "official split (leaks)")
    return markdown_table(head, lines)
