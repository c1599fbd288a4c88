"""Weights: every file kind gives the same arrays; every damage gets a clear sentence."""

import dataclasses
import functools
import hashlib
import http.server
import threading

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from src.common.errors import InputError
from src.config import preset
from src.training.checkpoint import write_model
from src.xception.blocks import BACKBONE_LAYERS, BACKBONE_TENSORS, layer_multiply_adds
from src.xception.weight_files import FILE, digest, fetch_imagenet, read_weights
from src.xception.weights import initial_weights, initialise, perturb, pretrained_head


@pytest.fixture(scope="module")
def backbone():
    return initialise(BACKBONE_TENSORS, seed=3)


def write_keras_h5(path, weights):
    """Write the published format: legacy names, residual layers numbered, order all that counts."""
    with h5py.File(path, "w") as file:
        names, residual = [], 0
        for layer in BACKBONE_LAYERS:
            name = layer.name
            if "residual" in name:
                residual += layer.kind == "conv"
                name = f"{'conv2d' if layer.kind == 'conv' else 'batch_normalization'}_{residual}"
            tensors = [f"{name}/{tensor}:0" for tensor in layer.shapes()]
            group = file.create_group(name)
            group.attrs["weight_names"] = [tensor.encode() for tensor in tensors]
            for tensor, name_here in zip(tensors, layer.shapes()):
                group[tensor] = weights[f"{layer.name}/{name_here}"]
            names += [name.encode(), f"{name}_act".encode()]
            file.create_group(f"{name}_act").attrs["weight_names"] = np.array([], "S1")
        file.attrs["layer_names"] = names
    return path


def write_timm_pth(path, weights):
    state = {
        tensor.torch_name: torch.from_numpy(tensor.to_torch(weights[tensor.name]).copy())
        for tensor in BACKBONE_TENSORS
    }
    state |= {"fc.weight": torch.zeros(1000, 2048), "bn1.num_batches_tracked": torch.tensor(5)}
    torch.save(state, path)
    return path


def write_timm_safetensors(path, weights):
    save_file(
        {t.torch_name: np.ascontiguousarray(t.to_torch(weights[t.name])) for t in BACKBONE_TENSORS},
        path,
    )
    return path


def write_own(path, weights):
    save_file(weights, path)
    return path


KINDS = {
    "own.safetensors": write_own,
    "timm.safetensors": write_timm_safetensors,
    "keras.h5": write_keras_h5,
    "timm.pth": write_timm_pth,
}
# A .pth file is converted in a process of its own.
EVERY_KIND = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name == "timm.pth" else ()) for name in KINDS],
)


@EVERY_KIND
def test_every_kind_of_file_gives_the_same_arrays(name, backbone, tmp_path):
    weights = read_weights(KINDS[name](tmp_path / name, backbone))
    assert set(weights) >= set(backbone)
    for tensor, array in backbone.items():
        np.testing.assert_array_equal(weights[tensor], array)


@pytest.mark.slow
def test_keras_itself_reads_our_h5_to_the_same_arrays(backbone, tmp_path):
    """The made h5 is of the published kind: Keras loads it, and means the same by it."""
    import keras

    path = write_keras_h5(tmp_path / "xception.h5", backbone)
    network = keras.applications.Xception(include_top=False, weights=str(path))
    for tensor, array in zip(BACKBONE_TENSORS, network.get_weights(), strict=True):
        np.testing.assert_array_equal(array, backbone[tensor.name], err_msg=tensor.name)


@EVERY_KIND
def test_a_truncated_file_is_named(name, backbone, tmp_path):
    path = KINDS[name](tmp_path / name, backbone)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(InputError, match=rf"{name}.*[Ff]etch it again"):
        initial_weights(preset("smoke", init=str(path)))


@pytest.mark.slow
def test_a_pickle_that_runs_code_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    torch.save({"conv1.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(InputError, match=r"trap\.pth: it is not a state dict of tensors alone"):
        read_weights(tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "damage, sentence",
    [
        ("missing", r"lacks block14_sepconv1/depthwise_kernel.*--reinit block14"),
        ("shape", r"block14_sepconv1/depthwise_kernel has the shape \(3, 3, 7, 1\)"),
        ("nan", r"block14_sepconv1/depthwise_kernel holds NaN"),
    ],
)
def test_a_damaged_tensor_is_named(damage, sentence, backbone, tmp_path):
    tensor = "block14_sepconv1/depthwise_kernel"
    weights = dict(backbone)
    if damage == "missing":
        del weights[tensor]
    elif damage == "shape":
        weights[tensor] = np.zeros((3, 3, 7, 1), np.float32)
    else:
        weights[tensor] = np.full_like(weights[tensor], np.nan)
    path = write_own(tmp_path / "damaged.safetensors", weights)
    with pytest.raises(InputError, match=sentence):
        initial_weights(preset("smoke", init=str(path)))
    # Naming the block mends all three.
    mended = initial_weights(preset("smoke", init=str(path), reinit=["block14"]))
    np.testing.assert_array_equal(mended["block2_sepconv1/pointwise_kernel"],
                                  backbone["block2_sepconv1/pointwise_kernel"])  # fmt: skip
    assert np.isfinite(mended[tensor]).all()


@pytest.mark.parametrize(
    "name, content, sentence",
    [
        ("nothing.safetensors", None, "No weights file at"),
        ("weights.bin", b"x", "ending '.bin'"),
        ("other.h5", "h5", "no `layer_names`"),
        ("other.safetensors", "foreign", "holds no tensor of Xception"),
    ],
)
def test_a_wrong_file_gets_a_sentence(name, content, sentence, tmp_path):
    path = tmp_path / name
    if content == "h5":
        h5py.File(path, "w").close()
    elif content == "foreign":
        save_file({"resnet.conv": np.zeros(3, np.float32)}, path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        initial_weights(preset("smoke", init=str(path)))


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve a folder on loopback; yields (folder, address)."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")  # on a machine that has a proxy
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{running.server_port}/{FILE}"
        running.shutdown()


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAIN_TUMOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


def test_fetched_once_verified_converted_and_cached(server, empty_cache, backbone):
    folder, url = server
    path = write_keras_h5(folder / FILE, backbone)
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    converted = fetch_imagenet(url, md5)
    assert digest(load_file(converted)) == digest(backbone)
    content = bytearray(converted.read_bytes())
    content[-1] ^= 1  # a byte that changed on the disk: fetched again
    converted.write_bytes(content)
    assert digest(load_file(fetch_imagenet(url, md5))) == digest(backbone)
    path.unlink()  # a second time nothing is fetched
    assert fetch_imagenet(url, md5) == converted
    assert [entry.name for entry in converted.parent.glob("[!.]*")] == [converted.name]


def test_kerass_own_download_is_used(empty_cache, backbone, tmp_path):
    models = tmp_path / "keras" / "models"
    models.mkdir(parents=True)
    path = write_keras_h5(models / FILE, backbone)
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    converted = fetch_imagenet("http://127.0.0.1:9/", md5)
    assert digest(load_file(converted)) == digest(backbone)
    assert path.is_file()


def test_a_wrong_hash_and_a_dead_network_get_a_sentence(server, empty_cache, backbone):
    folder, url = server
    write_keras_h5(folder / FILE, backbone)
    with pytest.raises(InputError, match="published MD5"):
        fetch_imagenet(url, "0" * 32)
    with pytest.raises(InputError, match=r"404.*--init scratch"):
        fetch_imagenet(f"{url}.gone", "0" * 32)
    with pytest.raises(InputError, match=r"no network.*--init scratch"):
        fetch_imagenet(f"http://127.0.0.1:9/{FILE}", "0" * 32)


def test_the_head_of_a_run_is_taken_where_it_fits(tmp_path):
    trained = preset("smoke", seed=5)
    saved = initial_weights(trained)
    write_model(tmp_path, saved, trained, "pt")
    start = {"seed": 6, "init": str(tmp_path / "model.safetensors")}
    assert digest(initial_weights(preset("smoke", **start))) == digest(saved)
    other_order = ["notumor", "glioma", "meningioma", "pituitary"]
    for other in ({"classes": ["no", "yes"]}, {"classes": other_order}, {"hidden_units": 8}):
        config = preset("smoke", **start, **other)
        anew = initial_weights(dataclasses.replace(config, init="scratch"))
        for name, array in initial_weights(config).items():
            expected = anew if name.startswith("head") else saved
            np.testing.assert_array_equal(array, expected[name], err_msg=name)
    (tmp_path / "model.json").write_text("{}")  # of another program
    assert not pretrained_head(preset("smoke", **start))


def test_drawing_is_repeatable_and_by_tensor():
    config = preset("smoke", seed=5)
    assert digest(initial_weights(config)) == digest(initial_weights(config))
    assert digest(initial_weights(config)) != digest(initial_weights(preset("smoke", seed=6)))
    alone = initialise(BACKBONE_TENSORS[-6:], seed=5)
    assert all(np.array_equal(initial_weights(config)[name], a) for name, a in alone.items())


def test_drawn_as_keras_draws():
    """Bounds of Glorot's uniform distribution, with Keras's own fans."""
    from keras.src.initializers.random_initializers import compute_fans

    for tensor in BACKBONE_TENSORS:
        if "kernel" in tensor.name:
            limit = np.sqrt(6 / sum(compute_fans(tensor.shape)))
            largest = np.abs(initialise([tensor], 0)[tensor.name]).max()
            assert 0.98 * limit < largest <= limit * (1 + 1e-6), tensor.name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_perturbing_moves_every_number_by_an_epsilon(dtype, backbone):
    moved = perturb(backbone, dtype)
    epsilon = np.finfo(dtype).eps
    for name, array in backbone.items():
        array = array.astype(dtype)
        assert moved[name].dtype == dtype
        relative = np.abs(moved[name] - array)[array != 0] / np.abs(array[array != 0])
        assert (relative > 0.4 * epsilon).all() and (relative < 1.6 * epsilon).all(), name


def test_the_block_table_counts_what_keras_counts():
    assert sum(layer.parameters() for layer in BACKBONE_LAYERS) == 20_861_480
    # Chollet 2017 rounds the whole network, with classifier, to 8.4 billion multiply-adds.
    total = sum(layer_multiply_adds(layer, 299) for layer in BACKBONE_LAYERS)
    assert 8.3e9 < total < 8.4e9
