"""Each one-page twin takes the steps of its full twin, and of the other, to the rounding floor."""

import dataclasses
import importlib

import numpy as np
import pytest
import torch
from made_weights import backbone_file

from src.comparison.agreement import relative_distance
from src.comparison.parity.worker import MOVING, TRAINABLE, step_arrays
from src.config import preset
from src.data.dataset import open_dataset
from src.experiment import load_twin
from src.xception.stages import dropout_mask
from src.xception.weights import initial_weights, perturb

pytestmark = pytest.mark.slow
ALLOWED = 3  # times the floor
# 73 px, since at 71 px both frameworks' pools pad alike. All that a page can do is in play, and
# the rates are high enough to move the weights. (Adam takes its first steps by the signs of the
# gradients, so its floor is a thousand times higher, and would hide small faults.)
FIELDS = dict(
    image_size=73, test_size=96, batch_size=4, max_images_per_epoch=20,
    head_epochs=1, finetune_epochs=3,
    optimizer="sgd", head_learning_rate=0.05, finetune_learning_rate=0.01, batch_norm="update",
    balance="class_weights", label_smoothing=0.1, clip_norm=0.7, weight_decay=0.004,
    layer_decay=0.8, patience=0,
)  # fmt: skip


def few_images(config, *_):
    """The phantom set with short validation and test parts; 21 images: unequal classes."""
    dataset = open_dataset(config)
    counts = {"train": 21, "val": 8, "test": 16}
    return dataset.with_parts(
        {
            part: dataset.parts[part][
                np.linspace(0, len(dataset.parts[part]) - 1, count, dtype=int)
            ]
            for part, count in counts.items()
        }
    )


def one_page(framework, config, **patches):
    """Run a page; `patches` replace names in it."""
    page = importlib.import_module(f"src.{framework}.one_page")
    load_twin(framework).runtime.configure(config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "open_dataset", few_images)
        for name, value in patches.items():
            patch.setattr(page, name, value)
        return page.run(config)


def full_twin(framework, config, folder):
    """Run the full twin; return what a page returns."""
    twin, dataset = load_twin(framework), few_images(config)
    twin.runtime.configure(config)
    model = twin.model.build_model(config)
    history = twin.train.fit(model, dataset, config, folder)
    probs = twin.predict.predict_proba(model, twin.data.make_loader(dataset.batches("test")))
    return history.curves() | {"weights": twin.model.get_weights(model), "probs": probs}


def distances(one, two, config):
    """Return how far run `one` is from run `two`, relative to `two`."""
    arrays = [step_arrays(run["weights"], config) for run in (one, two)]
    measured = {
        "weights": relative_distance(arrays[0][TRAINABLE], arrays[1][TRAINABLE]),
        "statistics": relative_distance(arrays[0][MOVING], arrays[1][MOVING]),
    }
    measured["probs"] = relative_distance(one["probs"], two["probs"])
    return measured


def moved(config):
    """Return the initial weights, each one machine epsilon off."""
    return perturb(initial_weights(config), "float32")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return preset("smoke", init=str(backbone_file(tmp_path_factory.mktemp("weights"))), **FIELDS)


@pytest.fixture(scope="module")
def runs(config, tmp_path_factory):
    """All trainings, and the floor of each distance: PyTorch's from itself, one epsilon off."""
    folder = tmp_path_factory.mktemp("runs")
    runs = {
        "tf page": one_page("tf", config),
        "pt page": one_page("pt", config),
        "tf": full_twin("tf", config, folder / "tf"),
        "pt": full_twin("pt", config, folder / "pt"),
    }
    floor = distances(one_page("pt", config, initial_weights=moved), runs["pt page"], config)
    return runs | {"floor": floor}


def ratios(one, two, runs, config):
    """Return gap divided by floor, of weights, moving statistics and probabilities."""
    return {name: gap / runs["floor"][name] for name, gap in distances(one, two, config).items()}


@pytest.mark.parametrize("one, two", [("tf page", "tf"), ("pt page", "pt"), ("tf page", "pt page")])
def test_the_gap_is_within_three_times_the_floor(runs, config, one, two):
    measured = ratios(runs[one], runs[two], runs, config)
    print(f"{one} from {two}: gap / floor {measured}; floor {runs['floor']}")
    assert max(measured.values()) <= ALLOWED, measured
    for name in (
        "loss",
        "val_loss",
        "val_accuracy",
    ):  # few numbers are too few for a ratio; their gap is 5e-6
        np.testing.assert_allclose(runs[one][name], runs[two][name], rtol=2e-5)


@pytest.mark.parametrize("name", ["tf page", "pt page"])
def test_the_score_is_that_of_the_probabilities(runs, config, name):
    page, expected = runs[name], np.zeros((4, 4), int)
    assert page["probs"].shape == (16, 4) and page["probs"].std(axis=0).min() > 1e-3
    labels = few_images(config).batches("test").labels
    np.add.at(expected, (labels, page["probs"].argmax(axis=1)), 1)
    np.testing.assert_array_equal(page["confusion_matrix"], expected)
    assert page["accuracy"] == np.trace(expected) / 16


@torch.no_grad()
def decay_all(optimizer, config):
    """Shrink BatchNorm's scale and shift, and biases, as well as kernels: a fault."""
    for group in optimizer.param_groups:
        torch._foreach_mul_(group["params"], 1 - config.weight_decay * group["lr"])


@pytest.mark.parametrize(
    "fields, patches",
    [
        ({"bn_epsilon": 1e-5}, {}),
        ({}, {"decay_kernels": decay_all}),
        ({}, {"dropout_mask": lambda seed, step, *rest: dropout_mask(seed, step + 1, *rest)}),
    ],
    ids=["BatchNorm epsilon", "decay of biases", "masks of another step"],
)
def test_a_fault_is_far_above_the_floor(runs, config, fields, patches):
    faulty = one_page("pt", dataclasses.replace(config, **fields), **patches)
    assert ratios(faulty, runs["pt"], runs, config)["weights"] > 3 * ALLOWED
