"""Which blocks at the network's beginning are frozen in a stage, so that they can be skipped.

A block counts as frozen as long as nothing in it or before it trains: no kernel, no BatchNorm.
"""

from itertools import takewhile

from src.config import BLOCK_NAMES, ExperimentConfig
from src.differences import DIFFERENCES
from src.xception.blocks import BACKBONE_LAYERS, FEATURES, Layer, block_sides
from src.xception.stages import trainable_layers


def last_frozen_block(config: ExperimentConfig, stage: int) -> str | None:
    """Return the last block before anything that trains in `stage`; None if block1 trains.

    After "block14" nothing but the head is left.
    """
    trainable = trainable_layers(config, stage)
    training = {layer.block for layer in BACKBONE_LAYERS if layer.name in trainable}
    frozen = list(takewhile(lambda block: block not in training, BLOCK_NAMES))
    return frozen[-1] if frozen else None


def cached_block(config: ExperimentConfig, stage: int, framework: str) -> str | None:
    """Return the block whose outputs `framework` may take from the cache in `stage`, or None."""
    # With this default restored, a frozen BatchNorm follows each batch: no output can be kept.
    follows_batch = "bn_frozen_mode" in restored_defaults(config, framework)
    if follows_batch or not config.feature_cache:
        return None
    return last_frozen_block(config, stage)


def layers_up_to(block: str) -> tuple[Layer, ...]:
    """Return the layers of the backbone up to and including `block`."""
    inside = BLOCK_NAMES[: BLOCK_NAMES.index(block) + 1]
    return tuple(layer for layer in BACKBONE_LAYERS if layer.block in inside)


def output_shape(block: str, image_size: int) -> tuple[int, ...]:
    """Return the shape of what is kept of an image: (s, s, C), or (2048,) pooled after block14."""
    if block == "block14":
        return (FEATURES,)
    side = block_sides(image_size)[block]
    return (side, side, layers_up_to(block)[-1].outputs)


def restored_defaults(config: ExperimentConfig, framework: str) -> set[str]:
    """Return the restored defaults that affect this twin at all."""
    affects = {row.name: row.affects for row in DIFFERENCES}
    return {row for row in config.restore_defaults if framework in affects[row]}
