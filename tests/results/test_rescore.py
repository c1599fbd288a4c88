"""Predictions for the official split, scored apart: what is counted, and what is refused."""

import csv
import json

import numpy as np
import pytest

from src.__main__ import main
from src.common.errors import InputError
from src.config import CLASS_NAMES
from src.data.audit.leaks import shipped_leaks
from src.records import write_predictions
from src.results.rescore import rescore, rescore_text
from src.serving.classifier import Answer
from src.serving.rows import answer_row, write_csv

PATHS = list(shipped_leaks())
TRUTH = [path.split("/")[1] for path in PATHS]
OTHER = dict(zip(CLASS_NAMES, (*CLASS_NAMES[1:], CLASS_NAMES[0])))
MEMORISED = [shipped_leaks()[path]["leak"] in ("same file", "same slice") for path in PATHS]


def write(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def test_a_network_that_memorises_is_right_where_training_holds_the_slice_alone(tmp_path):
    says = [kind if known else OTHER[kind] for kind, known in zip(TRUTH, MEMORISED)]
    found = rescore(write(tmp_path / "p.csv", [("File", "Predicted"), *zip(PATHS, says)]))
    values = {name: part["value"] for name, part in found["parts"].items()}
    assert values["same file"] == values["same slice"] == found["memory"]["value"] == 1
    assert values["same patient"] == values["none known"] == 0
    assert values["all"] == pytest.approx(sum(MEMORISED) / len(PATHS))
    assert [found["parts"][name]["count"] for name in values] == [1311, 103, 891, 308, 9]
    assert found["missing"] == found["unknown"] == 0


def test_the_99_percent_of_one_that_memorises_are_taken_apart(tmp_path):
    """It is wrong in 13 images, none of which Training holds."""
    new = [path for path, known in zip(PATHS, MEMORISED) if not known]
    wrong = set(new[:: len(new) // 13][:13])
    says = [OTHER[kind] if path in wrong else kind for path, kind in zip(PATHS, TRUTH)]
    found = rescore(write(tmp_path / "p.csv", [("file", "label"), *zip(PATHS, says)]))
    memory, parts = found["memory"], found["parts"]
    assert parts["all"]["value"] == pytest.approx(0.990, abs=5e-4)
    assert memory["value"] == pytest.approx(13 / len(new))
    assert 0 < memory["low"] < memory["value"] < memory["high"]
    assert "minus the others: +4.1" in rescore_text(found)


def test_labels_probabilities_and_a_runs_own_file_give_the_same(tmp_path, capsys):
    """Whatever folders, columns and spellings; the first ten are wrong."""
    says = [OTHER[kind] if k < 10 else kind for k, kind in enumerate(TRUTH)]
    probs = np.array([[0.7 if kind == name else 0.1 for name in CLASS_NAMES] for kind in says])
    spelled = ["No Tumor" if kind == "notumor" else f"{kind}_tumor" for kind in says]
    names = [path.rpartition("/")[2] for path in PATHS]
    windows = [f"C:\\d\\{name}" for name in names]
    head = ("path", "pituitary_tumor", "no tumour", "Glioma", "meningioma", "more")
    columns = probs[:, [3, 2, 0, 1]].tolist()
    files = [
        write(tmp_path / "labels.csv", [("name", "label"), *zip(names, spelled)]),
        write(tmp_path / "windows.csv", [("name", "label"), *zip(windows, says)]),
        write(tmp_path / "probs.csv", [head, *((p, *c, "x") for p, c in zip(PATHS, columns))]),
        tmp_path / "predictions.npz",
    ]
    labels = np.array([CLASS_NAMES.index(kind) for kind in TRUTH])
    write_predictions(files[-1], PATHS, labels, probs.astype(np.float32), np.arange(len(PATHS)))
    found = [rescore(file) for file in files]
    assert all(each == found[0] for each in found)
    assert found[0]["parts"]["all"]["value"] == pytest.approx(1 - 10 / 1311)
    assert main(["rescore", str(files[0]), "--json", str(tmp_path / "out.json")]) == 0
    assert "99.2%" in capsys.readouterr().out
    assert json.loads((tmp_path / "out.json").read_text()) == found[0]


def test_missing_and_foreign_images_are_counted(tmp_path):
    rows = [("file", "label"), *zip(PATHS[:100], TRUTH), ("mine.png", "glioma")]
    found = rescore(write(tmp_path / "p.csv", rows))
    assert (found["images"], found["missing"], found["unknown"]) == (100, 1211, 1)


def test_a_row_without_an_answer_is_counted_and_not_scored(tmp_path):
    """As `predict --csv` writes it: the model withheld three answers."""
    answers = [
        Answer(p, k, dict.fromkeys(CLASS_NAMES, 0.1) | {k: 0.7}) for p, k in zip(PATHS, TRUTH)
    ]
    answers[:3] = [Answer(path, None, {}, not_mri=True, why="unlike") for path in PATHS[:3]]
    with (tmp_path / "p.csv").open("w", newline="") as file:
        write_csv([*map(answer_row, answers)], CLASS_NAMES, file)
    found = rescore(tmp_path / "p.csv")
    assert (found["unanswered"], found["images"], found["missing"]) == (3, 1308, 3)
    assert found["parts"]["all"]["value"] == 1
    assert "3 rows have no answer" in rescore_text(found)


@pytest.mark.parametrize("truth, says", [("label", "Prediction"), ("class", "predicted")])
def test_a_column_of_the_truth_is_not_taken_for_the_prediction(tmp_path, truth, says):
    rows = [("file", truth, says), *((*pair, "glioma") for pair in zip(PATHS, TRUTH))]
    found = rescore(write(tmp_path / "p.csv", rows))
    assert found["parts"]["all"]["value"] == TRUTH.count("glioma") / len(TRUTH)


@pytest.mark.parametrize(
    "rows, message",
    [
        ([], "an empty file"),
        ([("name", "label", "class")], "the columns label and class: which one"),
        ([("name", "predicted", "prediction")], "the columns prediction and predicted: which one"),
        (
            [("name", "label", *CLASS_NAMES), (PATHS[0], "notumor", 0.6, 0.2, 0.1, 0.1)],
            "line 2: label says notumor, but glioma is the likeliest",
        ),
        ([("name", "label", " Label ")], "two columns for label"),
        ([("name", *CLASS_NAMES, "Glioma tumor")], "two columns for glioma"),
        ([("a", "b"), ("x", "y")], "needs a header .* Received: a, b"),
        ([("name", "label"), ("x.png", "glioma")], "none of its 1 images"),
        ([("name", "label"), (PATHS[0], "")], "none of its 0 images with an answer"),
        ([("name", "label"), (), (), (PATHS[0], "gliome")], "line 4: expected one of"),
        ([("name", "label"), ("a\nb", "glioma"), (PATHS[0], "gliome")], "line 4: expected one of"),
        ([("name", "label"), (PATHS[0], "gliome")], "line 2: expected one of .*'gliome'"),
        ([("name", "label"), (PATHS[0], "glioma"), (PATHS[0], "glioma")], "line 3: a second"),
        ([("name", *CLASS_NAMES), (PATHS[0], 1, 0, 0, "nan")], "line 2: expected a number"),
        ([("name", *CLASS_NAMES), (PATHS[0], 1, 0, 0)], "line 2: expected a number"),
    ],
)
def test_what_is_no_table_of_predictions_is_refused(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        rescore(write(tmp_path / "p.csv", rows))


def test_predictions_of_other_classes_are_refused(tmp_path):
    file, probs = tmp_path / "p.npz", np.full((3, 5), 0.2, np.float32)
    write_predictions(file, PATHS[:3], np.arange(3), probs, np.arange(3), list("abcde"))
    with pytest.raises(InputError, match=r"is of 5 classes\. Expected: glioma"):
        rescore(file)


def test_no_file_and_no_text_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read as CSV"):
        rescore(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(bytes(range(128, 256)))
    with pytest.raises(InputError, match="cannot be read as CSV"):
        rescore(tmp_path / "b.csv")
