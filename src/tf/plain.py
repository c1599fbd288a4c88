"""Xception as people usually write it: plain Keras, nothing of this package.

`python src/tf/plain.py` prints how many images a second it trains and predicts, so that anyone can
check the table of `python -m src bench`. Random images, random weights: the speed is the same.
"""

import time
from collections.abc import Callable

import keras
import numpy as np


def make_step(
    task: str, image_size: int = 224, batch_size: int = 16, variant: str = "", precision: str = ""
) -> Callable[[], object]:
    """Return a function that takes one step, and returns when it is done.

    Args:
        task: "train", "train from block13" or "forward".
        image_size, batch_size: of the random images, px and number.
        variant: "XLA"; else the plain form.
        precision: "bfloat16" for mixed precision; else float32.
    Twin: `src.pt.plain.make_step`.
    """
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16" if precision else "float32")
    images = np.random.uniform(-1, 1, (batch_size, image_size, image_size, 3)).astype("float32")
    labels = np.random.randint(4, size=batch_size)
    backbone = keras.applications.Xception(
        include_top=False, weights=None, pooling="avg", input_shape=(image_size, image_size, 3)
    )
    if task == "train from block13":
        names = [layer.name for layer in backbone.layers]
        for layer in backbone.layers[: names.index("block13_sepconv1_act")]:
            layer.trainable = False
    classes = keras.layers.Dense(4, "softmax", dtype="float32")(backbone.output)
    model = keras.Model(backbone.input, classes)
    jit = {"jit_compile": True} if variant == "XLA" else {}
    model.compile("adam", "sparse_categorical_crossentropy", **jit)
    if task == "forward":
        return lambda: model.predict_on_batch(images)
    return lambda: model.train_on_batch(images, labels)


if __name__ == "__main__":
    for task in ("train", "forward"):
        step = make_step(task)
        for _ in range(3):  # the first ones trace the graph
            step()
        started = time.perf_counter()
        for _ in range(10):
            step()
        print(f"{task}: {10 * 16 / (time.perf_counter() - started):.1f} images/s")
