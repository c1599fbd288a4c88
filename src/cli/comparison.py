"""`compare`, `parity`, `bench`, `features`, `baselines`: parse, call, print."""

import argparse
import dataclasses
import sys
from pathlib import Path

from src.cli.options import (
    add_config_options,
    add_data_option,
    add_field_options,
    add_run_options,
    config_fields,
    config_from,
    run_folder,
)
from src.common.files import write_json
from src.comparison.attribution.report import attribution_table, write_attribution_figure
from src.comparison.attribution.runs import ATTRIBUTION, measure_attribution, run_cells
from src.comparison.baselines import (
    baselines_table,
    measure_baselines,
    pooled_features,
    write_rows,
)
from src.comparison.features import compare_features, features_table
from src.comparison.parity.measure import measure_parity
from src.comparison.parity.plot import write_parity_plot
from src.comparison.parity.settings import HYPER, RECIPES, RED, parity_config
from src.comparison.report.tables import summary_table
from src.comparison.run import run_comparison
from src.comparison.speed.exactness import measure_cost
from src.comparison.speed.feature_cache import feature_cache_table, measure_feature_cache
from src.data.dataset import open_dataset
from src.data.duplicates.thumbnails import thumbnails_of
from src.differences import RESTORABLE
from src.records import FRAMEWORKS, measurement
from src.xception.weights import digest, initial_weights


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Add the options of `compare`."""
    parser.add_argument(
        "--no-floor", action="store_true", help="skip the second PyTorch run that sets the floor"
    )
    add_run_options(parser)
    add_config_options(parser)
    parser.add_argument(
        "--attribute",
        action="store_true",
        help="measure what each framework default costs: from stock to exact, one at a time",
    )
    parser.add_argument("--seeds", type=int, default=3, help="with --attribute (default 3)")
    parser.set_defaults(func=compare)


def add_parity(parser: argparse.ArgumentParser) -> None:
    """Add the options of `parity`."""
    parser.add_argument("--dtype", choices=("float32", "float64", "bfloat16"), default="float32")
    parser.add_argument("--hyper", choices=HYPER, help="default: dyadic in float64, else everyday")
    parser.add_argument("--recipe", choices=RECIPES, default="plain", help="default: plain")
    parser.add_argument("--steps", type=int, default=20, help="of all epochs (default 20)")
    parser.add_argument(
        "--fault",
        nargs="+",
        default=(),
        choices=RESTORABLE,
        metavar="DIFFERENCE",
        help="restore these framework defaults, which must turn the verdict red",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw gap and floor there, PNG")
    add_data_option(parser)
    add_field_options(parser.add_argument_group("other fields of the experiment"))
    parser.set_defaults(func=parity)


def add_bench(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bench`."""
    parser.add_argument(
        "what",
        nargs="?",
        choices=("exactness", "feature-cache"),
        default="exactness",
        help="exactness (default): an exact training step and a stock one; feature-cache: epochs "
        "of both frameworks without the cache and with it",
    )
    parser.add_argument(
        "--framework", choices=FRAMEWORKS, default="pt", help="of exactness (default pt)"
    )
    parser.add_argument(
        "--rounds", type=int, default=20, help="of exactness: steps of each (default 20)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record there")
    add_data_option(parser)
    add_config_options(parser)
    parser.set_defaults(func=bench)


def add_features(parser: argparse.ArgumentParser) -> None:
    """Add the options of `features`."""
    parser.add_argument("--count", type=int, default=8, help="images to compare on (default 8)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[71, 96, 150, 224, 299])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the record there")
    add_data_option(parser)
    add_config_options(parser)
    parser.set_defaults(func=features)


def add_baselines(parser: argparse.ArgumentParser) -> None:
    """Add the options of `baselines`."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="record; predictions: FILE.csv")
    add_data_option(parser)
    add_config_options(parser)
    parser.set_defaults(func=baselines)


def compare(options: argparse.Namespace) -> None:
    """Run both twins and write the report, or attribute their disagreement to differences."""
    if options.attribute:
        _attribute(options)
        return
    comparison, report = run_comparison(
        config_from(options),
        run_folder(options),
        options.data,
        workers=options.workers,
        floor=not options.no_floor,
    )
    print(f"\n{summary_table(comparison)}\n\nReport: {report}")


def _attribute(options: argparse.Namespace) -> None:
    """Train along the path from stock to exact; print the table, write JSON and figure."""
    given = ATTRIBUTION | config_fields(options)
    config = dataclasses.replace(config_from(options), **given)
    out, seeds = run_folder(options), list(range(config.seed, config.seed + options.seeds))
    for cell, left in run_cells(config, seeds, out, options.data, options.workers):
        print(f"{cell.folder} is done, {left} runs left", file=sys.stderr)
    attribution = measure_attribution(config, seeds, out)
    write_json(out / "attribution.json", attribution)
    figure = write_attribution_figure(attribution, out / "attribution.png")
    print(f"\n{attribution_table(attribution)}\n\nFigure: {figure}")


def parity(options: argparse.Namespace) -> int:
    """Measure gap and floor, print the verdict, write record and plot; return 1 if it is red."""
    config = parity_config(
        dtype=options.dtype,
        hyper=options.hyper,
        recipe=options.recipe,
        steps=options.steps,
        fault=tuple(options.fault),
        **config_fields(options),
    )
    measured = measure_parity(config, options.data)
    if options.json:
        write_json(options.json, measured)
    if options.plot:
        print(f"Plot: {write_parity_plot(measured, options.plot)}")
    print(f"Logits of the trained models differ by {measured['eval_logits_gap']:.1e}.")
    print(f"{measured['verdict']}: {measured['reason']}")
    return int(measured["verdict"] == RED)


def bench(options: argparse.Namespace) -> None:
    """Measure what exactness costs or what the feature cache gains; print it, write the record."""
    config = config_from(options)
    if options.what == "feature-cache":
        measured = measure_feature_cache(config, options.data)
        print(feature_cache_table(measured))
    else:
        measured = measure_cost(options.framework, config, options.data, options.rounds)
        low, high = measured["cost_interval"]
        print(
            f"{FRAMEWORKS[options.framework]}: an exact step takes "
            f"{measured['exact_seconds']:.3f} s, a stock one {measured['stock_seconds']:.3f} s "
            f"(medians of {options.rounds}). Exactness costs {measured['cost']:+.1%} "
            f"(95 % interval {low:+.1%} to {high:+.1%})."
        )
    if options.json:
        write_json(options.json, measured)


def features(options: argparse.Namespace) -> None:
    """Compare the frameworks' features, aligned and as shipped."""
    config = config_from(options)
    rows = compare_features(config, options.data, options.sizes, options.count)
    print("||PyTorch - TensorFlow|| / ||TensorFlow|| after block13, same weights, same images:\n")
    print(features_table(rows))
    if options.json:
        dataset = open_dataset(config, options.data).describe()
        record = measurement(config, dataset, rows=rows, precision=config.precision)
        write_json(options.json, record)


def baselines(options: argparse.Namespace) -> None:
    """Score what the twins must beat, on the official split and the clean folds."""
    config = config_from(options)
    dataset = open_dataset(config, options.data)
    features = pooled_features(config, dataset)
    thumbnails = thumbnails_of(dataset.catalog)
    scores, rows = measure_baselines(dataset, thumbnails, features, config)
    print(baselines_table(scores))
    if options.json:
        weights = digest(initial_weights(config))
        measured = {"scores": scores, "weights_sha256": weights}
        write_json(options.json, measurement(config, dataset.describe(), **measured))
        write_rows(options.json.with_suffix(".csv"), rows)
