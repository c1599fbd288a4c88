"""Which images the frozen blocks are computed for, in which file, and what a batch then holds."""

import dataclasses
import pickle

import numpy as np
import pytest

from src.config import preset
from src.data.dataset import open_dataset
from src.differences import STOCK
from src.feature_cache import cache
from src.feature_cache.cache import BATCH, find_cache, stage_batches
from src.feature_cache.plan import cached_block, last_frozen_block, output_shape
from src.xception.blocks import BACKBONE_TENSORS
from src.xception.stages import FINETUNE, HEAD

SMOKE = preset("smoke", batch_size=16, feature_cache=True, cached_views=2, init="complete file")
WEIGHTS = {tensor.name: np.zeros(1, np.float32) for tensor in BACKBONE_TENSORS}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Keep these made-up outputs to the test."""
    monkeypatch.setattr(cache, "_FOLDER", f"feature_cache-{tmp_path.name}")


class Corner:
    """Stands for the frozen blocks: gives 2,048 pixels of each image; keeps what it was given."""

    def __init__(self):
        self.received = []

    def __call__(self, images):
        self.received.append(images)
        return corner(images)


def corner(images):
    return images[..., 0].reshape(len(images), -1)[:, 1000:3048]


def cache_of(config, function=corner, stage=HEAD, framework="tf", weights=WEIGHTS):
    return find_cache(config, stage, framework, lambda: weights, lambda block: function)


def file_of(config, **fields):
    """Return the name of the file that holds the plain images' outputs."""
    batches = open_dataset(config).batches("val")
    (feature_map,) = cache_of(config, lambda images: images, **fields)._open_maps(batches)
    return feature_map.path.name


@pytest.mark.parametrize(
    "fields, head, finetune",
    [
        ({"unfreeze_from": "block13"}, "block14", "block12"),
        ({"unfreeze_from": "block13", "reinit": ["block14"]}, "block13", "block12"),
        ({"unfreeze_from": "block14", "reinit": ["block14"]}, "block13", "block13"),
        ({"unfreeze_from": "block13", "batch_norm": "update"}, "block14", "block12"),
        ({"reinit": ["block5"]}, "block4", "block4"),
        ({"unfreeze_from": "block1"}, "block14", None),
        ({"init": "scratch"}, None, None),
    ],
)
def test_which_block_is_the_last_frozen_one(fields, head, finetune):
    config = dataclasses.replace(SMOKE, **fields)
    assert last_frozen_block(config, HEAD) == head
    assert last_frozen_block(config, FINETUNE) == finetune
    for framework in ("tf", "pt"):
        assert cached_block(config, HEAD, framework) == head
    assert cached_block(dataclasses.replace(config, feature_cache=False), HEAD, "tf") is None


def test_a_batch_norm_that_follows_its_batch_is_not_cached():
    config = dataclasses.replace(SMOKE, restore_defaults=("bn_frozen_mode",))
    assert cached_block(config, HEAD, "pt") is None
    assert cached_block(config, HEAD, "tf") == "block14"  # this twin's default is the exact one


def test_shapes_of_outputs():
    assert output_shape("block1", 299) == (147, 147, 64)
    assert output_shape("block12", 299) == (19, 19, 728)
    assert output_shape("block13", 71) == (3, 3, 1024)
    assert output_shape("block14", 299) == (2048,)


@pytest.mark.parametrize("augment", ["none", "standard"])
def test_a_batch_holds_the_outputs_of_its_images(augment):
    config = dataclasses.replace(SMOKE, augment=augment, max_images_per_epoch=40)
    batches = open_dataset(config).batches("train", training=True)
    cached = stage_batches(batches, config, HEAD, cache_of(config))
    cached = pickle.loads(pickle.dumps(cached))  # as workers get it
    assert cached.sizes == [16, 16, 8] and len(cached) == 3
    for epoch in (0, 1, 5):
        for index in range(3):
            images, labels, weights = batches.with_views(2).batch(epoch, index)
            outputs, *rest = cached.batch(epoch, index)
            np.testing.assert_array_equal(outputs, corner(images))
            np.testing.assert_array_equal(rest, [labels, weights])
    with pytest.raises(IndexError):
        cached.batch(0, 3)


@pytest.mark.parametrize(
    "precision, kept, given",
    [("bfloat16", 2, "float32"), ("float32", 4, "float32"), ("float64", 8, "float64")],
)
def test_bfloat16_is_kept_in_half_and_loses_nothing(precision, kept, given):
    def compute(images):
        outputs = corner(images).astype(given)
        if precision == "bfloat16":  # the upper 16 bits of a float32
            outputs = (outputs.view(np.uint32) & 0xFFFF0000).view(np.float32)
        return outputs

    config = dataclasses.replace(SMOKE, precision=precision)
    batches = open_dataset(config).batches("val")
    cached = stage_batches(batches, config, HEAD, cache_of(config, compute))
    assert cached._maps[0].output_bytes == 8 + 2048 * kept
    outputs = cached.batch(0, 0)[0]
    assert outputs.dtype == given
    np.testing.assert_array_equal(outputs, compute(batches.batch(0, 0)[0]))


def test_every_image_is_computed_once_in_whole_batches_and_shared():
    config = dataclasses.replace(SMOKE, augment="none")
    dataset = open_dataset(config)
    rows = dataset.parts["train"]
    function, other = Corner(), Corner()
    first = cache_of(config, function)
    first.batches(dataset.with_parts({"train": rows[:20]}).batches("train"))
    assert [len(images) for images in function.received] == [BATCH, BATCH]
    assert first.computed == 20
    later = cache_of(config, other, framework="pt")  # another run, of the other framework
    later.batches(dataset.with_parts({"val": rows[10:21]}).batches("val"))
    assert later.computed == 1 and len(other.received) == 1
    described = later.describe()
    assert described["made_by"] == {"pt": 1, "tf": 10} and described["images"] == 11
    later.batches(dataset.with_parts({"test": rows[:21]}).batches("test"))
    assert later.computed == 1 and later.describe()["images"] == 21


def test_validation_may_have_another_side_than_training():
    config = dataclasses.replace(SMOKE, augment="none", test_size=96)

    def block12(images):
        return np.resize(images, (BATCH, *output_shape("block12", images.shape[1])))

    dataset, features = open_dataset(config), cache_of(config, block12, FINETUNE)
    for part, side in (("train", 71), ("val", 96)):
        batches = dataset.batches(part, training=part == "train")
        outputs, *_ = features.batches(batches).batch(0, 0)
        assert outputs.shape[1:] == output_shape("block12", side)
    images, *_ = batches.batch(0, 0)  # of validation, whose order is that of the cache
    np.testing.assert_array_equal(outputs, block12(images))
    same = dataclasses.replace(SMOKE, image_size=96)  # a run that trains at that side shares them
    assert file_of(config) == file_of(same) != file_of(SMOKE)


def test_outputs_of_another_shape_are_refused():
    batches = open_dataset(SMOKE).batches("val")
    with pytest.raises(ValueError, match="2047"):
        cache_of(SMOKE, lambda images: corner(images)[:, 1:]).batches(batches)


def test_kept_outputs_have_no_mirror_image():
    batches = cache_of(SMOKE, corner).batches(open_dataset(SMOKE).batches("val"))
    with pytest.raises(TypeError, match="no mirror image"):
        batches.mirrored()


@pytest.mark.parametrize(
    "fields",
    [
        {"image_size": 80},
        {"precision": "float64"},
        {"bn_epsilon": 1e-5},
        {"reinit": ("block14",)},
        {"restore_defaults": ("pool_padding",)},
    ],
)
def test_what_decides_an_output_names_the_file(fields):
    changed = dataclasses.replace(SMOKE, **fields)
    assert file_of(SMOKE, framework="pt") != file_of(changed, framework="pt")


@pytest.mark.parametrize(
    "fields", [{"seed": 3}, {"dropout": 0.0}, {"fold": 2}, {"batch_size": 4}, {"augment": "none"}]
)
def test_what_does_not_decide_an_output_shares_the_file(fields):
    assert file_of(SMOKE) == file_of(dataclasses.replace(SMOKE, **fields))


def test_other_weights_make_other_outputs():
    moved = WEIGHTS | {"block3_sepconv1_bn/moving_mean": np.ones(1, np.float32)}
    assert file_of(SMOKE) != file_of(SMOKE, weights=moved)
    head = WEIGHTS | {"head_logits/kernel": np.ones(1, np.float32)}
    assert file_of(SMOKE) == file_of(SMOKE, weights=head)


def test_other_pixels_make_other_outputs(monkeypatch):
    before = file_of(SMOKE)
    other = property(lambda _: "of another Pillow's decoder", lambda *_: None)
    monkeypatch.setattr("src.data.pixels.Pixels.sha256", other, raising=False)
    assert file_of(SMOKE) != before


def test_defaults_that_do_not_affect_a_twin_share_its_outputs():
    assert file_of(dataclasses.replace(SMOKE, restore_defaults=STOCK)) == file_of(SMOKE)


def test_views_take_turns_and_each_has_its_file():
    config = dataclasses.replace(SMOKE, augment="standard", balance="sampling")
    batches = open_dataset(config).batches("train", training=True)
    limited = batches.with_views(3)
    assert len(set(limited.view_names())) == 3
    indices, views, repeats = limited.sample_indices(4, 0)
    assert not repeats.any() and set(views) <= {0, 1, 2}
    _, epochs, drawn_before = batches.sample_indices(4, 0)
    np.testing.assert_array_equal(views, (epochs + drawn_before) % 3)
    np.testing.assert_array_equal(
        limited.images(indices, views, repeats), batches.images(indices, views, repeats)
    )
    other_seed = open_dataset(dataclasses.replace(config, seed=9)).batches("train", training=True)
    assert not set(limited.view_names()) & set(other_seed.with_views(3).view_names())


def test_both_twins_see_the_same_views_even_if_one_cannot_use_the_cache():
    config = dataclasses.replace(
        SMOKE, augment="standard", restore_defaults=("bn_frozen_mode",), cached_views=2
    )
    batches = open_dataset(config).batches("train", training=True)
    assert cache_of(config, framework="pt") is None
    plain = stage_batches(batches, config, HEAD, None)
    np.testing.assert_array_equal(plain.sample_indices(5, 0)[1], 1)
    off = dataclasses.replace(config, feature_cache=False)
    np.testing.assert_array_equal(
        stage_batches(batches, off, HEAD, None).sample_indices(5, 0)[1], 5
    )
