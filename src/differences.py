"""How the frameworks differ, as data: each framework's default, and what the exact twins do.

`ExperimentConfig.restore_defaults` names the rows in which each framework keeps its default: with
none the twins are exact, with all (`STOCK`) they are what people usually write, and a single one
is a fault that `python -m src parity --fault ROW` must catch. Files, image order and learning rates
are always shared.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One difference between the frameworks."""

    name: str
    keras: str  # default of Keras or TensorFlow
    torch: str  # default of PyTorch or timm
    exact: str  # what the exact twins do
    source: str  # where the code does it
    can_restore: bool = True  # with `restore_defaults`
    affects: tuple[str, ...] = ("pt",)  # the twins that a restored default changes


DIFFERENCES: tuple[Row, ...] = (
    Row(
        "bn_epsilon",
        keras="1e-3",
        torch="1e-5",
        exact="the config's `bn_epsilon`, Keras's 1e-3",
        source="src.pt.align.align",
    ),
    Row(
        "bn_momentum",
        keras="keeps 0.99 of the moving statistics",
        torch="keeps 0.9",
        exact="the config's `bn_momentum`, Keras's 0.99",
        source="src.pt.align.align",
    ),
    Row(
        "bn_variance",
        keras="moving variance divided by n",
        torch="divided by n - 1",
        exact="divided by n",
        source="src.pt.align",
    ),
    Row(
        "bn_frozen_mode",
        keras="trainable=False also means inference mode",
        torch="requires_grad=False does not: statistics of the batch, and they keep moving",
        exact="frozen means both",
        source="src.pt.model.XceptionClassifier.train",
    ),
    Row(
        "pool_padding",
        keras="`same`: an odd pixel of padding is added at the end",
        torch="one pixel on each side; differs where a side is even (not at 71 px)",
        exact="Keras's padding",
        source="src.pt.align",
    ),
    Row(
        "adam_epsilon",
        keras="added to sqrt(v) before bias correction (epsilon hat), 1e-7",
        torch="added after bias correction, 1e-8",
        exact="Keras's rule, on PyTorch's fused kernel",
        source="src.pt.optim",
    ),
    Row(
        "float32_hyper",
        keras="Python floats pass through float32, even under float64; Adam's bias correction is "
        "computed in the weights' type, which moves its first steps by up to 3e-5",
        torch="stay double",
        exact="rounded as Keras rounds",
        source="src.pt.optim",
    ),
    Row(
        "momentum_schedule",
        keras="SGD's velocity contains the learning rate",
        torch="it does not; differs as soon as the learning rate changes",
        exact="Keras's rule",
        source="src.pt.optim",
    ),
    Row(
        "weight_decay",
        keras="decoupled in every optimizer, on BatchNorm and biases too",
        torch="coupled in SGD and Adam, decoupled in AdamW, on BatchNorm and biases too",
        exact="decoupled, kernels only",
        source="src.{tf,pt}.optim.make_optimizer",
        affects=("tf", "pt"),
    ),
    Row(
        "head_init",
        keras="Glorot uniform, zero bias, TensorFlow's generator",
        torch="Kaiming uniform, uniform bias, PyTorch's generator",
        exact="Keras's rule, sampled once in NumPy",
        source="src.xception.weights.initialise",
        affects=("tf", "pt"),
    ),
    Row(
        "class_weights",
        keras="divides the weighted losses by the number of images",
        torch="divides them by the sum of the weights",
        exact="divided by the number of images",
        source="src.pt.optim.make_loss",
    ),
    Row(
        "clipping",
        keras="scales the gradient to the largest global norm",
        torch="divides by the norm plus 1e-6",
        exact="Keras's rule",
        source="src.pt.optim",
    ),
    Row(
        "resize",
        keras="TensorFlow's JPEG decoder, tf.image.resize without antialiasing",
        torch="torchvision does it with Pillow",
        exact="Pillow decodes and resizes once for both",
        source="src.data.pixels.decode_gray",
        affects=("tf",),
    ),
    Row(
        "preprocessing",
        keras="scales the whole image to [-1, 1]",
        torch="timm: bicubic resize, central crop of 0.8975 of the side, scaled to [-1, 1]",
        exact="scales the whole image to [-1, 1]",
        source="src.data.augment.scale",
    ),
    Row(
        "dropout",
        keras="masks from TensorFlow's generator",
        torch="masks from PyTorch's; timm's legacy_xception even ignores the result of F.dropout",
        exact="masks sampled once in NumPy",
        source="src.xception.stages.dropout_mask",
        affects=("tf", "pt"),
    ),
    # --- always settled: restoring these would teach nothing -------------------------------------
    Row(
        "block_init",
        keras="Glorot uniform",
        torch="timm: He normal",
        exact="Keras's rule, sampled once in NumPy",
        source="src.xception.weights.initialise",
        can_restore=False,
    ),
    Row(
        "schedule",
        keras="a learning rate per step, computed in float32 even under float64",
        torch="a learning rate per epoch, in double",
        exact="one Schedule in plain Python, a learning rate per step, rounded to float32",
        source="src.training.schedule.Schedule.learning_rate",
        can_restore=False,
    ),
    Row(
        "patience",
        keras="stops, and lowers the learning rate, when `patience` epochs were no better by 1e-4",
        torch="ReduceLROnPlateau waits one epoch more (1e-4 is relative); no early stopping",
        exact="one Schedule: any improvement counts, the learning rate falls after patience + 1",
        source="src.training.schedule.Schedule.end_epoch",
        can_restore=False,
    ),
    Row(
        "order",
        keras="shuffled by Keras, prepared in threads",
        torch="shuffled by PyTorch, prepared in processes with generators of their own",
        exact="every batch a pure function of (seed, epoch, index)",
        source="src.data.batches.Batches.batch",
        can_restore=False,
    ),
    Row(
        "loss_dtype",
        keras="loss and metrics in `floatx`, whatever the type of the logits",
        torch="in the type of the logits",
        exact="logits and loss in float32, or in float64 with everything else",
        source="src.tf.optim.make_loss",
        can_restore=False,
    ),
    Row(
        "reported_loss",
        keras="the running mean of the epoch so far",
        torch="whatever the loop computes",
        exact="the loss of each step, averaged over images by one EpochMeter",
        source="src.training.history.EpochMeter",
        can_restore=False,
    ),
)

RESTORABLE: tuple[str, ...] = tuple(row.name for row in DIFFERENCES if row.can_restore)
STOCK = RESTORABLE  # the experiment as people usually write it
