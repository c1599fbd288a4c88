"""The one function that makes Keras's Xception and timm's the same."""

import keras

from src.config import ExperimentConfig


def align(network: keras.Model, config: ExperimentConfig) -> keras.Model:
    """Give every BatchNorm the config's epsilon and momentum; Keras's own ways are the standard.

    `network` is changed in place and returned.
    Twin: `src.pt.align.align`, which has more to change.
    """
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.epsilon, layer.momentum = config.bn_epsilon, config.bn_momentum
    return network
