"""Networks for other programs, as ONNX, SavedModel or torch.export, checked when written.

Each takes images (N, S, S) uint8, gray, for any N, and gives probabilities (N, K). FILE.json beside
it holds the model's card, the SHA-256, and phantom images with the probabilities to expect.
"""

import base64
import hashlib
import importlib.util
import io
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from src.common.cache import progress
from src.common.errors import InputError
from src.common.files import atomic_folder, atomic_write, file_sha256, read_json, write_json
from src.common.progress import no_bars
from src.config import CLASS_NAMES, FRAMEWORKS
from src.data.dataset import open_dataset
from src.data.phantom.anatomy import draw_slice
from src.data.phantom.patient import draw_patient
from src.experiment import check_same_images, load_twin
from src.records import read_record
from src.serving.backends import BATCH, ImageBatches, cpu_session, import_package
from src.serving.calibration import read_calibration
from src.training.checkpoint import model_card, read_model, read_model_card, weights_sha256
from src.training.export import export_config, gray_lines

if TYPE_CHECKING:  # `export --to keras` does without
    import onnx

SUFFIXES = {"onnx": ".onnx", "saved_model": "", "torch_export": ".pt2"}
_TWINS = {"saved_model": "tf", "torch_export": "pt"}
_PACKAGES = {"tf": "tf2onnx", "pt": "onnxscript"}  # what these make ONNX with
# The largest difference of a probability: of float32 and float16 from the twin in float32, of int8
# from its own answers on the machine that exported it.
TOLERANCES = {"float32": 1e-5, "float16": 1e-2, "int8": 5e-2}
CALIBRATION = 96  # images
MAX_ACCURACY_LOSS = 0.005  # of int8, on the validation images that did not calibrate it
_SEED = 0
# Python that loads the file and predicts `gray`, for each format.
_USE = {
    "onnx": """\
session = onnxruntime.InferenceSession({file!r})
probs = session.run(["probabilities"], {{"images": np.array(gray)[None]}})[0]
""",
    "saved_model": """\
model = tf.saved_model.load({file!r})
probs = model.serve(np.array(gray)[None])["probabilities"].numpy()
""",
    "torch_export": """\
model = torch.export.load({file!r}).module()
probs = model(torch.from_numpy(np.array(gray)[None]))
""",
}
_IMPORTS = {"onnx": "onnxruntime", "saved_model": "tensorflow as tf", "torch_export": "torch"}


def check_options(to: str, made_by: str | None, precision: str) -> None:
    """Raise InputError if options of ONNX are given for another format, or exclude each other."""
    if to != "onnx" and (made_by or precision != "float32"):
        raise InputError(f"--from and --precision are of --to onnx. Received: --to {to}.")
    if made_by and precision != "float32":
        raise InputError("A graph --from a framework is float32: leave --precision or --from out.")


def export_graph(
    folder: Path,
    file: Path,
    to: str,
    *,
    made_by: str | None = None,
    precision: str = "float32",
    data_dir: Path | None = None,
) -> str:
    """Write the model saved in `folder` to `file`, and its record to FILE.json.

    Args:
        folder: the model.
        file: what to write: a .onnx or .pt2 file; for SavedModel a folder.
        to: "onnx", "saved_model" or "torch_export".
        made_by: the framework that makes the ONNX graph, "tf" or "pt"; by default it is made from
            the block table, which also gives features, a heat map and, of a calibrated model,
            calibrated probabilities and a score for refusal (`src.serving.graph`).
        precision: "float32"; of a graph from the block table also "float16", and "int8": weights in
            8 bits for each channel, activations in 8 bits, with ranges from validation images.
        data_dir: the images that the model was trained on, for int8.
    Returns:
        Python that loads the file and predicts an image.
    Raises:
        InputError: there is no model, or defaults were restored; the options do not go together; or
            the file does not answer as the twin does, and was not kept.
    Source: Jacob et al. 2018, arXiv:1712.05877; Krishnamoorthi 2018, arXiv:1806.08342 (int8).
    """
    check_options(to, made_by, precision)
    if made_by and not importlib.util.find_spec(package := _PACKAGES[made_by]):
        raise InputError(
            f"{FRAMEWORKS[made_by]} makes ONNX with {package}, which is not installed. Run "
            f"python -m pip install {package}, or leave --from out."
        )
    config = export_config(folder, file, SUFFIXES[to])
    card, _ = read_model_card(folder)
    framework = _TWINS.get(to) or made_by or card["framework"]
    twin, (weights, _) = load_twin(framework), read_model(folder)
    model = twin.model.build_model(config, weights)
    images = sample_images(config.image_size)
    with no_bars():
        loader = twin.data.make_loader(ImageBatches(images))
        expected = twin.predict.predict_proba(model, loader)
    calibration = None if to != "onnx" or made_by else read_calibration(folder, card)
    if calibration:
        expected = calibration.tempered(expected).astype(np.float32)
    with (atomic_folder if to == "saved_model" else atomic_write)(file) as temporary:
        if to == "onnx" and not made_by:
            import_package("onnx")
            from src.serving.graph import build_graph

            with_map = precision != "int8"  # its gradients are too small for 8 bits
            graph = build_graph(weights, config, calibration, with_heat_map=with_map)
            if precision == "float16":
                graph = to_float16(graph)
            elif precision == "int8":
                graph = _checked_int8(graph, folder, data_dir)
            temporary.write_bytes(graph.SerializeToString())
        else:
            twin.export.export_graph(model, temporary)
        found = _run(to, temporary, images)
        if precision == "int8":
            expected = found
        difference = _compare(found, expected, TOLERANCES[precision], f"{file} was not written")
    record = {
        "to": to,
        "made_by": FRAMEWORKS.get(made_by or _TWINS.get(to), "src.serving.graph"),
        "precision": precision,
        "sha256": _sha256(file),
        "weights_sha256": weights_sha256(folder),
        "calibrated": calibration is not None,
        "model": model_card(config, card["framework"]),
        "check": {
            "images": [_to_png(image) for image in images],
            "probabilities": expected.tolist(),
            "tolerance": TOLERANCES[precision],
            "difference": difference,
        },
    }
    write_json(record_path(file), record)
    return (
        f"import numpy as np\nimport {_IMPORTS[to]}\nfrom PIL import Image\n\n"
        f"{gray_lines(config)}{_USE[to].format(file=str(file))}"
        f"print(dict(zip({list(config.classes)}, probs[0].tolist())))"
    )


def check_export(file: Path) -> str:
    """Run an exported network on the images of its record, and return one sentence.

    A .pt2 file is compared with its SHA-256 alone: PyTorch unpickles what lies in it, whatever that
    is. A SavedModel is a program too, if one without pickles: check what you trust, against damage
    and other versions.

    Raises:
        InputError: there is no such file or record; the file is not the one that was exported; or
            it gives other answers here.
    """
    file = Path(file)
    if not file.exists():
        raise InputError(f"No such file: {file}.")
    record = read_json(record_path(file))
    try:
        to, sha256, check = record["to"], record["sha256"], record["check"]
        images = np.stack([_from_png(image) for image in check["images"]])
        expected, tolerance = np.array(check["probabilities"], np.float32), check["tolerance"]
        SUFFIXES[to]
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise InputError(f"{record_path(file)} is not an export's record: {error!r}.") from error
    if _sha256(file) != sha256:
        raise InputError(
            f"{file} is not what was exported: its SHA-256 is another than that in "
            f"{record_path(file).name}. Copy both again, or export the model again."
        )
    if to == "torch_export":
        return f"{file}: as exported, byte by byte; not run, since PyTorch would unpickle it."
    difference = _compare(_run(to, file, images), expected, tolerance, f"{file} fails here")
    return (
        f"{file}: as exported; on {len(images)} phantom images the largest difference of a "
        f"probability is {difference:.1e} (allowed: {tolerance:g})."
    )


def record_path(file: Path) -> Path:
    """Return where the record of `file` lies."""
    return file.with_name(f"{file.name}.json")


def sample_images(side: int) -> np.ndarray:
    """Return (4, S, S) uint8: a slice of a synthetic head for each class of the phantom set."""
    patients = [draw_patient(kind, _SEED, 1, k, 0) for k, kind in enumerate(CLASS_NAMES)]
    return np.stack([draw_slice(patient, 0.3, side, _SEED)[0] for patient in patients])


def to_float16(graph: "onnx.ModelProto") -> "onnx.ModelProto":
    """Return `graph` with weights and arithmetic in float16; outputs stay float32.

    ONNX Runtime has no such kernels for x86 CPUs: it converts, and computes in float32 there.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    sums = [node.name for node in graph.graph.node if node.op_type == "ScatterElements"]
    # The sums of the heat map stay float32: ONNX Runtime refuses them in float16.
    return convert_float_to_float16(graph, keep_io_types=True, node_block_list=sums)


def to_int8(graph: "onnx.ModelProto", images: np.ndarray) -> "onnx.ModelProto":
    """Return `graph` with 8-bit weights, scaled for each channel, and 8-bit activations.

    Depthwise kernels differ in range from channel to channel, so one scale for each layer would
    lose the small ones.

    Args:
        graph: float32.
        images: (N, S, S) uint8, whose smallest and largest activations become the ranges.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        """Batches, one after the other."""

        def __init__(self):
            self.batches = iter(_batches(images))

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch}

    with tempfile.TemporaryDirectory() as name:
        float32, prepared, int8 = (Path(name) / f"{step}.onnx" for step in range(3))
        onnx.save(graph, float32)
        quant_pre_process(float32, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            int8,
            Reader(),
            op_types_to_quantize=["Conv", "Add", "MaxPool", "Relu"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(int8)


def _checked_int8(
    graph: "onnx.ModelProto", folder: Path, data_dir: Path | None
) -> "onnx.ModelProto":
    """Return `graph` in int8, calibrated on some validation images and scored on the others."""
    _, config = read_model_card(folder)
    dataset = open_dataset(config, data_dir)
    if (folder / "record.json").is_file():
        check_same_images(read_record(folder)["dataset"], dataset)
    rows = np.random.default_rng(_SEED).permutation(dataset.parts["val"])
    first, rest = np.split(rows, [min(CALIBRATION, len(rows) // 2)])
    small = to_int8(graph, dataset.test_pixels[first])
    scores = [
        np.mean(_predict(each, dataset.test_pixels[rest]) == dataset.catalog.labels[rest])
        for each in (graph, small)
    ]
    if scores[0] - scores[1] > MAX_ACCURACY_LOSS:
        raise InputError(
            f"int8 loses too much: accuracy falls from {scores[0]:.1%} to {scores[1]:.1%} on "
            f"{len(rest)} validation images (allowed: {MAX_ACCURACY_LOSS:.1%}). Export float16."
        )
    return small


def _predict(graph: "onnx.ModelProto", images: np.ndarray) -> np.ndarray:
    """Return (N,) the likeliest classes."""
    session, batches = cpu_session(graph.SerializeToString()), _batches(images)
    shown = progress(batches, len(batches), "Scoring", "batch")
    answers = [session.run(["probabilities"], {"images": batch})[0] for batch in shown]
    return np.concatenate(answers).argmax(axis=1)


def _batches(images: np.ndarray) -> list[np.ndarray]:
    return np.split(images, range(BATCH, len(images), BATCH))


def _run(to: str, file: Path, images: np.ndarray) -> np.ndarray:
    """Return what the exported network says of `images`: (N, K) float32."""
    if to == "onnx":
        return cpu_session(file.read_bytes()).run(["probabilities"], {"images": images})[0]
    return load_twin(_TWINS[to]).export.run_graph(file, images)


def _compare(found: np.ndarray, expected: np.ndarray, tolerance: float, what: str) -> float:
    """Return the largest difference; refuse one above `tolerance`, and NaN."""
    difference = float(np.abs(found - expected).max())
    if not difference <= tolerance:
        raise InputError(
            f"{what}: on a phantom image a probability is off by {difference:.1e} (allowed: "
            f"{tolerance:g})."
        )
    return difference


def _sha256(path: Path) -> str:
    """Return the SHA-256 of a file; of a folder that of its files' names and SHA-256."""
    if path.is_file():
        return file_sha256(path)
    files = sorted(each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_file())
    sums = {name: file_sha256(path / name) for name in files}
    return hashlib.sha256(json.dumps(sums).encode()).hexdigest()


def _to_png(image: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _from_png(text: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(text)), formats=["PNG"]) as image:
        return np.asarray(image)
