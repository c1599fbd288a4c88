"""The command line as a person meets it: the main job, and mistakes that get a clear sentence."""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from image_folders import picture, python, truncate, write_set
from PIL import Image

from src.__main__ import VERBS, build_parser, main
from src.cli.options import config_from, run_folder
from src.config import CLASS_NAMES, ExperimentConfig
from src.evaluation.metrics import score_groups
from src.records import read_predictions
from src.training.checkpoint import MODEL_FORMAT, PREPROCESSING

ROOT = Path(__file__).parents[2]
SCRATCH = ["--preset", "smoke", "--init", "scratch"]
SHIPPED = ["--preset", "smoke", "--init", "pretrained"]


def run(*arguments):
    """Run `python -m src` as a person would who has no images."""
    command = [sys.executable, "-m", "src", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture
def run_here(capsys):
    """Do what `run` does in this process, which has loaded the frameworks."""

    def result(*arguments):
        code = main([str(argument) for argument in arguments])
        return SimpleNamespace(returncode=code, **capsys.readouterr()._asdict())

    return result


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The main job on the phantom set, from what ships, once for all tests here."""
    out = tmp_path_factory.mktemp("compared") / "run"
    result = run("compare", *SHIPPED, "--out", out)
    assert result.returncode == 0, result.stderr
    return out, result


@pytest.mark.slow
def test_the_main_job_runs_with_nothing_given(compared):
    out, result = compared
    assert "PHANTOM DATA" in result.stderr
    assert result.stdout.rstrip().endswith(f"Report: {out / 'report.html'}")
    assert "Traceback" not in result.stderr
    assert (out / "report.html").stat().st_size > 100_000
    assert {path.suffix for path in (out / "plots").iterdir()} == {".png"}


@pytest.mark.slow
def test_comparison_json_holds_what_it_promises(compared):
    out, _ = compared
    comparison = json.loads((out / "comparison.json").read_text())
    assert comparison["dataset"]["kind"] == "phantom"
    assert comparison["dataset"]["counts"] == {
        "Training": dict.fromkeys(CLASS_NAMES, 80),
        "Testing": dict.fromkeys(CLASS_NAMES, 20),
    }
    assert comparison["config"]["init"] == "pretrained"
    for framework in ("tf", "pt"):
        record = comparison[framework]
        history = record["history"]
        assert len(history["loss"]) == len(history["val_loss"]) == 2
        assert len(history["step_loss"]) == 8
        predictions = read_predictions(out / f"predictions_{framework}.npz")
        right = predictions.probs.argmax(axis=1) == predictions.labels
        assert record["metrics"]["test"]["accuracy"] == pytest.approx(right.mean())
        assert len(predictions.paths) == 80
        assert len(set(predictions.groups)) == 20  # the phantom's patients, four slices each
        votes = score_groups(predictions.labels, predictions.probs, predictions.groups)
        assert record["metrics"]["test_groups"]["accuracy"] == votes["accuracy"]
        assert record["metrics"]["test_groups"]["count"] == 20
        assert 0 < record["speed"]["predict"]["low"] <= record["speed"]["predict"]["high"]
        assert record["speed"]["train"]["first_step_seconds"] > 0
        assert record["peak_memory_mb"] > 100
        assert record["seconds"] > 0
        assert record["versions"]["python"]


@pytest.mark.slow
def test_the_twins_agree(compared):
    out, _ = compared
    agreement = json.loads((out / "comparison.json").read_text())["agreement"]
    assert agreement["first_step_gap"] < 1e-5
    assert agreement["steps_ratio"] < 3


@pytest.mark.slow
def test_a_finished_comparison_is_not_run_again(compared, run_here):
    out, _ = compared
    records = [out / name / "record.json" for name in ("tf", "pt", "pt_floor")]
    before = [path.stat().st_mtime_ns for path in records]
    again = run_here("compare", *SHIPPED, "--out", out)
    assert again.returncode == 0
    assert [path.stat().st_mtime_ns for path in records] == before


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["tf", "pt"])
def test_predict_in_every_form(compared, framework, tmp_path):
    out, _ = compared
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (90, 120, 3), np.uint8)).save(tmp_path / "colour.png")
    Image.fromarray(rng.integers(0, 256, (90, 120), np.uint8)).save(tmp_path / "gray.jpg")
    (tmp_path / "text.jpg").write_text("not an image")
    printed = run("predict", tmp_path, "--model", out / "tf", "--framework", framework, "--json")
    assert printed.returncode == 3, printed.stderr
    assert "text.jpg: not an image" in printed.stderr
    computed = {"tf": "tensorflow", "pt": "torch"}[framework]
    assert f"\nframework: {computed} " in printed.stderr
    rows = json.loads(printed.stdout)
    assert [Path(row["name"]).name for row in rows] == ["colour.png", "gray.jpg", "text.jpg"]
    assert rows[2]["label"] is None and "not an image" in rows.pop()["why"]
    for row in rows:
        probs = row["probabilities"]
        assert list(probs) == list(CLASS_NAMES)
        assert sum(probs.values()) == pytest.approx(1, abs=1e-6)
        assert row["label"] == max(probs, key=probs.get)
    if framework == "pt":
        gray = tmp_path / "gray.jpg"
        table = run("predict", gray, "--model", out / "pt")
        assert table.stdout.split()[:2] == ["image", "label"] and rows[0]["label"]
        comma = run("predict", gray, "--model", out / "pt", "--csv").stdout.splitlines()
        assert comma[0] == "name,label,glioma,meningioma,notumor,pituitary,unsure,not_mri,why"
        assert len(comma) == 2 and comma[1].startswith(str(gray))


@pytest.mark.slow
def test_evaluate_repeats_the_score(compared):
    out, _ = compared
    before = json.loads((out / "pt" / "record.json").read_text())["metrics"]["test"]
    result = run("evaluate", out / "pt")
    assert result.returncode == 0, result.stderr
    assert f"accuracy {before['accuracy']:.4f}" in result.stdout


@pytest.mark.slow
def test_evaluate_refuses_other_images(compared, run_here, tmp_path):
    out, _ = compared
    result = run_here("evaluate", out / "pt", "--data", write_set(tmp_path / "other"))
    assert result.returncode == 2
    assert "trained on other images" in result.err


@pytest.mark.slow
def test_damaged_images_are_named_and_the_run_goes_on(run_here, tmp_path):
    data = write_set(tmp_path / "data")
    broken = data / "Training" / "glioma" / "zz_broken.png"
    picture(1, 2).save(broken)
    truncate(broken)
    (data / "Testing" / "notumor" / "zz_empty.jpg").touch()
    out = tmp_path / "run"
    options = ["--max-images-per-epoch", 8, "--finetune-epochs", 0, "--data", data, "--out", out]
    result = run_here("train", "--framework", "pt", *SCRATCH, *options)
    assert result.returncode == 0, result.err
    skipped = dict(json.loads((out / "record.json").read_text())["dataset"]["skipped"])
    assert set(skipped) == {"Training/glioma/zz_broken.png", "Testing/notumor/zz_empty.jpg"}
    assert "zz_broken.png" in result.err and "zz_empty.jpg" in result.err


@pytest.mark.slow
def test_without_network_weights_that_were_asked_for_get_a_sentence(
    run_here, monkeypatch, tmp_path
):
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("BRAIN_TUMOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    data = write_set(tmp_path / "data")
    insisted = ["--framework", "pt", "--preset", "smoke", "--init", "imagenet", "--data", data]
    result = run_here("train", *insisted)
    assert result.returncode == 2 and "Could not fetch the ImageNet weights" in result.err


TRAIN = ["train", "--framework", "pt", *SCRATCH]
ATTRIBUTE = ["compare", "--attribute", "--data", "{tmp}/nowhere"]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ([*TRAIN, "--data", "{tmp}/nowhere"], "nowhere does not exist. Give --data"),
        ([*TRAIN, "--data", "{tmp}/classless"], "No class folders in"),
        ([*TRAIN, "--data", "{tmp}/empty_class"], "pituitary has no usable image"),
        ([*TRAIN, "--out", "{tmp}/file/run"], "Cannot write to the folder"),
        ([*TRAIN, "--dropout", "1.5"], "Config field dropout must be"),
        ([*TRAIN, "--reinit", "block99"], "Config field reinit must be"),
        ([*TRAIN, "--config", "{tmp}/file"], "not a readable JSON file"),
        ([*TRAIN, "--config", "{tmp}/list.json"], "expected a JSON object"),
        ([*TRAIN, "--init", "{tmp}/none.h5"], "No weights file at"),
        (["compare", *SCRATCH, "--out", "{tmp}/file/run"], "Cannot write to the folder"),
        ([*ATTRIBUTE, "--config", "{tmp}/list.json"], "Leave out --config"),
        ([*ATTRIBUTE, "--preset", "smoke"], "Leave out --preset"),
        (["predict", "{tmp}/file", "--model", "{tmp}"], "No saved model in"),
        (["evaluate", "{tmp}"], "No saved model in"),
    ],
)
def test_a_mistake_gets_a_sentence_and_exit_code_2(arguments, sentence, tmp_path, capsys):
    (tmp_path / "file").write_text("text")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "classless" / "pictures").mkdir(parents=True)
    data = write_set(tmp_path / "empty_class")
    for path in (data / "Training" / "pituitary").iterdir():
        path.unlink()
    given = [argument.format(tmp=tmp_path) for argument in arguments]
    given += ["--out", str(tmp_path / "run")] if "train" in given and "--out" not in given else []
    assert main(given) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("verb", [TRAIN, ["compare", *SCRATCH]])
def test_weights_that_are_missing_leave_no_folder(verb, tmp_path, capsys):
    data, out = write_set(tmp_path / "data"), tmp_path / "run"
    given = ["--init", str(tmp_path / "none.h5"), "--data", str(data), "--out", str(out)]
    assert main([*verb, *given]) == 2
    assert "No weights file at" in capsys.readouterr().err and not out.exists()


@pytest.mark.slow
def test_predict_names_what_it_cannot_read(compared, tmp_path, capsys):
    out, _ = compared
    (tmp_path / "text.jpg").write_text("not an image")
    for path, sentence in (
        (tmp_path / "none.png", "no such file or folder"),
        (tmp_path / "text.jpg", "not an image"),
        (tmp_path, "not an image"),
    ):
        expected = 2 if path.name == "none.png" else 3
        assert main(["predict", str(path), "--model", str(out / "pt")]) == expected
        assert sentence in capsys.readouterr().err


def test_help_names_every_verb():
    result = run("--help")
    assert result.returncode == 0
    assert "Not a medical device" in " ".join(result.stdout.split())
    assert all(f"\n    {verb}" in result.stdout for verb in VERBS)


def parsers(parser: argparse.ArgumentParser):
    """Return a parser and those of its sub-commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from parsers(command)


def flags(parser: argparse.ArgumentParser):
    """Return every argument of a parser and of its sub-commands."""
    for each in parsers(parser):
        yield from (one for one in each._actions if not isinstance(one, argparse._SubParsersAction))


@pytest.mark.parametrize(
    "arguments, least",
    [
        (["compare", "--attribute", "--seeds", "0"], 1),
        (["features", "--count", "-1"], 1),
        (["bench", "--turns", "0"], 1),
        (["bench", "exactness", "--rounds", "0"], 1),
        ([*TRAIN, "--workers", "-1"], 0),
        (["train", "--framework", "tf", "--replicas", "0"], 1),
    ],
)
def test_a_number_that_is_too_small_is_refused_at_once(arguments, least, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert f"must be {least} or more. Received: {arguments[-1]}." in capsys.readouterr().err


WITHOUT = """
import sys
for name in ("matplotlib", "psutil", "scipy", "tensorflow", "torch", "filelock", "sklearn", "h5py"):
    sys.modules[name] = None
from src.__main__ import build_parser, main
for verb in ("app", "doctor", "predict"):
    build_parser(verb)
sys.exit(main(["train", "--framework", "pt"]))
"""


def test_where_only_prediction_is_installed_its_verbs_work_and_others_name_what_is_missing():
    process = python(WITHOUT)
    errors = process.communicate()[1]
    assert process.returncode == 2 and "Traceback" not in errors
    assert "needs scipy, which is not installed: python -m pip install" in errors


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_hides_no_flag(verb, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([verb, "--help"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: python -m src {verb} ")
    assert all(parser.description for parser in parsers(build_parser(verb)))
    hidden = [
        one.option_strings for one in flags(build_parser(verb)) if one.help == argparse.SUPPRESS
    ]
    assert not hidden


def test_the_help_of_an_experiment_tells_values_units_and_defaults():
    options = {one.dest: one.help for one in flags(build_parser("train"))}
    assert options["balance"] == (
        "how unequal class counts are compensated; one of none, class_weights, sampling; "
        "default: class_weights"
    )
    assert options["dropout"] == "on the pooled features [probability]; default: 0.3"
    assert options["flip_average"].endswith("; default: no")
    assert options["reinit"].endswith("[blocks]; default: none")
    for spec in dataclasses.fields(ExperimentConfig):
        if spec.name != "classes":  # the folder's own
            assert "; default: " in options[spec.name]
    of_parity = {one.dest: one.help for one in flags(build_parser("parity"))}
    assert of_parity["dropout"] == "on the pooled features [probability]"  # its own is another


@pytest.mark.parametrize(
    "arguments, unknown, place",
    [
        (["train", "--framework", "pt", "--epochs", "5"], "--epochs 5", "train"),
        (["predict", "scan.png", "--json", "x.csv", "--size=9"], "x.csv --size=9", "predict"),
        (["data", "audit", "--page", "x"], "--page x", "data audit"),
        (["doctor", "now"], "now", "doctor"),
        (["--fast", "train", "--framework", "pt"], "--fast", ""),
    ],
)
def test_an_unknown_option_is_named_with_the_help_of_its_verb(arguments, unknown, place, capsys):
    assert main(arguments) == 2
    error = f"error: unrecognized arguments: {unknown}. `{f'python -m src {place}'.strip()} "
    assert capsys.readouterr().err.startswith(error)


def test_no_option_can_do_nothing_and_none_says_what_another_says():
    assert "classes" not in {one.dest for one in flags(build_parser("train"))}
    given = {one.dest for one in flags(build_parser("parity"))}
    assert {"dtype", "fault"} <= given and not given & {"precision", "restore_defaults"}


@pytest.mark.parametrize(
    "arguments, heavy",
    [
        (["--help"], ("numpy", "src.cli")),
        (["trian", "--framework", "pt"], ("numpy", "src.cli")),
        (["train", "--framework", "tf", "--data", "nowhere"], ("tensorflow", "torch")),
        (["predict", "nowhere.png", "--model", "{model}"], ("tensorflow", "torch", "onnxruntime")),
    ],
)
def test_help_and_mistakes_are_answered_before_heavy_imports(arguments, heavy, tmp_path):
    names = {"class_names": CLASS_NAMES, "preprocessing": PREPROCESSING, "framework": "pt"}
    (tmp_path / "model.json").write_text(json.dumps({"format": MODEL_FORMAT, **names}))
    given = [argument.format(model=tmp_path) for argument in arguments]
    probe = """
import sys
from src.__main__ import VERBS, build_parser, main
try:
    code = main(sys.argv[2:])
except SystemExit as stopped:
    code = stopped.code
print(code, sorted(set(sys.argv[1].split(",")) & set(sys.modules)))
"""
    command = [sys.executable, "-c", probe, ",".join(heavy), *given]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == f"{0 if arguments == ['--help'] else 2} []"


def interrupt(*_, **__):
    raise KeyboardInterrupt


def test_control_c_while_a_verb_is_imported_gets_a_sentence(monkeypatch, capsys):
    monkeypatch.setattr("importlib.import_module", interrupt)
    assert main(["compare"]) == 130
    assert capsys.readouterr().err.split() == ["Stopped."]


def test_control_c_says_how_to_go_on_where_that_is_possible(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("src.experiment.train", interrupt)
    monkeypatch.setattr("src.experiment.evaluate", interrupt)
    out, data = tmp_path / "run", write_set(tmp_path / "data")
    assert main([*TRAIN, "--data", str(data), "--out", str(out)]) == 130
    assert capsys.readouterr().err.rstrip().endswith("Stopped. Nothing was saved yet.")
    out.mkdir(exist_ok=True)
    (out / "last.safetensors").touch()
    assert main([*TRAIN, "--data", str(data), "--out", str(out)]) == 130
    sentence = f"Stopped. With --out {out} this command goes on from its last checkpoint."
    assert capsys.readouterr().err.rstrip().endswith(sentence)
    assert main(["evaluate", str(out)]) == 130
    assert capsys.readouterr().err.split() == ["Stopped."]


def say(text: str, **environment) -> subprocess.Popen:
    """Start the command line with a verb that prints `text`, a Python expression."""
    probe = f"""
import sys, types
from src.__main__ import VERBS, main
verb = types.SimpleNamespace(add_say=id, say=lambda _: print({text}))
sys.modules["src.cli.say"], VERBS["say"] = verb, ("say", "say")
sys.exit(main(["say"]))
"""
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    command = [sys.executable, "-c", probe]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, **pipes)


def test_a_closed_stdout_is_no_traceback():
    command = [
        sys.executable,
        "-c",
        "import sys; from src.__main__ import main; sys.stdout = None;",
    ]
    command[-1] += "sys.exit(main(['data', 'summary']))"
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "Traceback" not in done.stderr


def test_remarks_do_not_go_to_stdout_where_stderr_is_closed():
    code = "import sys; from src.__main__ import main; sys.stderr = None; main(['evaluate', 'no'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_same_command_finds_the_same_folder(monkeypatch):
    def folder(*arguments):
        options = argparse.Namespace()
        build_parser(arguments[0]).parse_args([*arguments], options)
        return run_folder(options, config_from(options))

    train = ("train", "--framework", "pt", "--preset", "smoke")
    first = folder(*train)
    assert first == folder(*train, "--workers", "2", "--evaluate")
    assert str(first).startswith(f"runs{os.sep}train-pt-")
    others = [folder("compare", "--preset", "smoke"), folder(*train, "--seed", "1")]
    others.append(folder("train", "--framework", "tf", "--preset", "smoke"))
    assert len({first, *others}) == 4


def test_a_closed_pipe_ends_quietly():
    process = say("'x' * 1_000_000")
    process.stdout.close()  # as `| head -0` does
    assert process.stderr.read() == b""
    assert process.wait() == 141


def test_a_name_that_is_no_text_is_printed():
    """On Linux a file may be called anything; stdout is strict where it is UTF-8."""
    out, err = say(r"'b\udce4d.png'", PYTHONIOENCODING="utf-8:strict").communicate()
    assert (out.strip(), err) == (rb"b\udce4d.png", b"")


@pytest.mark.parametrize(
    "arguments",
    [
        [*TRAIN, "--data", "x" * 300],
        [*TRAIN, "--out", "x" * 300],
        ["evaluate", "x" * 300],
        ["predict", "x" * 300],
        ["predict", str(ROOT / "README.md"), "--model", "x" * 300],
        [*TRAIN, "--config", "x" * 300],
    ],
)
def test_a_name_that_is_too_long_is_a_sentence(arguments, tmp_path, capsys):
    needs_data = arguments[0] == "train" and "--data" not in arguments
    given = [*arguments, *(["--data", str(write_set(tmp_path))] if needs_data else [])]
    assert main(given) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_failing_disk_is_a_sentence(monkeypatch, tmp_path, capsys):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "predictions.npz")

    monkeypatch.setattr("src.experiment.evaluate", full)
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "No space left on device" in capsys.readouterr().err
