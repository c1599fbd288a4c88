"""What computes the answers: ONNX Runtime, or one of the twins."""

import contextlib
import hashlib
import importlib
import json
import platform
import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from src.common.cache import cache_folder
from src.common.errors import InputError
from src.common.files import file_sha256, read_json, write_json
from src.common.hardware import cores, cpu_flags
from src.config import FRAMEWORKS
from src.data.augment import as_input
from src.data.pixels import Decode, decode_gray
from src.evaluation.localisation import joint_maps
from src.training.checkpoint import read_model, read_model_card, weights_sha256
from src.xception import blocks

BATCH = 16  # images; no larger than what training needed
MAP_BATCH = 4  # images, with heat maps: the outputs of all layers are in memory at once
# Graph and weights as ONNX Runtime optimised them, and the SHA-256 of both.
_GRAPH, _WEIGHTS, _SUMS = "graph.onnx", "weights.bin", "sha256.json"


class Outputs(NamedTuple):
    """What a backend computes for N images."""

    probabilities: np.ndarray  # (N, K) float32
    features: np.ndarray | None  # (N, 2048) float32, pooled after block14
    maps: np.ndarray | None  # (N, S, S) float32, not negative: for the likeliest class


class Backend(Protocol):
    """Gray images -> outputs, from any thread."""

    name: str  # with its version
    decode: Decode  # how files are read

    def run(self, images: np.ndarray, *, features: bool = False, maps: bool = False) -> Outputs:
        """Return what is asked for of (N, S, S) uint8 images, at most `BATCH`."""


class OnnxBackend:
    """ONNX Runtime, on the graph made from the block table; no framework is loaded.

    The first start makes the graph and lets ONNX Runtime optimise it. The result is kept in the
    cache, for this model, this version of the code and of ONNX Runtime, and this kind of CPU.

    Raises:
        InputError: ONNX Runtime or `onnx` is not installed, or the model is damaged or computes
            with restored framework defaults.
    """

    decode = staticmethod(decode_gray)

    def __init__(self, folder: Path):
        with ThreadPoolExecutor(1) as pool:  # hashes while ONNX Runtime is imported
            sha256 = pool.submit(weights_sha256, folder)
            self._runtime = import_package("onnxruntime")
            self._folder, self._loading = folder, threading.Lock()
            self._hidden = read_model_card(folder)[1].hidden_units
            self.name = f"ONNX Runtime {self._runtime.__version__}"
            self._session = self._open(sha256.result(), with_heat_map=False)

    def run(self, images: np.ndarray, *, features: bool = False, maps: bool = False) -> Outputs:
        """See `Backend`."""
        session = self._session_with_map() if maps else self._session
        names = ["probabilities", *["features"] * features, *["heat_map"] * maps]
        outputs = dict(zip(names, session.run(names, {"images": images})))
        return Outputs(outputs["probabilities"], outputs.get("features"), outputs.get("heat_map"))

    def _session_with_map(self):
        """Return a session that gives maps: it answers from now on. Without them one is faster."""
        if self._hidden:
            raise InputError(
                "The head of this model has a hidden layer, so heat maps need gradients: load it "
                "with the backend tf or pt (--framework)."
            )
        with self._loading:
            if "heat_map" not in [output.name for output in self._session.get_outputs()]:
                self._session = self._open(weights_sha256(self._folder), with_heat_map=True)
        return self._session

    def _open(self, weights: str, *, with_heat_map: bool):
        key = _key(self._folder, weights, self._runtime.__version__, with_heat_map)
        kept = _kept_session(self._runtime, key)
        return kept or _new_session(self._runtime, self._folder, key, with_heat_map)


class TwinBackend:
    """One of the twins, as its own framework runs it.

    Raises:
        InputError: the model is damaged, or the framework is not installed.
    """

    def __init__(self, folder: Path, framework: str):
        from src.experiment import load_twin

        try:
            self._twin = load_twin(framework)
        except ModuleNotFoundError as error:
            raise InputError(
                f"{FRAMEWORKS[framework]} cannot be loaded: {error.name} is not installed. Run "
                "python -m pip install -r requirements.txt, or use the backend onnx."
            ) from error
        _, config = read_model_card(folder)
        self._twin.runtime.configure(self._twin.runtime.inference_config(config))
        self._model, _ = self._twin.checkpoint.load_model(folder)
        self._lock = threading.Lock()
        self.decode, _ = self._twin.data.make_decoder(config)
        versions = self._twin.runtime.versions()
        self.name = ", ".join(f"{name} {version}" for name, version in versions.items())

    def run(self, images: np.ndarray, *, features: bool = False, maps: bool = False) -> Outputs:
        """See `Backend`."""
        from src.common.progress import no_bars

        with self._lock, no_bars():
            loader = self._twin.data.make_loader(ImageBatches(images))
            probabilities = self._twin.predict.predict_proba(self._model, loader)
            inputs, pooled, heat = as_input(images), None, None
            if features:
                block14 = self._twin.model.block_output(self._model, inputs, "block14")
                pooled = block14.mean(axis=(1, 2))
            if maps:
                chosen = probabilities.argmax(axis=1)
                heat = joint_maps(self._twin.explain, self._model, inputs, chosen)
            return Outputs(probabilities, pooled, heat)


class ImageBatches:
    """Images (N, S, S) uint8, gray, with the interface of `src.data.batches.Batches`."""

    def __init__(self, images: np.ndarray):
        self.images, self.class_count = images, 1  # there is nothing to label
        self.images_per_epoch = len(images)
        self.sizes = [len(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]

    def __len__(self) -> int:
        return len(self.sizes)

    def batch(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return images (B, S, S, 3) float32 in [-1, 1], and meaningless labels and weights."""
        gray = self.images[index * BATCH : (index + 1) * BATCH]
        return as_input(gray), np.zeros(len(gray), np.int64), np.zeros(len(gray), np.float32)

    def mirrored(self) -> "ImageBatches":
        """Return these batches with every image flipped left to right."""
        return ImageBatches(self.images[..., ::-1])


def cpu_session(model: str | bytes):
    """Return an ONNX Runtime session for the file `model`, or for a graph's bytes.

    Raises:
        InputError: ONNX Runtime is not installed.
    """
    runtime = import_package("onnxruntime")
    return _session(runtime, model, _options(runtime, "ORT_ENABLE_ALL"))


def import_package(name: str):
    """Import what predicting needs, or say how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"{name} cannot be loaded ({error}). Run python -m pip install -r "
            "src/serving/requirements/predict.txt, or use the backend tf or pt (--framework)."
        ) from error


def _key(folder: Path, weights: str, version: str, with_heat_map: bool) -> str:
    """Return a name for all that decides what is kept. ONNX Runtime orders weights for the CPU."""
    _, config = read_model_card(folder)
    names = ("graph.py", "graph_heat_map.py")
    sources = (*(Path(__file__).with_name(name) for name in names), Path(blocks.__file__))
    cpu = [platform.machine(), platform.processor(), *sorted(cpu_flags())]
    parts = [weights, config.to_json(), version, with_heat_map, cpu, *map(file_sha256, sources)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _options(runtime, level: str):
    runtime.disable_telemetry_events()
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = cores()
    options.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, level)
    return options


def _kept_session(runtime, key: str):
    """Return a session on what an earlier start kept; None where nothing is, or it was changed."""
    with contextlib.suppress(InputError, OSError):
        folder = cache_folder("onnx") / key
        if read_json(folder / _SUMS) == _sums(folder):
            options = _options(runtime, "ORT_DISABLE_ALL")  # it is optimised
            return _session(runtime, str(folder / _GRAPH), options)
    return None


def _new_session(runtime, folder: Path, key: str, with_heat_map: bool):
    """Return a session on a graph made now; keep what ONNX Runtime made of it, where it can."""
    import_package("onnx")
    from src.serving.graph import build_graph

    graph = build_graph(*read_model(folder), with_heat_map=with_heat_map).SerializeToString()
    with contextlib.suppress(Exception):  # no room, no rights: the second attempt needs neither
        with tempfile.TemporaryDirectory(
            dir=cache_folder("onnx"), prefix=".", suffix=".tmp"
        ) as name:
            options, made = _options(runtime, "ORT_ENABLE_ALL"), Path(name) / key
            made.mkdir()
            options.optimized_model_filepath = str(made / _GRAPH)
            entry = "session.optimized_model_external_initializers"
            options.add_session_config_entry(f"{entry}_file_name", _WEIGHTS)
            options.add_session_config_entry(f"{entry}_min_size_in_bytes", "1024")
            session = _session(runtime, graph, options)
            write_json(made / _SUMS, _sums(made))
            kept = cache_folder("onnx") / key
            shutil.rmtree(kept, ignore_errors=True)  # it was damaged
            with contextlib.suppress(OSError):  # another process was faster
                made.replace(kept)
        return session
    return _session(runtime, graph, _options(runtime, "ORT_ENABLE_ALL"))


def _sums(folder: Path) -> dict[str, str]:
    return {name: file_sha256(folder / name) for name in (_GRAPH, _WEIGHTS)}


def _session(runtime, model: str | bytes, options):
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
