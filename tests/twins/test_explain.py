"""Heat maps: the twins' maps and captum's are the same, and boxes are where tumours are."""

import json
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from made_weights import made_weights
from real_files import real_file

from src.common.errors import InputError
from src.comparison.agreement import relative_distance
from src.config import CLASS_NAMES, preset
from src.data.dataset import open_dataset
from src.data.phantom.write import MARKER
from src.data.pixels import decode_gray
from src.data.tumour_boxes import mirrored, tumour_boxes
from src.evaluation.localisation import (
    box_masks,
    enlarge,
    hits_and_shares,
    joint_maps,
    localisation,
    map_centres,
    visible,
)
from src.experiment import load_twin

SIZE = 96
CLASSES = np.array([0, 1, 2, 3])
LIMITS = {"float32": 1e-5, "float64": 1e-12}


def config_for(precision: str):
    return preset("smoke", image_size=SIZE, precision=precision)


@cache
def phantom_images() -> np.ndarray:
    """Return (4, S, S, 3) float32 images in [-1, 1] whose channels are different slices."""
    config = preset("smoke", image_size=SIZE, batch_size=12)
    images, _, _ = open_dataset(config).batches("train", training=True).batch(0, 0)
    slices = images[..., 0].reshape(4, 3, SIZE, SIZE)
    return np.ascontiguousarray(slices.transpose(0, 2, 3, 1))


@cache
def network(framework: str, precision: str):
    return load_twin(framework).model.build_model(config_for(precision), made_weights())


@cache
def explained(framework: str, precision: str, block: str, method: str = "grad-cam") -> np.ndarray:
    twin, model = load_twin(framework), network(framework, precision)
    return twin.explain.heat_maps(model, phantom_images(), CLASSES, block, method)


# From block1 a gradient passes dozens of ReLUs and pools, which rounding tips to the other side in
# float32; there only float64 can tell equal functions from unequal ones.
@pytest.mark.parametrize(
    "block, side, precision, method",
    [
        ("block14", 3, "float32", "grad-cam"),
        ("block14", 3, "float64", "grad-cam"),
        ("block14", 3, "float64", "grad-cam++"),
        ("block14", 3, "float32", "hirescam"),
        ("block12", 6, "float32", "grad-cam"),
        ("block12", 6, "float64", "grad-cam"),
        ("block12", 6, "float64", "grad-cam++"),
        ("block12", 6, "float64", "hirescam"),
        ("block1", 45, "float64", "grad-cam"),
    ],
)
def test_the_twins_give_the_same_maps(block, side, precision, method):
    ours, reference = (explained(name, precision, block, method) for name in ("pt", "tf"))
    assert reference.shape == ours.shape == (4, side, side) and ours.dtype == precision
    assert reference.min() >= 0 and (reference.max(axis=(1, 2)) > 0).all()
    # Over the four maps together: a single faint one is what a sum of large terms leaves over.
    assert relative_distance(ours, reference) < LIMITS[precision]


@pytest.mark.parametrize("framework", ["tf", "pt"])
def test_another_class_has_another_map(framework):
    heat_maps, images = load_twin(framework).explain.heat_maps, phantom_images()
    model = network(framework, "float32")
    one, other = (
        heat_maps(model, images, classes, "block14", "grad-cam")
        for classes in (CLASSES, (CLASSES + 1) % 4)
    )
    assert all(not np.allclose(one[n], other[n]) for n in range(4))


@cache
def by_captum(block: str, rectified: bool = True, classes: tuple = tuple(CLASSES)) -> np.ndarray:
    import torch
    from captum.attr import LayerGradCam

    from src.pt.model import block_end

    model = network("pt", "float32")
    images = torch.from_numpy(phantom_images()).permute(0, 3, 1, 2).requires_grad_()
    maps = LayerGradCam(model, block_end(model, block)).attribute(
        images, torch.tensor(classes), relu_attributions=rectified
    )
    return maps[:, 0].numpy(force=True)


@pytest.mark.parametrize("block", ["block14", "block12"])
def test_captum_gives_the_same_maps(block):
    assert relative_distance(explained("pt", "float32", block), by_captum(block)) < 1e-5


def at_block12():
    """Return the activations of block12 and the gradients of CLASSES, (4, 728, 6, 6) each."""
    import torch
    from captum.attr import LayerActivation, LayerGradientXActivation

    from src.pt.model import block_end

    model = network("pt", "float64")
    images = torch.from_numpy(phantom_images()).double().permute(0, 3, 1, 2).requires_grad_()
    layer = block_end(model, "block12")
    activation = LayerActivation(model, layer).attribute(images)
    product = LayerGradientXActivation(model, layer).attribute(images, torch.from_numpy(CLASSES))
    return activation.numpy(force=True), product.numpy(force=True)


def test_hirescam_is_captums_gradient_times_activation():
    _, product = at_block12()
    expected = product.sum(axis=1).clip(min=0)
    ours = explained("pt", "float64", "block12", "hirescam")
    assert relative_distance(ours, expected) < LIMITS["float64"]


def test_grad_cam_plus_plus_is_equation_19():
    activation, product = at_block12()
    gradient = product / activation
    alpha = np.zeros_like(gradient)
    for image, channel, row, column in np.argwhere(gradient):
        g, total = gradient[image, channel, row, column], activation[image, channel].sum()
        alpha[image, channel, row, column] = g**2 / (2 * g**2 + total * g**3)
    weights = (alpha * gradient.clip(min=0)).sum(axis=(2, 3), keepdims=True)
    expected = (weights * activation).sum(axis=1).clip(min=0)
    ours = explained("pt", "float64", "block12", "grad-cam++")
    assert relative_distance(ours, expected) < LIMITS["float64"]
    assert relative_distance(explained("pt", "float64", "block12"), expected) > 0.01


def test_an_unknown_method_is_refused():
    model = network("pt", "float32")
    with pytest.raises(ValueError, match="gradcam"):
        load_twin("pt").explain.heat_maps(model, phantom_images(), CLASSES, "block14", "gradcam")


@pytest.mark.parametrize("fault", [{"rectified": False}, {"classes": (1, 2, 3, 0)}])
def test_captum_tells_a_fault(fault):
    right = explained("pt", "float32", "block14")
    assert relative_distance(by_captum("block14", **fault), right) > 0.01


def test_the_wrong_layer_shows():
    """Blocks 5 to 12 have maps of one shape, so only their numbers tell them apart."""
    right, wrong = explained("tf", "float32", "block12"), explained("pt", "float32", "block11")
    assert right.shape == wrong.shape and relative_distance(wrong, right) > 0.01


# --- maps against boxes ------------------------------------------------------------------------


def spot(row: int, column: int, side: int = 8) -> np.ndarray:
    image = np.zeros((side, side))
    image[row, column] = 1
    return image


def test_hits_and_energy_by_hand():
    # centre (.75, .25), half the image wide and high: the upper right quarter
    boxes = np.array([[0.75, 0.25, 0.5, 0.5]] * 4)
    half = np.ones((8, 8)) * 0.5
    half[0, 7] = 1
    maps = np.stack([spot(1, 6), spot(6, 1), np.zeros((8, 8)), half])
    hits, shares = hits_and_shares(maps, box_masks(boxes, 8))
    assert hits.tolist() == [True, False, False, True]
    assert shares == pytest.approx([1, 0, 0, (16 * 0.5 + 0.5) / (64 * 0.5 + 0.5)])
    scores = localisation(enlarge(maps, 256, 256), boxes)
    assert scores["count"] == 4 and scores["hits"] == 0.5 and scores["empty"] == 0.25
    assert scores["box"] == pytest.approx(0.25)


def test_a_map_that_knows_nothing_scores_the_boxes_area():
    boxes = np.array([[0.4, 0.6, 0.3, 0.2]] * 2)
    scores = localisation(enlarge(np.ones((2, 3, 3)), 96, 96), boxes)
    assert scores["energy"] == pytest.approx(scores["box"]) == pytest.approx(0.06, rel=0.03)


def test_what_always_pointing_at_the_centre_would_score():
    boxes = np.array([[0.55, 0.55, 0.2, 0.2], [0.8, 0.5, 0.3, 0.3], [0.5, 0.2, 0.3, 0.3]])
    scores = localisation(np.stack([spot(4, 4)] * 3), boxes)
    assert scores["centre"] == pytest.approx(1 / 3) == scores["hits"]


@pytest.mark.parametrize("fault", ["mirrored", "transposed"])
def test_a_map_laid_wrong_misses(fault):
    boxes = np.array([[0.8, 0.3, 0.2, 0.2]])
    right = spot(2, 6)[None]
    wrong = right[:, :, ::-1] if fault == "mirrored" else right.transpose(0, 2, 1)
    assert localisation(right, boxes)["hits"] == 1
    assert localisation(wrong, boxes)["hits"] == 0


@pytest.mark.parametrize(
    "block, image_size",
    [("block2", 71), ("block3", 96), ("block4", 150), ("block4", 224), ("block4", 299)],
)
def test_a_point_of_a_map_lies_in_the_middle_of_what_it_sees(block, image_size):
    """Where the gradient of one point reaches; from block5 on the image ends before that."""
    import torch

    from src.pt.model import block_end

    model = network("pt", "float64")
    seen = torch.zeros(1, 3, image_size, image_size, dtype=torch.float64, requires_grad=True)
    caught = []
    hook = block_end(model, block).register_forward_hook(lambda *a: caught.append(a[2]))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model.eval()(seen + torch.randn_like(seen))
    hook.remove()
    side = caught[0].shape[-1]
    row, column = side // 2, side // 2 - 1
    (gradient,) = torch.autograd.grad(caught[0][0, :, row, column].sum(), seen)
    reach = np.abs(gradient.numpy()).sum(axis=(0, 1)) > 0
    for axis, point in ((1, row), (0, column)):
        ends = np.flatnonzero(reach.any(axis=axis))[[0, -1]]
        assert ends[0] > 0 and ends.mean() == map_centres(image_size, side)[point]


@pytest.mark.parametrize("flip_average", [False, True])
def test_a_joint_map_is_the_product_of_maps_mirrored_back(flip_average):
    def heat_maps(model, images, classes, block, method):
        """Of each image the same: a spot left of the middle."""
        return spot(3, 3, 14)[None] if block == "block12" else (0.1 + spot(2, 1, 7))[None]

    images, classes = np.zeros((1, 224, 224, 3), np.float32), np.zeros(1, int)
    model = SimpleNamespace(config=SimpleNamespace(flip_average=flip_average))
    explain = SimpleNamespace(heat_maps=heat_maps)
    one, coarse, both = (
        joint_maps(explain, model, images, classes, blocks)[0]
        for blocks in (["block12"], ["block13"], ["block12", "block13"])
    )
    place = map_centres(224, 14)[3]  # 59
    assert one.max() == one[place, place] == 1
    assert one[place, 223 - place] == (1 if flip_average else 0)
    np.testing.assert_allclose(both, one * coarse, rtol=1e-6)


def test_a_visible_map_shows_what_is_weak_and_has_no_gaps():
    maps = np.zeros((2, 64, 64), np.float32)
    maps[0, 8:24, 8:24], maps[0, 40:56, 40:56] = 0.8, 0.8 / 1000
    maps[0, 16, :] = 0  # a gap of one pixel
    shown = visible(maps)
    assert shown[0].max() == shown[0, 12, 12] == 1 and not shown[1].any()
    assert shown[0, 48, 48] == pytest.approx(0.1)  # the cube root of a thousandth
    assert shown[0, 16, 12] == pytest.approx(0.8)  # four rows of five


def test_a_side_that_no_block_has_is_refused():
    assert map_centres(224, 7).tolist() == [27, 59, 91, 123, 155, 187, 219]
    with pytest.raises(ValueError, match="side 8 at 224 px"):
        map_centres(224, 8)


def test_enlarging_keeps_the_place():
    large = enlarge(spot(2, 6, 8)[None], 256, 256)[0]
    assert np.unravel_index(large.argmax(), large.shape) == (27 + 2 * 32, 27 + 6 * 32)
    assert large[27 + 2 * 32, 27 + 6 * 32 - 16] == pytest.approx(0.5)


@pytest.mark.parametrize(
    "maps, boxes",
    [
        (np.ones((2, 3, 3)), np.ones((1, 4))),
        (np.ones((0, 3, 3)), np.ones((0, 4))),
        (-np.ones((1, 3, 3)), np.ones((1, 4))),
        (np.full((1, 3, 3), np.nan), np.ones((1, 4))),
    ],
)
def test_nonsense_is_refused(maps, boxes):
    with pytest.raises(ValueError):
        localisation(maps, boxes)


def test_the_phantom_knows_its_lesions():
    dataset = open_dataset(config_for("float32"))
    rows, boxes = tumour_boxes(dataset)
    assert set(rows) <= set(dataset.parts["test"]) and len(rows) == len(boxes) > 10
    assert "notumor" not in {dataset.catalog.paths[row].split("/")[1] for row in rows}
    facts = json.loads((dataset.root / MARKER).read_text())["images"]
    assert boxes[0].tolist() == facts[dataset.catalog.paths[rows[0]]]["box"]
    validated, _ = tumour_boxes(dataset, part="val")
    assert len(validated) and set(validated) <= set(dataset.parts["val"])


def test_a_split_that_leaks_gets_no_boxes():
    with pytest.raises(InputError, match="official split has none such"):
        tumour_boxes(open_dataset(preset("smoke", split="official")))


@pytest.fixture(scope="module")
def meningiomas(real_data):
    """Return test images (n, S, S) of meningiomas that lie off the middle, and their boxes.

    Only these are decoded, not the whole merge.
    """

    def decode_nothing(path, size):
        return np.zeros((size, size), np.uint8)

    config = preset("quick", init="scratch")
    dataset = open_dataset(config, real_data, (decode_nothing, "nothing"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIGSHARE_DATA", str(real_file("FIGSHARE_DATA")))
        rows, boxes = tumour_boxes(dataset)
    assert set(rows) <= set(dataset.parts["test"])
    off = np.abs(boxes[:, 0] - 0.5) > boxes[:, 2] / 2
    off &= dataset.catalog.labels[rows] == CLASS_NAMES.index("meningioma")
    paths = [dataset.root / dataset.catalog.paths[row] for row in rows[off]]
    images = np.stack([decode_gray(path, config.image_size) for path in paths])
    return images.astype(np.float64), boxes[off]


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("fault", [False, True])
def test_real_boxes_lie_on_their_tumours(meningiomas, fault):
    """Contrast agent makes meningiomas brighter than the same spot on the other side.

    True of all 71 that lie off the middle; of none when the boxes are not mirrored with the images.
    """
    images, boxes = meningiomas
    turned = np.array([mirrored(tuple(box)) for box in boxes])
    if fault:
        boxes, turned = turned, boxes
    shares, turned_shares = (
        hits_and_shares(images, box_masks(each, images.shape[1]))[1] for each in (boxes, turned)
    )
    brighter = shares > turned_shares
    assert len(images) > 50
    assert (brighter.mean() > 0.95) != fault
