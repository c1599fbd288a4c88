"""What each verb of the command line does with its options: call, then print."""

import argparse
import csv
import dataclasses
import datetime
import json
import sys
from pathlib import Path

from src import experiment, hardware
from src.comparison import baselines as comparison_baselines
from src.comparison import features as comparison_features
from src.comparison import frozen_features
from src.comparison.attribution import ATTRIBUTION, run_cells
from src.comparison.attribution_measure import measure_attribution
from src.comparison.attribution_report import attribution_table, write_attribution_figure
from src.comparison.bench import measure_cost
from src.comparison.bench_prefix import measure_half, measure_prefix, prefix_table
from src.comparison.parity import measure_parity
from src.comparison.parity_options import parity_config
from src.comparison.parity_plot import write_parity_plot
from src.comparison.parity_verdict import RED
from src.comparison.run import run_comparison
from src.comparison.tables import summary_table
from src.config import CLASS_NAMES, ExperimentConfig, preset
from src.data.dataset import open_dataset
from src.data.thumbnails import thumbnails_of
from src.differences import STOCK
from src.errors import InputError
from src.files import read_json, write_json
from src.predict import predict_files
from src.records import FRAMEWORKS
from src.reproduce.figures import write_figures
from src.reproduce.grid import declared_grid
from src.reproduce.measure import measure
from src.reproduce.run import RESULTS, choose, list_cells, run_grid
from src.reproduce.table import write_table
from src.xception.imagenet import fetch_imagenet
from src.xception.weights import digest, initial_weights

README = Path(__file__).resolve().parents[1] / "README.md"


def train(options: argparse.Namespace) -> None:
    """Fine-tune one twin."""
    out = _out(options)
    experiment.train(
        options.framework,
        _config(options),
        out,
        options.data,
        perturbed=options.perturbed,
        workers=options.workers,
    )
    if options.evaluate:
        _print_score(experiment.evaluate(out, options.data, workers=options.workers))
    print(f"Saved the model and its record in {out}.")


def evaluate(options: argparse.Namespace) -> None:
    """Score a saved model."""
    record = experiment.evaluate(options.run, options.data, options.part, workers=options.workers)
    _print_score(record, options.part)


def compare(options: argparse.Namespace) -> None:
    """Run both twins and write the report, or attribute their differences to the ledger."""
    if options.attribute:
        _attribute(options)
        return
    comparison, report = run_comparison(
        _config(options),
        _out(options),
        options.data,
        workers=options.workers,
        floor=not options.no_floor,
    )
    print(f"\n{summary_table(comparison)}\n\nReport: {report}")


def _attribute(options: argparse.Namespace) -> None:
    """Train along the path from stock to exact; print the table, write JSON and figure."""
    given = ATTRIBUTION | config_fields(options)
    config = dataclasses.replace(_config(options), **given)
    out, seeds = _out(options), list(range(config.seed, config.seed + options.seeds))
    for cell, left in run_cells(config, seeds, out, options.data, options.workers):
        print(f"{cell.folder} is done, {left} runs left", file=sys.stderr)
    attribution = measure_attribution(config, seeds, out)
    attribution["dataset"] = open_dataset(config, options.data).describe()
    attribution |= {"hardware": hardware.describe(None), "commit": hardware.commit()}
    write_json(out / "attribution.json", attribution)
    figure = write_attribution_figure(attribution, out / "attribution.png")
    print(f"\n{attribution_table(attribution)}\n\nFigure: {figure}")


def parity(options: argparse.Namespace) -> int:
    """Measure gap and floor, print the verdict, write JSON and plot; return 1 if it is red."""
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
        print(f"Plot: {write_parity_plot(measured, options.json.with_suffix('.png'))}")
    print(f"Logits of the trained models differ by {measured['eval_logits_gap']:.1e}.")
    print(f"{measured['verdict']}: {measured['reason']}")
    return int(measured["verdict"] == RED)


def bench(options: argparse.Namespace) -> None:
    """Time the exact training step beside the stock one, or epochs with and without the cache."""
    if options.prefix_half:  # one framework's half, asked for by the other branch
        write_json(options.json, measure_half(options.framework, _config(options), options.data))
        return
    if options.prefix:
        saved = measure_prefix(_config(options), options.data)
        print(prefix_table(saved))
        if options.json:
            write_json(options.json, saved)
        return
    measured = measure_cost(options.framework, _config(options), options.data, options.rounds)
    if options.json:
        write_json(options.json, measured)
    low, high = measured["cost_interval"]
    print(
        f"{FRAMEWORKS[options.framework]}: an exact step takes {measured['exact_seconds']:.3f} s, "
        f"a stock one {measured['stock_seconds']:.3f} s (medians of {options.rounds}). "
        f"Exactness costs {measured['cost']:+.1%} (95 % interval {low:+.1%} to {high:+.1%})."
    )


def reproduce(options: argparse.Namespace) -> None:
    """Run what is left of the README's grid; rebuild its table from the records found."""
    cells = declared_grid()
    chosen = choose(cells, options.only)
    if options.list:
        print(list_cells(chosen if options.only else cells))
        return
    if not options.table_only:
        for cell, left in run_grid(chosen, options.out, options.data, options.init):
            print(f"{cell.name} is done, {left} cells left", file=sys.stderr)
    measured = measure(cells, RESULTS)
    record = RESULTS / "baselines.json"
    scores = read_json(record)["scores"] if record.is_file() else None
    for figure in write_figures(measured, scores, RESULTS):
        print(f"Figure: {figure}", file=sys.stderr)
    print(write_table(measured, scores, README, RESULTS))


def predict(options: argparse.Namespace) -> None:
    """Classify images and print them as a table, CSV or JSON."""
    rows, refused = predict_files(options.paths, options.model, options.framework)
    for path, reason in refused:
        print(f"not read: {path}: {reason}", file=sys.stderr)
    if options.json:
        print(json.dumps(rows, indent=2))
    elif options.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(("path", "label", *CLASS_NAMES))
        writer.writerows((row["path"], row["label"], *row["probs"].values()) for row in rows)
    else:
        width = max(len(row["path"]) for row in rows)
        print(f"{'image':{width}}  {'label':10}  " + "  ".join(f"{n:>10}" for n in CLASS_NAMES))
        for row in rows:
            probs = "  ".join(f"{prob:10.4f}" for prob in row["probs"].values())
            print(f"{row['path']:{width}}  {row['label']:10}  {probs}")
        print("Not a medical device: for research and teaching only.", file=sys.stderr)


def features(options: argparse.Namespace) -> None:
    """Compare the frameworks' features, aligned and as shipped."""
    config = _config(options)
    if options.save:  # one framework's half, asked for by the other branch
        comparison_features.save_features(
            options.framework, config, options.data, options.count, options.save
        )
        return
    rows = comparison_features.compare_features(config, options.data, options.sizes, options.count)
    print("||PyTorch - TensorFlow|| / ||TensorFlow|| after block13, same weights, same images:\n")
    print(comparison_features.features_table(rows))
    if options.json:
        write_json(options.json, comparison_features.record(rows, config, options.data))


def baselines(options: argparse.Namespace) -> None:
    """Score what the twins must beat, on the official split and the clean folds."""
    config = _config(options)
    dataset = open_dataset(config, options.data)
    features = frozen_features.pooled_features(experiment.load_twin("pt"), config, dataset)
    thumbnails = thumbnails_of(dataset.catalog)
    scores, rows = comparison_baselines.measure_baselines(dataset, thumbnails, features, config)
    print(comparison_baselines.baselines_table(scores))
    if options.json:
        weights = digest(initial_weights(config))
        write_json(options.json, comparison_baselines.record(scores, dataset, config, weights))
        comparison_baselines.write_rows(options.json.with_suffix(".csv"), rows)


def _print_score(record: dict, part: str = "test") -> None:
    metrics = record["metrics"][part]
    print(
        f"{part}: accuracy {metrics['accuracy']:.4f}, macro F1 {metrics['macro_f1']:.4f}, "
        f"log loss {metrics['log_loss']:.4f} over {metrics['count']} images"
    )


def _config(options: argparse.Namespace) -> ExperimentConfig:
    """Return the preset or the file, with the fields given on the command line put over it."""
    given = config_fields(options)
    if options.config:
        values = read_json(options.config)
        if not isinstance(values, dict):
            raise InputError(f"{options.config} is no config: expected a JSON object of fields.")
        return ExperimentConfig.from_json(values | given)
    config = preset(options.preset, **given)
    if config.init == "imagenet" and "init" not in given:
        return _scratch_without_network(config)
    return config


def config_fields(options: argparse.Namespace) -> dict:
    """Return the fields of the config that were given on the command line."""
    names = [spec.name for spec in dataclasses.fields(ExperimentConfig)]
    given = {name: getattr(options, name) for name in names if hasattr(options, name)}
    if given.get("framework_defaults") == ["all"]:
        given["framework_defaults"] = STOCK
    return given


def _scratch_without_network(config: ExperimentConfig) -> ExperimentConfig:
    """Start from a random draw, and say so, where nobody asked for ImageNet and it is not here."""
    try:
        fetch_imagenet()
    except InputError as error:
        print(
            f"*** {error}\n*** Nothing was given for --init, so this run starts from a random "
            "draw (init=scratch). Its scores say little about fine-tuning.",
            file=sys.stderr,
        )
        return dataclasses.replace(config, init="scratch")
    return config


def _out(options: argparse.Namespace) -> Path:
    return options.out or Path("runs") / datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
