"""`load_classifier`: images in, answers out. Imports no framework unless its backend is one."""

import functools
import itertools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from src.common.cache import in_threads
from src.common.errors import InputError
from src.common.files import read_json
from src.config import FRAMEWORKS
from src.data.pixels import decode_gray
from src.evaluation.localisation import visible
from src.serving.backends import BATCH, MAP_BATCH, Backend, OnnxBackend, Outputs, TwinBackend
from src.serving.calibration import read_calibration
from src.serving.images import Images, Single, find_images, is_one, read_image, split_frames
from src.serving.medical_files import join_series
from src.training.checkpoint import read_model_card
from src.xception.weight_files import TRAIN_ONE, pretrained_folder

BACKENDS = ("onnx", "tf", "pt")
_loading = threading.Lock()


@dataclass(frozen=True)
class Answer:
    """What the classifier says of one image.

    Attributes:
        name: the file's path as it was given, or "image 0" for the first that has no name.
        label: the likeliest class; None where there is no answer.
        probabilities: of each class, in the model's order, calibrated where the model's card says
            how; empty where there is no answer.
        unsure: whether no class is likely enough for the label to be relied on.
        not_mri: whether the picture is unlike the head MRI slices of training: the model's answer
            is withheld. (Without a calibration in the card, `unsure` and this are never true.)
        why: one sentence that says why there is no answer, or why it is unsure.
        frame: its number, from 1, in a file that holds several; the name ends in it.
        series: a name for the slices or frames that this one is among; None if it is among none.
        heatmap: (S, S) float32 in [0, 1], what spoke for the label, as a share of the map's own
            maximum (all 0 if nothing did). None unless asked for.
        pixels: (S, S) uint8, the image as the model saw it; with the heat map alone.
    """

    name: str
    label: str | None
    probabilities: dict[str, float]
    unsure: bool = False
    not_mri: bool = False
    why: str | None = None
    frame: int | None = None
    series: str | None = None
    heatmap: np.ndarray | None = field(default=None, repr=False, compare=False)
    pixels: np.ndarray | None = field(default=None, repr=False, compare=False)


class Classifier:
    """A saved model, ready to answer; made by `load_classifier`. Safe to share between threads.

    Attributes:
        classes: names, in the order of the probabilities.
        image_size: S, px, to which every image is squeezed.
        about: "model", "data", "score" where it is recorded, "framework" and "note": what stands
            behind the answers.
        calibrated: whether the probabilities are.
    """

    def __init__(self, folder: Path, backend: Backend):
        card, config = read_model_card(folder)
        self.classes, self.image_size = config.classes, config.eval_size
        self.about = _about(folder, card) | {"framework": backend.name, "note": card["note"]}
        self._backend = backend
        self._calibration = read_calibration(folder, card)
        self.calibrated = self._calibration is not None

    def predict(
        self, images: Images, *, heatmap: bool = False, frame: int | None = None
    ) -> Answer | list[Answer]:
        """Classify images.

        Args:
            images: a path, PIL image or array, a list of them, a folder, or a stack of images; see
                src/serving/README.md for what an array means.
            heatmap: whether answers have heat maps.
            frame: of DICOM and NIfTI files, from 1; by default every frame and slice.
        Returns:
            One answer for one image; a list for a list, a stack, a folder or several frames. A file
            that cannot be read has an answer without a label, and stops no other.
        Raises:
            InputError: something is neither a path nor an image; `frame` is no whole number; or
                the model gives no heat maps with this backend.
        """
        answers = list(self.stream(images, heatmap=heatmap, frame=frame))
        return answers[0] if is_one(images) and len(answers) == 1 else answers

    def stream(
        self, images: Images, *, heatmap: bool = False, frame: int | None = None
    ) -> Iterator[Answer]:
        """Yield the answers one after the other; only `BATCH` images at a time are in memory.

        Arguments and errors are those of `predict`; a generator is read as far as needed.
        """
        if not isinstance(frame, int | np.integer | None):
            raise InputError(f"frame must be a whole number from 1. Received: {frame!r}.")
        found = find_images(images, self.image_size)
        frames = split_frames(found, self.image_size, frame)
        count = MAP_BATCH if heatmap else BATCH
        while batch := list(itertools.islice(frames, count)):
            read = list(in_threads(self._read, batch))
            for one, answer in zip(batch, self._answer(read, heatmap)):
                yield replace(answer, name=one.name, frame=one.frame, series=one.series)

    def series(self, answers: Sequence[Answer]) -> Answer:
        """Return one answer for the frames or slices of a series, by the rule of `join_series`.

        Args:
            answers: of them, in their order; those without a label are left out.
        """
        name = answers[0].series or answers[0].name
        probs = [[*answer.probabilities.values()] for answer in answers if answer.label]
        if not probs:
            return Answer(name, None, {}, why=f"none of its {len(answers)} slices has an answer")
        return replace(self._name_class(join_series(np.array(probs), self.classes)), name=name)

    def _read(self, single: Single) -> np.ndarray | str:
        name, image = single.name, single.image
        decode = self._backend.decode
        if isinstance(image, Path):
            return read_image(image, self.image_size, decode)
        if isinstance(image, np.ndarray) and decode is not decode_gray:
            raise InputError(
                "This model reads files in its framework's own way (restored default `resize` or "
                f"`preprocessing`), so it needs a file. Received: {name}."
            )
        return image

    def _answer(self, read: list, heatmap: bool) -> Iterator[Answer]:
        """Yield an answer for each of `read`, pixels or why there are none; without names."""
        images = [image for image in read if not isinstance(image, str)]
        if images:
            outputs = self._backend.run(np.stack(images), features=self.calibrated, maps=heatmap)
            judged = iter(self._judge(images, outputs))
            maps = iter(outputs.maps if heatmap else [None] * len(images))
        for image in read:
            if isinstance(image, str):
                yield Answer("", None, {}, why=image)
                continue
            answer, heat = next(judged), next(maps)
            if heatmap and answer.label:
                answer = replace(answer, heatmap=visible(heat), pixels=image)
            yield answer

    def _judge(self, images: list[np.ndarray], outputs: Outputs) -> Iterator[Answer]:
        probabilities, calibration = outputs.probabilities, self._calibration
        foreign = [""] * len(images)
        if calibration:
            probabilities = calibration.tempered(probabilities)
            novelty = calibration.novelty(outputs.features)
            foreign = [*map(calibration.why_foreign, images, novelty)]
        for values, why in zip(probabilities, foreign):
            yield Answer("", None, {}, not_mri=True, why=why) if why else self._name_class(values)

    def _name_class(self, probabilities: np.ndarray) -> Answer:
        """Return the answer that probabilities (K,) give."""
        label, likeliest = self.classes[probabilities.argmax()], probabilities.max()
        by_class, why = dict(zip(self.classes, probabilities.tolist())), None
        if unsure := bool(self._calibration and likeliest < self._calibration.sure_from):
            least = self._calibration.sure_from
            why = f"{label} has {likeliest:.0%}; from {least:.0%} on it is sure"
        return Answer("", label, by_class, unsure=unsure, why=why)


def load_classifier(model: Path | str | None = None, backend: str = "onnx") -> Classifier:
    """Return a classifier; a second call with the same model shares the first one's.

    Args:
        model: the folder of a run; by default the shipped model.
        backend: "onnx" computes with ONNX Runtime and loads no framework; "tf" and "pt" compute
            with the twins.
    Raises:
        InputError: no such backend; no model there, or a damaged one; what the backend needs is
            not installed.
    """
    if backend not in BACKENDS:
        raise InputError(f"Unknown backend {backend!r}. Expected: {', '.join(BACKENDS)}.")
    folder = Path(model) if model else pretrained_folder(TRAIN_ONE)
    read_model_card(folder)  # a wrong folder is named before anything heavy is loaded
    stamps = []
    for file in (folder / "model.json", folder / "model.safetensors"):
        if file.is_file():
            stamps.append((file.stat().st_mtime_ns, file.stat().st_size))
    with _loading:
        return _load(folder.resolve(), tuple(stamps), backend)


@functools.lru_cache(maxsize=4)
def _load(folder: Path, _stamps: tuple, backend: str) -> Classifier:
    made = OnnxBackend(folder) if backend == "onnx" else TwinBackend(folder, backend)
    return Classifier(folder, made)


def _about(folder: Path, card: dict) -> dict[str, str]:
    """Return which model this is and what it was trained on, as far as the folder says."""
    about = f"{folder}, trained with {FRAMEWORKS[card['framework']]} at {card['image_size']} px"
    if "sha256" in card:
        about += f", SHA-256 {card['sha256'][:16]}"
    if not (folder / "record.json").is_file():
        return {"model": about, "data": "not recorded"}
    try:
        return {"model": about} | _about_training(read_json(folder / "record.json"))
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{folder / 'record.json'} is not the record of a run ({error!r}). Copy the model's "
            "folder again, or without that file."
        ) from error


def _about_training(record: dict) -> dict[str, str]:
    dataset = record["dataset"]
    variant = dataset.get("source", {}).get("variant", "unknown")
    data = f"{dataset['name']} ({variant}), {dataset['parts']['train']:,} training images"
    if dataset["kind"] == "phantom":
        data = f"SYNTHETIC images, so the answers mean nothing: {data}"
    lines = {"data": f"{data}, {dataset['split']} split"}
    if test := record.get("metrics", {}).get("test"):
        lines["score"] = (
            f"accuracy {test['accuracy']:.1%} on the {test['count']:,} test images of that split"
        )
    return lines
