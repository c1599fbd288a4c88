"""The block table of Xception: names, shapes, parameters, multiply-adds, in both vocabularies.

Layers stand in the order of `keras.applications.Xception().layers`, which is also the order in
which Keras's published weight files list them. Keras leaves the four residual convolutions and
their BatchNorms unnamed; here they are `blockN_residual_conv` and `blockN_residual_bn`. timm counts
its blocks from Keras's block2 on and calls the two convolutions of block14 `conv3` and `conv4`.

Source: Chollet 2017, arXiv:1610.02357, figure 5.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

FEATURES = 2048  # channels after block14
STRIDED = ("block2", "block3", "block4", "block13")  # those that halve the side

# How a Keras kernel's axes are ordered for PyTorch, by its dimensions and name.
_TORCH_AXES = {
    (4, "kernel"): (3, 2, 0, 1),  # (h, w, in, out) -> (out, in, h, w)
    (4, "pointwise_kernel"): (3, 2, 0, 1),
    (4, "depthwise_kernel"): (2, 3, 0, 1),  # (h, w, channels, 1) -> (channels, 1, h, w)
    (2, "kernel"): (1, 0),  # (in, out) -> (out, in), dense
}
_TORCH_NAMES = {
    "conv": {"kernel": "weight"},
    "sepconv": {"depthwise_kernel": "conv1.weight", "pointwise_kernel": "pointwise.weight"},
    "bn": {
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "running_mean",
        "moving_variance": "running_var",
    },
    "dense": {"kernel": "weight", "bias": "bias"},
}


@dataclass(frozen=True)
class Layer:
    """One layer with weights: `kind` is conv, sepconv, bn or dense."""

    name: str  # Keras's
    torch_name: str  # the module's, in timm's legacy_xception
    kind: str
    block: str  # "block1" to "block14", or "head"
    inputs: int  # channels
    outputs: int  # channels
    kernel: int = 1  # px

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the layer's tensors and their shapes, in Keras's order and axes."""
        side, inputs, outputs = self.kernel, self.inputs, self.outputs
        match self.kind:
            case "conv":
                return {"kernel": (side, side, inputs, outputs)}
            case "sepconv":
                depthwise, pointwise = (side, side, inputs, 1), (1, 1, inputs, outputs)
                return {"depthwise_kernel": depthwise, "pointwise_kernel": pointwise}
            case "bn":
                return dict.fromkeys(_TORCH_NAMES["bn"], (outputs,))
            case _:
                return {"kernel": (inputs, outputs), "bias": (outputs,)}

    def parameters(self) -> int:
        """Return how many numbers the layer holds, moving statistics included."""
        return sum(map(math.prod, self.shapes().values()))


@dataclass(frozen=True)
class Tensor:
    """One array of weights under both frameworks' names."""

    name: str  # Keras's: "block2_sepconv1/depthwise_kernel"
    torch_name: str  # "block1.rep.0.conv1.weight"
    layer: Layer
    shape: tuple[int, ...]  # Keras's axes
    torch_axes: tuple[int, ...] | None

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """Return `array`, given in Keras's axes, in PyTorch's."""
        return array if self.torch_axes is None else array.transpose(self.torch_axes)

    def from_torch(self, array: np.ndarray) -> np.ndarray:
        """Return `array`, given in PyTorch's axes, in Keras's."""
        return array if self.torch_axes is None else array.transpose(np.argsort(self.torch_axes))


def tensors(layers: tuple[Layer, ...]) -> tuple[Tensor, ...]:
    """Return the tensors of `layers`, in order."""
    return tuple(
        Tensor(
            name=f"{layer.name}/{name}",
            torch_name=f"{layer.torch_name}.{_TORCH_NAMES[layer.kind][name]}",
            layer=layer,
            shape=shape,
            torch_axes=_TORCH_AXES.get((len(shape), name)),
        )
        for layer in layers
        for name, shape in layer.shapes().items()
    )


def head_layers(hidden_units: int, classes: int) -> tuple[Layer, ...]:
    """Return the dense layers that stand on the pooled features."""
    logits = Layer("head_logits", "head.logits", "dense", "head", hidden_units or FEATURES, classes)
    if not hidden_units:
        return (logits,)
    return (Layer("head_hidden", "head.hidden", "dense", "head", FEATURES, hidden_units), logits)


def block_sides(image_size: int) -> dict[str, int]:
    """Return the side of each block's output in px, for square images of `image_size` px."""
    sides = {"block1": (image_size - 3) // 2 + 1 - 2}  # two 3 x 3 `valid`, the first of stride 2
    for number in range(2, 15):
        side = sides[f"block{number - 1}"]
        sides[f"block{number}"] = -(-side // 2) if f"block{number}" in STRIDED else side
    return sides


def layer_multiply_adds(layer: Layer, image_size: int) -> int:
    """Return the multiply-adds of `layer` on one image of `image_size` px.

    Source: counts as in Chollet 2017: one multiply-add per kernel weight and output pixel.
    """
    if layer.kind == "bn":  # folds into the convolution before it
        return 0
    sides = block_sides(image_size) | {"head": 1}
    side = sides[layer.block]
    if layer.name == "block1_conv1":
        side += 2  # block1_conv2 is `valid` and takes one pixel off each edge
    elif layer.kind == "sepconv" and layer.block in STRIDED:
        side = sides[f"block{int(layer.block[5:]) - 1}"]  # the pool comes after the convolutions
    kernels = (shape for name, shape in layer.shapes().items() if name != "bias")
    return side * side * sum(map(math.prod, kernels))


def _with_bn(layer: Layer, bn_torch_name: str) -> tuple[Layer, Layer]:
    bn_name = layer.name.removesuffix("_conv") if "residual" in layer.name else layer.name
    bn = Layer(f"{bn_name}_bn", bn_torch_name, "bn", layer.block, layer.outputs, layer.outputs)
    return layer, bn


def _residual_block(number: int, widths: tuple[int, ...]) -> Iterator[Layer]:
    """One of the blocks 2 to 13: a chain of separable convolutions beside a shortcut."""
    block, timm_block = f"block{number}", f"block{number - 1}"
    for index, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        # timm's `rep` is ReLU, separable convolution, BatchNorm, ...; its block1 has no first ReLU.
        position = 3 * index + (0 if number == 2 else 1)
        name, torch_name = f"{block}_sepconv{index + 1}", f"{timm_block}.rep.{position}"
        convolution = Layer(name, torch_name, "sepconv", block, inputs, outputs, 3)
        yield from _with_bn(convolution, f"{timm_block}.rep.{position + 1}")
    if block in STRIDED:
        ends, torch_name = (widths[0], widths[-1]), f"{timm_block}.skip"
        shortcut = Layer(f"{block}_residual_conv", torch_name, "conv", block, *ends)
        yield from _with_bn(shortcut, f"{timm_block}.skipbn")


def _backbone() -> Iterator[Layer]:
    yield from _with_bn(Layer("block1_conv1", "conv1", "conv", "block1", 3, 32, 3), "bn1")
    yield from _with_bn(Layer("block1_conv2", "conv2", "conv", "block1", 32, 64, 3), "bn2")
    yield from _residual_block(2, (64, 128, 128))
    yield from _residual_block(3, (128, 256, 256))
    yield from _residual_block(4, (256, 728, 728))
    for number in range(5, 13):
        yield from _residual_block(number, (728, 728, 728, 728))
    yield from _residual_block(13, (728, 728, 1024))
    for number, inputs, outputs in ((1, 1024, 1536), (2, 1536, FEATURES)):
        name, torch_name = f"block14_sepconv{number}", f"conv{number + 2}"
        convolution = Layer(name, torch_name, "sepconv", "block14", inputs, outputs, 3)
        yield from _with_bn(convolution, f"bn{number + 2}")


BACKBONE_LAYERS: tuple[Layer, ...] = tuple(_backbone())
BACKBONE_TENSORS: tuple[Tensor, ...] = tensors(BACKBONE_LAYERS)
