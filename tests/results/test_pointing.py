"""The pointing record: chosen on the validation part, scored on the test part."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from made_weights import made_weights

from notebooks.results import pointing
from src.common.files import read_json
from src.config import CLASS_NAMES, preset
from src.data.dataset import open_dataset
from src.data.patients.recover import shipped_table
from src.evaluation.localisation import BEST_BLOCKS, BEST_METHOD
from src.records import read_predictions
from src.results.grid import RESULTS
from src.training.checkpoint import write_model
from src.xception.weight_files import PRETRAINED


@pytest.mark.slow
def test_the_best_map_of_the_validation_part_is_scored_on_the_test_part(tmp_path, monkeypatch):
    model, found = tmp_path / "model", iter([0.1, 0.7, 0.2, *[0.3] * 6])
    write_model(model, made_weights(), preset("smoke"), "pt")
    measured = []

    def measure(twin, networks, dataset, blocks, methods, part="test"):
        measured.append((list(networks), list(blocks), list(methods), part))
        maps = [(block, method) for block in blocks for method in methods]
        return [{"block": b, "method": m, "hits": next(found, 0.6)} for b, m in maps]

    monkeypatch.setattr(pointing, "measure_pointing", measure)
    record = pointing.measure(None, model)
    methods = ["grad-cam", "grad-cam++", "hirescam"]
    assert measured == [
        (["trained"], ["block12", "block13", "block14"], methods, "val"),
        (["trained"], ["block2+block4+block12"], ["hirescam"], "val"),
        (["trained", "randomised"], ["block12"], ["grad-cam++"], "test"),
    ]
    assert record["validation"][1]["hits"] == 0.7 and record["test"][0]["hits"] == 0.6
    assert len(record["validation"]) == 10


def test_answers_have_the_map_that_points_best():
    best = max(read_json(RESULTS / "pointing.json")["validation"], key=lambda row: row["hits"])
    assert (best["block"].split("+"), best["method"]) == ([*BEST_BLOCKS], BEST_METHOD)


def test_the_readme_says_how_well_it_points():
    trained = read_json(RESULTS / "pointing.json")["test"][0]
    maps = {row["kind"]: row for row in read_json(RESULTS / "heatmaps.json")["pointing"]}
    hits, centre = (maps["glioma"][which]["value"] for which in ("hits", "centre"))
    assert trained["hits"] > trained["centre"] and hits > centre
    test = read_predictions(PRETRAINED / "predictions.npz")
    labels = test.labels.tolist()
    of = {path: found.patient for path, found in shipped_table().items()}
    patients = [of.get(path) for path in test.paths.tolist()]
    glioma = Counter(p for p, k in zip(patients, labels) if k == CLASS_NAMES.index("glioma"))
    sentence = (
        f"points into the tumour's box in {trained['hits']:.1%} of {trained['count']} test images "
        f"of {len(set(patients) - {None})} patients; the centre of the image lies there in "
        f"{trained['centre']:.1%}. For glioma ({hits:.1%} against {centre:.1%}), "
        f"{max(glioma.values())} of the {glioma.total()} images are of one patient."
    )
    assert sentence in (RESULTS.parents[1] / "README.md").read_text()


def test_a_row_tells_the_map_its_side_and_its_network():
    dataset, asked = open_dataset(preset("smoke")), []

    def heat_maps(network, images, labels, block, method):
        asked.append((network.name, block, method))
        side = {"block2": 17, "block12": 5}[block]  # at 71 px
        return np.ones((len(images), side, side), np.float32)

    twin = SimpleNamespace(explain=SimpleNamespace(heat_maps=heat_maps))
    names, blocks = ("trained", "randomised"), ["block12", "block2+block12"]
    networks = {name: SimpleNamespace(name=name, config=dataset.config) for name in names}
    rows = pointing.measure_pointing(twin, networks, dataset, blocks, ["hirescam"])
    side = dataset.config.image_size
    assert [(row["block"], row["network"], row["side"]) for row in rows] == [
        ("block12", "trained", 5),
        ("block12", "randomised", 5),
        ("block2+block12", "trained", side),
        ("block2+block12", "randomised", side),
    ]
    assert asked[:3] == [
        ("trained", "block12", "hirescam"),
        ("randomised", "block12", "hirescam"),
        ("trained", "block2", "hirescam"),
    ]
    assert {row["count"] for row in rows} == {60} and len({row["hits"] for row in rows}) == 1
