"""Two runs in, one folder out: comparison.json, predictions, figures, and an HTML report."""

import base64
import dataclasses
import math
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import jinja2

from src.common.files import atomic_write, make_folder, write_json
from src.comparison.agreement import FIRST_STEP_TOLERANCE, LARGEST_RATIO, measure_agreement
from src.comparison.report import tables
from src.comparison.report.plots import write_figures
from src.comparison.report.samples import HOW_CHOSEN, Samples
from src.comparison.report.style import PHANTOM_NOTICE, figure_notices
from src.config import CLASS_NAMES, ExperimentConfig
from src.records import FRAMEWORKS, Run, check_comparable, write_predictions

TEMPLATE = "report.html.j2"
KAGGLE_TEST_IMAGES = 1311  # the official Testing folder of the Kaggle merge, all variants at hand


def write_report(
    out: Path,
    tf_run: Run,
    pt_run: Run,
    floor_run: Run | None = None,
    samples: Samples | None = None,
) -> Path:
    """Write comparison.json, predictions_tf.npz, predictions_pt.npz, plots/*.png, report.html.

    Args:
        out: the folder; it is made if it is missing.
        tf_run, pt_run: one experiment in both frameworks, from `read_run`.
        floor_run: PyTorch again, every initial weight changed by one epsilon: the floor.
        samples: test images to show, from `make_samples`.
    Returns:
        The path of report.html; it needs no other file and no network.
    Raises:
        InputError: the runs are not one experiment, or `out` cannot be written.
    """
    out = make_folder(Path(out))
    check_comparable(tf_run, pt_run, floor_run)
    comparison = build_comparison(tf_run, pt_run, floor_run)
    write_json(out / "comparison.json", comparison)
    for run in (tf_run, pt_run):
        write_predictions(out / f"predictions_{run.framework}.npz", **vars(run.predictions))
    figures = write_figures(make_folder(out / "plots"), comparison, samples)
    html = render_report(comparison, figures, samples)
    with atomic_write(out / "report.html") as temporary:
        # A file name that is not UTF-8 holds lone surrogates, which no encoding accepts.
        temporary.write_text(html, encoding="utf-8", errors="xmlcharrefreplace")
    return out / "report.html"


def build_comparison(tf_run: Run, pt_run: Run, floor_run: Run | None = None) -> dict:
    """Return the content of comparison.json; NaN and infinity become None."""
    record = tf_run.record
    comparison = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": record.get("commit"),
        "hardware": record["hardware"],
        "dataset": record["dataset"],
        "config": record["config"],
        "tf": _without(tf_run.record, "config", "dataset"),
        "pt": _without(pt_run.record, "config", "dataset"),
        "pt_floor": {"history": floor_run.record["history"]} if floor_run else None,
        "agreement": measure_agreement(tf_run, pt_run, floor_run),
    }
    return _plain(comparison)


def render_report(comparison: dict, figures: dict, samples: Samples | None = None) -> str:
    """Return the HTML of a report with `figures` {name: path of a PNG} inside."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(tables, name) for name in ("percent", "decimal", "tiny")}
    environment.filters["times"] = lambda value: tables.times(value).replace("x", "×")
    return environment.get_template(TEMPLATE).render(
        c=comparison,
        frameworks=FRAMEWORKS,
        class_names=CLASS_NAMES,
        figures={name: _embedded(path) for name, path in figures.items()},
        notices=figure_notices(comparison),
        phantom_notice=PHANTOM_NOTICE,
        metric_rows=tables.metric_rows(comparison),
        cost_rows=tables.cost_rows(comparison),
        class_rows=tables.class_rows(comparison),
        sample_rows=_sample_rows(samples),
        how_chosen=HOW_CHOSEN,
        config_rows=_config_rows(comparison["config"]),
        version_rows=_version_rows(comparison),
        weights_name=_file_name(comparison["config"].get("init", "")),
        largest_ratio=LARGEST_RATIO,
        first_tolerance=FIRST_STEP_TOLERANCE[comparison["config"].get("precision", "float32")],
        leaks=_leaks(comparison["dataset"]),
    )


def _without(record: dict, *names: str) -> dict:
    return {key: value for key, value in record.items() if key not in names}


def _plain(value: object) -> object:
    """Return `value` with every number that JSON cannot hold as None."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _embedded(path: Path) -> dict:
    """Return a PNG as a data URI, and its size in pixels (bytes 16 to 24 of every PNG)."""
    data = path.read_bytes()
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    uri = "data:image/png;base64," + base64.b64encode(data).decode("ascii")
    return {"uri": uri, "width": width, "height": height}


def _sample_rows(samples: Samples | None) -> list[dict]:
    rows = []
    for k, path in enumerate(samples.paths if samples else ()):
        row = {"path": path, "truth": CLASS_NAMES[samples.labels[k]]}
        for name in FRAMEWORKS:
            guess = int(samples.probs[name][k].argmax())
            row[name] = CLASS_NAMES[guess]
            row[f"{name}_prob"] = float(samples.probs[name][k][guess])
        rows.append(row)
    return rows


def _config_rows(config: dict) -> list[dict]:
    """Return name, value, unit and reason of each field; unknown fields come last."""
    known = {spec.name: spec.metadata for spec in dataclasses.fields(ExperimentConfig)}
    rows = []
    for name in [*(name for name in known if name in config), *sorted(set(config) - set(known))]:
        value = config[name]
        shown = ", ".join(value) or "none" if isinstance(value, list) else value
        about = known.get(name, {})
        rows.append(
            {
                "name": name,
                "value": _file_name(shown) if name == "init" else shown,
                "unit": about.get("unit", ""),
                "why": about.get("why", ""),
            }
        )
    return rows


def _version_rows(comparison: dict) -> list[tuple]:
    versions = [comparison[name]["versions"] for name in FRAMEWORKS]
    names = dict.fromkeys([*versions[0], *versions[1]])
    return [(name, *(v.get(name, tables.MISSING) for v in versions)) for name in names]


def _file_name(init: str) -> str:
    """Return the last part of a path: a report does not show the folders of its machine."""
    return PurePosixPath(init.replace("\\", "/")).name


def _leaks(dataset: dict) -> str:
    """Return "known" for the Kaggle merge under its official split, "unknown" for other real
    images that came with a split, "" where no warning applies.
    """
    if dataset["kind"] != "real" or dataset.get("split") != "official":
        return ""
    testing = sum(dataset["counts"].get("Testing", {}).values())
    return "known" if testing == KAGGLE_TEST_IMAGES else "unknown"
