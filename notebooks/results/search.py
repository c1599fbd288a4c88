"""Which recipe fine-tunes Xception best? The declared search, on the clean split's selection part.

    python -m notebooks.results.search DATA WEIGHTS OUT [--only NAME ...] [--list]

Each trial trains PyTorch on the images outside the selection part, of which a tenth validates, and
is scored on the selection part. It may train on what a fold tests; it is scored on none of that.
Runs lie in OUT, and the same command goes on after a stop. A finished trial is written to
`recipes.json` beside this file. Commands that run different trials may share OUT. With --nworkers N
or --scheduler ADDRESS the trials run on Dask, as the grid does (README.md).
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from notebooks.results.script import in_a_sentence
from src.common.files import make_folder, read_json, write_json
from src.common.hardware import missing_arithmetic
from src.comparison.run import train_once
from src.config import ExperimentConfig
from src.data.dataset import open_dataset
from src.data.splits.folds import SELECTION_FOLD
from src.evaluation.intervals import group_intervals
from src.evaluation.metrics import score
from src.experiment import load_twin
from src.records import read_run, speed
from src.results.cluster import add_cluster_options, connect, run_all
from src.results.grid import RESULTS
from src.results.search import QUICK
from src.training.checkpoint import read_model
from src.xception.stages import FINETUNE

if TYPE_CHECKING:
    from distributed import Client

RECIPES = RESULTS / "recipes.json"
BASE = dict(  # not the preset, which becomes what the search chooses
    fold=SELECTION_FOLD,
    image_size=150,
    reinit=["block14"],  # which the weights file lacks; it trains whole, its BatchNorm too
    unfreeze_from="block2",
    batch_norm="frozen",
    head_epochs=1,
    finetune_epochs=4,
    finetune_learning_rate=2e-4,
    warmup_epochs=0.25,
    optimizer="adamw",
    weight_decay=0.05,
    label_smoothing=0.05,
    dropout=0.3,
    patience=0,
)
TEST_SIDES = (150, 192, 224, 256, 288)  # from a trial's own side to half as much again


@dataclass(frozen=True)
class Trial:
    """One recipe, and what it asks.

    Attributes:
        name: of its folder and of its record.
        question: in a few words.
        fields: of the config, where they differ from BASE.
        start: the trial with whose trained network, head included, this one begins.
    """

    name: str
    question: str
    fields: dict = field(default_factory=dict)
    start: str = ""

    @property
    def recipe(self) -> dict:
        return BASE | self.fields

    def config(self, weights: Path, out: Path) -> ExperimentConfig:
        """Return the experiment, from `weights` or from the network of an earlier trial in `out`.

        It computes in bfloat16 where the machine has the units, unless `fields` say otherwise.
        """
        init = out / self.start / "model.safetensors" if self.start else weights
        gpu = load_twin("pt").runtime.gpu_name()
        precision = "float32" if missing_arithmetic("bfloat16", gpu) else "bfloat16"
        return ExperimentConfig(**{"precision": precision} | self.recipe | {"init": str(init)})


_DEPTH = "does it help to train more or fewer blocks?"
_RATE = "another learning rate?"
_FINISH = dict(
    image_size=224, reinit=[], head_epochs=0, finetune_epochs=2, finetune_learning_rate=5e-5
)
_QUICK = dict(  # as preset `quick`, which anybody's processor must train in minutes
    feature_cache=True, cached_views=2, head_epochs=0, finetune_epochs=2,
    finetune_learning_rate=3e-4, flip_average=True, precision="float32",
)  # fmt: skip
_HALVES = dict(  # one epoch in all, and a curve of two points
    feature_cache=False, max_images_per_epoch=2860,
)  # fmt: skip
# One change of `base` each, the likeliest first; all but base-again fixed beforehand. Then `quick`.
TRIALS = (
    Trial("base", "where the search begins"),
    Trial("epochs-8", "twice the time?", dict(finetune_epochs=8)),
    Trial("side-224", "do more pixels help?", dict(image_size=224)),
    Trial("augment-more", "stronger augmentation?", dict(augment_strength=1.5)),
    Trial("average-99", "an average of the weights?", dict(ema_decay=0.99)),
    Trial("rate-double", _RATE, dict(finetune_learning_rate=4e-4)),
    Trial("rate-half", _RATE, dict(finetune_learning_rate=1e-4)),
    Trial("from-block5", _DEPTH, dict(unfreeze_from="block5")),
    Trial("from-block1", _DEPTH, dict(unfreeze_from="block1")),
    Trial("finish-224", "train low, finish high?", _FINISH, start="base"),
    Trial("layer-decay", "lower rates for lower blocks?", dict(layer_decay=0.85)),
    Trial("cutout", "a covered square?", dict(cutout=0.1)),
    Trial("base-again", "the same once more: how far apart?"),  # on another processor
    Trial(
        "quick-two-blocks",
        "`quick`: kept outputs, the last two blocks, 4 epochs",
        _QUICK | dict(unfreeze_from="block13", finetune_epochs=4),
    ),
    Trial(
        "quick-longer",
        "`quick`: kept outputs, the last six blocks, 4 epochs",
        _QUICK | dict(unfreeze_from="block9", finetune_epochs=4),
    ),
    Trial(QUICK, "`quick`: the same, 2 epochs", _QUICK | dict(unfreeze_from="block9")),
    Trial(
        "quick-rate-double",
        "`quick`: twice the learning rate?",
        _QUICK | dict(unfreeze_from="block9", finetune_learning_rate=6e-4),
    ),
    Trial(
        "quick-rate-triple",
        "`quick`: 3.3 times the learning rate?",
        _QUICK | dict(unfreeze_from="block9", finetune_learning_rate=1e-3),
    ),
    Trial(
        "quick-layer-decay",
        "`quick`: a higher rate for block14 and the head, which begin at random?",
        _QUICK | dict(unfreeze_from="block9", finetune_learning_rate=1e-3, layer_decay=0.85),
    ),
    Trial(
        "quick-head-first",
        "`quick`: block14 and the head alone first, then twice the learning rate?",
        _QUICK | dict(unfreeze_from="block9", finetune_learning_rate=6e-4, head_epochs=1),
    ),
    Trial(
        "quick-batch-norm",
        "`quick`: BatchNorm trains in every unfrozen block?",
        _QUICK | dict(unfreeze_from="block9", finetune_learning_rate=6e-4, batch_norm="update"),
    ),
    Trial(
        "quick-block5",
        "`quick`: the last ten blocks, for one epoch?",
        _QUICK
        | dict(
            unfreeze_from="block5",
            finetune_epochs=1,
            finetune_learning_rate=6e-4,
            cached_views=1,
        ),
    ),
    Trial(
        "side-224-all",
        "224 px, every block and twice the learning rate together?",
        dict(image_size=224, unfreeze_from="block1", finetune_learning_rate=4e-4),
    ),
    Trial(
        "quick-whole",
        "`quick`: all blocks but the first, two half epochs, no kept outputs?",
        _QUICK | _HALVES | dict(unfreeze_from="block2", finetune_learning_rate=4e-4),
    ),
    Trial(
        "side-224-long",
        "side-224-all for 8 epochs, with stronger augmentation and averaged weights?",
        dict(
            image_size=224,
            unfreeze_from="block1",
            finetune_learning_rate=4e-4,
            finetune_epochs=8,
            augment_strength=1.5,
            ema_decay=0.998,
        ),
    ),
    Trial(
        "side-299",
        "side-224-all at 299 px, the side that Xception was made for?",
        dict(image_size=299, unfreeze_from="block1", finetune_learning_rate=4e-4),
    ),
    Trial(
        "quick-192",
        "`quick`: more pixels, and the last four blocks?",
        _QUICK | dict(image_size=192, unfreeze_from="block11", finetune_learning_rate=6e-4),
    ),
    Trial(
        "quick-average",
        "`quick`: twice the learning rate, and an average of the weights?",
        _QUICK | dict(unfreeze_from="block9", finetune_learning_rate=6e-4, ema_decay=0.98),
    ),
)


def run_trials(
    trials: Sequence[Trial], data: Path, weights: Path, out: Path, client: "Client | None" = None
) -> None:
    """Train and score what is not recorded yet, in this order; record each when it is done.

    With a `client`, Dask's workers do; a trial that begins with another's network waits for it.

    Raises:
        InputError: something given is wrong, or training failed.
    """
    run = partial(run_trial, data=data, weights=weights, out=out)
    for _ in run_all(run, trials, client, after=lambda trial: trial.start):
        write_recipes(out)
    write_recipes(out)


def run_trial(trial: Trial, data: Path, weights: Path, out: Path) -> None:
    """Train and score a trial that is not recorded yet; describe it in its folder."""
    done = recorded(out)
    if trial.name in done:
        return
    print(f"\n{trial.name}: {trial.question} {_expected(trial, done)}", file=sys.stderr)
    folder = make_folder(out / trial.name)
    train_once("pt", folder, trial.config(weights, out), data)
    write_json(folder / "trial.json", describe(trial, folder, data))


def describe(trial: Trial, folder: Path, data: Path) -> dict:
    """Return what is recorded of a finished trial."""
    record = read_run(folder).record
    curves = ("stage", "loss", "accuracy", "val_loss", "val_accuracy")
    return {
        "question": trial.question,
        "fields": trial.fields,
        "start": trial.start,
        "recipe": trial.recipe,
        "precision": record["config"]["precision"],
        "images": record["dataset"]["parts"],
        "history": {name: record["history"][name] for name in curves},
        "scores": score_selection(folder, data),
        "seconds": record["seconds"],
        "images_per_second": speed(record, "train")["images_per_second"],
        "hardware": record["hardware"],
        "commit": record["commit"],
    }


def score_selection(folder: Path, data: Path) -> dict:
    """Score a trained network at several test sides, alone and averaged with the mirror image.

    At another side than its own, BatchNorm's statistics are measured anew where they trained, as
    training with that `test_size` would have done in the end. With kept outputs, which exist at
    one side, it is scored at that side.

    Returns:
        side -> "plain" and "flip_average" -> log_loss, which tells recipes apart sooner than
        accuracy does, and accuracy and sensitivity by class, with intervals.
    """
    twin, (weights, trained) = load_twin("pt"), read_model(folder)
    twin.runtime.configure(trained)
    scores = {}
    others = () if trained.feature_cache else TEST_SIDES
    for side in sorted({trained.eval_size, *others}):
        if not trained.eval_size <= side <= 1.5 * trained.eval_size:
            continue
        config = replace(trained, test_size=side, flip_average=False)  # it is averaged below
        dataset, model = open_dataset(config, data), twin.model.build_model(config, weights)
        if side != trained.eval_size:
            twin.model.set_stage(model, FINETUNE)
            statistics = twin.data.make_loader(dataset.statistics_batches())
            twin.train.measure_statistics(model, statistics)
        tested = dataset.batches("test")
        plain, mirrored = (
            twin.predict.predict_proba(model, twin.data.make_loader(batches))
            for batches in (tested, tested.mirrored())
        )
        groups = dataset.groups[dataset.parts["test"]]
        scores[str(side)] = {
            name: _scores(tested.labels, probs, groups, config.classes)
            for name, probs in (("plain", plain), ("flip_average", (plain + mirrored) / 2))
        }
    return scores


def _scores(
    labels: np.ndarray, probs: np.ndarray, groups: np.ndarray, classes: Sequence[str]
) -> dict:
    scores = group_intervals(labels, probs, groups, classes=classes)
    sensitivity = {name: each["sensitivity"] for name, each in scores["per_class"].items()}
    loss = score(labels, probs, classes)["log_loss"]
    return {"log_loss": loss, "accuracy": scores["accuracy"], "sensitivity": sensitivity}


def recorded(out: Path) -> dict[str, dict]:
    """Return the trials that are recorded, here or in `out`, with the recipe declared now."""
    found = read_json(RECIPES)["trials"] if RECIPES.is_file() else {}
    for trial in TRIALS:
        if (out / trial.name / "trial.json").is_file():
            found[trial.name] = read_json(out / trial.name / "trial.json")
    return {
        trial.name: found[trial.name]
        for trial in TRIALS
        if trial.name in found
        and (found[trial.name]["recipe"], found[trial.name]["start"]) == (trial.recipe, trial.start)
    }


def write_recipes(out: Path) -> None:
    """Write `recipes.json`: what it holds, and what was finished in `out` by any command."""
    write_json(
        RECIPES,
        {
            "what": "trials of recipes, each trained outside the clean split's selection part and "
            "scored on it: accuracy by image with 95 % intervals over groups (by percentile "
            "bootstrap until November 2026, as `src.evaluation.intervals` says since)",
            "command": "python -m notebooks.results.search DATA WEIGHTS OUT",
            "declared": {trial.name: trial.question for trial in TRIALS},
            "trials": recorded(out),
        },
    )


def list_trials(out: Path) -> str:
    """Return a line for each trial: its accuracy, or the minutes that it may take."""
    done, lines = recorded(out), []
    for trial in TRIALS:
        state = _expected(trial, done) or "not timed yet"
        if trial.name in done:
            at_own_side = next(iter(done[trial.name]["scores"].values()))
            state = f"done: {at_own_side['plain']['accuracy']['value']:.1%}"
        lines.append(f"{trial.name:15}  {state:18}  {trial.question}")
    return "\n".join(lines)


def _expected(trial: Trial, done: Mapping[str, dict]) -> str:
    """Return "about N min" from the time of other trials; "" before there is one."""
    work = {each.name: _work(each.recipe) for each in TRIALS}
    rates = [record["seconds"] / work[name] for name, record in done.items()]
    return f"about {work[trial.name] * sum(rates) / len(rates) / 60:.0f} min" if rates else ""


def _work(recipe: Mapping) -> float:
    """Return pixels times epochs: a third of a pass where all but block14 and the head rest."""
    return recipe["image_size"] ** 2 * (recipe["finetune_epochs"] + recipe["head_epochs"] / 3)


def main(arguments: list[str]) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser("python -m notebooks.results.search")
    for name in ("data", "weights", "out"):
        parser.add_argument(name, type=Path)
    names = [trial.name for trial in TRIALS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--list", action="store_true", help="show what is done and what is left")
    add_cluster_options(parser)
    options = parser.parse_args(arguments)
    if options.list:
        print(list_trials(options.out))
        return
    trials = [trial for trial in TRIALS if trial.name in options.only]
    with connect(options.scheduler, options.nworkers) as client:
        run_trials(trials, options.data, options.weights, options.out, client)


if __name__ == "__main__":
    with in_a_sentence():
        main(sys.argv[1:])
