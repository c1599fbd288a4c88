"""One slice of a made-up head: anatomy as tables of soft-edged ellipses, then an MRI scanner.

Nothing here models a disease; it only has to look like head MRI and to hide a lesion in it.
"""

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from src.data.augment import generator
from src.data.phantom.lesion import paint_lesion, push_aside
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


def draw_slice(
    patient: Patient, depth: float, size: int, noise: int
) -> tuple[np.ndarray, list[float] | None]:
    """Return one slice of a patient, (S, S) uint8, and its lesion's box or None.

    Args:
        patient: whose head.
        depth: of the slice, -1 to 1; the lesion is widest at 0.
        size: S, pixels.
        noise: seeds the scanner's noise; no two slices share it.
    """
    fields, lesion = Fields(patient.noise, DRIFT * depth, size), patient.lesion
    x, y = _head_coordinates(patient.traits, depth, fields, size)
    if lesion:  # half as wide at depth -1 and 1, never gone
        lesion = replace(lesion, radius=lesion.radius * max(0.06, 1 - 0.75 * depth**2) ** 0.5)
        x, y = push_aside(x, y, lesion)
    contrast = CONTRASTS.index(patient.contrast)
    p = Picture(
        x,
        y,
        image=np.zeros_like(x),
        values={tissue: np.float32(levels[contrast]) for tissue, levels in TISSUES.items()},
        widths={name: patient.traits[name] for name in ("ventricle", "fissure")},
        symmetric=patient.view != "sagittal",
        pixel=2.0 / min(size, SHARP),
    )
    brain = _paint_head(p, patient.view, fields)
    _paint_brain(p, brain, patient, fields)
    box = paint_lesion(p, brain, lesion, fields) if lesion else None
    return _scan(p.image, patient.traits, fields, noise), box


def _head_coordinates(traits: dict, depth: float, fields: Fields, size: int):
    """Return x, y (S, S) in the upright head: shifted, turned, scaled, gently bent."""
    line = (np.arange(size, dtype=np.float32) + 0.5) * np.float32(2.0 / size) - 1
    x, y = np.meshgrid(line - np.float32(traits["right"]), line - np.float32(traits["down"]))
    c, s = np.float32([np.cos(traits["tilt"]), np.sin(traits["tilt"])])
    width, height = np.float32([traits["width"], traits["height"]]) * (1 - TAPER * depth)
    bends = [0.026 * fields.smooth(5) + 0.006 * fields.smooth(13) for _ in range(2)]
    return (c * x + s * y) / width + bends[0], (c * y - s * x) / height + bends[1]


def _paint_head(p: Picture, view: str, fields: Fields) -> np.ndarray:
    """Paint scalp, face and skull; return the brain's signed distance (S, S)."""
    rough, texture = fields.smooth(8), fields.smooth(26) + 0.5 * fields.smooth(12)
    head = p.outline(CENTRES[view], HEAD[view]) + 0.008 * fields.smooth(6)
    brain = p.outline(CENTRES[view], BRAIN[view]) + 0.010 * rough
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


def _paint_brain(p: Picture, brain: np.ndarray, patient: Patient, fields: Fields) -> None:
    """Paint white matter, folds of gray matter and fluid, and the view's parts."""
    inside = p.soft(brain)
    folds = fields.smooth(29) + 0.6 * fields.smooth(17)
    # |f| / |grad f| is about the distance to where f is 0: sulci of even width, however f bends.
    slope_y, slope_x = np.gradient(folds, np.float32(2.0 / len(folds)))
    fold = np.abs(folds) / np.sqrt(slope_x**2 + slope_y**2 + 1)
    reach = np.clip(1 + brain / 0.22, 0, 1)  # from the surface inwards
    sulcus = 0.010 * p.widths["fissure"] * reach - 0.006 * (reach == 0)
    p.paint(inside, "white")
    p.paint(inside * p.soft(np.minimum(fold - 0.026 * np.sqrt(reach), -brain - 0.024), 2), "gray")
    p.paint(inside * p.soft(fold - sulcus, 1.5), "csf", 0.85)
    p.paint_shapes(INSIDE[patient.view], inside)
    p.paint_shapes(BASE[patient.view], np.float32(1))
    p.paint(inside * p.soft((2.7 - fields.smooth(34)) * 0.02, 1.5), "vessel", 0.8)  # cut across


def _scan(image: np.ndarray, traits: dict, fields: Fields, noise: int) -> np.ndarray:
    """Return uint8: coil shading, blur, Rician noise (Gudbjartsson and Patz 1995)."""
    shaded = image * np.exp(np.float32(traits["bias"]) * fields.smooth(3))
    shaded = gaussian_filter(shaded, traits["blur"] * len(image) / 192, truncate=3)
    parts = generator(noise).standard_normal((2, *image.shape), np.float32)
    parts *= np.float32(traits["sigma"])
    magnitude = np.hypot(shaded + parts[0], parts[1])
    return np.clip(magnitude * np.float32(225 * traits["gain"]) + 0.5, 0, 255).astype(np.uint8)
