"""A saved model as a `.keras` file, for programs that have Keras but not `src`."""

import json
import zipfile
from pathlib import Path

import keras

from src.common.files import atomic_write
from src.tf.model import build_model
from src.training.checkpoint import model_card, read_model
from src.training.export import export_config, image_lines
from src.xception.blocks import head_layers


def export_model(folder: Path, file: Path) -> str:
    """Write the model saved in `folder` to `file`: images (B, S, S, 3) in [-1, 1] -> (B, K).

    The outputs are probabilities, as those of `keras.applications.Xception`. The layers are Keras's
    own; the archive also holds `model.json`, which names classes and preprocessing.

    Returns:
        Python that loads the file and predicts an image; it needs Keras, NumPy and Pillow.
    Raises:
        InputError: there is no model, `file` does not end in .keras, or defaults were restored.
    Twin: `src.pt.export.export_model` (a state dict for timm, which gives logits).
    """
    config = export_config(folder, file, ".keras")
    weights, _ = read_model(folder)
    model = build_model(config, weights)
    features = model.get_layer("head_pool").output  # (B, 2048)
    for spec in head_layers(config.hidden_units, len(config.classes)):  # without our dropout
        features = model.get_layer(spec.name)(features)
    probs = keras.layers.Softmax(name="probs")(features)
    with atomic_write(file) as temporary:
        keras.Model(model.input, probs, name="xception").save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr("model.json", json.dumps(model_card(config, "tf"), indent=2))
    mirrored = "probs = (probs + model.predict(images[:, :, ::-1], verbose=0)) / 2\n"
    return (
        "import keras\nimport numpy as np\nfrom PIL import Image\n\n"
        f"model = keras.models.load_model({str(file)!r})\n"
        f"{image_lines(config)}"
        "probs = model.predict(images, verbose=0)\n"
        f"{mirrored if config.flip_average else ''}"
        f"print(dict(zip({list(config.classes)}, probs[0].tolist())))"
    )
