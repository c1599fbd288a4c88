"""One run of one twin, from a folder of images to a record."""

import contextlib
import dataclasses
import datetime
import importlib
import platform
import time
from pathlib import Path
from types import SimpleNamespace

from src.common import hardware
from src.common.clock import Clock
from src.common.errors import InputError
from src.common.files import make_folder, sweep, write_json
from src.common.lock import one_writer
from src.common.progress import no_bars
from src.config import ExperimentConfig, with_defaults
from src.data.catalog import read_catalog
from src.data.dataset import Dataset, check_classes, find_data, open_dataset
from src.data.splits.folds import CT
from src.evaluation.calibration import choose_thresholds
from src.evaluation.metrics import score, score_groups
from src.records import FRAMEWORKS, read_record, write_predictions
from src.training.checkpoint import another_experiment, read_model_card, remove_checkpoints
from src.xception.blocks import tensors
from src.xception.stages import FINETUNE, HEAD, all_layers, trainable_layers
from src.xception.weight_files import digest, is_pretrained
from src.xception.weights import Weights, check_start, initial_weights, perturb, pretrained_head


def load_twin(framework: str) -> SimpleNamespace:
    """Import one twin's modules; a process should load only one.

    Raises:
        InputError: no such framework.
    """
    if framework not in FRAMEWORKS:
        raise InputError(f"Unknown framework {framework!r}. Expected: {' or '.join(FRAMEWORKS)}.")
    names = (
        "runtime", "data", "model", "feature_cache", "train", "predict", "explain", "checkpoint",
        "export",
    )  # fmt: skip
    return SimpleNamespace(
        **{name: importlib.import_module(f"src.{framework}.{name}") for name in names}
    )


def starting_weights(twin: SimpleNamespace, config: ExperimentConfig) -> Weights:
    """Return what the experiment starts from: the same for both twins, as long as they are exact.

    Raises:
        InputError: the weights cannot be fetched, read, or do not fit the network.
    """
    weights = initial_weights(config)
    if "head_init" in config.restore_defaults and not pretrained_head(config):
        weights |= twin.model.default_head(config)
    return weights


def perturb_weights(weights: Weights, config: ExperimentConfig) -> Weights:
    """Return `weights` moved by one machine epsilon of the numbers that the config trains."""
    return perturb(weights, "float64" if config.precision == "float64" else "float32")


def train(
    framework: str,
    config: ExperimentConfig,
    out: Path,
    data_dir: Path | None = None,
    *,
    perturbed: bool = False,
    workers: int = 0,
    replicas: int = 1,
) -> dict:
    """Fine-tune one twin and save the model, its config and its record in `out`.

    Args:
        framework: "tf" or "pt".
        config: the experiment.
        out: the run's folder; a run that was stopped goes on from there.
        data_dir: where the images are; see `open_dataset`.
        perturbed: start every weight one machine epsilon off, to measure the rounding floor.
        workers: threads (TensorFlow) or processes (PyTorch) that prepare batches.
        replicas: how many GPUs of TensorFlow share each batch. For PyTorch torchrun decides.
    Returns:
        the record, as `record.json` holds it; of a run that was finished already, as it was;
        nothing in a process that another one writes for.
    Raises:
        InputError: something given is wrong, `out` holds a run of another experiment, or another
            process trains there.
    """
    started = time.perf_counter()
    check_start(config)
    make_folder(out)
    twin = load_twin(framework)
    twin.runtime.configure(config)
    one_more = "Wait until it has ended, or choose another --out"
    alone = one_writer(out, one_more) if twin.runtime.writes() else contextlib.nullcontext()
    with alone, twin.runtime.distributed(replicas):
        finished = finished_record(out)
        dataset = open_dataset(config, data_dir, twin.data.make_decoder(config))
        config = dataset.config  # with the classes of the folder
        weights = starting_weights(twin, config)
        asked = describe_run(framework, dataset, weights, perturbed)
        if finished:
            if differing := differing_names(finished, asked):
                raise InputError(another_experiment(out, differing))
            if not twin.runtime.writes():
                return {}
            remove_checkpoints(out)  # it may have been killed before it did
            sweep(out)
            return finished
        if perturbed:
            weights = perturb_weights(weights, config)
        model = twin.model.build_model(config, weights)
        history = twin.train.fit(model, dataset, config, out, workers=workers)
        if not twin.runtime.writes():
            return {}
        twin.checkpoint.save_model(model, config, out)
        record = asked | {
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "commit": hardware.commit(),
            "hardware": hardware.describe(twin.runtime.gpu_name()),
            "versions": {"python": platform.python_version()} | twin.runtime.versions(),
            "history": history.curves(),
            "feature_cache": history.feature_cache,
            "metrics": {},
            "speed": {"train": history.clock.speed()},
            "parameters": _count_parameters(config),
            "peak_memory_mb": hardware.peak_memory_mb(),
            "seconds": time.perf_counter() - started + history.earlier_seconds,
        }
        _, replicas = twin.runtime.replica()
        if replicas > 1:
            record["replicas"] = replicas
        (out / "predictions.npz").unlink(missing_ok=True)  # of a run whose model or record is gone
        write_json(out / "config.json", config.to_json())
        write_json(out / "record.json", record)
        remove_checkpoints(out)
        return record


def finished_record(run: Path) -> dict | None:
    """Return the record of a run that has been trained to its end; None where none is there.

    Raises:
        InputError: it is damaged.
    """
    names = ("record.json", "model.json", "model.safetensors")
    return read_record(run) if all((run / name).is_file() for name in names) else None


def describe_run(framework: str, dataset: Dataset, weights: Weights, perturbed: bool) -> dict:
    """Return what a record says of a run that is asked for, before it trains.

    Args:
        framework, perturbed: as in `train`.
        dataset: its images, with its config.
        weights: what it starts from.
    """
    config = dataset.config
    backbone = {name: a for name, a in weights.items() if not name.startswith("head")}
    start = {"init": Path(config.init).name, "reinit": list(config.reinit)}
    start |= {"sha256": digest(weights), "backbone_sha256": digest(backbone)}
    return {
        "framework": framework,
        "config": config.to_json(),
        "dataset": dataset.describe() | {"parts_sha256": dataset.parts_fingerprint()},
        "weights": start | {"perturbed": perturbed},
    }


def differing_names(record: dict, asked: dict) -> list[str]:
    """Return the names of what differs between a run and the one that is asked for.

    Args:
        record: of the run.
        asked: from `describe_run`.
    """
    saved, wanted = with_defaults(record["config"]), asked["config"]
    parts, start = asked["dataset"]["parts_sha256"], asked["weights"]
    pairs = {name: (saved.get(name), value) for name, value in wanted.items()}
    pairs |= {
        "framework": (record["framework"], asked["framework"]),
        "images": (record["dataset"]["fingerprint"], asked["dataset"]["fingerprint"]),
        "images of each class": (record["dataset"]["counts"], asked["dataset"]["counts"]),
        # Older records do not name the parts.
        "images of each part": (record["dataset"].get("parts_sha256", parts), parts),
        "starting weights": (record["weights"].get("sha256"), start["sha256"]),
        "perturbed": (record["weights"].get("perturbed", False), start["perturbed"]),
    }
    if "head_init" in wanted["restore_defaults"]:
        # Only the framework knows this head, and the rest of the config decides it.
        backbone = start["backbone_sha256"]  # which older records do not name
        pairs["starting weights"] = record["weights"].get("backbone_sha256", backbone), backbone
    return sorted(name for name, (one, other) in pairs.items() if one != other)


def evaluate(
    run: Path,
    data_dir: Path | None = None,
    part: str = "test",
    *,
    workers: int = 0,
    allow_seen_test: bool = False,
) -> dict:
    """Score a run's saved model on one part and add the score to its record.

    `metrics` gets two entries: PART by image, and PART_groups with one vote per group. The test
    part's predictions are written beside it, as `predictions.npz`, each with its group. CT images,
    where the split sets some aside, are scored with the test part, as `ct`. What the validation
    part teaches about the probabilities (`choose_thresholds`) is added as `thresholds`.

    The shipped classifier is scored on any images, and its record is not written.

    Args:
        run: the folder of a run, or of the shipped classifier.
        data_dir: where the images are; see `open_dataset`.
        part: "test", "val" or "train"; of the shipped classifier "test" alone.
        workers: threads (TensorFlow) or processes (PyTorch) that prepare batches.
        allow_seen_test: score the shipped classifier even on test images that it has seen.
    Returns:
        the run's record with the score.
    Raises:
        InputError: no run there; the images or classes are not those it was trained on; or the
            shipped classifier has seen test images and `allow_seen_test` is not given.
    """
    model_card, config = read_model_card(run)
    if shipped := is_pretrained(run):
        if part != "test":
            raise InputError("The shipped model is scored on the test part alone.")
        seen = {"init": "pretrained", "allow_seen_test": allow_seen_test}
        config = dataclasses.replace(config, **seen)
    check_classes(config.classes, read_catalog(find_data(data_dir)))
    trained = read_record(run)
    twin = load_twin(model_card["framework"])
    twin.runtime.configure(twin.runtime.inference_config(config))
    dataset = open_dataset(config, data_dir, twin.data.make_decoder(config))
    if not shipped:
        check_same_images(trained["dataset"], dataset)
    model, _ = twin.checkpoint.load_model(run)
    # Whole forward passes: outputs from the feature cache may be the other framework's.
    loader = twin.data.make_loader(dataset.batches(part), workers=workers)
    clock = Clock(views=2 if config.flip_average else 1)
    probs = twin.predict.predict_proba(model, loader, clock)
    with no_bars():  # again, for the speed alone
        for _ in range(clock.passes_left()):
            twin.predict.predict_proba(model, loader, clock)
    labels = loader.batches.labels
    groups = dataset.groups[dataset.parts[part]]
    metrics = {
        part: score(labels, probs, config.classes),
        f"{part}_groups": score_groups(labels, probs, groups, config.classes),
    }
    if part == "test" and CT in dataset.parts:
        of_ct = twin.data.make_loader(dataset.batches(CT), workers=workers)
        ct_probs = twin.predict.predict_proba(model, of_ct)
        metrics[CT] = score(of_ct.batches.labels, ct_probs, config.classes)
    speed = {"predict": clock.speed()}
    if shipped:
        scored = {"dataset": dataset.describe(), "metrics": metrics, "speed": speed}
        return _peak_memory(read_record(run) | scored)
    with one_writer(run):  # another process may have added the score of another part
        record = _peak_memory(read_record(run))
        if record["created"] != trained["created"]:
            raise InputError(f"{run} was trained again meanwhile. Evaluate it again.")
        record["metrics"] |= metrics
        record["speed"] = record.get("speed", {}) | speed
        if part == "val":
            record["thresholds"] = choose_thresholds(labels, probs, config.classes)
        if part == "test":
            of_test = loader.batches.paths, labels, probs, groups
            write_predictions(run / "predictions.npz", *of_test, config.classes)
        write_json(run / "record.json", record)
    return record


def _peak_memory(record: dict) -> dict:
    """Return `record` with the most memory of its process and of this one."""
    peak = max(record["peak_memory_mb"], hardware.peak_memory_mb())
    return record | {"peak_memory_mb": peak}


def _count_parameters(config: ExperimentConfig) -> dict[str, int]:
    """Count numbers as Keras does: moving statistics are parameters that do not train."""
    trainable = trainable_layers(config, FINETUNE if config.finetune_epochs else HEAD)
    layers = all_layers(config)
    trained = sum(
        int(tensor.size)
        for tensor in tensors(layers)
        if tensor.layer.name in trainable
        and not tensor.name.rpartition("/")[2].startswith("moving")
    )
    return {"trainable": trained, "total": sum(layer.parameters() for layer in layers)}


def check_same_images(recorded: dict, dataset: Dataset) -> None:
    """Check that `dataset` has the images of the run whose record says `recorded` of them.

    Raises:
        InputError: it has others.
    """
    here = dataset.describe()["fingerprint"]
    if recorded["fingerprint"] != here:
        raise InputError(
            f"The run was trained on other images ({recorded['name']}, fingerprint "
            f"{recorded['fingerprint'][:12]}) than those in {dataset.root} ({here[:12]}): its test "
            "part would not be the same. Give --data the folder it was trained on."
        )
    parts = dataset.parts_fingerprint()
    if recorded.get("parts_sha256", parts) != parts:
        raise InputError(
            f"The split puts images of {dataset.root} into other parts than when the run was "
            "trained: its test part would not be the same. Bring back the split's file, or train "
            "again with another --out."
        )
