"""A made-up grid: records and predictions like those of real runs, for tests of what reads them.

Its numbers mean nothing. Frameworks with one seed are more alike than seeds are, the official split
flatters, stock is worse than exact, and the linear probe is worse than the twins.
"""

import csv
from collections import defaultdict

import numpy as np
from fake_runs import fake_record

from src.common.files import write_json
from src.comparison.baselines import BASELINES, PROBE
from src.config import CLASS_NAMES
from src.data.patients.recover import shipped_table
from src.data.splits.folds import FOLDS
from src.evaluation.calibration import choose_thresholds
from src.evaluation.intervals import group_intervals
from src.evaluation.metrics import score
from src.feature_cache.plan import cached_block
from src.records import write_predictions
from src.results.grid import PLACE, declared_grid
from src.xception.stages import FINETUNE

IMAGES = 400
_SKILL = {"exact": 3.0, "stock": 2.4, "block13": 3.3, "scratch": 1.2, "tuned": 3.5,
          "small": 3.0, "whole": 3.0}  # fmt: skip
_BASELINE_SKILL = (0.0, 1.4, 1.2, 2.0, 2.1, 2.3)
_SPEED = {"tf": 80.0, "pt": 100.0}


class FakeGrid:
    """The images: paths, labels, groups of two to six, folds of whole groups, official Testing.

    Two of three groups of tumours are a figshare patient: their paths are those of the merge.
    """

    def __init__(self, images=IMAGES):
        rng = np.random.default_rng(0)
        sizes = rng.integers(2, 7, images)
        self.groups = np.repeat(np.arange(images), sizes)[:images]
        self.labels = (self.groups % 4).astype(np.int64)
        self.folds = self.groups // 4 % FOLDS
        self.official = rng.random(images) < 0.25
        part = np.where(self.official, "Testing", "Training")
        self.paths = np.array(
            [f"{part[i]}/{CLASS_NAMES[k]}/{i:04d}.jpg" for i, k in enumerate(self.labels)],
            dtype="U99",
        )
        images_of = defaultdict(list)
        for path, origin in shipped_table().items():
            images_of[origin.patient, origin.label].append(path)
        patients = defaultdict(list)
        for (_, label), paths in sorted(images_of.items()):
            if len(paths) >= 6:
                patients[label].append(paths)
        for group in range(self.groups[-1] + 1):
            inside = self.groups == group
            if group % 3 and patients[group % 4]:
                self.paths[inside] = patients[group % 4].pop()[: inside.sum()]

    def rows(self, cell):
        """Return the images that a cell tests."""
        official = cell.split == "official"
        return np.flatnonzero(self.official if official else self.folds == cell.fold)

    def probs(self, cell):
        """Return (N, 4) probabilities for all images, of which a cell keeps its test part."""
        images = len(self.labels)
        patient = np.random.default_rng(1).normal(size=(images, 4))[self.groups]
        seed = np.random.default_rng(10 + cell.seed).normal(size=(images, 4))
        framework = np.random.default_rng(100 * cell.seed + ord(cell.framework[0]) + cell.perturbed)
        skill = _SKILL[cell.arm] + 3 * (cell.split == "official")
        return _softmax(
            skill * np.eye(4)[self.labels]
            + patient
            + 0.7 * seed
            + (1.0 if cell.arm == "stock" else 0.1) * framework.normal(size=(images, 4))
        )

    def write(self, results, cells, fault=None, **record):
        """Write the files of `cells`; `fault(cell, columns)` may change the columns before.

        Args:
            results: the folder that gets `grid/`.
            cells: of the grid.
            fault: gets the cell and a dict of paths, labels, probs and groups.
            record: replaces fields of every record.
        """
        for cell in cells:
            rows = self.rows(cell)
            columns = dict(paths=self.paths[rows], labels=self.labels[rows])
            columns |= dict(probs=self.probs(cell)[rows], groups=self.groups[rows])
            if fault:
                fault(cell, columns)
            write_predictions(results / "grid" / f"{cell.name}.npz", **columns)
            made = self._record(cell, columns) | record
            write_json(results / "grid" / f"{cell.name}.json", made)

    def write_baselines(self, results):
        """Write `baselines.json` and `baselines.csv`."""
        cuts = {"official": self.official} | {f"fold {k}": self.folds == k for k in range(FOLDS)}
        cuts |= {"pooled": np.ones(len(self.labels), bool)}
        probs = {}
        for k, (name, skill) in enumerate(zip(BASELINES, _BASELINE_SKILL, strict=True)):
            noise = np.random.default_rng(1000 + k).normal(size=(len(self.labels), 4))
            probs[name] = _softmax(skill * np.eye(4)[self.labels] + noise)
        scores = {
            cut: {n: self._scored(np.flatnonzero(inside), p) for n, p in probs.items()}
            for cut, inside in cuts.items()
        }
        write_json(results / "baselines.json", {"scores": scores})
        with (results / "baselines.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, ["split", "path", "label", "group", *BASELINES])
            table.writeheader()
            for cut in [name for name in cuts if name != "pooled"]:
                for row in np.flatnonzero(cuts[cut]):
                    classes = {n: CLASS_NAMES[p[row].argmax()] for n, p in probs.items()}
                    about = dict(path=self.paths[row], label=CLASS_NAMES[self.labels[row]])
                    table.writerow({"split": cut, **about, "group": self.groups[row], **classes})
        return scores, probs[PROBE].argmax(axis=1)

    def _scored(self, rows, probs):
        labels, probs, groups = self.labels[rows], probs[rows], self.groups[rows]
        return group_intervals(labels, probs, groups)

    def _record(self, cell, columns):
        made = fake_record(cell.framework, columns["labels"], columns["probs"])
        if cell.arm == "tuned":  # the older arms were not scored on their validation part
            taught = columns["labels"], columns["probs"], CLASS_NAMES
            made["thresholds"] = choose_thresholds(*taught)
        config = cell.config("block1-13.safetensors")
        made["config"] = config.to_json()
        # The parts hold the selection part of the clean split, which no fold tests.
        aside = {"selection": 30, "ct": 20} if cell.split == "clean" else {}
        train = len(self.labels) - 100 + aside.get("selection", 0)
        made["dataset"] |= {"parts": {"train": train, "val": 40, "test": 60}, "aside": aside}
        epochs = config.head_epochs + config.finetune_epochs
        seconds = 6000 / _SPEED[cell.framework]
        made["history"]["epoch_seconds"] = [seconds] * epochs
        first = cell.name in ("exact-tf-fold0-seed0", "exact-pt-fold1-seed0")
        filled = {"2": {"block": "block13", "seconds": 900.0 if first else 0.0}}
        made["feature_cache"] = filled if cached_block(config, FINETUNE, cell.framework) else {}
        if cell.split == "clean":
            shown = np.random.default_rng(cell.fold).dirichlet(np.ones(4), 20)
            made["metrics"]["ct"] = score(np.repeat([1, 2], [5, 15]), shown)
        made["speed"]["train"]["images_per_second"] = _SPEED[cell.framework]
        made["seconds"] = seconds * epochs + 40 + 900 * first
        about = {name: getattr(cell, name) for name in (*PLACE, "name")}
        about |= dict(init=config.init, reinit=list(config.reinit))
        return made | about


def fake_grid(results, leave_out=()):
    """Write a whole made-up grid with its baselines; return the images and the cells written."""
    grid = FakeGrid()
    cells = [c for c in declared_grid() if not any(word in c.name for word in leave_out)]
    grid.write(results, cells)
    grid.write_baselines(results)
    return grid, cells


def _softmax(logits):
    odds = np.exp(logits)
    return odds / odds.sum(axis=1, keepdims=True)
