"""The heat map in the ONNX graph: the gradient of one logit, written out down to block12."""

import numpy as np

from src.evaluation.localisation import BEST_BLOCK, BEST_METHOD
from src.xception.blocks import BACKBONE_LAYERS

assert (BEST_BLOCK, BEST_METHOD) == ("block12", "hirescam")  # the gradient of nothing else is here
# What the gradient passes: two blocks' outputs, the pool's input, inputs of separable convolutions.
VALUES = (
    "block12", "block13_sepconv1", "block13_sepconv2", "block13_pool", "block14_sepconv2",
    "block14",
)  # fmt: skip
_LAYERS = {layer.name: layer for layer in BACKBONE_LAYERS}


def heat_map(graph, seen: dict[str, str], kernel: np.ndarray, chosen: str) -> str:
    """Return HiResCAM's map at block12 for one class of each image: (N, s, s), not negative.

    Args:
        graph: gets the nodes; `src.serving.graph` makes it.
        seen: `VALUES` of the N images.
        kernel: (K, 2048), of the logits.
        chosen: (N,) int64, the class.
    Source: Draelos & Carin 2020, arXiv:2011.08891. It equals `src.pt.explain.heat_maps`.
    """
    of_class = graph.constant(kernel.astype(np.float64) / graph.sides["block14"] ** 2)
    row = graph.add("Gather", [of_class, chosen], axis=0)  # (N, 2048): of each place the same
    gradient = graph.add("Unsqueeze", [row, graph.constant([2, 3])])
    gradient = _through_relu(graph, gradient, seen["block14"])
    gradient = _through_separable(graph, gradient, "block14_sepconv2")
    gradient = _through_relu(graph, gradient, seen["block14_sepconv2"])
    gradient = _through_separable(graph, gradient, "block14_sepconv1")  # of block13's output
    shortcut = _through_shortcut(graph, gradient)
    gradient = _through_pool(graph, gradient, seen["block13_pool"])
    gradient = _through_separable(graph, gradient, "block13_sepconv2")
    gradient = _through_relu(graph, gradient, seen["block13_sepconv2"])
    gradient = _through_separable(graph, gradient, "block13_sepconv1")
    gradient = _through_relu(graph, gradient, seen["block13_sepconv1"])
    gradient = graph.add("Add", [gradient, shortcut])  # (N, 728, s, s), of block12's output
    weighted = graph.add("Mul", [gradient, seen["block12"]])
    axes = graph.constant([1])
    return graph.add("Relu", [graph.add("ReduceSum", [weighted, axes], keepdims=0)])


def _through_relu(graph, gradient: str, positive: str) -> str:
    """`positive` is what ReLU gave: the gradient passes where that is not 0."""
    return graph.add("Mul", [gradient, graph.add("Sign", [positive])])


def _through_separable(graph, gradient: str, name: str) -> str:
    depthwise, pointwise = graph.kernels[name]
    gradient = graph.add("ConvTranspose", [gradient, pointwise])
    channels = _LAYERS[name].inputs
    return graph.add("ConvTranspose", [gradient, depthwise], group=channels, pads=[1, 1, 1, 1])


def _through_shortcut(graph, gradient: str) -> str:
    """1 x 1, of stride 2: what it did not see gets 0."""
    (name,) = (x.name for x in BACKBONE_LAYERS if x.block == "block13" and x.kind == "conv")
    padding = [1 - graph.sides["block12"] % 2] * 2
    inputs = [gradient, *graph.kernels[name]]
    return graph.add("ConvTranspose", inputs, strides=[2, 2], output_padding=padding)


def _through_pool(graph, gradient: str, given: str) -> str:
    """Each maximum passes its gradient to where it was found; overlapping windows add up."""
    places = graph.max_pool_places(given, graph.sides["block12"] % 2)
    shape, flat = graph.add("Shape", [given]), graph.constant([-1])
    nothing = graph.add("ConstantOfShape", [shape])
    inputs = (graph.add("Reshape", [each, flat]) for each in (nothing, places, gradient))
    sums = graph.add("ScatterElements", [*inputs], axis=0, reduction="add")
    return graph.add("Reshape", [sums, shape])
