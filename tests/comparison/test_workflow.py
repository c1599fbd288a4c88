"""The page of the two workflows quotes the code, and counts its lines."""

import pytest

from src.comparison import workflow
from src.comparison.bench.answers import answers
from src.comparison.workflow import STEPS, code_of, count_lines, idioms
from src.config import FRAMEWORKS
from src.differences import DIFFERENCES

BOTH = pytest.mark.parametrize("framework", FRAMEWORKS)


def squeezed(code: str) -> str:
    """Return code on one line, however it was broken into lines."""
    return " ".join(code.split()).replace("( ", "(").replace(", )", ")").replace(" )", ")")


@BOTH
def test_every_piece_of_code_is_in_the_functions_that_the_row_names(framework):
    for step in STEPS:
        names = getattr(step, f"{framework}_code")
        code = squeezed("\n".join(code_of(framework, name) for name in names))
        assert idioms(step, framework), step.step
        for idiom in idioms(step, framework):
            assert squeezed(idiom) in code, (step.step, idiom)


def test_a_function_that_is_gone_is_named():
    with pytest.raises(LookupError, match=r"src/pt/model\.py has no build_network"):
        code_of("pt", "model.build_network")


@BOTH
def test_no_code_is_counted_twice(framework):
    named = [n for step in STEPS for n in getattr(step, f"{framework}_code") if "." in n]
    assert len(set(named)) == len(named)
    for name in named:  # nor as a method of a class that is counted whole
        assert name.rpartition(".")[0] not in named


def test_differences_are_those_of_the_table_each_once():
    named = [name for step in STEPS for name in step.differences]
    assert sorted(named) == sorted(row.name for row in DIFFERENCES)


CODE = '''
def f(x):
    """Doc.

    More.
    """
    # a comment
    text = """two
    lines"""

    return g(
        x,
        text,
    )  # another
'''


def test_lines_of_code(monkeypatch):
    monkeypatch.setattr(workflow, "code_of", lambda framework, name: CODE)
    step = STEPS[0]._replace(tf="`a`, `b`", tf_code=("model.f",))
    assert count_lines(step, "tf") == 1 + 2 + 4
    assert count_lines(step._replace(tf_code=("model", "model.f")), "tf") == 2 + 7


def speeds(**of) -> dict:
    """Return a record of the main rows: (framework, written, precision) -> images/s."""
    rows = [
        {
            "framework": framework,
            "task": task,
            "written": written,
            "precision": precision,
            "image_size": 224,
            "batch_size": 16,
            "images_per_second": of.get(f"{framework}_{written}_{precision}", 1.0),
            "peak_memory_mb": 1000.0,
        }
        for framework in FRAMEWORKS
        for task in ("train", "forward")
        for written, precision in (("plain", "float32"), ("twin", "float32"), ("twin", "bfloat16"))
    ]
    return {"rows": rows}


EQUIVALENCE = {"images": 0.002, "folds": 0.004, "seeds": 0.003}
EQUIVALENCE |= {"stock images": 0.01, "stock folds": 0.05}
EQUIVALENCE = {name: {"margin": margin} for name, margin in EQUIVALENCE.items()}


@pytest.mark.parametrize("fast, slow", [("tf", "pt"), ("pt", "tf")])
def test_answers_name_the_faster_one(fast, slow):
    record = speeds(**{f"{fast}_plain_float32": 3.0, f"{slow}_twin_bfloat16": 2.0})
    said = {row["question"]: row["answer"] for row in answers(record, EQUIVALENCE)}
    for task in ("trains", "predicts"):
        text = said[f"Which {task} faster?"]
        assert text.startswith(f"As people write it: {FRAMEWORKS[fast]}, 3.00 times as fast; ")
        assert text.endswith(f"as twins in bfloat16: {FRAMEWORKS[slow]}, 2.00 times as fast.")
    choice = said["What would I choose?"]
    assert f"By speed as people write it, {FRAMEWORKS[fast]} for training and prediction." in choice
    equal = said["Are they equal?"]
    assert "within 0.4 percentage points" in equal and "shown than within 5.0" in equal


def test_answers_without_some_rows():
    """A chip without bfloat16 in one framework, or a bench that was stopped."""
    record = speeds(pt_plain_float32=1.02)
    lacking = {("pt", "bfloat16"), ("tf", "bfloat16")}
    for _ in range(2):
        gone = lacking.pop()
        kept = [row for row in record["rows"] if (row["framework"], row["precision"]) != gone]
        record["rows"] = kept
        said = {row["question"]: row["answer"] for row in answers(record, EQUIVALENCE)}
        assert "bfloat16" not in said["Which trains faster?"]
        assert "bfloat16" not in said["What would I choose?"]
    assert said["Which trains faster?"] == "As people write it: about equal; as twins: about equal."
