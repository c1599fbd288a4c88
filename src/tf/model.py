"""Xception in Keras: `keras.applications.Xception`, as published, with a head."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from src.config import ExperimentConfig
from src.tf.runtime import replica, set_precision, sum_over_replicas
from src.xception.blocks import head_layers
from src.xception.stages import all_layers, dropout_mask, trainable_layers
from src.xception.weights import initial_weights


class SharedDropout(keras.layers.Layer):
    """Dropout whose masks come from NumPy, so that both frameworks drop the same features.

    The mask is a variable that `set_step` fills before each step, as a callback sets the learning
    rate. So the graph holds nothing but TensorFlow, and XLA and `export` work.
    Twin: `src.pt.model.SharedDropout`, which makes each step's mask as it runs.
    """

    def __init__(self, config: ExperimentConfig, **kwargs):
        super().__init__(**kwargs)
        self.rate, self.seed, self.batch_size = config.dropout, config.seed, config.batch_size
        use_framework_dropout = "dropout" in config.restore_defaults
        self.generator = keras.random.SeedGenerator(self.seed) if use_framework_dropout else None

    def build(self, input_shape):
        self.mask = self.add_weight(
            shape=(self.batch_size, input_shape[-1]),
            dtype="float32",
            initializer=lambda shape, **_: self._draw(0, shape),
            trainable=False,
            name="mask",
        )

    def set_step(self, step: int) -> None:
        """Take the mask of training step `step`, counted from 0 over the whole run."""
        if self.generator:
            self.generator.state.assign([self.seed, step])
        elif self.rate:
            self.mask.assign(self._draw(step, self.mask.shape))

    def call(self, features, training=False):  # (B, C) -> (B, C)
        if not training or not self.rate:
            return features
        if self.generator:
            return keras.random.dropout(features, self.rate, seed=self.generator)
        # A smaller last batch takes the first rows, which are the mask of its shape; of several
        # replicas each has as many images as the first one, and the last one has the rest.
        number, replicas = replica()
        images, first = tf.shape(features)[0], 0
        if replicas > 1:
            first = number * -(-sum_over_replicas(images) // replicas)
        mask = self.mask[first : first + images]
        return features * tf.cast(mask, features.dtype)

    def _draw(self, step: int, shape: tuple[int, int]) -> np.ndarray:
        return dropout_mask(self.seed, step, tuple(shape), self.rate)


class XceptionClassifier(keras.Model):
    """Images (B, S, S, 3) in [-1, 1] -> logits (B, K).

    Built with `build_model`; `config` is the one it was built with.
    Twin: `src.pt.model.XceptionClassifier` (images are (B, 3, S, S)).
    """

    def __init__(self, inputs, outputs, config: ExperimentConfig, **kwargs):
        super().__init__(inputs=inputs, outputs=outputs, **kwargs)
        self.config = config

    def train_step(self, data):
        """Return the loss and the number of correct images of this batch.

        Keras's default returns means over the epoch so far, which hide the single step.
        """
        images, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            logits = self(images, training=True)
            # Of this replica's images, divided by the number of replicas.
            loss = self.compute_loss(images, labels, logits, weights)
            scaled = self.optimizer.scale_loss(loss)  # in float16; else it is the loss
        gradients = tape.gradient(scaled, self.trainable_weights)
        _, replicas = replica()
        if replicas > 1 and self.config.clip_norm:
            # Keras clips each replica's gradients, then sums them. See `make_optimizer`, too.
            gradients = [each / replicas for each in sum_over_replicas(gradients)]
        self.optimizer.apply(gradients, self.trainable_weights)
        self.compute_metrics(images, labels, logits, weights)  # builds those of the validation
        hits = tf.equal(tf.argmax(logits, axis=1), tf.argmax(labels, axis=1))
        correct = sum_over_replicas(tf.math.count_nonzero(hits))
        return {"loss": sum_over_replicas(loss), "correct": correct}

    def make_predict_function(self, force=False):
        """Trace the network once for any number of images of one side.

        Keras's default traces again for a smaller last batch.
        """
        if self.predict_function is None or force:
            graph = tf.function(lambda images: self(images, training=False))

            def predict(data):
                images, _, _ = keras.utils.unpack_x_y_sample_weight(data[0])
                batches = tf.TensorSpec((None, *images.shape[1:]), images.dtype)
                return graph.get_concrete_function(batches)(images)

            self.predict_function = predict


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
    # Of any side, where two are in use.
    side = config.image_size if config.image_size == config.eval_size else None
    backbone = keras.applications.Xception(
        include_top=False, weights=None, input_shape=(side, side, 3)
    )  # (B, S, S, 3) -> (B, s, s, 2048)
    features = keras.layers.GlobalAveragePooling2D(name="head_pool")(backbone.output)  # (B, 2048)
    features = SharedDropout(config, name="head_dropout")(features)
    if config.hidden_units:
        features = keras.layers.Dense(config.hidden_units, "relu", name="head_hidden")(features)
    # Logits keep full precision even when the layers before them compute in 16 bits.
    logits = keras.layers.Dense(
        len(config.classes), name="head_logits", dtype=keras.config.floatx()
    )
    model = XceptionClassifier(backbone.input, logits(features), config, name="xception")
    for layer in model.layers:  # all that Keras's network needs; timm's has `src.pt.align`
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.epsilon, layer.momentum = config.bn_epsilon, config.bn_momentum
            layer.synchronized = replica()[1] > 1
    set_weights(model, initial_weights(config) if weights is None else weights)
    return model


def default_head(config: ExperimentConfig) -> dict[str, np.ndarray]:
    """Return the head's weights as Keras initialises them: Glorot uniform, zero bias.

    For the difference `head_init`.
    Twin: `src.pt.model.default_head`.
    """
    keras.utils.set_random_seed(config.seed)
    weights = {}
    for spec in head_layers(config.hidden_units, len(config.classes)):
        layer = keras.layers.Dense(spec.outputs)
        layer.build((None, spec.inputs))
        weights[f"{spec.name}/kernel"] = keras.ops.convert_to_numpy(layer.kernel)
        weights[f"{spec.name}/bias"] = keras.ops.convert_to_numpy(layer.bias)
    return weights


def named_layers(model: XceptionClassifier) -> dict[str, keras.layers.Layer]:
    """Return the layers with weights by their names in `src.xception.blocks`.

    Twin: `src.pt.model.named_layers`.
    """
    with_weights = [
        layer for layer in model.layers if layer.weights and not isinstance(layer, SharedDropout)
    ]
    # By order, since Keras numbers the residual convolutions differently in every process.
    names = [spec.name for spec in all_layers(model.config)]
    return dict(zip(names, with_weights, strict=True))


def get_weights(model: XceptionClassifier) -> dict[str, np.ndarray]:
    """Return every tensor by name, in Keras's axis order.

    Twin: `src.pt.model.get_weights`.
    """
    return {
        name: keras.ops.convert_to_numpy(variable) for name, variable in _variables(model).items()
    }


def set_weights(model: XceptionClassifier, weights: Mapping[str, np.ndarray]) -> None:
    """Give the model every tensor of `weights`, as `get_weights` names them.

    Twin: `src.pt.model.set_weights`.
    """
    for name, variable in _variables(model).items():
        variable.assign(weights[name])


def set_stage(model: XceptionClassifier, stage: int) -> None:
    """Make trainable what `stage` trains, and freeze the rest.

    Keras runs a BatchNorm that is not trainable in inference mode.
    Twin: `src.pt.model.set_stage`.
    """
    trainable = trainable_layers(model.config, stage)
    for name, layer in named_layers(model).items():
        layer.trainable = name in trainable


def block_output(model: XceptionClassifier, images: np.ndarray, block: str) -> np.ndarray:
    """Return what `block` gives for `images` in inference mode.

    Args:
        model: from `build_model`.
        images: (B, S, S, 3) float32 in [-1, 1].
        block: "block1" to "block14".
    Returns:
        (B, s, s, C), channels last in both twins; float64 in that precision, else float32.
    Twin: `src.pt.model.block_output`.
    """
    maps = keras.Model(model.input, block_end(model, block))(images, training=False)
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


def _variables(model: XceptionClassifier) -> dict[str, keras.Variable]:
    """Return every tensor of the block table by name."""
    layers = named_layers(model)
    return {
        f"{spec.name}/{tensor}": getattr(layers[spec.name], tensor)
        for spec in all_layers(model.config)
        for tensor in spec.shapes()
    }
