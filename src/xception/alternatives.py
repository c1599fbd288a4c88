"""What Xception's separable convolutions save: the same layers built in other ways, counted.

An Inception module, simplified as in the paper, is a 1x1 convolution, then 3x3 convolutions on
`segments` separate groups of its channels. One segment is a plain convolution behind a 1x1 one; one
segment a channel is the separable convolution, up to the order of its two steps.

Source: Chollet 2017, arXiv:1610.02357, section 1.1 and figures 2 to 4.
"""

from src.xception.blocks import BACKBONE_LAYERS, Layer, layer_multiply_adds

SEGMENTS = 3  # as in the paper's figure 3
STYLES = ("plain", "Inception-style", "separable")


def kernel_numbers(layer: Layer, style: str) -> int:
    """Return how many numbers the kernels of a separable `layer` hold when built as one of STYLES.

    Raises:
        ValueError: the layer is not separable, or no such style.
    """
    if layer.kind != "sepconv" or style not in STYLES:
        raise ValueError(
            f"Expected a sepconv and one of {STYLES}. Received: {layer.kind}, {style}."
        )
    square = layer.kernel**2
    if style == "plain":
        return square * layer.inputs * layer.outputs
    across = layer.inputs * layer.outputs  # the 1x1 convolution
    if style == "separable":
        return square * layer.inputs + across
    return across + square * layer.outputs**2 // SEGMENTS


def compare_styles(image_size: int) -> list[dict]:
    """Return, for each of STYLES, what all 34 separable convolutions would cost.

    Returns:
        [{"style", "parameters", "multiply_adds"}]; multiply-adds for one image of `image_size` px.
    """
    layers = [layer for layer in BACKBONE_LAYERS if layer.kind == "sepconv"]
    rows = []
    for style in STYLES:
        numbers = [kernel_numbers(layer, style) for layer in layers]
        pixels = [
            layer_multiply_adds(layer, image_size) // kernel_numbers(layer, "separable")
            for layer in layers
        ]
        adds = sum(count * area for count, area in zip(numbers, pixels))
        rows.append({"style": style, "parameters": sum(numbers), "multiply_adds": adds})
    return rows
