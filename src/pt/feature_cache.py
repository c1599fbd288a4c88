"""The network in two halves: the blocks that a stage leaves frozen, and the rest."""

import numpy as np
import torch
from torch import nn

from src.feature_cache.cache import Compute
from src.pt.model import XceptionClassifier, block_end


def block_function(model: XceptionClassifier, block: str) -> Compute:
    """Return the function from images (B, S, S, 3) to what `after_block` begins with.

    It gives `block`'s output (B, s, s, C), channels last in both twins, or the pooled features
    (B, 2048) after block14; float64 in that precision, else float32.
    Twin: `src.tf.feature_cache.block_function`.
    """
    modules = _backbone(model)
    first = modules[: modules.index(block_end(model, block)) + 1]

    @torch.inference_mode()
    def compute(images: np.ndarray) -> np.ndarray:
        model.eval()
        dtype = model.head.logits.weight.dtype
        with model.autocast():
            maps = torch.from_numpy(images).permute(0, 3, 1, 2).to(model.device, dtype)
            for module in first:
                maps = module(maps)
            if block == "block14":
                return model.head.pool(maps).to(dtype).numpy(force=True)
        return maps.permute(0, 2, 3, 1).to(dtype).numpy(force=True)

    return compute


class _AfterBlock(nn.Module):
    """What follows a block: its output (B, C, s, s), or pooled features (B, 2048) -> logits (B, K).

    The layers are the model's own, so that training one trains the other.
    """

    def __init__(self, model: XceptionClassifier, block: str):
        super().__init__()
        self.model = model
        modules = _backbone(model)
        self.modules_after = modules[modules.index(block_end(model, block)) + 1 :]  # not owned

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        model = self.model
        dtype = model.low_precision or model.head.logits.weight.dtype
        with model.autocast():
            maps = maps.to(model.device, dtype)
            if not self.modules_after:
                return model.head.classify(maps)
            for module in self.modules_after:
                maps = module(maps)
            return model.head(maps)


def after_block(model: XceptionClassifier, block: str) -> _AfterBlock:
    """Return the network from `block`'s output on, which shares its layers with `model`.

    Twin: `src.tf.feature_cache.after_block`.
    """
    return _AfterBlock(model, block)


def _backbone(model: XceptionClassifier) -> list[nn.Module]:
    """Return the modules that timm's `forward_features` calls one after the other."""
    names = ["conv1", "bn1", "act1", "conv2", "bn2", "act2"]
    names += [f"block{number}" for number in range(1, 13)]
    names += ["conv3", "bn3", "act3", "conv4", "bn4", "act4"]
    return [model.backbone.get_submodule(name) for name in names]
