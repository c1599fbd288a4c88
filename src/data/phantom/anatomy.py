"""One slice of a made-up head: anatomy as tables of soft-edged ellipses, then an MRI scanner.

Nothing here models a disease; it only has to look like head MRI and to hide a lesion in it, where
and how a radiologist would look for it.
"""

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from src.data.augment import generator
from src.data.phantom.painting import Picture
from src.data.phantom.patient import BRAIN, CONTRASTS, HEAD, Lesion, Patient

PUSH = 0.3  # share of the distance by which a lesion moves the anatomy at its centre
LESIONS = {  # tissue, roughness of outline and of brightness, oedema, how far it leaves the brain
    "glioma": ("ring", 0.20, 0.20, 0.75, -0.015),  # irregular, around a necrotic core
    "meningioma": ("meningioma", 0.10, 0.05, 0.40, 0.010),  # even, broad on the dura
    "pituitary": ("adenoma", 0.10, 0.07, 0.0, 1.0),  # even, out of the sella upwards
}
TISSUES = {  # relative brightness, by contrast
    "fat": (0.88, 0.66, 0.62),
    "muscle": (0.30, 0.22, 0.28),
    "bone": (0.05, 0.05, 0.06),
    "marrow": (0.40, 0.32, 0.32),
    "csf": (0.13, 0.98, 0.10),
    "ventricle": (0.13, 0.98, 0.10),
    "fissure": (0.13, 0.98, 0.10),
    "gray": (0.33, 0.60, 0.56),
    "white": (0.47, 0.38, 0.42),
    "nuclei": (0.38, 0.50, 0.53),
    "vessel": (0.92, 0.08, 0.14),
    "dura": (0.62, 0.34, 0.40),
    "ring": (1.05, 0.80, 0.90),
    "necrosis": (0.08, 0.92, 0.52),
    "oedema": (0.29, 0.82, 0.92),
    "meningioma": (1.0, 0.82, 0.86),
    "adenoma": (0.95, 0.82, 0.82),
}
# Shapes by view, as `Picture.paint_shapes` takes them: tissue, ellipse, edge, opacity.
STEM, CEREBELLUM = (0.16, 0.5, 0.075, 0.5, -8), (0.40, 0.24, 0.26, 0.17, -12)
FACE = {
    "axial": (),  # a slice at the ventricles shows none
    "coronal": (
        ("muscle", 0.30, 0.62, 0.12, 0.20, 12, 3, 0.85),
        ("bone", 0.47, 0.66, 0.05, 0.24, 8, 1, 1),  # jaw
        ("bone", 0, 0.40, 0.14, 0.075, 0, 1, 1),  # sphenoid sinus
        ("bone", 0, 0.60, 0.075, 0.085, 0, 1, 1),  # pharynx
        ("muscle", 0, 0.88, 0.24, 0.15, 0, 3, 0.8),  # tongue
    ),
    "sagittal": (
        ("bone", -0.50, 0.40, 0.25, 0.10, 6, 1, 0.9),  # nose
        ("muscle", -0.46, 0.74, 0.25, 0.16, 8, 3, 0.85),  # tongue
        ("bone", -0.14, 0.80, 0.04, 0.36, -8, 1, 1),  # throat
        ("bone", -0.20, 0.32, 0.10, 0.07, 0, 1, 1),  # sphenoid sinus
    ),
}
INSIDE = {
    "axial": (
        ("fissure", 0, -0.55, 0.25, 0.012, 90, 1, 1),  # between the hemispheres
        ("fissure", 0, 0.56, 0.25, 0.012, 90, 1, 1),
        ("fissure", 0.48, 0.0, 0.13, 0.014, 15, 1.5, 1),  # Sylvian
        ("fissure", 0.375, 0.06, 0.09, 0.011, 90, 1.5, 1),
        ("nuclei", 0.235, -0.02, 0.055, 0.135, 12, 5, 1),  # putamen
        ("nuclei", 0.095, 0.09, 0.065, 0.095, -25, 5, 1),  # thalamus
        ("ventricle", 0.065, -0.14, 0.13, 0.026, -65, 1.5, 1),  # frontal horn
        ("ventricle", 0.16, 0.26, 0.11, 0.030, 65, 1.5, 1),  # atrium
        ("ventricle", 0, 0.06, 0.08, 0.013, 90, 1, 1),  # third ventricle
    ),
    "coronal": (
        ("fissure", 0, -0.60, 0.21, 0.012, 90, 1, 1),  # between the hemispheres
        ("fissure", 0.48, 0.02, 0.13, 0.014, -15, 1.5, 1),  # Sylvian
        ("fissure", 0.375, -0.04, 0.09, 0.011, 90, 1.5, 1),
        ("nuclei", 0.23, -0.08, 0.065, 0.10, 15, 7, 0.8),  # putamen
        ("ventricle", 0.075, -0.295, 0.09, 0.026, -24, 1.5, 1),  # lateral ventricle
        ("ventricle", 0, -0.05, 0.12, 0.013, 90, 1, 1),  # third ventricle
    ),
    "sagittal": (
        ("csf", 0, -0.12, 0.33, 0.22, -3, 1.5, 0.7),  # cingulate sulcus
        ("gray", 0, -0.12, 0.31, 0.205, -3, 3, 1),
        ("white", 0, -0.12, 0.27, 0.165, -3, 1.5, 1),  # corpus callosum
        ("ventricle", 0, -0.11, 0.23, 0.09, -3, 2, 0.9),
        ("nuclei", 0.03, -0.05, 0.15, 0.09, 0, 3, 1),  # thalamus
    ),
}
BASE = {
    "axial": (("vessel", 0, 0.715, 0.03, 0.035, 0, 1, 0.9),),  # sagittal sinus
    "coronal": (
        ("csf", 0, 0.20, 0.17, 0.055, 0, 2, 1),  # suprasellar cistern
        ("adenoma", 0, 0.255, 0.065, 0.024, 0, 1, 0.8),  # pituitary
        ("vessel", 0, -0.745, 0.035, 0.03, 0, 1, 0.9),  # sagittal sinus
    ),
    "sagittal": (
        ("gray", *CEREBELLUM, 1, 1),
        ("csf", 0.245, 0.22, 0.03, 0.06, -15, 1, 1),  # fourth ventricle
        ("white", *STEM, 1.5, 0.9),
        ("csf", -0.08, 0.12, 0.10, 0.045, 0, 2, 1),  # suprasellar cistern
        ("adenoma", -0.11, 0.205, 0.055, 0.024, 0, 1, 0.8),  # pituitary
    ),
}


def draw_slice(patient: Patient, depth: float, size: int, noise: int) -> tuple[np.ndarray, tuple]:
    """Return one slice of a patient, (S, S) uint8, and its lesion's box, empty where it has none.

    Args:
        patient: whose head.
        depth: of the slice, -1 to 1; the lesion is widest at 0.
        size: S, pixels.
        noise: seeds the scanner's noise; no two slices share it.
    """
    contrast = CONTRASTS.index(patient.contrast)
    values = {tissue: np.float32(levels[contrast]) for tissue, levels in TISSUES.items()}
    p, lesion = Picture(patient, depth, size, values), patient.lesion
    if lesion:  # half as wide at depth -1 and 1, never gone
        lesion = replace(lesion, radius=lesion.radius * max(0.06, 1 - 0.75 * depth**2) ** 0.5)
        _push_aside(p, lesion)
    brain = _paint_head(p)
    _paint_brain(p, brain)
    box = _paint_lesion(p, brain, lesion) if lesion else ()
    return _scan(p, noise), box


def _push_aside(p: Picture, lesion: Lesion) -> None:
    """Move the anatomy away from a lesion (mass effect)."""
    dx, dy = p.x - np.float32(lesion.x), p.y - np.float32(lesion.y)
    pull = PUSH * np.exp(-(dx * dx + dy * dy) / np.float32((2.2 * lesion.radius) ** 2))
    p.x, p.y = p.x - dx * pull, p.y - dy * pull


def _paint_head(p: Picture) -> np.ndarray:
    """Paint scalp, face and skull; return the brain's signed distance (S, S)."""
    view = p.patient.view
    rough, texture = p.smooth(8), p.smooth(26) + 0.5 * p.smooth(12)
    head = p.outline(HEAD) + 0.008 * p.smooth(6)
    brain = p.outline(BRAIN) + 0.010 * rough
    inside = brain
    if view == "sagittal":
        inside = np.minimum.reduce([brain, p.ellipse(*CEREBELLUM), p.ellipse(*STEM) - 0.01])
    skin = p.soft(head)
    muscle, fat = p.values["muscle"], p.values["fat"]
    p.paint(skin, muscle + (fat - muscle) * np.clip(0.1 + 0.4 * texture, -0.2, 0.85))
    p.paint(skin * p.soft(-head - (0.042 + 0.010 * rough)), "fat", 0.9)
    p.paint_shapes(FACE[view], skin, 0.010 * texture)
    thickness = 0.062 + 0.010 * rough
    p.paint(p.soft(inside - thickness), "bone")
    p.paint(p.soft(np.abs(inside - 0.55 * thickness) - 0.008 - 0.006 * texture, 2), "marrow", 0.7)
    p.paint(p.soft(inside - 0.018), "dura", 0.8)
    p.paint(p.soft(inside - 0.012), "csf")
    return brain


def _paint_brain(p: Picture, brain: np.ndarray) -> None:
    """Paint white matter, folds of gray matter and fluid, and the view's parts."""
    inside = p.soft(brain)
    folds = p.smooth(29) + 0.6 * p.smooth(17)
    # |f| / |grad f| is about the distance to where f is 0: sulci of even width, however f bends.
    slope_y, slope_x = np.gradient(folds, np.float32(2.0 / len(folds)))
    fold = np.abs(folds) / np.sqrt(slope_x**2 + slope_y**2 + 1)
    reach = np.clip(1 + brain / 0.22, 0, 1)  # from the surface inwards
    sulcus = 0.010 * p.patient.traits["fissure"] * reach - 0.006 * (reach == 0)
    p.paint(inside, "white")
    p.paint(inside * p.soft(np.minimum(fold - 0.026 * np.sqrt(reach), -brain - 0.024), 2), "gray")
    p.paint(inside * p.soft(fold - sulcus, 1.5), "csf", 0.85)
    p.paint_shapes(INSIDE[p.patient.view], inside)
    p.paint_shapes(BASE[p.patient.view], np.float32(1))
    p.paint(inside * p.soft((2.7 - p.smooth(34)) * 0.02, 1.5), "vessel", 0.8)  # cut across


def _paint_lesion(p: Picture, brain: np.ndarray, lesion: Lesion) -> tuple[float, ...]:
    """Paint it; return its box in shares of the image: centre x, y, width, height."""
    tissue, roughness, mottling, oedema, leaves = LESIONS[lesion.kind]
    fine, coarse = p.smooth(18), p.smooth(9)
    dx, dy = p.x - np.float32(lesion.x), p.y - np.float32(lesion.y)
    angle, radius = np.arctan2(dy, dx), np.float32(lesion.radius)
    wave = sum(a * np.cos(k * angle + 70 * a) for k, a in enumerate(lesion.wobble, 2))
    # The push drew the coordinates in, so this radius shows as the lesion's.
    ball = np.hypot(dx, dy) - (1 - PUSH) * radius * (1 + roughness * (wave + 0.5 * fine))
    outside = np.maximum(ball, brain - leaves)
    spread = p.soft(ball - radius * (0.4 + 0.35 * coarse), 5) * p.soft(brain + 0.045, 6)
    p.paint(spread, "oedema", oedema * lesion.strength)  # it spares the cortex
    p.paint(p.soft(outside - 0.012, 1.5), "csf", 0.6)
    p.paint(p.soft(outside, 1.5), p.values[tissue] * (1 + mottling * fine), lesion.strength)
    if lesion.kind == "glioma":
        core = p.soft(outside + radius * (0.22 + 0.05 * coarse), 2.5)
        p.paint(core, p.values["necrosis"] * (1 + 0.25 * fine))
    rows, columns = np.nonzero(p.soft(outside) > 0.5)
    left, right = columns.min() / len(ball), (columns.max() + 1) / len(ball)
    top, bottom = rows.min() / len(ball), (rows.max() + 1) / len(ball)
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def _scan(p: Picture, noise: int) -> np.ndarray:
    """Return uint8: coil shading, blur, Rician noise (Gudbjartsson and Patz 1995)."""
    traits = p.patient.traits
    shaded = p.image * np.exp(np.float32(traits["bias"]) * p.smooth(3))
    shaded = gaussian_filter(shaded, traits["blur"] * len(shaded) / 192, truncate=3)
    parts = generator(noise).standard_normal((2, *shaded.shape), np.float32)
    parts *= np.float32(traits["sigma"])
    magnitude = np.hypot(shaded + parts[0], parts[1])
    return np.clip(magnitude * np.float32(225 * traits["gain"]) + 0.5, 0, 255).astype(np.uint8)
