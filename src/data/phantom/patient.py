"""Who a made-up patient is: head, scanner and lesion, all drawn from one seed."""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from src.data.augment import generator

VIEWS = ("axial", "coronal", "sagittal")
CONTRASTS = ("t1c", "t2", "flair")  # T1 with contrast agent, T2, FLAIR
SELLA = {"coronal": (0.0, 0.21), "sagittal": (-0.10, 0.17)}
# Outlines by view: the centre, and the distance from it every 45 degrees, clockwise from the right.
CENTRES = {"axial": (0.0, 0.0), "coronal": (0.0, -0.16), "sagittal": (0.02, -0.20)}
BRAIN = {
    "axial": (0.56, 0.62, 0.70, 0.62, 0.56, 0.60, 0.70, 0.60),
    "coronal": (0.62, 0.61, 0.40, 0.61, 0.62, 0.59, 0.58, 0.59),
    "sagittal": (0.72, 0.58, 0.32, 0.46, 0.70, 0.62, 0.55, 0.63),
}
HEAD = {
    "axial": (0.68, 0.73, 0.82, 0.73, 0.68, 0.72, 0.83, 0.72),
    "coronal": (0.75, 0.88, 1.40, 0.88, 0.75, 0.71, 0.70, 0.71),
    "sagittal": (0.85, 0.88, 1.50, 1.16, 0.82, 0.74, 0.67, 0.75),
}
TRAITS = {  # each even between two limits
    "tilt": (-0.18, 0.18),  # radians
    "right": (-0.09, 0.09),  # where the head lies, in half image widths
    "down": (-0.09, 0.09),
    "width": (0.93, 1.12),  # of the head, 1 is usual
    "height": (0.93, 1.12),
    "ventricle": (0.7, 1.9),  # how wide they are, 1 is usual
    "fissure": (0.5, 1.5),
    "gain": (0.7, 1.1),  # of the scanner; brightness has no unit
    "sigma": (0.012, 0.045),  # the scanner's noise, as a share of full brightness
    "bias": (0.06, 0.20),  # standard deviation of the log of the coil's shading
    "blur": (0.3, 0.9),  # pixels at 192 px
}
RADII = {"glioma": (0.17, 0.30), "meningioma": (0.14, 0.24), "pituitary": (0.12, 0.19)}


@dataclass(frozen=True)
class Lesion:
    """One lesion of one patient; lengths in half image widths of the upright head."""

    kind: str  # its class
    x: float
    y: float
    radius: float  # in its widest slice
    strength: float  # 0 to 1, how much it stands out
    wobble: np.ndarray  # (4,) float32, how far its outline leaves a circle, by harmonic


@dataclass(frozen=True)
class Patient:
    """What all slices of a patient share."""

    view: str
    contrast: str
    traits: dict[str, float]  # see TRAITS
    noise: int  # seeds the anatomy's irregularities
    lesion: Lesion | None  # None in class notumor


def draw_patient(kind: str, *seeds: int) -> Patient:
    """Return the patient of class `kind` that `seeds` (seed, part, class, number) name."""
    random = generator(*seeds)
    # View and contrast say nothing of the class, but that no axial slice here shows the sella.
    view = str(random.choice(VIEWS[1:] if kind == "pituitary" else VIEWS))
    return Patient(
        view=view,
        contrast=str(random.choice(CONTRASTS, p=(0.8, 0.1, 0.1))),
        traits={name: random.uniform(*limits) for name, limits in TRAITS.items()},
        noise=int(random.integers(2**63)),
        lesion=None if kind == "notumor" else _draw_lesion(kind, view, random.uniform),
    )


def _draw_lesion(kind: str, view: str, between) -> Lesion:
    radius = between(*RADII[kind])
    if kind == "pituitary":
        x, y = SELLA[view][0], SELLA[view][1] - 0.4 * radius
    else:
        # Below the brain of the other views lies the skull base.
        angle = np.deg2rad(between(0, 360) if view == "axial" else between(187, 353))
        rim = float(closed_curve(BRAIN[view])(angle))
        reach = rim * between(0.40, 0.65) if kind == "glioma" else rim - 0.45 * radius
        x, y = CENTRES[view] + reach * np.array([np.cos(angle), np.sin(angle)])
    wobble = between(0, 0.35, 4).astype(np.float32)
    return Lesion(kind, float(x), float(y), radius, between(0.8, 1.0), wobble)


def closed_curve(radii: tuple[float, ...]) -> CubicSpline:
    """Return angle (radians) -> radius, through `radii` at even angles from 0 on."""
    angles = np.linspace(0, 2 * np.pi, len(radii) + 1)
    return CubicSpline(angles, (*radii, radii[0]), bc_type="periodic")
