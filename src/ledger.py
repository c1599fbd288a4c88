"""The table of framework differences, as data: what each does, how the exact twin settles it.

`ExperimentConfig.framework_defaults` names the rows that go back to each framework's own way.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One difference between the frameworks."""

    name: str
    keras: str
    torch: str
    exact: str
    source: str  # where the exact twin settles it
    droppable: bool = False  # can be put back with `framework_defaults`


LEDGER: tuple[Row, ...] = (
    Row("bn_epsilon", "1e-3", "1e-5", "Keras's", "src.pt.align.align", True),
    Row("bn_momentum", "0.99 kept", "0.9 kept", "Keras's", "src.pt.align.align", True),
    Row(
        "bn_variance",
        "moving variance divided by n",
        "by n - 1",
        "by n",
        "src.pt.align",
        True,
    ),
    Row(
        "bn_frozen_mode",
        "trainable=False means inference mode",
        "requires_grad=False does not",
        "frozen means both",
        "src.pt.model.XceptionClassifier.train",
    ),
    Row(
        "pool_padding",
        "`same`: the odd pixel of padding at the end",
        "one pixel on each side",
        "Keras's",
        "src.pt.align",
        True,
    ),
    Row(
        "adam_epsilon",
        "epsilon hat, 1e-7",
        "after bias correction, 1e-8",
        "Keras's rule",
        "src.pt.optim",
    ),
    Row(
        "momentum_schedule",
        "velocity carries the rate",
        "velocity carries the gradient",
        "Keras's rule",
        "src.pt.optim",
    ),
    Row(
        "weight_decay",
        "decoupled, on BatchNorm and biases too",
        "coupled in SGD and Adam, decoupled in AdamW",
        "decoupled, kernels only",
        "src.{tf,pt}.optim.make_optimizer",
    ),
    Row(
        "head_init",
        "Glorot uniform, zero bias",
        "Kaiming uniform, uniform bias",
        "Keras's, drawn once in NumPy",
        "src.xception.weights.draw",
    ),
    Row(
        "class_weights",
        "divides by the number of images",
        "divides by the sum of weights",
        "by the number of images",
        "src.pt.optim.make_loss",
    ),
    Row(
        "clipping",
        "global norm",
        "global norm plus 1e-6",
        "global norm",
        "src.pt.optim",
    ),
    Row(
        "resize",
        "TensorFlow's JPEG decoder and tf.image.resize",
        "Pillow through torchvision",
        "Pillow decodes and resizes once for both",
        "src.data.pixels.decode_gray",
    ),
    Row(
        "preprocessing",
        "[-1, 1]",
        "timm: bicubic, 0.8975 crop, [-1, 1]",
        "[-1, 1], no crop",
        "src.data.augment.scale",
    ),
    Row(
        "dropout",
        "its own generator",
        "its own generator; legacy_xception drops the result",
        "masks drawn in NumPy",
        "src.xception.dropout.dropout_mask",
    ),
    Row(
        "schedule",
        "a rate per step, patience counted as >=",
        "a rate per epoch, patience counted as >",
        "one Schedule in plain Python",
        "src.schedule.Schedule",
    ),
    Row(
        "float32_hyper",
        "Python floats pass through float32",
        "stay double",
        "rounded to float32",
        "src.pt.optim.make_optimizer",
    ),
)

DROPPABLE_ROWS: tuple[str, ...] = tuple(row.name for row in LEDGER if row.droppable)
