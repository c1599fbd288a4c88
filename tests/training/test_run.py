"""A run goes on only with the images, the parts, the framework and the weights it began with."""

from types import SimpleNamespace

import numpy as np
import pytest

from src.common.errors import InputError
from src.config import preset
from src.training.run import TrainingRun

CONFIG = preset("smoke", head_epochs=1, finetune_epochs=1)


class Batches:
    images_per_epoch, sizes = 8, [8]

    def __len__(self):
        return 1


def training_run(folder, framework="pt", images="a", parts="b", start=0.0):
    dataset = SimpleNamespace(
        catalog=SimpleNamespace(fingerprint=images),
        parts_fingerprint=lambda: parts,
        batches=lambda part, training: Batches(),
    )
    weights = {"head_logits/bias": np.full(4, start, np.float32)}
    return TrainingRun(framework, CONFIG, folder, dataset, lambda: weights)


@pytest.mark.parametrize(
    "changed, named",
    [
        ({"images": "c"}, "images"),
        ({"parts": "c"}, "images of each part"),
        ({"framework": "tf"}, "framework"),
        ({"start": np.spacing(np.float32(1))}, r"starting weights \(or --perturbed\)"),
    ],
)
def test_what_differs_is_named_and_refused(changed, named, tmp_path):
    run = training_run(tmp_path)
    assert next(run.stages()) == 1
    run.begin_stage(dict, None)
    run.begin_epoch()
    run.end_step(1.0, 4)
    run.end_training_pass()
    run.end_epoch(1.0, 0.5)
    run.save()
    assert training_run(tmp_path).schedule.epoch == 1
    with pytest.raises(InputError, match=f"Different: {named}. Choose another --out"):
        training_run(tmp_path, **changed)
