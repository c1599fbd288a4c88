"""What the results page says of the search follows from its trials, by hand."""

from types import SimpleNamespace

import numpy as np

from src.common.files import read_json, write_json
from src.config import ExperimentConfig, preset
from src.data.splits.folds import SELECTION_FOLD
from src.records import Predictions
from src.results.grid import RESULTS, TUNED_WHOLE
from src.results.search import CHOSEN, LATER, QUICK, beyond_repetition, read_search, search_section


def trial(side, hours, log_loss):
    accuracy = {"value": 0.975, "low": 0.95, "high": 0.99}
    score = {"flip_average": {"log_loss": log_loss, "accuracy": accuracy}}
    return {
        "question": f"{side}?",
        "recipe": {"image_size": side},
        "scores": {"300": {}, str(side): score},  # that of its own side counts
        "seconds": 3600 * hours,
        "images": {"test": 578},
        "history": {"val_loss": [0.5, 0.34]},
    }


def predicted(true_class):
    """Return predictions of images of class 0, with these probabilities of it."""
    probs = np.array([[of, 1 - of] for of in true_class])
    labels = np.zeros(len(probs), np.int64)
    return Predictions(np.arange(len(probs)).astype(str), labels, probs, labels)


def test_hours_add_up_and_what_is_left_is_named(tmp_path):
    declared = {"base": "150?", "large": "224?", "longer": "more?", "cutout": "?"}
    trials = {"base": trial(150, 1.5, 0.1155), "large": trial(224, 2.75, 0.1034)}
    write_json(tmp_path / "recipes.json", {"declared": declared, "trials": trials})
    # Last training accuracy, seconds; what a GPU took is no CPU hour.
    runs = [(0.99, 7200, None), (0.97, 3600, None), (0.5, 60, "Example GPU")]
    tuned = [
        SimpleNamespace(
            record={
                "history": {"accuracy": [0.5, last]},
                "seconds": seconds,
                "hardware": {"gpu": gpu},
                "name": f"tuned-pt-fold{fold}-seed0",
                "metrics": {"test": {"accuracy": 0.9 + 0.02 * fold, "count": 100 + 200 * fold}},
            },
            predictions=predicted([0.8, 0.4, 0.4]),
        )
        for fold, (last, seconds, gpu) in enumerate(runs)
    ]
    later = [
        SimpleNamespace(
            record={
                "arm": "whole",
                "name": f"whole-pt-fold{fold}-seed0",
                "metrics": {"test": {"accuracy": 0.95, "count": 100}},
            },
            predictions=predicted([0.1, 0.7, 0.5]),
        )
        for fold in (0, 1)
    ]
    search = read_search(tmp_path / "recipes.json", tuned, later)
    assert search["left"] == ["longer", "cutout"]
    section = search_section(search)
    lines = section.splitlines()
    assert lines[3].endswith("| 0.103 | 0.340 | 2.8 | 4.2 | 0.103 |")
    assert "| 224 px | 97.5%" in lines[3]
    for said in (
        "578 images",
        "2 of 4 declared trials",
        "Not run here: longer, cutout.",
        "The recipe's 2 runs on CPU, in both frameworks, took 3.0 hours more.",
        "training accuracy of 98.0%",
        "on 2 of the 5 folds, it is right on 95.0% of the test images, `tuned` on 91.5%, "
        "and the mean of both networks' probabilities on 33.3%.",
    ):
        assert said in section


def test_nothing_is_said_before_there_is_a_search(tmp_path):
    assert search_section(read_search(tmp_path / "recipes.json", [])) == ""


def test_the_next_step_is_told_where_two_measures_disagree(tmp_path):
    trials = {CHOSEN: trial(224, 1.0, 0.103), f"{CHOSEN}-all": trial(224, 1.0, 0.088)}
    trials[CHOSEN]["history"]["val_loss"] = [0.32]
    write_json(
        tmp_path / "recipes.json", {"declared": dict.fromkeys(trials, "?"), "trials": trials}
    )
    section = search_section(read_search(tmp_path / "recipes.json", []))
    said = f"{CHOSEN}-all has the lowest log loss and {CHOSEN} the lowest validation loss"
    assert said in section and "Next: images of more patients" in section
    trials[CHOSEN]["history"]["val_loss"] = [0.35]
    write_json(
        tmp_path / "recipes.json", {"declared": dict.fromkeys(trials, "?"), "trials": trials}
    )
    assert "Next" not in search_section(read_search(tmp_path / "recipes.json", []))


def test_the_preset_is_the_trial_with_the_lowest_log_loss_of_those_before_it_was_chosen():
    committed = read_json(RESULTS / "recipes.json")["trials"]
    trials = read_search(RESULTS / "recipes.json", [])["trials"]
    trials = trials[: [each["name"] for each in trials].index(LATER)]
    assert min(trials, key=lambda each: each["log_loss"])["name"] == CHOSEN
    chosen = ExperimentConfig(**committed[CHOSEN]["recipe"]).to_json()
    # Weights that lack block14, the part to choose on, and the mirror image, which costs nothing.
    given = {"reinit": ["block14"], "fold": SELECTION_FOLD, "flip_average": False}
    assert chosen == preset("tuned").to_json() | given


def test_the_arm_whole_is_the_trial_that_the_page_names():
    recipe = read_json(RESULTS / "recipes.json")["trials"][LATER]["recipe"]
    given = {"fold": SELECTION_FOLD, "flip_average": False, "precision": "float32"}
    declared = ExperimentConfig(**TUNED_WHOLE).to_json()
    assert ExperimentConfig(**recipe).to_json() == declared | given


def test_the_quick_preset_is_the_trial_of_that_name():
    recipe = read_json(RESULTS / "recipes.json")["trials"][QUICK]["recipe"]
    given = {"reinit": ["block14"], "fold": SELECTION_FOLD}
    assert ExperimentConfig(**recipe).to_json() == preset("quick").to_json() | given


def test_what_to_try_next_follows_from_the_trials():
    trials = read_search(RESULTS / "recipes.json", [])["trials"]
    loss = {trial["name"]: trial["log_loss"] for trial in trials}
    assert beyond_repetition(loss) == [
        "side-224", "rate-double", "from-block1", "side-224-all", "side-224-long", "side-299",
    ]  # fmt: skip


def test_beyond_repetition_is_by_more_than_a_repetition():
    loss = {"base": 0.5, "base-again": 0.4, "large": 0.39, "longer": 0.41, "worse": 0.7}
    assert beyond_repetition(loss) == ["large"]
    loss["base-again"] = 0.6
    assert beyond_repetition(loss) == ["large"]
