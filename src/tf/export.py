"""A model as a `.keras` file, SavedModel or ONNX, for programs that do not have `src`."""

import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from src.common.files import atomic_write
from src.tf.model import XceptionClassifier, build_model
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


def export_graph(model: XceptionClassifier, file: Path) -> None:
    """Write `model` for programs that have TensorFlow or ONNX Runtime alone.

    Input `images` (N, S, S) uint8, gray; output `probabilities` (N, K) float32, with the config's
    `flip_average` the mean over each image and its mirror image.

    Args:
        model: from `build_model`.
        file: ends in .onnx, else the folder of a SavedModel.
    Twin: `src.pt.export.export_graph` (a torch.export archive in place of the SavedModel).
    """
    config = model.config
    images = keras.Input((config.image_size, config.image_size), dtype="uint8", name="images")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    x = keras.ops.stack([x, x, x], axis=-1)  # (N, S, S, 3)
    if config.flip_average:
        x = keras.ops.concatenate([x, keras.ops.flip(x, axis=2)])
    probs = keras.ops.softmax(model(x))
    if config.flip_average:
        probs = keras.ops.mean(keras.ops.reshape(probs, (2, -1, len(config.classes))), axis=0)
    graph = keras.Model(images, {"probabilities": probs}, name="xception")
    if file.suffix == ".onnx":
        signature = [tf.TensorSpec(images.shape, images.dtype, images.name)]
        graph.export(file, format="onnx", verbose=False, input_signature=signature)
    else:
        graph.export(file, verbose=False)


def run_graph(file: Path, images: np.ndarray) -> np.ndarray:
    """Return the probabilities (N, K) that a SavedModel gives for images (N, S, S) uint8.

    A SavedModel is a program: load only what you trust.
    Twin: `src.pt.export.run_graph`.
    """
    graph = tf.saved_model.load(file)  # owns the variables
    return graph.serve(images)["probabilities"].numpy()
