"""The heat map in the ONNX graph: the gradient of one logit, written out down to block2."""

import numpy as np

from src.evaluation.localisation import BEST_BLOCKS, BEST_METHOD, SMALLEST, interpolation
from src.xception.blocks import BACKBONE_LAYERS, STRIDED, Layer

assert BEST_METHOD == "hirescam"  # no other method is here


def heat_map(graph, seen: dict[str, str], kernel: np.ndarray, chosen: str) -> str:
    """Return what `src.evaluation.localisation.joint_maps` does, (N, S, S), for a class of each.

    Args:
        graph: gets the nodes; `src.serving.graph` makes it.
        seen: what each convolution, pool and block was given or gave, of the N images; with
            `flip_average` of 2 N, the mirror images last.
        kernel: (K, 2048), of the logits.
        chosen: (N,) int64, the class.
    """
    if graph.config.flip_average:
        chosen = graph.add("Concat", [chosen, chosen], axis=0)
    of_class = graph.constant(kernel.astype(np.float64) / graph.sides["block14"] ** 2)
    row = graph.add("Gather", [of_class, chosen], axis=0)  # (N, 2048): of each place the same
    gradient, maps = graph.add("Unsqueeze", [row, graph.constant([2, 3])]), []
    for block in reversed(graph.sides):
        if block in BEST_BLOCKS:
            maps.append(_enlarged(graph, _hirescam(graph, gradient, seen[block]), block))
        if len(maps) == len(BEST_BLOCKS):
            break
        gradient = _through_block(graph, seen, gradient, block)
    product = maps[0]
    for other in maps[1:]:
        product = graph.add("Mul", [product, other])
    return product


def _hirescam(graph, gradient: str, output: str) -> str:
    """(N, C, s, s) twice -> (N, s, s), not negative."""
    weighted = graph.add("Mul", [gradient, output])
    return graph.add("Relu", [graph.add("ReduceSum", [weighted, graph.constant([1])], keepdims=0)])


def _enlarged(graph, maps: str, block: str) -> str:
    """(N, s, s) -> (N, S, S) with maximum 1; mirror images are mirrored back and added."""
    side = graph.config.eval_size
    weights = interpolation(side, side, graph.sides[block])
    large = graph.add("MatMul", [graph.constant(weights), maps])
    large = graph.add("MatMul", [large, graph.constant(weights.T)])
    if graph.config.flip_average:
        one, mirrored = graph.halves(large)
        large = graph.add("Add", [one, graph.mirrored(mirrored)])
    largest = graph.add("ReduceMax", [large], axes=[1, 2], keepdims=1)
    return graph.add("Div", [large, graph.add("Max", [largest, graph.constant(SMALLEST)])])


def _through_block(graph, seen: dict[str, str], gradient: str, block: str) -> str:
    """Return the gradient of what `block` was given, from that of what it gave."""
    layers = [each for each in BACKBONE_LAYERS if each.block == block and each.kind == "sepconv"]
    if block == "block14":  # ReLU stands after its convolutions, and nothing beside them
        gradient = _through_relu(graph, gradient, seen[block])
        gradient = _through_separable(graph, gradient, layers[1])
        gradient = _through_relu(graph, gradient, seen[layers[1].name])
        return _through_separable(graph, gradient, layers[0])
    shortcut = gradient
    if block in STRIDED:
        odd = graph.sides[f"block{int(block.removeprefix('block')) - 1}"] % 2  # what it was given
        shortcut = _through_shortcut(graph, gradient, block, odd)
        gradient = _through_pool(graph, gradient, seen[f"{block}_pool"], odd)
    for layer in reversed(layers):
        gradient = _through_separable(graph, gradient, layer)
        gradient = _through_relu(graph, gradient, seen[layer.name])
    return graph.add("Add", [gradient, shortcut])


def _through_relu(graph, gradient: str, positive: str) -> str:
    """`positive` is what ReLU gave: the gradient passes where that is not 0."""
    return graph.add("Mul", [gradient, graph.add("Sign", [positive])])


def _through_separable(graph, gradient: str, layer: Layer) -> str:
    depthwise, pointwise = graph.kernels[layer.name]
    gradient = graph.add("ConvTranspose", [gradient, pointwise])
    pads = [1, 1, 1, 1]
    return graph.add("ConvTranspose", [gradient, depthwise], group=layer.inputs, pads=pads)


def _through_shortcut(graph, gradient: str, block: str, odd: int) -> str:
    """1 x 1, of stride 2: what it did not see gets 0."""
    (name,) = (each.name for each in BACKBONE_LAYERS if each.block == block and each.kind == "conv")
    inputs = [gradient, *graph.kernels[name]]
    return graph.add("ConvTranspose", inputs, strides=[2, 2], output_padding=[1 - odd] * 2)


def _through_pool(graph, gradient: str, given: str, odd: int) -> str:
    """Each maximum passes its gradient to where it was found; overlapping windows add up."""
    places = graph.max_pool_places(given, odd)
    shape, flat = graph.add("Shape", [given]), graph.constant([-1])
    nothing = graph.add("ConstantOfShape", [shape])
    inputs = (graph.add("Reshape", [each, flat]) for each in (nothing, places, gradient))
    sums = graph.add("ScatterElements", [*inputs], axis=0, reduction="add")
    return graph.add("Reshape", [sums, shape])
