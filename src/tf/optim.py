"""The loss and the update rule, in Keras."""

import keras

from src.config import ExperimentConfig
from src.tf.model import SharedDropout
from src.tf.runtime import replica
from src.xception.stages import all_layers, rate_scale

# Decay shrinks kernels; BatchNorm's scale and shift, and biases, are left alone.
_NOT_DECAYED = ["gamma", "beta", "bias"]


def make_loss(config: ExperimentConfig) -> keras.losses.Loss:
    """Return cross-entropy on logits: the sum of weighted losses over the number of images.

    Twin: `src.pt.optim.make_loss`.
    """
    return keras.losses.CategoricalCrossentropy(
        from_logits=True,
        label_smoothing=config.label_smoothing,
        dtype=keras.config.floatx(),  # Keras would compute it in float32 even for float64 logits
    )


def make_optimizer(
    config: ExperimentConfig, model: keras.Model, rate: float
) -> keras.optimizers.Optimizer:
    """Return the config's optimizer for the trainable weights of `model`.

    Twin: `src.pt.optim.make_optimizer`, which follows Keras's rules.
    """
    _, replicas = replica()  # each clips its share, in `XceptionClassifier.train_step`
    common = {
        "learning_rate": rate,
        "weight_decay": config.weight_decay or None,
        "global_clipnorm": config.clip_norm / replicas or None,
        "use_ema": config.ema_decay > 0,
        "ema_momentum": config.ema_decay,
    }
    layerwise = config.layer_decay != 1
    if config.optimizer == "sgd":
        rule = LayerwiseSGD if layerwise else keras.optimizers.SGD
        optimizer = rule(momentum=config.momentum, **common)
    else:
        # Keras decouples the decay in Adam too, so "adam" and "adamw" are one rule here.
        rule = LayerwiseAdam if layerwise else keras.optimizers.Adam
        optimizer = rule(
            beta_1=config.beta_1, beta_2=config.beta_2, epsilon=config.adam_epsilon, **common
        )
    if layerwise:
        optimizer.rate_scales = _rate_scales(config, model)
    if config.weight_decay and "weight_decay" not in config.restore_defaults:
        optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    if config.precision == "float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(model.trainable_variables)
    return optimizer


class _LayerRates:
    """Multiplies the learning rate, and with it the decay, by a factor for each variable.

    `rate_scales` holds the factors, in the order of the variables that the optimizer is built with.
    """

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate * self._scale(variable))

    def _apply_weight_decay(self, variables):
        for variable in variables if self.weight_decay else ():
            if self._use_weight_decay(variable):
                decay = keras.ops.cast(self.weight_decay, variable.dtype)
                rate = self.learning_rate * self._scale(variable)
                variable.assign_sub(variable * decay * rate)

    def _scale(self, variable) -> float:
        return self.rate_scales[self._get_variable_index(variable)]


class LayerwiseAdam(_LayerRates, keras.optimizers.Adam):
    """Keras's Adam with layer-wise rates. No twin: PyTorch has parameter groups."""


class LayerwiseSGD(_LayerRates, keras.optimizers.SGD):
    """Keras's SGD with layer-wise rates. No twin: PyTorch has parameter groups."""


def _rate_scales(config: ExperimentConfig, model: keras.Model) -> list[float]:
    """Return the factor on the learning rate of each trainable variable of `model`."""
    with_weights = [
        layer for layer in model.layers if layer.weights and not isinstance(layer, SharedDropout)
    ]
    scales = {
        id(variable): rate_scale(config, spec.block)
        for spec, layer in zip(all_layers(config), with_weights, strict=True)
        for variable in layer.trainable_variables
    }
    return [scales[id(variable)] for variable in model.trainable_variables]
