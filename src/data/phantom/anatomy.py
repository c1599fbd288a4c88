"""One slice of a made-up head: anatomy as soft-edged shapes, then an MRI scanner.

Nothing here models a disease; it only has to look like head MRI and to hide a lesion in it.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from src.data.augment import generator
from src.data.phantom.lesion import draw_lesion, push_aside
from src.data.phantom.painting import Fields, Picture
from src.data.phantom.patient import BRAIN, CENTRES, CONTRASTS, HEAD, Patient

SHARP = 224  # px: a larger slice shows the same head, no sharper edges
# How far anatomy and size move with depth, so that neighbouring slices are as alike as real ones:
# 64x64 thumbnails of figshare's neighbours correlate by .90 in the median, and none above .985.
DRIFT, TAPER = 0.9, 0.025
TISSUES = {  # relative brightness, by contrast
    "fat": (0.88, 0.66, 0.62),
    "muscle": (0.30, 0.22, 0.28),
    "bone": (0.05, 0.05, 0.06),
    "marrow": (0.40, 0.32, 0.32),
    "csf": (0.13, 0.98, 0.10),
    "gray": (0.33, 0.60, 0.56),
    "white": (0.47, 0.38, 0.42),
    "nuclei": (0.38, 0.50, 0.53),
    "vessel": (0.92, 0.08, 0.14),
    "dura": (0.62, 0.34, 0.40),
    "gland": (0.74, 0.58, 0.60),
    "ring": (0.96, 0.66, 0.80),
    "necrosis": (0.18, 0.92, 0.52),
    "oedema": (0.29, 0.82, 0.92),
    "meningioma": (0.90, 0.76, 0.80),
    "adenoma": (0.82, 0.78, 0.78),
}


def draw_slice(
    patient: Patient, depth: float, size: int, noise: int
) -> tuple[np.ndarray, tuple[float, ...] | None]:
    """Draw one slice of a patient.

    Args:
        patient: whose head.
        depth: of the slice, -1 to 1; the lesion is widest at 0.
        size: S, pixels.
        noise: seeds the scanner's noise; no two slices share it.

    Returns:
        (S, S) uint8, and the lesion's box as `draw_lesion` gives it, or None.
    """
    fields = Fields(patient.noise, DRIFT * depth, size)
    x, y = _head_coordinates(patient, depth, fields, size)
    lesion = patient.lesion and patient.lesion.cut_at(depth)
    if lesion:
        x, y = push_aside(x, y, lesion)
    contrast = CONTRASTS.index(patient.contrast)
    values = {tissue: np.float32(levels[contrast]) for tissue, levels in TISSUES.items()}
    p = Picture(x, y, np.zeros_like(x), np.ones_like(x), values, 2.0 / min(size, SHARP))
    brain = _draw_head(p, patient.view, fields)
    _draw_brain(p, brain, patient, fields)
    box = draw_lesion(p, brain, lesion, fields) if lesion else None
    return _scan(p.image, patient, fields, noise), box


def _head_coordinates(patient: Patient, depth: float, fields: Fields, size: int):
    """Return x, y (S, S) in the upright head: shifted, turned, scaled, gently bent."""
    line = (np.arange(size, dtype=np.float32) + 0.5) * np.float32(2.0 / size) - 1
    x, y = np.meshgrid(line - np.float32(patient.shift[0]), line - np.float32(patient.shift[1]))
    c, s = np.cos(patient.tilt), np.sin(patient.tilt)
    width, height = (axis * (1.0 - TAPER * depth) for axis in patient.scale)
    u = np.float32(c / width) * x + np.float32(s / width) * y
    v = np.float32(c / height) * y - np.float32(s / height) * x
    bends = [0.016 * fields.smooth(5) + 0.006 * fields.smooth(13) for _ in range(2)]
    return u + bends[0], v + bends[1]


def _draw_head(p: Picture, view: str, fields: Fields) -> np.ndarray:
    """Paint scalp, face and skull; return the brain's signed distance (S, S)."""
    rough = fields.smooth(8)
    head = p.outline(CENTRES[view], HEAD[view]) + 0.008 * fields.smooth(6)
    brain = p.outline(CENTRES[view], BRAIN[view]) + 0.010 * rough
    inside = brain
    if view == "sagittal":
        nose = p.line([(-0.76, 0.06), (-0.86, 0.27), (-0.78, 0.34)], [0.03, 0.055, 0.08])
        head = np.minimum(head, nose)
        inside = np.minimum(inside, np.minimum(_cerebellum(p), _brainstem(p) - 0.01))
    texture = fields.smooth(26) + 0.5 * fields.smooth(12)
    muscle, fat = p.values["muscle"], p.values["fat"]
    skin = p.clipped(p.soft(head))
    skin.paint(skin.clip, muscle + (fat - muscle) * np.clip(0.1 + 0.4 * texture, -0.2, 0.85))
    skin.paint(p.soft(-head - (0.042 + 0.010 * rough)), "fat", 0.9)
    if view != "axial":  # an axial slice at the ventricles shows no face
        _draw_face(skin, view, texture)
    thickness = 0.062 + 0.010 * rough
    p.paint(p.soft(inside - thickness), "bone")
    p.paint(p.soft(np.abs(inside - 0.55 * thickness) - 0.008 - 0.006 * texture, 2), "marrow", 0.7)
    p.paint(p.soft(inside - 0.018), "dura", 0.8)
    p.paint(p.soft(inside - 0.012), "csf")
    return brain


def _draw_face(p: Picture, view: str, texture: np.ndarray) -> None:
    if view == "coronal":
        p.blob("marrow", 0, 0.45, 0.34, 0.13, opacity=0.5)  # skull base
        sides = p.both_sides()
        sides.blob("muscle", 0.30, 0.62, 0.12, 0.20, 12, edge=3, opacity=0.85)
        sides.blob("bone", 0.47, 0.66, 0.050, 0.24, 8)  # jaw
        p.blob("bone", 0, 0.40, 0.14, 0.075, rough=0.012 * texture)  # sphenoid sinus
        p.blob("bone", 0, 0.60, 0.075, 0.085, rough=0.010 * texture)  # pharynx
        p.blob("muscle", 0, 0.88, 0.24, 0.15, edge=3, opacity=0.8)  # tongue
        return
    p.blob("bone", -0.50, 0.40, 0.25, 0.10, 6, opacity=0.9, rough=0.010 * texture)  # nose
    p.blob("muscle", -0.46, 0.74, 0.25, 0.16, 8, edge=3, opacity=0.85)  # tongue
    p.stroke("bone", [(-0.22, 0.46), (-0.13, 0.66), (-0.11, 1.1)], [0.05, 0.03, 0.04])  # throat
    for step in range(4):  # vertebrae
        p.blob("marrow", 0.03 + 0.01 * step, 0.60 + 0.14 * step, 0.065, 0.052)
    p.blob("bone", -0.20, 0.32, 0.10, 0.070, rough=0.008 * texture)  # sphenoid sinus


def _cerebellum(p: Picture) -> np.ndarray:
    return p.ellipse(0.40, 0.24, 0.26, 0.17, -12)


def _brainstem(p: Picture) -> np.ndarray:
    path = [(0.06, 0.05), (0.13, 0.22), (0.20, 0.48), (0.24, 1.2)]
    return p.line(path, [0.06, 0.095, 0.052, 0.040])


def _draw_brain(whole: Picture, brain: np.ndarray, patient: Patient, fields: Fields) -> None:
    """Paint white and gray matter, sulci, and the view's inner parts."""
    p = whole.clipped(whole.soft(brain))
    folds = fields.smooth(29) + 0.6 * fields.smooth(17)
    # |f| / |grad f| is about the distance to where f is 0: sulci of even width, however f bends.
    slope_y, slope_x = np.gradient(folds, np.float32(2.0 / len(folds)))
    fold = np.abs(folds) / np.sqrt(slope_x**2 + slope_y**2 + 1)
    reach = np.clip(1 + brain / (0.21 + 0.05 * fields.smooth(6)), 0, 1)
    p.paint(p.clip, "white")
    p.paint(p.soft(np.minimum(fold - 0.030 * np.sqrt(reach), -brain - 0.028) + 0.004, 2), "gray")
    sulci = fold - (0.005 + 0.011 * patient.atrophy) * reach + 0.006 * (reach == 0)
    p.paint(p.soft(sulci, 1.5), "csf", 0.85)
    _INNER[patient.view](whole, p, patient)
    p.paint(p.soft((2.7 - fields.smooth(34)) * 0.02, 1.5), "vessel", 0.8)  # a few, cut across


def _cleft(p: Picture, points, radii) -> None:
    """Paint a fissure: gray matter on both sides, fluid between."""
    distance = p.line(points, radii)
    p.paint(p.soft(distance - 0.026, 2), "gray")
    p.paint(p.soft(distance, 1.5), "csf")


def _sylvian(p: Picture, patient: Patient, down: int) -> None:
    """Paint the Sylvian fissures; the insula lies below their mouth (down=1) or above (-1)."""
    lift, width = 0.03 if down < 0 else 0.0, 0.6 + 0.6 * patient.atrophy
    path = ((0.60, 0.05), (0.50, -0.01), (0.42, -0.02), (0.375, 0.05), (0.37, 0.14))
    radii = [width * radius for radius in (0.026, 0.014, 0.015, 0.012, 0.004)]
    _cleft(p.both_sides(), [(x, down * y + lift) for x, y in path], radii)


def _axial(whole: Picture, p: Picture, patient: Patient) -> None:
    v, sides = patient.ventricles, p.both_sides()
    for ends in ([(0, -0.8), (0, -0.30)], [(0, 0.32), (0, 0.8)]):  # between the hemispheres
        _cleft(p, ends, [0.016, 0.009])
        p.stroke("dura", ends, [0.004, 0.004], opacity=0.7)
    _sylvian(p, patient, 1)
    sides.blob("nuclei", 0.235, -0.02, 0.055, 0.135, 12, edge=5)  # putamen
    sides.blob("nuclei", 0.095, 0.09, 0.065, 0.095, -25, edge=5)  # thalamus
    horn = [(0.10, -0.25), (0.035, -0.09), (0.05, 0.02)]
    sides.stroke("csf", horn, [0.030 * v, 0.022 * v, 0.012 * v], edge=1.5)
    atrium = [(0.10, 0.17), (0.19, 0.26), (0.17, 0.36)]
    sides.stroke("csf", atrium, [0.018 * v, 0.038 * v, 0.012 * v], edge=1.5)
    p.stroke("csf", [(0, -0.01), (0, 0.13)], [0.010 * v, 0.013 * v])  # third ventricle
    whole.blob("vessel", 0, 0.715, 0.03, 0.035, opacity=0.9)  # sagittal sinus


def _coronal(whole: Picture, p: Picture, patient: Patient) -> None:
    v, sides = patient.ventricles, p.both_sides()
    falx = [(0, -0.8), (0, -0.40)]
    _cleft(p, falx, [0.015, 0.010])
    p.stroke("dura", falx, [0.005, 0.004], opacity=0.7)
    _sylvian(p, patient, -1)
    sides.blob("nuclei", 0.23, -0.08, 0.065, 0.10, 15, edge=7, opacity=0.8)  # putamen
    sides.stroke("csf", [(0.02, -0.27), (0.13, -0.32)], [0.022 * v, 0.026 * v], edge=1.5)  # horns
    p.stroke("csf", [(0, -0.16), (0, 0.06)], [0.012 * v, 0.014 * v])  # third ventricle
    whole.blob("csf", 0, 0.20, 0.17, 0.055, edge=2)  # suprasellar cistern
    whole.blob("gland", 0, 0.255, 0.065, 0.024)  # pituitary
    whole.both_sides().blob("bone", 0.115, 0.265, 0.02, 0.02)  # carotid, its flow black
    whole.blob("vessel", 0, -0.745, 0.035, 0.03, opacity=0.9)  # sagittal sinus


def _sagittal(whole: Picture, p: Picture, patient: Patient) -> None:
    bow = np.deg2rad((185, 205, 228, 252, 280, 308, 332, 348))
    arch = np.stack([0.25 * np.cos(bow), -0.13 + 0.15 * np.sin(bow)], axis=1)
    callosum = p.line(arch, [0.012, 0.030, 0.028, 0.021, 0.019, 0.021, 0.027, 0.034])
    p.paint(p.soft(callosum - 0.067, 1.5), "csf", 0.7)  # cingulate sulcus
    p.paint(p.soft(callosum - 0.055, 3), "gray")
    p.blob("csf", 0, -0.17, 0.20, 0.05 * patient.ventricles, -3, edge=2, opacity=0.9)
    p.blob("nuclei", 0.03, -0.08, 0.12, 0.075, edge=3)  # thalamus
    p.paint(p.soft(callosum, 1.5), "white")
    whole.paint(p.soft(_brainstem(p) - 0.018), "csf")
    whole.paint(p.soft(_cerebellum(p)), "gray")
    leaves = np.sin(26 * np.arctan2(p.y - 0.23, p.x - 0.24))  # they fan out from the ventricle
    whole.paint(p.soft(_cerebellum(p)) * np.clip(leaves - 0.2, 0, 1), "csf", 0.45)
    whole.blob("csf", 0.235, 0.22, 0.03, 0.06, -15)  # fourth ventricle
    whole.paint(p.soft(_brainstem(p), 1.5), "white", 0.9)
    whole.blob("csf", -0.08, 0.12, 0.10, 0.045, edge=2)  # suprasellar cistern
    whole.blob("gland", -0.11, 0.205, 0.055, 0.024)  # pituitary


_INNER = {"axial": _axial, "coronal": _coronal, "sagittal": _sagittal}


def _scan(image: np.ndarray, patient: Patient, fields: Fields, noise: int) -> np.ndarray:
    """Return uint8: coil shading, blur, Rician noise (Gudbjartsson and Patz 1995)."""
    shaded = image * np.exp(np.float32(patient.bias) * fields.smooth(3))
    shaded = gaussian_filter(shaded, patient.blur * len(image) / 192, truncate=3)
    parts = generator(noise).standard_normal((2, *image.shape), np.float32)
    parts *= np.float32(patient.sigma)
    magnitude = np.hypot(shaded + parts[0], parts[1])
    return np.clip(magnitude * np.float32(225 * patient.gain) + 0.5, 0, 255).astype(np.uint8)
