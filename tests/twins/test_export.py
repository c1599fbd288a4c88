"""Exported models answer as the twins do, in programs that do not have `src`."""

import ast
import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
from image_folders import picture
from made_weights import made_weights

from src.__main__ import main
from src.config import preset
from src.serving.classifier import load_classifier
from src.training.checkpoint import write_model
from src.xception.blocks import head_layers, tensors
from src.xception.weights import initialise

# At 96 px, unlike 71, timm pads otherwise than Keras; a picture has no symmetry, so flips matter.
CONFIG = preset("smoke", test_size=96, flip_average=True)
HIDDEN = dataclasses.replace(CONFIG, hidden_units=8)
# Keras's fused kernels and PyTorch's sum in another order once a program is started anew.
TOLERANCE = 1e-5
RUN = """
import importlib.util, runpy
assert importlib.util.find_spec("src") is None
runpy.run_path("use.py")
"""


def save(folder, config, weights=None):
    write_model(folder, weights or {}, config, "pt")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "to, file, config", [("keras", "m.keras", HIDDEN), ("timm", "m.safetensors", CONFIG)]
)
def test_the_printed_lines_give_the_probabilities_of_the_twin(to, file, config, tmp_path, capsys):
    head = tensors(head_layers(config.hidden_units, len(config.classes)))
    model = save(tmp_path / "run", config, made_weights() | initialise(head, seed=1))
    out = tmp_path / "elsewhere"
    out.mkdir()
    picture(5, size=120).save(out / "scan.png")
    capsys.readouterr()
    arguments = ["export", "--to", to, "--model", str(model), "--out", str(out / file)]
    assert main(arguments) == 0
    (out / "use.py").write_text(capsys.readouterr().out)
    twin = load_classifier(model, {"keras": "tf", "timm": "pt"}[to])
    probabilities = twin.predict(out / "scan.png").probabilities
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", RUN]
    result = subprocess.run(command, cwd=out, env=alone, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    answer = ast.literal_eval(result.stdout.splitlines()[-1])
    assert list(answer) == list(probabilities)
    np.testing.assert_allclose([*answer.values()], [*probabilities.values()], atol=TOLERANCE)


@pytest.mark.parametrize(
    "to, file, config, sentence",
    [
        ("timm", "m.safetensors", HIDDEN, "a hidden layer in its head"),
        ("timm", "m.pth", CONFIG, "must name a .safetensors file"),
        ("keras", "m.h5", CONFIG, "must name a .keras file"),
        ("keras", "m.keras", dataclasses.replace(CONFIG, restore_defaults=["bn_epsilon"]), "exact"),
    ],
)
def test_what_cannot_be_exported_gets_a_sentence(to, file, config, sentence, tmp_path, capsys):
    model = save(tmp_path / "run", config)
    arguments = ["export", "--to", to, "--model", str(model), "--out", str(tmp_path / file)]
    assert main(arguments) == 2
    assert sentence in capsys.readouterr().err and not (tmp_path / file).exists()
