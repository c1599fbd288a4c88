"""The committed classifier on real images, away from tests in which another split ships."""

import numpy as np
import pytest

from src.common.files import read_json
from src.data.pixels import decode_gray
from src.data.splits.split import split_catalog
from src.evaluation.metrics import score
from src.records import read_predictions
from src.serving.backends import BATCH, OnnxBackend
from src.training.checkpoint import read_model_card
from src.xception.weight_files import PRETRAINED


@pytest.mark.slow
def test_the_committed_file_answers_and_scores_as_its_record_says(real_catalog):
    """In ONNX Runtime, from the file in git: every 16th test image, and the score of all."""
    recorded = read_json(PRETRAINED / "record.json")["metrics"]["test"]
    predictions = read_predictions(PRETRAINED / "predictions.npz")
    _, config = read_model_card(PRETRAINED)
    rows = split_catalog(real_catalog, config).parts["test"]
    np.testing.assert_array_equal(predictions.labels, real_catalog.labels[rows])
    scored = score(predictions.labels, predictions.probs, config.classes)
    assert {name: scored[name] for name in recorded} == recorded
    paths = [real_catalog.root / real_catalog.paths[row] for row in rows[::16]]
    images = np.stack([decode_gray(path, config.eval_size) for path in paths])
    backend, batches = OnnxBackend(PRETRAINED), np.split(images, range(BATCH, len(images), BATCH))
    probs = np.concatenate([backend.run(batch).probabilities for batch in batches])
    # Another processor sums in another order.
    np.testing.assert_allclose(probs, predictions.probs[::16], atol=1e-4)
