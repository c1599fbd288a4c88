"""The one source of dropout masks. Both twins ask here, so both drop the same features."""

import numpy as np


def dropout_mask(seed: int, step: int, shape: tuple[int, ...], rate: float) -> np.ndarray:
    """Return a training step's mask: 0 for a dropped value, 1 / (1 - rate) for a kept one.

    Returns:
        float32 of `shape`; a pure function of its arguments, so a resumed run draws the same.
    Source: Srivastava et al. 2014, in the inverted form that both frameworks use.
    """
    rng = np.random.default_rng([seed, step, 0xD20])
    keep = rng.random(shape, dtype=np.float32) >= rate
    return keep.astype(np.float32) * np.float32(1 / (1 - rate))
