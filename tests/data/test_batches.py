"""Batches are a pure function, the same for whoever asks; epochs draw what the config says."""

import collections
import hashlib
import pickle
from dataclasses import replace

import numpy as np
import pytest
from batch_hash import sha256
from image_folders import picture, python, write_set

from src.config import preset
from src.data.augment import scale
from src.data.batches import Batches, class_weights
from src.data.catalog import read_catalog
from src.data.dataset import open_dataset

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def root(tmp_path):
    return write_set(tmp_path / "set", counts=(20, 14, 8, 20))


def _config(**fields):
    return preset("smoke", **{"max_images_per_epoch": 0, "batch_size": 8, **fields})


def _train(root, **fields) -> Batches:
    return open_dataset(_config(**fields), root).batches("train", training=True)


def _drawn(batches: Batches, epoch: int) -> list[int]:
    """Return the labels that an epoch draws."""
    return [int(label) for index in range(len(batches)) for label in batches.batch(epoch, index)[1]]


def _images(batches: Batches, epoch: int) -> list[bytes]:
    return [
        image.tobytes() for index in range(len(batches)) for image in batches.batch(epoch, index)[0]
    ]


def test_shapes_and_range(root):
    images, labels, weights = _train(root).batch(0, 0)
    assert images.shape == (8, 71, 71, 3) and images.dtype == np.float32
    assert labels.shape == (8,) and labels.dtype == np.int64
    assert weights.shape == (8,) and weights.dtype == np.float32
    assert -1 <= images.min() < images.max() <= 1
    assert (images[..., 0] == images[..., 1]).all() and (images[..., 0] == images[..., 2]).all()
    assert images.flags.writeable and labels.flags.writeable  # as torch.from_numpy wants


def test_any_order_gives_the_same_bytes(root):
    batches, again = _train(root), _train(root)
    questions = [(epoch, index) for epoch in range(3) for index in range(len(batches))]
    forward = {q: sha256_one(batches, q) for q in questions}
    backward = {q: sha256_one(again, q) for q in reversed(questions)}
    assert forward == backward
    assert len(set(forward.values())) == len(questions)


def sha256_one(batches, question):
    return hashlib.sha256(b"".join(part.tobytes() for part in batches.batch(*question))).hexdigest()


def test_another_process_gives_the_same_bytes(root):
    code = """
import sys
from pathlib import Path
sys.path.append("tests")
from batch_hash import sha256
from src.config import preset
from src.data.dataset import open_dataset
config = preset("smoke", max_images_per_epoch=0, batch_size=8)
print(sha256(open_dataset(config, Path(sys.argv[1])).batches("train", training=True), 20))
"""
    out, err = python(code, root).communicate()
    assert out.strip() == sha256(_train(root), 20), err


def test_a_pickled_copy_gives_the_same_bytes_and_is_small(root):
    batches = _train(root)
    expected = sha256(batches, 5)
    content = pickle.dumps(batches)
    assert len(content) < len(batches.labels) * 500 + 5000  # paths and labels, but no pixels
    assert sha256(pickle.loads(content), 5) == expected


def test_an_amount_changes_images_and_the_names_of_views_unless_augmentation_is_off(root):
    dataset = open_dataset(_config(), root)

    def train(**fields) -> Batches:
        return replace(dataset, config=_config(**fields)).batches("train", training=True)

    plain, off = train(), train(augment="none")
    for amount in ({"augment_strength": 0.5}, {"augment_gamma": 0.3}, {"cutout": 0.1}):
        changed = train(**amount)
        assert not set(_images(plain, 0)) & set(_images(changed, 0))
        views = [batches.with_views(2).view_names() for batches in (plain, changed)]
        assert not set(views[0]) & set(views[1])
        assert sha256(off, 3) == sha256(train(augment="none", **amount), 3)


@pytest.mark.parametrize("change", [{"seed": 1}, {"augment": "none"}, {"balance": "none"}])
def test_the_hash_sees_what_changes_a_batch(root, change):
    assert sha256(_train(root), 3) != sha256(_train(root, **change), 3)


def test_the_hash_goes_on_into_later_epochs(root):
    batches = _train(root)
    long = sha256(batches, len(batches) + 1)
    assert long != sha256(batches, len(batches))
    content = hashlib.sha256()
    for place in [*((0, index) for index in range(len(batches))), (1, 0)]:
        for part in batches.batch(*place):
            content.update(part.tobytes())
    assert content.hexdigest() == long


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own(root):
    batches = _train(root, augment="none")
    first, second = _images(batches, 0), _images(batches, 1)
    assert len(set(first)) == len(first) == batches.images_per_epoch == len(batches.labels)
    assert set(first) == set(second) and first != second
    assert len(batches) == -(-len(first) // 8)


def test_augmentation_differs_by_epoch(root):
    batches = _train(root)
    assert not set(_images(batches, 0)) & set(_images(batches, 1))


def test_short_epochs_use_every_image_before_any_comes_again(root):
    batches = _train(root, max_images_per_epoch=10, augment="none")
    total = len(batches.labels)
    assert batches.images_per_epoch == 10 and len(batches) == 2
    seen = [image for epoch in range(total) for image in _images(batches, epoch)]
    assert len(seen) == 10 * total
    assert set(collections.Counter(seen).values()) == {10}
    assert len(set(seen[:total])) == total


def test_an_epoch_draws_no_more_than_there_is(root):
    batches = _train(root, max_images_per_epoch=200)
    assert len(_drawn(batches, 0)) == len(batches.labels) < 200


def test_an_image_drawn_twice_in_an_epoch_is_augmented_twice(root):
    batches = _train(root, balance="sampling")  # the smallest class comes round again
    assert len(set(_images(batches, 0))) == len(batches.labels)


@pytest.mark.parametrize("count", [0, 10])
def test_balanced_sampling_draws_classes_alike(root, count):
    batches = _train(root, balance="sampling", max_images_per_epoch=count, augment="none")
    total = np.zeros(4, int)
    for epoch in range(6):
        drawn = np.bincount(_drawn(batches, epoch), minlength=4)
        assert drawn.sum() == batches.images_per_epoch == (count or len(batches.labels))
        assert np.ptp(drawn) <= 1
        total += drawn
    assert np.ptp(total) <= 1
    assert (batches.batch(0, 0)[2] == 1).all()


def test_balanced_sampling_uses_every_image_of_a_class(root):
    batches = _train(root, balance="sampling", augment="none")
    seen = {image for epoch in range(3) for image in _images(batches, epoch)}
    assert len(seen) == len(batches.labels)


def test_balanced_sampling_mixes_the_classes(root):
    drawn = _drawn(_train(root, balance="sampling", max_images_per_epoch=64), 0)
    assert all(len(set(drawn[start : start + 16])) >= 3 for start in range(0, 64, 16))


def test_without_balance_classes_come_as_they_are(root):
    batches = _train(root, balance="none")
    assert np.array_equal(np.bincount(_drawn(batches, 0)), np.bincount(batches.labels))
    assert (batches.batch(0, 0)[2] == 1).all()


def test_class_weights_make_classes_count_alike(root):
    batches = _train(root)
    total, share = 0.0, np.zeros(4)
    for index in range(len(batches)):
        _, labels, weights = batches.batch(0, index)
        total += weights.sum()
        np.add.at(share, labels, weights)
    assert total == pytest.approx(len(batches.labels), rel=1e-6)
    np.testing.assert_allclose(share, share.mean(), rtol=1e-6)


def test_class_weights_of_a_part_without_some_class_keep_mean_one():
    labels = np.array([0, 0, 0, 2])
    weights = class_weights(labels, 4)
    np.testing.assert_allclose(weights[[0, 2]], [2 / 3, 2])
    assert weights[labels].mean() == pytest.approx(1)


@pytest.mark.parametrize("part", ["val", "test", "train"])
def test_what_is_not_trained_on_is_plain(root, part):
    dataset = open_dataset(_config(max_images_per_epoch=3, balance="sampling"), root)
    batches = dataset.batches(part)
    rows = dataset.parts[part]
    images, labels, weights = (
        np.concatenate(all_of)
        for all_of in zip(*(batches.batch(5, index) for index in range(len(batches))))
    )
    assert batches.images_per_epoch == len(rows) == len(images)
    assert np.array_equal(images[..., 0], scale(dataset.pixels[rows]))
    assert np.array_equal(labels, dataset.catalog.labels[rows])
    assert np.array_equal(labels, batches.labels)
    assert list(batches.paths) == [dataset.catalog.paths[row] for row in rows]
    assert (weights == 1).all()


@pytest.mark.parametrize("index", [-1, 7, 100])
def test_there_is_no_batch_beyond_the_epoch(root, index):
    batches = _train(root)
    assert len(batches) == 7
    with pytest.raises(IndexError):
        batches.batch(0, index)


def test_a_file_more_leaves_the_others_augmentation_as_it_was(root):
    """The key is the image's path, not its row."""
    before = _by_path(_train(root, val_fraction=0.01))
    picture(7, 7, 7).save(root / "Training/glioma/A-new-first-file.png")
    assert read_catalog(root).paths[0].startswith("Testing")
    after = _by_path(_train(root, val_fraction=0.01))
    shared = set(before) & set(after)
    assert len(shared) >= len(before) - 4
    assert all(before[path] == after[path] for path in shared)


def _by_path(batches: Batches) -> dict[str, bytes]:
    """Return one epoch's augmented images by path, found by their unaugmented order."""
    from src.data.batches import _epoch_order

    order, _ = _epoch_order(
        batches.labels.tobytes(), 0, 0, batches.images_per_epoch, balanced=False
    )
    return dict(zip(batches.paths[order].tolist(), _images(batches, 0)))
