"""`compare`, `parity`, `bench`, `features`, `baselines`: parse, call, print."""

import argparse
import dataclasses
import sys
from pathlib import Path

from src.cli.options import (
    add_config_options,
    add_paths,
    add_run_options,
    at_least,
    config_fields,
    config_from,
    run_folder,
    show,
)
from src.common.errors import InputError
from src.common.files import write_csv, write_json
from src.comparison.attribution.report import attribution_table, write_attribution_figure
from src.comparison.attribution.runs import ATTRIBUTION, measure_attribution, run_cells
from src.comparison.baselines import (
    baselines_table,
    measure_baselines,
    pooled_features,
)
from src.comparison.bench.cells import declared_cells
from src.comparison.bench.measure import measure_speeds
from src.comparison.bench.report import speed_table, write_speed_figure
from src.comparison.features import compare_features, features_table
from src.comparison.parity.measure import measure_parity
from src.comparison.parity.settings import HYPER, RECIPES, RED, VERDICTS, parity_config
from src.comparison.report.tables import summary_table
from src.comparison.run import run_comparison
from src.comparison.speed import feature_cache_table, measure_cost, measure_feature_cache
from src.data.dataset import open_dataset
from src.data.duplicates.thumbnails import thumbnails_of
from src.differences import RESTORABLE
from src.records import FRAMEWORKS, measurement
from src.xception.weight_files import digest
from src.xception.weights import initial_weights


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Add the options of `compare`."""
    about = "skip the second PyTorch run that sets the floor"
    parser.add_argument("--no-floor", action="store_true", help=about)
    about = "measure what each framework default costs: from stock to exact, one at a time"
    parser.add_argument("--attribute", action="store_true", help=about)
    parser.add_argument("--seeds", type=at_least(1), default=3, help="with --attribute (default 3)")
    add_run_options(parser)


def compare(options: argparse.Namespace) -> None:
    """Run both twins and write the report, or attribute their disagreement to differences."""
    if options.attribute:
        _attribute(options)
        return
    how = {"workers": options.workers, "floor": not options.no_floor}
    config = config_from(options)
    out = run_folder(options, config)
    comparison, report = run_comparison(config, out, options.data, **how)
    print(f"\n{summary_table(comparison)}\n\nReport: {report}")


def _attribute(options: argparse.Namespace) -> None:
    """Train along the path from stock to exact; print the table, write JSON and figure."""
    if given := _base(options):
        raise InputError(
            f"--attribute has a preset of its own. Leave out --{given[0]}, and give single fields."
        )
    given = ATTRIBUTION | config_fields(options)
    config = dataclasses.replace(config_from(options), **given)
    config = open_dataset(config, options.data).config  # with the classes of the folder
    out, seeds = run_folder(options, config), list(range(config.seed, config.seed + options.seeds))
    for cell, left in run_cells(config, seeds, out, options.data, options.workers):
        print(f"{cell.folder} is done, {left} runs left", file=sys.stderr)
    attribution = measure_attribution(config, seeds, out)
    write_json(out / "attribution.json", attribution)
    figure = write_attribution_figure(attribution, out / "attribution.png")
    print(f"\n{attribution_table(attribution)}\n\nFigure: {figure}")


def _base(options: argparse.Namespace) -> list[str]:
    """Return the options that were given of those that name a whole experiment."""
    return ["config"] * bool(options.config) + ["preset"] * (options.preset != "quick")


def add_parity(parser: argparse.ArgumentParser) -> None:
    """Add the options of `parity`."""
    parser.add_argument("--dtype", choices=("float32", "float64", "bfloat16"), default="float32")
    parser.add_argument("--hyper", choices=HYPER, help="default: dyadic in float64, else everyday")
    parser.add_argument("--recipe", choices=RECIPES, default="plain", help="default: plain")
    parser.add_argument("--steps", type=at_least(1), default=20, help="of all epochs (default 20)")
    about = "restore these framework defaults, with which the run must fail"
    several = {"nargs": "+", "default": (), "metavar": "DIFFERENCE"}
    parser.add_argument("--fault", choices=RESTORABLE, help=about, **several)
    add_paths(parser, "--data", "--json")
    own = ("precision", "restore_defaults")  # --dtype and --fault
    add_config_options(parser, presets=False, without=own)


def parity(options: argparse.Namespace) -> int:
    """Measure gap and floor, print the verdict, write the record; return 1 if it is red."""
    names = ("dtype", "hyper", "recipe", "steps", "fault")
    given = {name: getattr(options, name) for name in names}
    measured = measure_parity(parity_config(**given, **config_fields(options)), options.data)
    gap = f"Logits of the trained models differ by {measured['eval_logits_gap']:.1e}."
    show(options, f"{gap}\n{VERDICTS[measured['verdict']]}: {measured['reason']}", measured)
    return int(measured["verdict"] == RED)


def add_bench(parser: argparse.ArgumentParser) -> None:
    """Add the options of `bench`."""
    about = (
        "how fast both frameworks are, as people write them and as the twins (default); an exact "
        "training step and a stock one; or epochs with and without the cache"
    )
    whats = ("frameworks", "exactness", "feature-cache")
    parser.add_argument("what", nargs="?", choices=whats, default="frameworks", help=about)
    about = "of frameworks: how often each row is measured (default 3; about half an hour each)"
    parser.add_argument("--turns", type=at_least(1), default=3, help=about)
    about = "of frameworks: only rows that contain one of these texts, such as forward"
    parser.add_argument("--only", nargs="+", default=[""], metavar="TEXT", help=about)
    about = "of exactness (default pt)"
    parser.add_argument("--framework", choices=FRAMEWORKS, default="pt", help=about)
    about = "of exactness: steps of each (default 20)"
    parser.add_argument("--rounds", type=at_least(1), default=20, help=about)
    add_paths(parser, "--data", "--json")
    add_config_options(parser)


def bench(options: argparse.Namespace) -> None:
    """Measure both frameworks' speeds, what exactness costs, or what the feature cache gains."""
    if options.what == "frameworks":
        _bench_frameworks(options)
        return
    config = config_from(options)
    if options.what == "feature-cache":
        measured = measure_feature_cache(config, options.data)
        show(options, feature_cache_table(measured), measured)
        return
    measured = measure_cost(options.framework, config, options.data, options.rounds)
    low, high = measured["cost_interval"]
    sentence = (
        f"{FRAMEWORKS[options.framework]}: an exact step takes "
        f"{measured['exact_seconds']:.3f} s, a stock one {measured['stock_seconds']:.3f} s "
        f"(medians of {options.rounds}). Exactness costs {measured['cost']:+.1%} "
        f"(95 % interval {low:+.1%} to {high:+.1%})."
    )
    show(options, sentence, measured)


def _bench_frameworks(options: argparse.Namespace) -> None:
    """Measure the table of speeds; draw its figure beside the record."""
    if given := sorted(config_fields(options)) + _base(options):
        flags = " ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError(
            "The rows of the table fix the experiment; --only chooses among them. Leave out "
            f"{flags}."
        )
    cells = [c for c in declared_cells() if any(text in c.name for text in options.only)]
    if not cells:
        rows = "".join(f"\n  {cell.name}" for cell in declared_cells())
        raise InputError(f"--only must be a part of one of:{rows}")

    def log(line: str) -> None:
        print(line, file=sys.stderr)

    measured = measure_speeds(cells, options.turns, options.data, log)
    show(options, speed_table(measured), measured)
    if options.json and (figure := write_speed_figure(measured, options.json.with_suffix(".png"))):
        print(f"Figure: {figure}")


def add_features(parser: argparse.ArgumentParser) -> None:
    """Add the options of `features`."""
    about = "images to compare on (default 8)"
    parser.add_argument("--count", type=at_least(1), default=8, help=about)
    parser.add_argument("--sizes", type=int, nargs="+", default=[71, 96, 150, 224, 299])
    add_paths(parser, "--data", "--json")
    add_config_options(parser)


def features(options: argparse.Namespace) -> None:
    """Compare the frameworks' features, aligned and as shipped."""
    dataset = open_dataset(config_from(options), options.data)
    config = dataset.config
    rows = compare_features(config, options.data, options.sizes, options.count)
    title = "||PyTorch - TensorFlow|| / ||TensorFlow|| after block13, same weights, same images:"
    record = measurement(config, dataset.describe(), rows=rows, precision=config.precision)
    show(options, f"{title}\n\n{features_table(rows)}", record)


def add_baselines(parser: argparse.ArgumentParser) -> None:
    """Add the options of `baselines`."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="record; predictions: FILE.csv")
    add_paths(parser, "--data")
    add_config_options(parser)


def baselines(options: argparse.Namespace) -> None:
    """Score what the twins must beat, on the official split and the clean folds."""
    dataset = open_dataset(config_from(options), options.data)
    config = dataset.config
    features = pooled_features(config, dataset)
    thumbnails = thumbnails_of(dataset.catalog)
    scores, rows, probe = measure_baselines(dataset, thumbnails, features, config)
    weights = digest(initial_weights(config))
    measured = {"scores": scores, "probe": probe, "weights_sha256": weights}
    record = measurement(config, dataset.describe(), **measured)
    show(options, baselines_table(scores), record)
    if options.json:
        write_csv(options.json.with_suffix(".csv"), list(rows[0]), rows)
