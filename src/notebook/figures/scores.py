"""Figures and tables of one framework's runs: the notebooks 02 and 03."""

import dataclasses

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from src.comparison.report.heatmaps import Overlay, draw_overlays
from src.comparison.report.plots import draw_matrix
from src.comparison.report.style import COLORS, new_figure, styled
from src.comparison.report.tables import decimal, percent
from src.config import CLASS_NAMES, ExperimentConfig
from src.data.dataset import Dataset
from src.records import Run
from src.xception.stages import FINETUNE, HEAD, all_layers, trainable_layers

_DARK = "#222222"


def config_rows(config: ExperimentConfig, names: tuple[str, ...]) -> list[dict]:
    """Return some fields of a config with their units and reasons, as table rows."""
    about = {field.name: field.metadata for field in dataclasses.fields(config)}
    rows = []
    for name in names:
        value = getattr(config, name)
        shown = ", ".join(value) or "none" if isinstance(value, tuple) else str(value)
        rows.append(
            {
                "field": name,
                "value": shown.rpartition("/")[2],
                "unit": about[name]["unit"],
                "why": about[name]["why"],
            }
        )
    return rows


def stage_rows(config: ExperimentConfig) -> list[dict]:
    """Return what each stage trains, as table rows."""
    rows = []
    for stage, what in ((HEAD, "1, the head"), (FINETUNE, "2, fine-tuning")):
        names = trainable_layers(config, stage)
        layers = [layer for layer in all_layers(config) if layer.name in names]
        blocks = list(dict.fromkeys(layer.block for layer in layers))
        rows.append(
            {
                "stage": what,
                "blocks that train": ", ".join(blocks)
                if len(blocks) < 6
                else f"{blocks[0]} to {blocks[-2]}, {blocks[-1]}",
                "layers": len(layers),
                "numbers in them": sum(layer.parameters() for layer in layers),
                "epochs": config.head_epochs if stage == HEAD else config.finetune_epochs,
            }
        )
    return rows


def draw_batch(dataset: Dataset, count: int = 8) -> Figure:
    """Draw the first images of the first training batch, as the network gets them."""
    images, labels, _ = dataset.batches("train", training=True).batch(0, 0)
    gray = np.rint((images[:count, ..., 0] + 1) * 127.5).astype(np.uint8)
    panels = [Overlay(image, CLASS_NAMES[label]) for image, label in zip(gray, labels)]
    return draw_overlays(panels, {"dataset": dataset.describe(), "config": {}}, columns=4)


def draw_history(run: Run) -> Figure:
    """Draw loss and accuracy by epoch, training and validation."""
    history = run.record["history"]
    epochs = np.arange(1, len(history["loss"]) + 1)
    color = COLORS[run.framework]
    with styled():
        figure = new_figure(3.4, run.record)
        panels = figure.subplots(1, 2)
        for axes, name, unit in zip(panels, ("loss", "accuracy"), ("nats per image", "of images")):
            for series, line, marker in ((name, "-", "o"), (f"val_{name}", "--", "s")):
                values = np.array(history[series], float)
                label = "validation" if series.startswith("val") else "training"
                axes.plot(epochs, values, line, marker=marker, color=color, label=label)
            axes.set_title(f"{name.capitalize()}, {unit}", fontsize=10)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
            axes.set_xlim(0.8, epochs[-1] + 0.2)
        panels[1].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower left", ncols=2)
        return figure


def score_rows(runs: dict[str, Run], shortcuts: dict[str, dict]) -> list[dict]:
    """Return accuracy and more of each split's run, its shortcut baselines below, as table rows.

    Args:
        runs: split -> run.
        shortcuts: split -> baseline -> scores, from `score_shortcuts`.
    """
    rows = []
    for split, run in runs.items():
        test = run.record["metrics"]["test"]
        rows.append(
            {
                "split": split,
                "what": "Xception",
                "accuracy": percent(test["accuracy"]),
                "balanced accuracy": percent(test["balanced_accuracy"]),
                "macro AUROC": decimal(test["macro_auroc"], 3),
                "log loss": decimal(test["log_loss"], 3),
            }
        )
        for name, found in shortcuts[split].items():
            rows.append(
                {
                    "split": split,
                    "what": f"shortcut: {name}",
                    "accuracy": percent(found["accuracy"]),
                    "balanced accuracy": percent(found["balanced_accuracy"]),
                    "macro AUROC": "",
                    "log loss": "",
                }
            )
    return rows


def draw_scores(runs: dict[str, Run], shortcuts: dict[str, dict]) -> Figure:
    """Draw accuracy of the network and of every shortcut, split by split."""
    names = ["Xception", *next(iter(shortcuts.values()))]
    with styled():
        figure = new_figure(0.5 * len(names) + 1.0, next(iter(runs.values())).record)
        axes = figure.subplots()
        looks = {"official": (COLORS["wrong"], "s"), "clean": (COLORS["pt"], "o")}
        for split, run in runs.items():
            found = [run.record["metrics"]["test"]["accuracy"]]
            found += [shortcuts[split][name]["accuracy"] for name in names[1:]]
            color, marker = looks[split]
            axes.plot(found, range(len(names)), marker, color=color, ms=8, label=f"{split} split")
        axes.axvline(0.25, color="#555555", lw=1, ls=":")
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(0, 1.04)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("accuracy on the test part (dotted: chance)")
        figure.legend(loc="outside lower right", ncols=2)
        return figure


def draw_matrices(runs: dict[str, Run]) -> Figure:
    """Draw the confusion matrix of each split's run."""
    with styled(grid=False):
        figure = new_figure(3.2, next(iter(runs.values())).record)
        panels = figure.subplots(1, len(runs), sharey=True, squeeze=False)[0]
        for axes, (split, run) in zip(panels, runs.items()):
            test = run.record["metrics"]["test"]
            draw_matrix(axes, np.array(test["confusion_matrix"]))
            axes.set_title(f"{split} split, {percent(test['accuracy'])} right", fontsize=10)
        panels[0].set_yticks(range(len(CLASS_NAMES)), CLASS_NAMES)
        panels[0].set_ylabel("truth")
        figure.supxlabel("predicted class (number of test images)", fontsize=10)
        return figure


def class_rows(run: Run) -> list[dict]:
    """Return the test part's metrics class by class, as table rows."""
    rows = []
    for name, found in run.record["metrics"]["test"]["per_class"].items():
        row = {"class": name, "images": found["support"]}
        for key in ("sensitivity", "specificity", "precision", "auroc"):
            row[key] = decimal(found[key], 3)
        rows.append(row)
    return rows
