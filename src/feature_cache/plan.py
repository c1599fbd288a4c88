"""Which blocks at the network's beginning stay as they are in a stage, so that they can be skipped.

The beginning counts as frozen as long as nothing in it trains: kernels, BatchNorm, statistics.
"""

from src.config import BLOCK_NAMES, ExperimentConfig
from src.differences import DIFFERENCES
from src.xception.blocks import BACKBONE_LAYERS, Layer
from src.xception.stages import FINETUNE, HEAD, trainable_layers

# Ledger rows that change what a frozen block computes. (Others change files, heads, or training.)
_ARITHMETIC = ("bn_epsilon", "pool_padding")
# This one makes a frozen BatchNorm follow each batch: there is no output to keep.
_UNFREEZES = "bn_frozen_mode"
_MOVES = {row.name: row.affects for row in DIFFERENCES}


def last_frozen_block(config: ExperimentConfig, stage: int) -> str | None:
    """Return the last block before anything that trains in `stage`; None if block1 trains.

    After "block14" nothing but the head is left.
    """
    trainable = trainable_layers(config, stage)
    moving = {layer.block for layer in BACKBONE_LAYERS if layer.name in trainable}
    frozen = []
    for block in BLOCK_NAMES:
        if block in moving:
            break
        frozen.append(block)
    return frozen[-1] if frozen else None


def cached_block(config: ExperimentConfig, stage: int, framework: str) -> str | None:
    """Return the block whose outputs `framework` may take from the cache in `stage`, or None."""
    if not config.feature_cache or _UNFREEZES in moving_rows(config, framework):
        return None
    return last_frozen_block(config, stage)


def layers_up_to(block: str) -> tuple[Layer, ...]:
    """Return the layers of the backbone up to and including `block`."""
    inside = BLOCK_NAMES[: BLOCK_NAMES.index(block) + 1]
    return tuple(layer for layer in BACKBONE_LAYERS if layer.block in inside)


def affecting_rows(config: ExperimentConfig, framework: str) -> list[str]:
    """Return the rows put back that change what this twin's frozen blocks compute."""
    return [row for row in _ARITHMETIC if row in moving_rows(config, framework)]


def moving_rows(config: ExperimentConfig, framework: str) -> set[str]:
    """Return the rows put back that move this twin at all."""
    return {row for row in config.restore_defaults if framework in _MOVES[row]}


def last_stage(config: ExperimentConfig) -> int:
    """Return the stage whose frozen beginning is frozen in the finished model as well."""
    return FINETUNE if config.finetune_epochs else HEAD
