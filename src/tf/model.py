"""Xception in Keras: `keras.applications.Xception`, as published, with a head."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from src.config import CLASS_NAMES, ExperimentConfig
from src.tf.align import align
from src.tf.runtime import set_precision
from src.xception.blocks import head_layers
from src.xception.stages import all_layers, dropout_mask, trainable_layers
from src.xception.weights import initial_weights


class SharedDropout(keras.layers.Layer):
    """Dropout whose masks come from NumPy, so that both frameworks drop the same features.

    Twin: `src.pt.model.SharedDropout`.
    """

    def __init__(self, config: ExperimentConfig, **kwargs):
        super().__init__(**kwargs)
        self.rate, self.seed = config.dropout, config.seed
        own = "dropout" in config.restore_defaults  # Keras's generator, put back
        self.own_seed = keras.random.SeedGenerator(config.seed) if own else None

    def build(self, input_shape):
        self.step = self.add_weight(
            shape=(), dtype="int64", initializer="zeros", trainable=False, name="step"
        )

    def call(self, features, training=False):  # (B, C) -> (B, C)
        if not training or not self.rate:
            return features
        if self.own_seed:
            return keras.random.dropout(features, self.rate, seed=self.own_seed)
        mask = tf.numpy_function(self._mask, [self.step.value, tf.shape(features)], tf.float32)
        self.step.assign_add(1)
        return features * tf.cast(tf.ensure_shape(mask, features.shape), features.dtype)

    def _mask(self, step: int, shape: np.ndarray) -> np.ndarray:
        return dropout_mask(self.seed, int(step), tuple(shape), self.rate)


class XceptionClassifier(keras.Model):
    """Images (B, S, S, 3) in [-1, 1] -> logits (B, 4).

    Built with `build_model`. It also keeps the loss of the latest training step, which Keras
    itself only reports averaged over the epoch.
    Twin: `src.pt.model.XceptionClassifier` (images are (B, 3, S, S)).
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.step_loss = keras.Variable(0.0, trainable=False, name="step_loss")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if training:
            self.step_loss.assign(loss)
        return loss


def build_model(
    config: ExperimentConfig, weights: Mapping[str, np.ndarray] | None = None
) -> XceptionClassifier:
    """Build the network and give it its weights.

    Args:
        config: the experiment.
        weights: arrays by Keras's names; by default those the experiment starts from.
    Raises:
        InputError: the weights cannot be had, or do not fit.
    Source: Chollet 2017, arXiv:1610.02357.
    Twin: `src.pt.model.build_model`.
    """
    set_precision(config.precision)
    side = config.image_size
    backbone = keras.applications.Xception(
        include_top=False, weights=None, input_shape=(side, side, 3)
    )  # (B, S, S, 3) -> (B, s, s, 2048)
    features = keras.layers.GlobalAveragePooling2D(name="head_pool")(backbone.output)  # (B, 2048)
    features = SharedDropout(config, name="head_dropout")(features)
    if config.hidden_units:
        features = keras.layers.Dense(config.hidden_units, "relu", name="head_hidden")(features)
    # Logits keep full precision even when the layers before them compute in bfloat16.
    logits = keras.layers.Dense(len(CLASS_NAMES), name="head_logits", dtype=keras.config.floatx())
    model = XceptionClassifier(backbone.input, logits(features), name="xception")
    align(model, config)
    set_weights(model, initial_weights(config) if weights is None else weights, config)
    return model


def default_head(config: ExperimentConfig) -> dict[str, np.ndarray]:
    """Return the head's weights as Keras draws them: Glorot uniform, zero bias.

    For the ledger's row `head_init`.
    Twin: `src.pt.model.default_head`.
    """
    keras.utils.set_random_seed(config.seed)
    weights = {}
    for spec in head_layers(config.hidden_units, len(CLASS_NAMES)):
        layer = keras.layers.Dense(spec.outputs)
        layer.build((None, spec.inputs))
        weights[f"{spec.name}/kernel"] = keras.ops.convert_to_numpy(layer.kernel)
        weights[f"{spec.name}/bias"] = keras.ops.convert_to_numpy(layer.bias)
    return weights


def named_layers(
    model: XceptionClassifier, config: ExperimentConfig
) -> dict[str, keras.layers.Layer]:
    """Return the layers with weights by their names in `src.xception.blocks`.

    Twin: `src.pt.model.named_layers`.
    """
    with_weights = [layer for layer in model.layers if layer.weights and layer.name != _DROPOUT]
    # By order, since Keras numbers the residual convolutions differently in every process.
    return {spec.name: layer for spec, layer in zip(all_layers(config), with_weights, strict=True)}


def get_weights(model: XceptionClassifier, config: ExperimentConfig) -> dict[str, np.ndarray]:
    """Return every tensor by name, in Keras's axis order.

    Twin: `src.pt.model.get_weights`.
    """
    layers = named_layers(model, config)
    return {
        f"{spec.name}/{tensor}": keras.ops.convert_to_numpy(getattr(layers[spec.name], tensor))
        for spec in all_layers(config)
        for tensor in spec.shapes()
    }


def set_weights(
    model: XceptionClassifier, weights: Mapping[str, np.ndarray], config: ExperimentConfig
) -> None:
    """Give the model every tensor of `weights`, as `get_weights` names them.

    Twin: `src.pt.model.set_weights`.
    """
    layers = named_layers(model, config)
    for spec in all_layers(config):
        for tensor in spec.shapes():
            getattr(layers[spec.name], tensor).assign(weights[f"{spec.name}/{tensor}"])


def set_stage(model: XceptionClassifier, config: ExperimentConfig, stage: int) -> None:
    """Make trainable what `stage` trains, and freeze the rest.

    Keras runs a BatchNorm that is not trainable in inference mode.
    Twin: `src.pt.model.set_stage`.
    """
    trainable = trainable_layers(config, stage)
    for name, layer in named_layers(model, config).items():
        layer.trainable = name in trainable


def block_output(
    model: XceptionClassifier, config: ExperimentConfig, images: np.ndarray, block: str
) -> np.ndarray:
    """Return what `block` gives for `images` in inference mode.

    Args:
        model: from `build_model`.
        config: the one it was built with.
        images: (B, S, S, 3) float32 in [-1, 1].
        block: "block1" to "block14".
    Returns:
        (B, s, s, C), channels last in both twins; float64 in that precision, else float32.
    Twin: `src.pt.model.block_output`.
    """
    outputs = block_end(model, block)
    maps = keras.Model(model.input, outputs)(images, training=False)
    return keras.ops.convert_to_numpy(keras.ops.cast(maps, keras.config.floatx()))


def block_end(model: XceptionClassifier, block: str):
    """Return the symbolic output of `block`: after its addition, or its last activation.

    Twin: `src.pt.model.block_end`.
    """
    sums = [layer.output for layer in model.layers if isinstance(layer, keras.layers.Add)]
    ends = {f"block{number}": output for number, output in enumerate(sums, start=2)}
    ends["block1"] = model.get_layer("block1_conv2_act").output
    ends["block14"] = model.get_layer("block14_sepconv2_act").output
    return ends[block]


_DROPOUT = "head_dropout"
