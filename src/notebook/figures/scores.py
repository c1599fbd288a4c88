"""Figures and tables of one framework's runs (02 and 03), and of simple classifiers (01, 03)."""

import dataclasses

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from src.common.files import read_json
from src.comparison.bench.answers import answers
from src.comparison.report import plots
from src.comparison.report.heatmaps import Overlay, draw_overlays
from src.comparison.report.style import COLORS, new_figure, styled
from src.comparison.report.tables import decimal, percent, tiny
from src.config import FRAMEWORKS, ExperimentConfig
from src.data.dataset import Dataset
from src.records import Run
from src.results.grid import RESULTS
from src.xception.stages import FINETUNE, HEAD, all_layers, trainable_layers


def config_rows(config: ExperimentConfig, names: tuple[str, ...]) -> list[dict]:
    """Return some fields of a config with their units and reasons, as table rows."""
    about = {field.name: field.metadata for field in dataclasses.fields(config)}
    table = []
    for name in names:
        value = getattr(config, name)
        shown = ", ".join(value) or "none" if isinstance(value, tuple) else str(value)
        row = {"field": name, "value": shown.rpartition("/")[2]}
        table.append(row | {key: about[name][key] for key in ("unit", "why")})
    return table


def stage_rows(config: ExperimentConfig) -> list[dict]:
    """Return what each stage trains, as table rows; a stage without epochs is left out."""
    table = []
    stages = (("1, the head", HEAD, config.head_epochs),)
    stages += (("2, fine-tuning", FINETUNE, config.finetune_epochs),)
    for title, stage, epochs in stages:
        if not epochs:
            continue
        names = trainable_layers(config, stage)
        layers = [layer for layer in all_layers(config) if layer.name in names]
        table.append(
            {
                "stage": title,
                "trains": ", ".join(dict.fromkeys(layer.block for layer in layers)),
                "layers": len(layers),
                "parameters": sum(layer.parameters() for layer in layers),
                "epochs": epochs,
            }
        )
    return table


def draw_batch(dataset: Dataset) -> Figure:
    """Draw eight images of the first training batch, as the network receives them."""
    images, labels, _ = dataset.batches("train", training=True).batch(0, 0)
    gray = np.rint((images[:8, ..., 0] + 1) * 127.5).astype(np.uint8)
    names = dataset.catalog.classes
    panels = [Overlay(image, names[label]) for image, label in zip(gray, labels)]
    return draw_overlays(panels, {"dataset": dataset.describe(), "config": {}}, columns=4)


@styled()
def draw_history(run: Run) -> Figure:
    """Draw loss and accuracy by epoch, training and validation."""
    history = run.record["history"]
    epochs = np.arange(1, len(history["loss"]) + 1)
    color = COLORS[run.framework]
    figure = new_figure(3.4, run.record)
    panels = figure.subplots(1, 2)
    for axes, name, unit in zip(panels, ("loss", "accuracy"), ("nats per image", "of images")):
        axes.plot(epochs, history[name], "-o", color=color, label="training")
        validation = np.array(history[f"val_{name}"], float)
        axes.plot(epochs, validation, "--s", color=color, label="validation")
        axes.set_title(f"{name.capitalize()}, {unit}", fontsize=10)
        axes.set(xlabel="epoch", xlim=(0.8, epochs[-1] + 0.2))
        plots.number_axis(axes)
    panels[1].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower left", ncols=2)
    return figure


def score_rows(networks: dict[str, dict[str, Run]], shortcuts: dict[str, dict]) -> list[dict]:
    """Return the scores of each split's networks, then of its simple classifiers, as table rows.

    `networks` is split -> name -> run; `shortcuts` is split -> classifier -> scores, from
    `score_shortcuts`.
    """
    table = []
    for split, runs in networks.items():
        tests = {name: run.record["metrics"]["test"] for name, run in runs.items()}
        for name, scores in (tests | shortcuts[split]).items():
            row = {"split": split, "classifier": name}
            row["accuracy"] = percent(scores["accuracy"])
            row["balanced accuracy"] = percent(scores["balanced_accuracy"])
            row["macro AUROC"] = decimal(scores["macro_auroc"], 3) if name in tests else ""
            row["log loss"] = decimal(scores["log_loss"], 3) if name in tests else ""
            table.append(row)
    return table


@styled()
def draw_scores(
    shortcuts: dict[str, dict], about: dict, networks: dict[str, dict[str, Run]] | None = None
) -> Figure:
    """Draw the accuracy of simple classifiers on both splits, and of the networks above them.

    Arguments as for `score_rows`; `about` has `dataset` and `config`, for the notices above.
    """
    scores = {split: {} for split in shortcuts}
    for split, runs in (networks or {}).items():
        scores[split] = {name: run.record["metrics"]["test"] for name, run in runs.items()}
    scores = {split: tests | shortcuts[split] for split, tests in scores.items()}
    names = list(max(scores.values(), key=len))
    figure = new_figure(0.55 * len(names) + 1.0, about)
    axes = figure.subplots()
    styles = {"official": (COLORS["wrong"], "s", 9), "clean": (COLORS["pt"], "o", -17)}
    for split, (color, marker, offset) in styles.items():
        values = {names.index(name): each["accuracy"] for name, each in scores[split].items()}
        axes.plot(values.values(), values.keys(), marker, color=color, ms=8, label=f"{split} split")
        text = {"ha": "center", "fontsize": 9, "color": color, "textcoords": "offset points"}
        for y, value in values.items():
            axes.annotate(f"{value:.0%}", (value, y), (0, offset), **text)
    classes = next(iter(about["dataset"]["counts"].values()))
    axes.axvline(1 / len(classes), color="#555555", lw=1, ls=":")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlim=(0, 1.04), ylim=(len(names) - 0.4, -0.6))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("accuracy on the test part (dotted: chance)")
    figure.legend(loc="outside lower right", ncols=2)
    return figure


def draw_matrices(runs: dict[str, Run]) -> Figure:
    """Draw the confusion matrix of each run, side by side; `runs` is title -> run."""
    tests = {title: run.record["metrics"]["test"] for title, run in runs.items()}
    return plots.draw_matrices(tests, next(iter(runs.values())).record)


def class_rows(run: Run) -> list[dict]:
    """Return the test part's metrics for each class, as table rows."""
    table = []
    for name, scores in run.record["metrics"]["test"]["per_class"].items():
        shown = ("sensitivity", "specificity", "precision", "auroc")
        rates = {key: decimal(scores[key], 3) for key in shown}
        table.append({"class": name, "images": scores["support"]} | rates)
    return table


def runtime_rows() -> list[dict]:
    """Return how far each way to run the shipped classifier is from the twins, as table rows."""
    recorded = read_json(RESULTS / "runtimes.json")["differences"]
    twins = {f"from the {title} twin": name for name, title in FRAMEWORKS.items()}
    return [
        {"runtime": name, **{title: tiny(far.get(twin)) for title, twin in twins.items()}}
        for name, far in recorded.items()
    ]


def recorded_speeds() -> dict:
    """Return the record of `python -m src bench`."""
    return read_json(RESULTS / "speeds.json")


def answer_rows() -> list[dict]:
    """Return questions about the two frameworks and their answers from the records, as rows."""
    equivalence = read_json(RESULTS / "table.json")["equivalence"]
    return answers(recorded_speeds(), equivalence)
