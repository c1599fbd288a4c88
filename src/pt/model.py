"""Xception in PyTorch: timm's `legacy_xception`, aligned with Keras, with a head."""

import copy
import itertools
from collections.abc import Iterator, Mapping

import numpy as np
import timm
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from src.config import ExperimentConfig
from src.pt.align import align
from src.pt.runtime import device, replica, set_precision
from src.xception.blocks import BACKBONE_LAYERS, FEATURES, Layer, Tensor, head_layers, tensors
from src.xception.stages import all_layers, dropout_mask, trainable_layers
from src.xception.weights import initial_weights


class SharedDropout(nn.Module):
    """Dropout whose masks come from NumPy, so that both frameworks drop the same features.

    Twin: `src.tf.model.SharedDropout`.
    """

    def __init__(self, config: ExperimentConfig):
        super().__init__()
        self.rate, self.seed, self.step = config.dropout, config.seed, 0
        self.use_framework_dropout = "dropout" in config.restore_defaults

    def forward(self, features: torch.Tensor) -> torch.Tensor:  # (B, C) -> (B, C)
        if not self.training or not self.rate:
            return features
        self.step += 1
        if self.use_framework_dropout:
            torch.manual_seed(self.seed + self.step)  # a resumed run goes on as the whole one
            return F.dropout(features, self.rate)
        number, replicas = replica()  # this one has every `replicas`-th image of the batch
        shape = len(features) * replicas, features.shape[1]
        mask = dropout_mask(self.seed, self.step - 1, shape, self.rate)[number::replicas]
        return features * torch.from_numpy(mask).to(features)


class _Head(nn.Module):
    """Block14's maps (B, 2048, s, s) -> logits (B, K), by way of the pooled features (B, 2048)."""

    def __init__(self, config: ExperimentConfig):
        super().__init__()
        self.dropout = SharedDropout(config)
        width = config.hidden_units or FEATURES
        self.hidden = nn.Linear(FEATURES, width) if config.hidden_units else None
        self.logits = nn.Linear(width, len(config.classes))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.classify(self.pool(maps))

    def pool(self, maps: torch.Tensor) -> torch.Tensor:
        return maps.mean(dim=(2, 3))

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        features = self.dropout(features)
        if self.hidden is not None:
            features = F.relu(self.hidden(features))
        # Logits keep full precision even when the layers before them compute in 16 bits.
        with torch.autocast(features.device.type, enabled=False):
            return self.logits(features.to(self.logits.weight.dtype))


class XceptionClassifier(nn.Module):
    """Images (B, 3, S, S) in [-1, 1] -> logits (B, K).

    Built with `build_model`; `config` is the one it was built with. A BatchNorm whose layer is
    frozen stays in inference mode whatever `train()` says.
    Twin: `src.tf.model.XceptionClassifier` (images are (B, S, S, 3)).
    """

    def __init__(self, config: ExperimentConfig):
        super().__init__()
        self.config = config
        backbone = timm.create_model("legacy_xception", num_classes=0, global_pool="")
        self.backbone = align(backbone, config)
        self.head = _Head(config)
        # What layers compute in where it is not the weights' type.
        self.low_precision = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(
            config.precision
        )

    @property
    def device(self) -> torch.device:
        return self.head.logits.weight.device

    def autocast(self) -> torch.autocast:
        """Return the context in which layers compute in the config's precision."""
        dtype = self.low_precision
        return torch.autocast(self.device.type, dtype, enabled=dtype is not None)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with self.autocast():
            images = images.to(self.device, self.head.logits.weight.dtype)
            return self.head(self.backbone.forward_features(images))

    def train(self, mode: bool = True) -> "XceptionClassifier":
        super().train(mode)
        if "bn_frozen_mode" in self.config.restore_defaults:
            return self
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
                module.eval()
        return self


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
    Twin: `src.tf.model.build_model`.
    """
    set_precision(config.precision)
    # channels_last: a third faster than PyTorch's default order on CPU, and Keras's order too.
    model = XceptionClassifier(config).to(device(), memory_format=torch.channels_last)
    set_weights(model, initial_weights(config) if weights is None else weights)
    return model.eval()


def default_head(config: ExperimentConfig) -> dict[str, np.ndarray]:
    """Return the head's weights as PyTorch initialises them: Kaiming uniform, uniform bias.

    For the difference `head_init`.
    Twin: `src.tf.model.default_head`.
    """
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        weights = {f"head.{name}": value for name, value in _Head(config).state_dict().items()}
    return {
        tensor.name: tensor.from_torch(weights[tensor.torch_name].numpy())
        for tensor in tensors(head_layers(config.hidden_units, len(config.classes)))
    }


def named_layers(model: XceptionClassifier) -> dict[str, nn.Module]:
    """Return the layers with weights by their names in `src.xception.blocks`.

    Twin: `src.tf.model.named_layers`.
    """
    return {spec.name: model.get_submodule(_path(spec)) for spec in all_layers(model.config)}


def get_weights(model: XceptionClassifier) -> dict[str, np.ndarray]:
    """Return every tensor by name, in Keras's axis order.

    Twin: `src.tf.model.get_weights`.
    """
    return {
        # Copied: on CPU `numpy()` shares the model's memory.
        tensor.name: np.array(tensor.from_torch(value.numpy(force=True)), order="C")
        for tensor, value in _values(model)
    }


def set_weights(model: XceptionClassifier, weights: Mapping[str, np.ndarray]) -> None:
    """Give the model every tensor of `weights`, as `get_weights` names them.

    Twin: `src.tf.model.set_weights`.
    """
    with torch.no_grad():
        for tensor, value in _values(model):
            array = np.ascontiguousarray(tensor.to_torch(weights[tensor.name]))
            value.copy_(torch.from_numpy(array))


def set_stage(model: XceptionClassifier, stage: int) -> None:
    """Make trainable what `stage` trains, and freeze the rest.

    A BatchNorm that is not trainable runs in inference mode: see `XceptionClassifier.train`.
    Twin: `src.tf.model.set_stage`.
    """
    trainable = trainable_layers(model.config, stage)
    for name, layer in named_layers(model).items():
        layer.requires_grad_(name in trainable)


def fold_batch_norms(model: XceptionClassifier) -> XceptionClassifier:
    """Return a copy that gives the same logits in inference mode, to rounding, without BatchNorm.

    Scale and shift become part of the convolution before, which saves the CPU a pass over each
    layer's maps.
    No twin: TensorFlow's graph gains little by it, since it stands near what the chip can do.
    Source: `torch.nn.utils.fusion.fuse_conv_bn_eval`.
    """
    model = copy.deepcopy(model).eval()
    for layer, bn in itertools.pairwise(BACKBONE_LAYERS):
        if bn.kind != "bn":
            continue
        path = _path(layer) + (".pointwise" if layer.kind == "sepconv" else "")
        fused = fuse_conv_bn_eval(model.get_submodule(path), model.get_submodule(_path(bn)))
        model.set_submodule(path, fused)
        model.set_submodule(_path(bn), nn.Identity())
    return model


def block_output(model: XceptionClassifier, images: np.ndarray, block: str) -> np.ndarray:
    """Return what `block` gives for `images` in inference mode.

    Args:
        model: from `build_model`.
        images: (B, S, S, 3) float32 in [-1, 1].
        block: "block1" to "block14".
    Returns:
        (B, s, s, C), channels last in both twins; float64 in that precision, else float32.
    Twin: `src.tf.model.block_output`.
    """
    caught = {}
    hook = block_end(model, block).register_forward_hook(
        lambda _module, _inputs, output: caught.update(maps=output)
    )
    model.eval()
    with hook, torch.inference_mode():
        model(torch.from_numpy(images).permute(0, 3, 1, 2))
    maps = caught["maps"].permute(0, 2, 3, 1)
    return maps.to(model.head.logits.weight.dtype).numpy(force=True)


def block_end(model: XceptionClassifier, block: str) -> nn.Module:
    """Return the module whose output is `block`'s: timm counts from Keras's block2 on.

    Twin: `src.tf.model.block_end`.
    """
    number = int(block.removeprefix("block"))
    return model.backbone.get_submodule({1: "act2", 14: "act4"}.get(number, f"block{number - 1}"))


def _path(layer: Layer) -> str:
    return layer.torch_name if layer.block == "head" else f"backbone.{layer.torch_name}"


def _values(model: XceptionClassifier) -> Iterator[tuple[Tensor, torch.Tensor]]:
    """Pair every tensor of the block table with the model's."""
    values = model.state_dict(keep_vars=True)
    for tensor in tensors(all_layers(model.config)):
        prefix = "" if tensor.layer.block == "head" else "backbone."
        yield tensor, values[prefix + tensor.torch_name]
