"""One slice of a made-up head: anatomy as soft-edged shapes, then an MRI scanner.

Nothing here models a disease; it only has to look like head MRI and to hide a lesion in it.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from src.data.phantom.lesion import Lesion, draw_lesion, push_aside
from src.data.phantom.painting import Fields, Picture, generator, join, smooth_outline

VIEWS = ("axial", "coronal", "sagittal")
SHARP = 224  # px: a larger slice shows the same head, no sharper edges
CONTRASTS = ("t1c", "t2", "flair")  # T1 with contrast agent, T2, FLAIR
# How far anatomy and size move with depth, so that neighbouring slices are as alike as real ones:
# 64x64 thumbnails of figshare's neighbours correlate by .90 (median; 5 % below .70, 5 % above
# .955, none above .985), these by .90 (.79, .947, none above .97).
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
    "edema": (0.29, 0.82, 0.92),
    "meningioma": (0.90, 0.76, 0.80),
    "adenoma": (0.82, 0.78, 0.78),
}

# Outlines: distance from the view's centre every 22.5 degrees, clockwise from the right.
_CENTRES = {"axial": (0.0, 0.0), "coronal": (0.0, -0.16), "sagittal": (0.02, -0.20)}
_BRAIN = {
    "axial": (0.56, 0.57, 0.62, 0.68, 0.70, 0.68, 0.62, 0.57,
              0.56, 0.56, 0.60, 0.67, 0.70, 0.67, 0.60, 0.56),
    "coronal": (0.62, 0.61, 0.61, 0.50, 0.40, 0.50, 0.61, 0.61,
                0.62, 0.61, 0.59, 0.58, 0.58, 0.58, 0.59, 0.61),
    "sagittal": (0.72, 0.70, 0.58, 0.42, 0.32, 0.36, 0.46, 0.58,
                 0.70, 0.69, 0.62, 0.57, 0.55, 0.57, 0.63, 0.70),
}  # fmt: skip
_HEAD = {
    "axial": (0.68, 0.69, 0.73, 0.80, 0.82, 0.80, 0.73, 0.69,
              0.68, 0.68, 0.72, 0.79, 0.83, 0.79, 0.72, 0.68),
    "coronal": (0.75, 0.77, 0.88, 1.12, 1.40, 1.12, 0.88, 0.77,
                0.75, 0.74, 0.71, 0.70, 0.70, 0.70, 0.71, 0.74),
    "sagittal": (0.85, 0.85, 0.88, 1.10, 1.50, 1.38, 1.16, 0.95,
                 0.82, 0.80, 0.74, 0.69, 0.67, 0.69, 0.75, 0.83),
}  # fmt: skip
SELLA = {"coronal": (0.0, 0.21), "sagittal": (-0.10, 0.17)}


@dataclass(frozen=True)
class Patient:
    """What all slices of a patient share.

    Attributes:
        view, contrast: from VIEWS and CONTRASTS.
        tilt: radians.
        shift, scale: of the head in the image, by axis, in half image widths.
        ventricles: their width, 1 is usual.
        atrophy: 0 to 1, how wide the sulci are.
        sigma: the scanner's noise, as a share of full brightness.
        bias: standard deviation of the log of the coil's shading.
        blur: pixels at 192 px.
        noise: seeds the anatomy's irregularities.
        lesion: None in class notumor.
    """

    view: str
    contrast: str
    tilt: float
    shift: tuple[float, float]
    scale: tuple[float, float]
    ventricles: float
    atrophy: float
    sigma: float
    bias: float
    blur: float
    noise: int
    lesion: Lesion | None


def draw_slice(
    patient: Patient, depth: float, size: int, noise: int
) -> tuple[np.ndarray, tuple[float, ...] | None]:
    """Draw one slice of a patient.

    Args:
        patient: whose head.
        depth: place of the slice, -1 to 1; the lesion is widest at 0.
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
    values = {tissue: brightness[contrast] for tissue, brightness in TISSUES.items()}
    p = Picture(x, y, np.zeros_like(x), np.ones_like(x), values, 2.0 / min(size, SHARP))
    brain = _draw_head(p, patient.view, fields)
    _draw_brain(p, brain, patient, fields)
    box = draw_lesion(p, brain, lesion, fields) if lesion else None
    return _scan(p.image, patient, fields, noise), box


def brain_radius(view: str, angle: float) -> tuple[tuple[float, float], float]:
    """Return a view's centre, and how far the brain reaches at `angle` (radians, pi/2 is down)."""
    radius, _ = smooth_outline(_BRAIN[view])
    return _CENTRES[view], float(radius[round(angle / (2 * np.pi) * len(radius)) % len(radius)])


def _head_coordinates(patient: Patient, depth: float, fields: Fields, size: int):
    """Return x, y (S, S) in the upright head: shifted, turned, scaled, gently bent."""
    line = (np.arange(size, dtype=np.float32) + 0.5) * np.float32(2.0 / size) - 1
    x, y = np.meshgrid(line - np.float32(patient.shift[0]), line - np.float32(patient.shift[1]))
    c, s = np.cos(patient.tilt), np.sin(patient.tilt)
    width, height = (axis * (1.0 - TAPER * depth) for axis in patient.scale)
    u = np.float32(c / width) * x + np.float32(s / width) * y
    v = np.float32(c / height) * y - np.float32(s / height) * x
    bends = [0.016 * fields.smooth(5) + 0.006 * fields.smooth(15) for _ in range(2)]
    return u + bends[0], v + bends[1]


# --- around the brain -------------------------------------------------------------------------


def _draw_head(p: Picture, view: str, fields: Fields) -> np.ndarray:
    """Paint scalp, face and skull; return the brain's signed distance (S, S)."""
    rough = fields.smooth(9)
    head = p.outline(_CENTRES[view], _HEAD[view]) + 0.008 * fields.smooth(7)
    brain = p.outline(_CENTRES[view], _BRAIN[view]) + 0.010 * rough
    inside = brain
    if view == "sagittal":
        nose = p.line([(-0.76, 0.06), (-0.86, 0.27), (-0.78, 0.34)], [0.03, 0.055, 0.08])
        lips = p.ellipse(-0.80, 0.62, 0.07, 0.10)
        head = join(head, np.minimum(nose, lips), 0.06)
        inside = np.minimum(inside, np.minimum(_cerebellum(p), _brainstem(p) - 0.01))
    texture = fields.smooth(30) + 0.5 * fields.smooth(14)
    muscle, fat = np.float32(p.values["muscle"]), np.float32(p.values["fat"])
    skin = p.clipped(p.soft(head))
    skin.paint(skin.clip, muscle + (fat - muscle) * np.clip(0.1 + 0.4 * texture, -0.2, 0.85))
    skin.paint(p.soft(-head - (0.042 + 0.010 * rough)), "fat", 0.9)
    skin.paint(p.soft(np.abs(head + 0.006) - 0.006), "muscle", 0.6)
    _FACE[view](skin, texture)
    thickness = 0.062 + 0.010 * rough
    p.paint(p.soft(inside - thickness), "bone")
    marrow = np.abs(inside - 0.55 * thickness) - 0.008 - 0.006 * texture
    p.paint(p.soft(marrow, 2.0), "marrow", 0.7)
    p.paint(p.soft(inside - 0.018), "dura", 0.8)
    p.paint(p.soft(inside - 0.012), "csf")
    return brain


def _no_face(p: Picture, texture: np.ndarray) -> None:
    """An axial slice at the ventricles shows none."""


def _coronal_face(p: Picture, texture: np.ndarray) -> None:
    p.blob("marrow", 0, 0.45, 0.34, 0.13, opacity=0.5)  # skull base
    for side in (-1, 1):
        p.blob("muscle", side * 0.30, 0.62, 0.12, 0.20, side * 12, edge=3, opacity=0.85)
        p.blob("bone", side * 0.47, 0.66, 0.050, 0.24, side * 8)  # jaw
        p.blob("marrow", side * 0.47, 0.66, 0.032, 0.22, side * 8, opacity=0.9)
        p.blob("muscle", side * 0.58, 0.62, 0.055, 0.22, side * 8, edge=3, opacity=0.8)
        p.blob("bone", side * 0.16, 0.52, 0.035, 0.07, side * 20, edge=2, opacity=0.8)
    p.blob("bone", 0, 0.40, 0.14, 0.075, rough=0.012 * texture)  # sphenoid sinus
    p.blob("bone", 0, 0.60, 0.075, 0.085, rough=0.010 * texture)  # pharynx
    p.blob("muscle", 0, 0.88, 0.24, 0.15, edge=3, opacity=0.8)  # tongue


def _sagittal_face(p: Picture, texture: np.ndarray) -> None:
    p.blob("bone", -0.50, 0.40, 0.25, 0.10, 6, opacity=0.9, rough=0.010 * texture)  # nose
    for height in (0.36, 0.44):  # turbinates
        p.blob("gland", -0.50, height, 0.17, 0.022, 6, edge=1.5, opacity=0.6)
    p.stroke("bone", [(-0.78, 0.53), (-0.34, 0.55)], [0.02, 0.012])  # palate
    p.blob("muscle", -0.46, 0.74, 0.25, 0.16, 8, edge=3, opacity=0.85)  # tongue
    p.blob("bone", -0.78, 0.64, 0.035, 0.06, opacity=0.9)  # teeth
    p.blob("marrow", -0.74, 0.86, 0.06, 0.08, opacity=0.8)  # chin
    p.stroke("bone", [(-0.22, 0.46), (-0.13, 0.66), (-0.11, 1.1)], [0.05, 0.03, 0.04])  # throat
    p.blob("bone", -0.70, -0.08, 0.030, 0.07, -12, opacity=0.9)  # frontal sinus
    for step in range(4):  # vertebrae
        p.blob("marrow", 0.03 + 0.01 * step, 0.60 + 0.14 * step, 0.065, 0.052)
    p.stroke("marrow", [(-0.02, 0.27), (0.04, 0.44)], [0.06, 0.04])  # clivus
    p.blob("bone", -0.20, 0.32, 0.10, 0.070, rough=0.008 * texture)  # sphenoid sinus


_FACE = {"axial": _no_face, "coronal": _coronal_face, "sagittal": _sagittal_face}


def _cerebellum(p: Picture) -> np.ndarray:
    return p.ellipse(0.40, 0.24, 0.26, 0.17, -12)


def _brainstem(p: Picture) -> np.ndarray:
    path = [(0.06, 0.05), (0.13, 0.22), (0.20, 0.48), (0.24, 1.2)]
    return p.line(path, [0.06, 0.095, 0.052, 0.040])


# --- the brain --------------------------------------------------------------------------------


def _draw_brain(whole: Picture, brain: np.ndarray, patient: Patient, fields: Fields) -> None:
    """Paint white and gray matter, sulci, and the view's inner parts."""
    p = whole.clipped(whole.soft(brain))
    inner = -brain
    folds = fields.smooth(34) + 0.6 * fields.smooth(20)
    # |f| / |grad f| is about the distance to where f is 0: sulci of even width, however f bends.
    slope_y, slope_x = np.gradient(folds, np.float32(2.0 / len(folds)))
    fold = np.abs(folds) / np.sqrt(slope_x**2 + slope_y**2 + 1)
    reach = np.clip(1 - inner / (0.21 + 0.05 * fields.smooth(7)), 0, 1)
    p.paint(p.clip, "white")
    cortex = np.minimum(fold - 0.030 * np.sqrt(reach), inner - 0.028)
    p.paint(p.soft(cortex + 0.004, 2), "gray")
    sulci = fold - (0.005 + 0.011 * patient.atrophy) * reach + 0.006 * (reach == 0)
    p.paint(p.soft(sulci, 1.5), "csf", 0.85)
    _INNER[patient.view](whole, p, patient, fields)
    p.paint(p.soft((2.9 - fields.smooth(40)) * 0.02, 1.5), "vessel", 0.8)  # a few, cut across


_SYLVIAN = ((0.60, 0.05), (0.50, -0.01), (0.42, -0.02), (0.375, 0.05), (0.37, 0.14))


def _cleft(p: Picture, points, radii) -> None:
    """Paint a fissure: gray matter on both sides, fluid between."""
    p.stroke("gray", points, radii, edge=2, grow=0.026)
    p.stroke("csf", points, radii, edge=1.5)


def _both_sides(p: Picture, patient: Patient, down: int) -> None:
    """Paint the Sylvian fissures; the insula lies below their mouth (down=1) or above (-1)."""
    width = 0.6 + 0.6 * patient.atrophy
    radii = [width * radius for radius in (0.026, 0.014, 0.015, 0.012, 0.004)]
    for side in (-1, 1):
        lift = 0.03 if down < 0 else 0.0
        _cleft(p, [(side * x, down * y + lift) for x, y in _SYLVIAN], radii)


def _axial_inner(whole: Picture, p: Picture, patient: Patient, fields: Fields) -> None:
    v = patient.ventricles
    for ends in ([(0, -0.8), (0, -0.30)], [(0, 0.32), (0, 0.8)]):  # between the hemispheres
        _cleft(p, ends, [0.016, 0.009])
        p.stroke("dura", ends, [0.004, 0.004], opacity=0.7)
    _both_sides(p, patient, 1)
    for side in (-1, 1):
        p.blob("nuclei", side * 0.13, -0.16, 0.045, 0.085, side * 15, edge=5)  # caudate
        p.blob("nuclei", side * 0.235, -0.02, 0.055, 0.135, side * 12, edge=5)  # putamen
        p.blob("nuclei", side * 0.095, 0.09, 0.065, 0.095, -side * 25, edge=5)  # thalamus
        horn = [(side * 0.10, -0.25), (side * 0.035, -0.09), (side * 0.05, 0.02)]
        p.stroke("csf", horn, [0.030 * v, 0.022 * v, 0.012 * v], edge=1.5)
        atrium = [(side * 0.10, 0.17), (side * 0.19, 0.26), (side * 0.17, 0.36)]
        p.stroke("csf", atrium, [0.018 * v, 0.038 * v, 0.012 * v], edge=1.5)
        p.blob("vessel", side * 0.17, 0.25, 0.022, 0.03, edge=2, opacity=0.55)  # choroid plexus
    p.stroke("csf", [(0, -0.01), (0, 0.13)], [0.010 * v, 0.013 * v])  # third ventricle
    whole.blob("vessel", 0, 0.715, 0.03, 0.035, opacity=0.9)  # sagittal sinus


def _coronal_inner(whole: Picture, p: Picture, patient: Patient, fields: Fields) -> None:
    v = patient.ventricles
    falx = [(0, -0.8), (0, -0.40)]
    _cleft(p, falx, [0.015, 0.010])
    p.stroke("dura", falx, [0.005, 0.004], opacity=0.7)
    _both_sides(p, patient, -1)
    for side in (-1, 1):
        p.blob("nuclei", side * 0.15, -0.24, 0.05, 0.05, edge=7, opacity=0.8)
        p.blob("nuclei", side * 0.23, -0.08, 0.065, 0.10, side * 15, edge=7, opacity=0.8)
        p.blob("nuclei", side * 0.085, -0.09, 0.06, 0.075, edge=7, opacity=0.8)
        horn = [(side * 0.02, -0.27), (side * 0.13, -0.32)]
        p.stroke("csf", horn, [0.022 * v, 0.026 * v], edge=1.5)
        p.blob("gray", side * 0.36, 0.18, 0.05, 0.022, side * -30)  # hippocampus
    p.stroke("csf", [(0, -0.16), (0, 0.06)], [0.012 * v, 0.014 * v])  # third ventricle
    whole.blob("csf", 0, 0.20, 0.17, 0.055, edge=2)  # suprasellar cistern
    whole.blob("white", 0, 0.155, 0.075, 0.014, opacity=0.8)  # optic chiasm
    whole.blob("gland", 0, 0.255, 0.065, 0.024)  # pituitary
    for side in (-1, 1):
        whole.blob("gland", side * 0.12, 0.265, 0.045, 0.05, opacity=0.6)  # cavernous sinus
        whole.blob("bone", side * 0.115, 0.265, 0.02, 0.02)  # carotid, its flow black
    whole.blob("vessel", 0, -0.745, 0.035, 0.03, opacity=0.9)  # sagittal sinus


def _sagittal_inner(whole: Picture, p: Picture, patient: Patient, fields: Fields) -> None:
    bow = np.deg2rad((185, 205, 228, 252, 280, 308, 332, 348))
    callosum = [(0.25 * np.cos(a), -0.13 + 0.15 * np.sin(a)) for a in bow]
    widths = [0.012, 0.030, 0.028, 0.021, 0.019, 0.021, 0.027, 0.034]
    p.stroke("csf", callosum, widths, edge=1.5, grow=0.067, opacity=0.7)  # cingulate sulcus
    p.stroke("gray", callosum, widths, edge=3, grow=0.055)
    p.stroke("csf", callosum, widths, edge=1.5, grow=0.006, opacity=0.6)
    p.blob("csf", 0, -0.17, 0.20, 0.05 * patient.ventricles, -3, edge=2, opacity=0.9)
    p.blob("nuclei", 0.03, -0.08, 0.12, 0.075, edge=3)  # thalamus
    p.stroke("white", callosum, widths, edge=1.5)
    whole.paint(p.soft(_brainstem(p) - 0.018), "csf")
    _draw_cerebellum(whole, fields)
    whole.blob("csf", 0.235, 0.22, 0.03, 0.06, -15)  # fourth ventricle
    whole.paint(p.soft(_brainstem(p), 1.5), "white", 0.9)
    whole.blob("csf", -0.08, 0.12, 0.10, 0.045, edge=2)  # suprasellar cistern
    whole.blob("gland", -0.11, 0.205, 0.055, 0.024)  # pituitary and its stalk
    whole.stroke("gland", [(-0.10, 0.10), (-0.11, 0.19)], [0.008, 0.006])


def _draw_cerebellum(p: Picture, fields: Fields) -> None:
    """Paint fine leaves fanning out from the fourth ventricle, and the white tree in them."""
    q = p.near([(0.40, 0.24)], 0.34)
    mask = q.soft(_cerebellum(q))
    q.paint(mask, "gray")
    dx, dy = q.x - np.float32(0.24), q.y - np.float32(0.23)
    phi, rho = np.arctan2(dy, dx), np.hypot(dx, dy)
    leaves = np.sin(26 * phi + 1.5 * q.cut(fields.smooth(12))) + 0.6 * np.sin(70 * rho)
    q.paint(mask * np.clip(leaves - 0.2, 0, 1), "csf", 0.45)
    tree = q.ellipse(0.34, 0.23, 0.12, 0.05, -12) - 0.02 * np.sin(9 * phi)
    q.paint(q.soft(tree, 3), "white")


_INNER = {"axial": _axial_inner, "coronal": _coronal_inner, "sagittal": _sagittal_inner}


# --- the scanner ------------------------------------------------------------------------------


def _scan(image: np.ndarray, patient: Patient, fields: Fields, noise: int) -> np.ndarray:
    """Return uint8: coil shading, blur, Rician noise (Gudbjartsson and Patz 1995)."""
    shaded = image * np.exp(np.float32(patient.bias) * fields.smooth(3))
    shaded = gaussian_filter(shaded, patient.blur * image.shape[0] / 192, truncate=3)
    parts = generator(noise).standard_normal((2, *image.shape), np.float32)
    parts *= np.float32(patient.sigma)
    magnitude = np.hypot(shaded + parts[0], parts[1])
    return np.clip(magnitude * np.float32(225) + np.float32(0.5), 0, 255).astype(np.uint8)
