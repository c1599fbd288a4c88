"""Which layers train in which stage: one rule for both twins."""

import numpy as np

from src.config import BLOCK_NAMES, ExperimentConfig
from src.xception.blocks import BACKBONE_LAYERS, Layer, head_layers

HEAD, FINETUNE = 1, 2


def all_layers(config: ExperimentConfig) -> tuple[Layer, ...]:
    """Return every layer with weights, backbone first, then the head."""
    return BACKBONE_LAYERS + head_layers(config.hidden_units, len(config.classes))


def random_blocks(config: ExperimentConfig) -> tuple[str, ...]:
    """Return the blocks that start randomly initialised instead of from a weights file."""
    return BLOCK_NAMES if config.init == "scratch" else config.reinit


def trainable_layers(config: ExperimentConfig, stage: int) -> frozenset[str]:
    """Return the names of the layers that train in `stage`; all others are frozen.

    A frozen BatchNorm also stays in inference mode: it uses its moving statistics and leaves them
    alone. Randomly initialised blocks train from stage 1 on, with their BatchNorm, since frozen
    noise would be of no use; so do the head's layers.
    """
    random = {*random_blocks(config), "head"}
    unfrozen = BLOCK_NAMES[BLOCK_NAMES.index(config.unfreeze_from) :] if stage == FINETUNE else ()
    frozen_kind = "bn" if config.batch_norm != "update" else None
    return frozenset(
        layer.name
        for layer in all_layers(config)
        if layer.block in random or (layer.block in unfrozen and layer.kind != frozen_kind)
    )


def rate_scale(config: ExperimentConfig, block: str) -> float:
    """Return the factor on the learning rate of `block`: 1 for the head, less for each block below.

    Rounded to float32, as the learning rates are.
    Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.2 (there 1 / 2.6 per layer).
    """
    blocks_above = len(BLOCK_NAMES) - (*BLOCK_NAMES, "head").index(block)
    return float(np.float32(config.layer_decay**blocks_above))


def dropout_mask(seed: int, step: int, shape: tuple[int, ...], rate: float) -> np.ndarray:
    """Return a training step's mask: 0 for a dropped value, 1 / (1 - rate) for a kept one.

    Returns:
        float32 of `shape`; a pure function of its arguments, so a resumed run gets the same. With
        fewer rows it is the beginning of the mask with more.
    Source: Srivastava et al. 2014, in the inverted form that both frameworks use.
    """
    rng = np.random.default_rng([seed, step, 0xD20])
    keep = rng.random(shape, dtype=np.float32) >= rate
    return keep.astype(np.float32) * np.float32(1 / (1 - rate))
