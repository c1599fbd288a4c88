"""Both frameworks get the same bytes in the same order, however many workers prepare them."""

import itertools

import keras
import numpy as np
import pytest
import torch
from batch_hash import sha256, sha256_of

from src.config import preset
from src.data.dataset import open_dataset
from src.pt.data import make_loader as make_pt_loader
from src.tf.data import make_loader as make_tf_loader

COUNT = 20
CONFIG = preset("smoke", max_images_per_epoch=160, augment_gamma=0.3, cutout=0.1)


@pytest.fixture(scope="module")
def batches():
    return open_dataset(CONFIG).batches("train", training=True)


def through_tensorflow(batches, workers):
    """Yield what a Keras model is given in `fit`: through PyDataset, its threads and tf.data."""
    loader = make_tf_loader(batches, workers=workers)
    loader.set_epoch(1)
    seen = []

    class Spy(keras.Model):
        def train_step(self, data):
            import tensorflow as tf

            images, labels, weights = data
            tf.numpy_function(lambda *arrays: seen.append(arrays), [images, labels, weights], [])
            return {"loss": tf.constant(0.0)}

    class NextEpoch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            loader.set_epoch(epoch)

    model = Spy()
    model.compile(jit_compile=False)
    model.fit(loader, epochs=2, initial_epoch=1, shuffle=False, verbose=0, callbacks=[NextEpoch()])
    for images, one_hot, weights in seen[:COUNT]:
        yield images, one_hot.argmax(axis=1), weights


def through_pytorch(batches, workers):
    loader = make_pt_loader(batches, workers=workers)
    loader.set_epoch(1)
    for images, labels, weights in itertools.islice(loader, COUNT):
        assert images.is_contiguous(memory_format=torch.channels_last)
        yield images.permute(0, 2, 3, 1).numpy(), labels.numpy(), weights.numpy()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("through", [through_tensorflow, through_pytorch])
def test_same_bytes(batches, through, workers):
    assert sha256_of(through(batches, workers)) == sha256(batches, COUNT, epoch=1)


@pytest.mark.parametrize("fault", ["epoch", "order", "value"])
def test_a_fault_shows(batches, fault):
    right = [batches.batch(1, index) for index in range(COUNT)]
    if fault == "epoch":
        wrong = [batches.batch(2, index) for index in range(COUNT)]
    elif fault == "order":
        wrong = [*right[1::-1], *right[2:]]
    else:
        images = np.nextafter(right[0][0], np.float32(2))
        wrong = [(images, *right[0][1:]), *right[1:]]
    assert sha256_of(wrong) != sha256_of(right) == sha256(batches, COUNT, epoch=1)
