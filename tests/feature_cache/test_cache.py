"""Which images the prefix is computed for, under which names, and what a batch then holds."""

import dataclasses

import numpy as np
import pytest

from src.config import preset
from src.data.dataset import open_dataset
from src.differences import STOCK
from src.feature_cache import cache
from src.feature_cache.cache import BATCH, find_cache, stage_batches
from src.feature_cache.plan import cached_block, last_frozen_block, last_stage
from src.xception.stages import FINETUNE, HEAD

SMOKE = preset("smoke", batch_size=16, feature_cache=True, cached_views=2, init="complete file")
WEIGHTS = {
    tensor.name: np.zeros(1, np.float32) for tensor in cache.tensors(cache.layers_up_to("block14"))
}


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Keep these made-up outputs to the test."""
    monkeypatch.setattr(cache, "_FOLDER", f"feature_cache-{tmp_path.name}")


class Means:
    """A prefix whose output is each image's channel means, and the batches it was asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, images):
        self.asked.append(images)
        return images.mean(axis=(1, 2))


def prefix_of(config, function, stage=HEAD, framework="tf", weights=WEIGHTS):
    return find_cache(config, stage, framework, lambda: weights, lambda block: function)


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
def test_where_the_prefix_ends(fields, head, finetune):
    config = dataclasses.replace(SMOKE, **fields)
    assert (
        last_frozen_block(config, HEAD) == head and last_frozen_block(config, FINETUNE) == finetune
    )
    for framework in ("tf", "pt"):
        assert cached_block(config, HEAD, framework) == head
    assert cached_block(dataclasses.replace(config, feature_cache=False), HEAD, "tf") is None


def test_a_batch_norm_that_follows_its_batch_is_not_cached():
    config = dataclasses.replace(SMOKE, restore_defaults=("bn_frozen_mode",))
    assert cached_block(config, HEAD, "pt") is None
    assert cached_block(config, HEAD, "tf") == "block14"  # the row does not move this twin


def test_the_finished_models_prefix_is_the_last_stages():
    assert last_stage(SMOKE) == FINETUNE
    assert last_stage(dataclasses.replace(SMOKE, finetune_epochs=0)) == HEAD


@pytest.mark.parametrize("augment", ["none", "standard"])
def test_a_batch_holds_the_outputs_of_its_own_images(augment):
    config = dataclasses.replace(SMOKE, augment=augment, max_images_per_epoch=40)
    batches = open_dataset(config).batches("train", training=True)
    prefix = prefix_of(config, Means())
    cached = stage_batches(batches, config, HEAD, prefix)
    assert cached.sizes == [16, 16, 8] and len(cached) == 3
    for epoch in (0, 1, 5):
        for index in range(3):
            images, labels, weights = batches.with_views(2).batch(epoch, index)
            outputs, *answers = cached.batch(epoch, index)
            np.testing.assert_array_equal(outputs, images.mean(axis=(1, 2)))
            np.testing.assert_array_equal(answers, [labels, weights])
    with pytest.raises(IndexError):
        cached.batch(0, 3)


def test_every_image_is_computed_once_in_whole_batches_and_shared():
    config = dataclasses.replace(SMOKE, augment="none")
    dataset = open_dataset(config)
    rows = dataset.parts["train"]
    function, other = Means(), Means()
    prefix = prefix_of(config, function)
    prefix.batches(dataset.with_parts({"train": rows[:20]}).batches("train"))
    assert [len(images) for images in function.asked] == [BATCH, BATCH]
    assert prefix.computed == 20
    later = prefix_of(config, other, framework="pt")  # another run, of the other framework
    later.batches(dataset.with_parts({"val": rows[10:21]}).batches("val"))
    assert later.computed == 1 and len(other.asked) == 1
    told = later.describe()
    assert told["made_by"] == {"pt": 1, "tf": 10} and told["images"] == 11
    later.batches(dataset.with_parts({"test": rows[:21]}).batches("test"))
    assert later.computed == 1


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
def test_what_decides_an_output_names_it(fields):
    one = prefix_of(SMOKE, Means(), framework="pt")
    two = prefix_of(dataclasses.replace(SMOKE, **fields), Means(), framework="pt")
    assert one._store.folder != two._store.folder


@pytest.mark.parametrize(
    "fields", [{"seed": 3}, {"dropout": 0.0}, {"fold": 2}, {"batch_size": 4}, {"augment": "none"}]
)
def test_what_does_not_decide_an_output_shares_it(fields):
    one = prefix_of(SMOKE, Means())
    two = prefix_of(dataclasses.replace(SMOKE, **fields), Means())
    assert one._store.folder == two._store.folder


def test_other_weights_make_other_outputs():
    moved = WEIGHTS | {"block3_sepconv1_bn/moving_mean": np.ones(1, np.float32)}
    assert (
        prefix_of(SMOKE, Means())._store.folder
        != prefix_of(SMOKE, Means(), weights=moved)._store.folder
    )
    head = WEIGHTS | {"head_logits/kernel": np.ones(1, np.float32)}
    assert (
        prefix_of(SMOKE, Means())._store.folder
        == prefix_of(SMOKE, Means(), weights=head)._store.folder
    )


def test_rows_that_do_not_move_a_twin_share_its_outputs():
    stock = dataclasses.replace(SMOKE, restore_defaults=STOCK)
    assert prefix_of(stock, Means())._store.folder == prefix_of(SMOKE, Means())._store.folder


def test_views_take_turns_and_each_is_its_own_draw():
    config = dataclasses.replace(SMOKE, augment="standard", balance="sampling")
    batches = open_dataset(config).batches("train", training=True)
    limited = batches.with_views(3)
    names = limited.image_names()
    assert names.shape == (3, len(batches.labels)) and len(set(names[:, 0])) == 3
    places, views, repeats = limited.draws(4, 0)
    assert not repeats.any() and set(views) <= {0, 1, 2}
    _, epochs, drawn_before = batches.draws(4, 0)
    np.testing.assert_array_equal(views, (epochs + drawn_before) % 3)
    np.testing.assert_array_equal(
        limited.images(places, views, repeats), batches.images(places, views, repeats)
    )
    other_seed = open_dataset(dataclasses.replace(config, seed=9)).batches("train", training=True)
    assert not set(names.flat) & set(other_seed.with_views(3).image_names().flat)


def test_both_twins_see_the_same_views_even_if_one_cannot_use_the_cache():
    config = dataclasses.replace(
        SMOKE, augment="standard", restore_defaults=("bn_frozen_mode",), cached_views=2
    )
    batches = open_dataset(config).batches("train", training=True)
    assert prefix_of(config, Means(), framework="pt") is None
    plain = stage_batches(batches, config, HEAD, None)
    np.testing.assert_array_equal(plain.draws(5, 0)[1], 1)
    off = dataclasses.replace(config, feature_cache=False)
    np.testing.assert_array_equal(stage_batches(batches, off, HEAD, None).draws(5, 0)[1], 5)
