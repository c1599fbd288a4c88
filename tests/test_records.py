"""Run folders: what is written is what is read, and what does not fit together is refused."""

import json

import numpy as np
import pytest
from fake_runs import fake_groups, fake_predictions, fake_run, fake_speed, fake_trio

from src.common.errors import InputError
from src.common.files import read_json, write_json
from src.comparison.agreement import measure_agreement, relative_difference
from src.records import (
    Predictions,
    experiment_differences,
    image_differences,
    read_predictions,
    read_run,
    speed,
    write_predictions,
)


def test_predictions_survive_the_disk(tmp_path):
    paths, labels, probs = fake_predictions()
    paths[0] = "Testing/glioma/Schädel 脳 <b>.jpg"
    write_predictions(tmp_path / "p.npz", paths, labels, probs, fake_groups(labels))
    again = read_predictions(tmp_path / "p.npz")
    assert again.paths.tolist() == paths
    assert again.paths.dtype.kind == "U"
    np.testing.assert_array_equal(again.labels, labels)
    np.testing.assert_array_equal(again.probs, probs)
    np.testing.assert_array_equal(again.groups, fake_groups(labels))
    assert again.labels.dtype == np.int64 and again.probs.dtype == np.float32


def test_predictions_that_do_not_fit_are_not_written(tmp_path):
    paths, labels, probs = fake_predictions()
    with pytest.raises(ValueError, match="160 paths"):
        write_predictions(tmp_path / "p.npz", paths[1:], labels, probs, fake_groups(labels))
    assert not (tmp_path / "p.npz").exists()


def pickled(path):
    np.savez(path, paths=np.array(["a"], dtype=object), labels=[0], probs=np.eye(4)[:1])


def not_a_zip(path):
    path.write_text("hello")


def empty(path):
    path.touch()


def truncated(path):
    paths, labels, probs = fake_predictions()
    write_predictions(path, paths, labels, probs, fake_groups(labels))
    path.write_bytes(path.read_bytes()[:600])


def without_probs(path):
    np.savez(path, paths=np.array(["a"]), labels=np.array([0]))


def logits(path):
    np.savez(path, paths=np.array(["a"]), labels=np.array([0]), probs=np.array([[3.0, 1, 0, 0]]))


def paths_too_short(path):
    np.savez(path, paths=["a"], labels=[0, 1], probs=np.eye(4)[:2], groups=[0, 1])


def groups_missing(path):
    np.savez(path, paths=["a"], labels=[0], probs=np.eye(4)[:1])


def groups_too_short(path):
    np.savez(path, paths=["a", "b"], labels=[0, 1], probs=np.eye(4)[:2], groups=[0])


def deflated_wrongly(path):
    """Compressed with numbers that zlib does not know, as one changed byte does."""
    paths, labels, probs = fake_predictions()
    write_predictions(path, paths, labels, probs, fake_groups(labels))
    content = bytearray(path.read_bytes())
    start = content.index(b"paths.npy") + len("paths.npy") + 20  # behind ZIP64's extra field
    content[start : start + 8] = b"\xff" * 8
    path.write_bytes(content)


def single_array(path):
    with path.open("wb") as file:
        np.save(file, np.eye(4))


def missing(path):
    """Write nothing: the file is not there."""


@pytest.mark.parametrize(
    "make",
    [
        pickled,
        not_a_zip,
        empty,
        truncated,
        deflated_wrongly,
        without_probs,
        logits,
        paths_too_short,
        groups_missing,
        groups_too_short,
        single_array,
        missing,
    ],
)
def test_a_damaged_predictions_file_is_named(tmp_path, make):
    make(tmp_path / "bad.npz")
    with pytest.raises(InputError, match=r"bad\.npz"):
        read_predictions(tmp_path / "bad.npz")


def test_a_run_is_read_as_written(tmp_path):
    run = fake_run(tmp_path / "tf", "tf")
    assert run.framework == "tf"
    assert len(run.predictions.labels) == run.record["metrics"]["test"]["count"]


def test_an_old_record_shows_no_prediction_speed():
    """It was timed with TensorFlow's tracing; the training speed left the first steps out."""
    old = {"images_per_second": {"train": 21.4, "predict": 6.3}}
    assert speed(old, "train") == {"images_per_second": 21.4}
    assert speed(old, "predict") == {"images_per_second": None}
    tested_again = old | {"speed": {"predict": fake_speed(70.0)}}
    assert speed(tested_again, "predict") == fake_speed(70.0)
    assert speed(tested_again, "train") == {"images_per_second": 21.4}


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda r: r.pop("history"), r"field history\.step_loss is missing"),
        (lambda r: r["history"].pop("val_loss"), r"history\.val_loss is missing"),
        (lambda r: r["history"]["val_loss"].pop(), "one value per epoch"),
        (lambda r: r.update(framework="jax"), "jax"),
        (lambda r: r.update(peak_memory_mb="much"), "peak_memory_mb is 'much'"),
        (lambda r: r["metrics"]["test"].pop("accuracy"), r"metrics\.test\.accuracy"),
        (lambda r: r["metrics"]["test"]["confusion_matrix"].pop(), "4 by 4"),
        (lambda r: r["dataset"].pop("fingerprint"), "fingerprint is missing"),
    ],
)
def test_a_broken_record_is_refused_by_field(tmp_path, change, says):
    fake_run(tmp_path, "tf")
    record = read_json(tmp_path / "record.json")
    change(record)
    write_json(tmp_path / "record.json", record)
    with pytest.raises(InputError, match=says):
        read_run(tmp_path)


def test_a_record_that_is_no_object_is_refused(tmp_path):
    fake_run(tmp_path, "tf")
    (tmp_path / "record.json").write_text("[1, 2]")
    with pytest.raises(InputError, match="framework is missing"):
        read_run(tmp_path)


def test_no_run_folder(tmp_path):
    with pytest.raises(InputError, match="No such run folder"):
        read_run(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda r: r["config"].update(seed=1), "config seed (0 and 1)"),
        (lambda r: r["dataset"].update(fingerprint="ff" * 32), "the dataset (fingerprints ab12"),
        (lambda r: r["weights"].update(sha256="ee" * 32), "the initial weights (SHA-256 cd34"),
    ],
)
def test_records_of_two_experiments_differ(tmp_path, change, says):
    first, second, _ = (run.record for run in fake_trio(tmp_path))
    assert experiment_differences(first, second) == []
    change(second)
    (told,) = experiment_differences(first, second)
    assert told.startswith(says)


def test_a_field_that_an_old_record_lacks_means_its_default(tmp_path):
    first, second, _ = (run.record for run in fake_trio(tmp_path))
    del second["config"]["clip_norm"]
    assert experiment_differences(first, second) == []
    first["config"]["clip_norm"] = 1.0
    assert experiment_differences(first, second) == ["config clip_norm (1.0 and 0.0)"]


def test_two_spellings_of_one_weights_file_are_one_experiment(tmp_path):
    first = fake_run(tmp_path / "tf", "tf", init="weights.safetensors").record
    second = fake_run(tmp_path / "pt", "pt", init="./weights.safetensors").record
    assert experiment_differences(first, second) == []


def test_other_test_images_differ(tmp_path):
    first, second = (fake_run(tmp_path / f"{k}", "pt", seed=k).predictions for k in range(2))
    (told,) = image_differences(first, second, ["paths"])
    assert told.startswith("the path of test image ")
    fewer = Predictions(*(values[:150] for values in vars(first).values()))
    told = image_differences(first, fewer, ["paths"])
    assert told == ["the number of test images (160 and 150)"]


@pytest.mark.parametrize("name", ["paths", "labels"])
def test_another_order_differs(tmp_path, name):
    first, second = (fake_run(tmp_path / f"{k}", "pt").predictions for k in range(2))
    assert image_differences(first, second, ["paths", "labels", "groups"]) == []
    values = getattr(second, name)
    values[[0, -1]] = values[[-1, 0]]
    (told,) = image_differences(first, second, [name])
    assert told.startswith(f"the {name[:-1]} of test image 1 ")


def test_relative_difference():
    assert relative_difference(1.0, 0.75) == relative_difference(0.75, 1.0) == 0.25
    assert relative_difference(0.0, 0.0) == 0.0
    assert relative_difference(None, 1.0) is None
    assert relative_difference(float("nan"), 1.0) is None


def with_losses(run, step_loss=None, loss=None):
    history = run.record["history"]
    history["step_loss"] = step_loss or history["step_loss"]
    history["loss"] = loss or history["loss"]
    return run


def hand_trio(tmp_path, tf, pt, floor):
    """Three runs with given step losses and, over three epochs, epoch losses like them."""
    runs = fake_trio(tmp_path)
    return [with_losses(run, steps, [steps[-1]] * 3) for run, steps in zip(runs, (tf, pt, floor))]


def test_ratio_is_of_the_largest(tmp_path):
    # Gaps 0, 0.1, 0.2; floors 0, 0, 0.1. Step 2 alone would give an infinite ratio.
    runs = hand_trio(tmp_path, [1.0, 0.9, 0.8], [1.0, 1.0, 1.0], [1.0, 1.0, 0.9])
    result = measure_agreement(*runs)
    assert [step["gap"] for step in result["steps"]] == pytest.approx([0, 0.1, 0.2])
    assert [step["floor"] for step in result["steps"]] == pytest.approx([0, 0, 0.1])
    assert result["steps_ratio"] == pytest.approx(2.0)
    assert result["epochs_ratio"] == pytest.approx(2.0)
    assert result["first_step_gap"] == 0.0
    assert result["within_floor"] is True
    assert "to the rounding floor" in result["verdict"]


def test_zero_floor_counts_as_one_epsilon(tmp_path):
    runs = hand_trio(tmp_path, [1.0, 1.0 - 2.0**-22], [1.0, 1.0], [1.0, 1.0])
    result = measure_agreement(*runs)
    assert result["steps_ratio"] == pytest.approx(2.0)  # float32's epsilon is 2^-23
    json.dumps(result, allow_nan=False)


def test_a_gap_above_the_floor_is_reported(tmp_path):
    runs = hand_trio(tmp_path, [1.0, 0.9], [1.0, 1.0], [1.0, 0.99])
    result = measure_agreement(*runs)
    assert result["steps_ratio"] == pytest.approx(10.0)
    assert result["within_floor"] is False
    assert "more than the rounding floor" in result["verdict"]


@pytest.mark.parametrize("steps, within", [(2, True), (5, False)])
def test_few_losses_may_lie_further_apart(tmp_path, steps, within):
    gap, floor = [1.0] * (steps - 1) + [0.96], [1.0] * (steps - 1) + [0.99]
    result = measure_agreement(*hand_trio(tmp_path, gap, [1.0] * steps, floor))
    assert result["steps_ratio"] == pytest.approx(4.0)
    assert result["within_floor"] is within  # at most 7.5 of two losses, 3 of five


def test_a_wrong_first_step_is_reported_whatever_the_floor(tmp_path):
    runs = hand_trio(tmp_path, [1.001, 1.0], [1.0, 1.0], [1.0, 0.9])
    result = measure_agreement(*runs)
    assert result["steps_ratio"] < 3
    assert result["within_floor"] is False
    assert "first losses" in result["verdict"]


def test_without_a_floor_nothing_is_claimed(tmp_path):
    tf_run, pt_run, _ = fake_trio(tmp_path)
    result = measure_agreement(tf_run, pt_run)
    assert result["steps_ratio"] is None and result["within_floor"] is None
    assert all(step["floor"] is None for step in result["steps"])
    assert "floor_same_label" not in result
    assert "Without a floor run" in result["verdict"]


def test_divergence_is_reported(tmp_path):
    runs = hand_trio(tmp_path, [1.0, float("nan")], [1.0, 1.0], [1.0, 0.9])
    result = measure_agreement(*runs)
    assert result["steps"][1]["gap"] is None
    assert result["within_floor"] is None
    assert "diverged" in result["verdict"]
    json.dumps(result, allow_nan=False)


def test_a_run_that_stopped_earlier_leaves_gaps_empty(tmp_path):
    runs = fake_trio(tmp_path)
    for name in ("loss", "val_loss"):
        runs[0].record["history"][name].pop()
    result = measure_agreement(*runs)
    assert [row["loss_gap"] is None for row in result["epochs"]] == [False, False, True]
    assert result["epochs"][2]["loss_floor"] is not None


def test_agreement_of_predictions_by_hand(tmp_path):
    tf_run, pt_run, _ = fake_trio(tmp_path)
    tf_run.predictions.probs[:] = pt_run.predictions.probs
    tf_run.predictions.probs[0] = [0.7, 0.1, 0.1, 0.1]
    pt_run.predictions.probs[0] = [0.1, 0.7, 0.1, 0.1]
    result = measure_agreement(tf_run, pt_run)
    assert result["test_same_label"] == pytest.approx(159 / 160)
    assert result["test_max_prob_difference"] == pytest.approx(0.6)
    assert result["test_mean_prob_difference"] == pytest.approx(2 * 0.6 / (160 * 4))
