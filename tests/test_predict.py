"""Files are predicted as the model's card says."""

import dataclasses
from types import SimpleNamespace

import numpy as np
from image_folders import picture

from src import predict
from src.common.files import read_json
from src.config import preset
from src.data.pixels import decode_gray
from src.training.checkpoint import write_model


def test_files_are_predicted_at_the_test_side(tmp_path, monkeypatch):
    seen = []

    def predict_proba(_model, batches):
        seen.extend(batches.batch(0, 0)[0].shape)
        return np.full((1, 4), 0.25, np.float32)

    twin = SimpleNamespace(
        data=SimpleNamespace(make_decoder=lambda _: (decode_gray, ""), make_loader=lambda b: b),
        runtime=SimpleNamespace(configure=lambda _: None, inference_config=lambda config: config),
        checkpoint=SimpleNamespace(load_model=lambda _: (None, None)),
        predict=SimpleNamespace(predict_proba=predict_proba),
    )
    monkeypatch.setattr(predict, "load_twin", lambda _: twin)
    config = dataclasses.replace(preset("smoke"), test_size=96)
    write_model(tmp_path, {"head_logits/bias": np.zeros(4, np.float32)}, config, "pt")
    picture(1, 2, 3).save(tmp_path / "scan.png")
    predict.predict_files([tmp_path / "scan.png"], tmp_path)
    assert seen == [1, 96, 96, 3]
    assert read_json(tmp_path / "model.json")["image_size"] == 96
