"""Run folders as the twins would leave them, made from a seed, for tests of what reads them."""

import numpy as np

from src.common.files import write_json
from src.config import CLASS_NAMES, preset
from src.evaluation.metrics import score, score_groups
from src.records import Run, read_run, write_predictions

COUNTS = {
    "Training": {"glioma": 1321, "meningioma": 1337, "notumor": 1591, "pituitary": 1459},
    "Testing": {"glioma": 300, "meningioma": 306, "notumor": 405, "pituitary": 300},
}


def fake_predictions(seed=0, n=160, nudge=0.0, classes=4):
    """(N,) paths, (N,) labels, (N, K) probs; `nudge` moves the logits by that much noise."""
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.integers(0, classes, n))
    paths = [f"Testing/class{label}/Te-{i:04d}.jpg" for i, label in enumerate(labels)]
    logits = rng.normal(size=(n, classes)) + 2.2 * np.eye(classes)[labels]
    logits += nudge * np.random.default_rng(seed + 1).normal(size=(n, classes))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return paths, labels, probs.astype(np.float32)


def fake_groups(labels):
    """(N,) groups of five images, as the split would give them."""
    return np.arange(len(labels)) // 5


def fake_history(noise, noise_seed, epochs, head_epochs):
    """Curves shared by all runs of an experiment, each off by its own growing rounding noise."""
    rng = np.random.default_rng(noise_seed)
    x = np.arange(1, epochs + 1)
    step = np.arange(20)
    step_loss = (1.4 - 0.02 * step) * (1 + noise * 2.0**step * rng.normal(size=20))
    curve = 1.3 * np.exp(-0.45 * x)
    wobble = 1 + 3e4 * noise * rng.normal(size=(4, epochs))
    return {
        "loss": (curve * wobble[0]).tolist(),
        "val_loss": ((curve + 0.12) * wobble[1]).tolist(),
        "accuracy": np.clip((1 - curve / 2) * wobble[2], 0, 1).tolist(),
        "val_accuracy": np.clip((0.97 - curve / 2) * wobble[3], 0, 1).tolist(),
        "rate": [1e-3] * head_epochs + [1e-4] * (epochs - head_epochs),
        "stage": [1] * head_epochs + [2] * (epochs - head_epochs),
        "epoch_seconds": (60 + rng.random(epochs)).tolist(),
        "step_loss": step_loss.tolist(),
    }


def fake_speed(median, first_step_seconds=0.0):
    """Return what a `Clock` says of turns around `median`."""
    shown = {"images_per_second": median, "low": 0.9 * median, "high": 1.1 * median, "turns": 20}
    return shown | {"first_step_seconds": first_step_seconds}


def fake_record(
    framework, labels, probs, kind="real", noise=3e-8, noise_seed=0, perturbed=False, **overrides
):
    library = {"tf": {"tensorflow": "2.21.0", "keras": "3.15.1"}, "pt": {"torch": "2.14.0"}}
    fields = {"split": "official", "head_epochs": 1, "finetune_epochs": 2, "warmup_epochs": 0.0}
    config = preset("quick", **fields | overrides)
    own_counts = dict.fromkeys(config.classes, 40)
    return {
        "framework": framework,
        "config": config.to_json(),
        "dataset": {
            "kind": kind,
            "name": "phantom" if kind == "phantom" else "brain-tumor-mri",
            "counts": COUNTS if "classes" not in overrides else {"unsplit": own_counts},
            "skipped": [["Training/glioma/broken.jpg", "truncated"]],
            "parts": {"train": 5137, "val": 571, "test": len(labels)},
            "split": config.split,
            "note": None,
            "fingerprint": "ab12" * 16,
        },
        "created": "2026-01-31T12:00:00+00:00",
        "commit": "7795ad9",
        "hardware": {"cpu": "Example CPU @ 2.50GHz", "cores": 2, "gpu": None, "memory_gb": 7.8},
        "versions": {"python": "3.11.9", "numpy": "2.4.0", **library[framework]},
        "weights": {"init": config.init, "sha256": "cd34" * 16, "reinit": list(config.reinit)}
        | {"perturbed": perturbed},
        "history": fake_history(
            noise, noise_seed, config.head_epochs + config.finetune_epochs, config.head_epochs
        ),
        "metrics": {
            "val": score(labels, probs, config.classes),
            "test": score(labels, probs, config.classes),
            "test_groups": score_groups(labels, probs, fake_groups(labels), config.classes),
        },
        "speed": {
            "train": fake_speed(21.4 if framework == "tf" else 24.9, first_step_seconds=6.5),
            "predict": fake_speed(71.0, first_step_seconds=1.5),
        },
        "peak_memory_mb": 2310.5 if framework == "tf" else 1480.2,
        "seconds": 311.0 if framework == "tf" else 287.5,
        "parameters": {"trainable": 4760000, "total": 20869676},
    }


def fake_run(folder, framework, nudge=0.0, seed=0, noise_seed=None, paths=None, n=160, **record):
    """Write a run folder and read it back."""
    classes = record.get("classes", CLASS_NAMES)
    own_paths, labels, probs = fake_predictions(seed, n, nudge=nudge, classes=len(classes))
    if noise_seed is None:
        noise_seed = {"tf": 1, "pt": 2}[framework]
    values = fake_record(framework, labels, probs, noise_seed=noise_seed, **record)
    write_json(folder / "record.json", values)
    write_predictions(
        folder / "predictions.npz", paths or own_paths, labels, probs, fake_groups(labels), classes
    )
    return read_run(folder)


def fake_trio(folder, **record) -> tuple[Run, Run, Run]:
    """One experiment: TensorFlow, PyTorch, and PyTorch begun one epsilon away."""
    return (
        fake_run(folder / "tf", "tf", nudge=0.02, **record),
        fake_run(folder / "pt", "pt", **record),
        fake_run(folder / "pt_floor", "pt", nudge=0.015, noise_seed=3, perturbed=True, **record),
    )
