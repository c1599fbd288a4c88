"""The search of the recipe (`notebooks/results/search.py`): trials, cost, what came of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from src.common.files import read_json
from src.common.tables import markdown_table
from src.data.splits.folds import FOLDS
from src.records import Run
from src.results.pool import check_same_images
from src.results.tables import INTERVAL, with_interval

QUICK, CHOSEN = "quick", "side-224"  # the trials that became presets `quick` and `tuned`
LATER = "side-224-all"  # the trial that arm `whole` of the grid takes to the folds


def read_search(file: Path, tuned: Sequence[Run], later: Sequence[Run] = ()) -> dict:
    """Return what `recipes.json` says of the search, and what the chosen recipe's runs on CPU add.

    Args:
        file: `recipes.json`, which may not be there yet.
        tuned: all runs of the chosen recipe.
        later: clean folds trained with a recipe that was found when it had been chosen.
    Returns:
        trials: of those done, name, question, side (px), hours, images (of the selection part),
        accuracy and log_loss of the flip average at that side, and val_loss of the last epoch.
        left: the names of the others.
        tuned, where there are such runs: their number and hours, and train_accuracy, the mean of
        their last epochs.
        later, where there are such runs: their number of folds, and the accuracy of both recipes on
        these, and of the mean of both, in the framework of `later`.
        {} without the file, and before a trial is done.
    Raises:
        InputError: the file is no JSON.
    """
    if not file.is_file():
        return {}
    record = read_json(file)
    done = record["trials"]
    trials = []
    for name, trial in done.items():
        side = trial["recipe"]["image_size"]
        score = trial["scores"][str(side)]["flip_average"]
        trials.append(
            {
                "name": name,
                "question": record["declared"][name],
                "side": side,
                "accuracy": score["accuracy"],
                "log_loss": score["log_loss"],
                "val_loss": trial["history"]["val_loss"][-1],
                "hours": trial["seconds"] / 3600,
                "images": trial["images"]["test"],
            }
        )
    if not trials:
        return {}
    found = {"trials": trials, "left": [name for name in record["declared"] if name not in done]}
    runs = [run.record for run in tuned if not run.record["hardware"]["gpu"]]
    if runs:
        found["tuned"] = {
            "runs": len(runs),
            "hours": sum(run["seconds"] for run in runs) / 3600,
            "train_accuracy": float(np.mean([run["history"]["accuracy"][-1] for run in runs])),
        }
    if later:
        names = [run.record["name"].replace(run.record["arm"], "tuned", 1) for run in later]
        named = {run.record["name"]: run for run in tuned}
        same = [named[name] for name in names]
        found["later"] = {"folds": len(later), "found": _accuracy(later), "chosen": _accuracy(same)}
        found["later"]["mean"] = _accuracy_of_mean(later, same)
    return found


def _accuracy(runs: Sequence[Run]) -> float:
    """Return the share of all test images of the runs that are right."""
    tests = [run.record["metrics"]["test"] for run in runs]
    right = sum(test["accuracy"] * test["count"] for test in tests)
    return right / sum(test["count"] for test in tests)


def _accuracy_of_mean(runs: Sequence[Run], others: Sequence[Run]) -> float:
    """Return the same of the mean of two networks' probabilities, run by run."""
    right = []
    for one, other in zip((run.predictions for run in runs), (run.predictions for run in others)):
        check_same_images(one, other, "paths", "labels")
        right.extend((one.probs + other.probs).argmax(axis=1) == one.labels)
    return float(np.mean(right))


def search_section(search: Mapping) -> str:
    """Return the trials, their cost and what came of them, as Markdown; "" without a search."""
    if not search:
        return ""
    hours, lowest, lines = 0.0, np.inf, []
    for trial in search["trials"]:
        hours += trial["hours"]
        lowest = min(lowest, trial["log_loss"])
        lines.append(
            [
                trial["name"],
                trial["question"],
                f"{trial['side']} px",
                with_interval(trial["accuracy"]),
                f"{trial['log_loss']:.3f}",
                f"{trial['val_loss']:.3f}",
                f"{trial['hours']:.1f}",
                f"{hours:.1f}",
                f"{lowest:.3f}",
            ]
        )
    head = (
        "trial", "asks", "size", f"accuracy {INTERVAL}", "log loss", "validation loss", "hours",
        "hours in all", "lowest log loss so far",
    )  # fmt: skip
    loss = {trial["name"]: trial["log_loss"] for trial in search["trials"]}
    declared = len(search["trials"]) + len(search["left"])
    left = f" Not run here: {', '.join(search['left'])}." if search["left"] else ""
    notes = [
        f"{len(search['trials'])} of {declared} declared trials are run.{left} Hours are by the "
        "clock, beside other work; layer-decay was paused for 25 minutes.",
        f"Scores are those of the selection part ({search['trials'][0]['images']} images, which no "
        "fold tests), averaged with the mirror image, in PyTorch. The log loss chooses. The "
        "validation loss is of other images, with label smoothing. The intervals of the first four "
        "trials are by percentile bootstrap.",
    ]
    if {"base", "base-again"} <= loss.keys():
        notes.append(
            "base-again is base once more, on another processor: their log losses are "
            f"{abs(loss['base-again'] - loss['base']):.3f} apart. Better than base by more than "
            f"that: {', '.join(beyond_repetition(loss)) or 'none'}. One repetition is a rough "
            "measure, and the accuracies say less still. (finish-224 began with base-again.)"
        )
    if QUICK in loss:
        minutes = {
            trial["name"]: f"{60 * trial['hours']:.0f} minutes" for trial in search["trials"]
        }
        longer = [f"{n} ({minutes[n]})" for n in loss if QUICK in n and loss[n] < loss[QUICK]]
        notes.append(
            f"Preset `quick` is the trial of that name. It took {minutes[QUICK]}, the kept outputs "
            f"included. Other trials for it with a lower log loss: {', '.join(longer) or 'none'}."
        )
    if tuned := search.get("tuned"):
        notes.append(
            f"Preset `tuned` and the shipped model are {CHOSEN}, chosen after four trials. "
            f"The recipe's {tuned['runs']} runs on CPU, in both frameworks, took "
            f"{tuned['hours']:.1f} hours more. They end at a training accuracy of "
            f"{tuned['train_accuracy']:.1%}: the images are learned by heart, and the score stays "
            "behind."
        )
    if later := search.get("later"):
        notes.append(
            f"{LATER} was tried after `tuned` had trained the folds. In PyTorch, on "
            f"{later['folds']} of the {FOLDS} folds, it is right on {later['found']:.1%} of the "
            f"test images, `tuned` on {later['chosen']:.1%}, and the mean of both networks' "
            f"probabilities on {later['mean']:.1%}."
        )
    measures = ("log_loss", "val_loss")
    best, valid = (min(search["trials"], key=lambda t: t[of])["name"] for of in measures)
    if best != valid:
        notes.append(
            f"{best} has the lowest log loss and {valid} the lowest validation loss. So the images "
            "at hand do not say which of these recipes is best. Next: images of more patients."
        )
    lines = [markdown_table(head, lines, left=2), "", *(f"- {note}" for note in notes)]
    return "\n".join(lines)


def beyond_repetition(loss: Mapping[str, float]) -> list[str]:
    """Return the trials whose log loss is lower than base's by more than its repetition differs."""
    apart = abs(loss["base-again"] - loss["base"])
    return [name for name, each in loss.items() if each < loss["base"] - apart]
