"""The loss and the update rule, in Keras."""

import keras

from src.config import ExperimentConfig

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
    common = {
        "learning_rate": rate,
        "weight_decay": config.weight_decay or None,
        "global_clipnorm": config.clip_norm or None,
    }
    if config.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(momentum=config.momentum, **common)
    else:
        # Keras decouples the decay in Adam too, so "adam" and "adamw" are one rule here.
        optimizer = keras.optimizers.Adam(
            beta_1=config.beta_1, beta_2=config.beta_2, epsilon=config.adam_epsilon, **common
        )
    if config.weight_decay and "weight_decay" not in config.restore_defaults:
        optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    optimizer.build(model.trainable_variables)
    return optimizer
