"""Who a made-up patient is: head, scanner and lesion, all drawn from one seed."""

from dataclasses import dataclass, replace

import numpy as np

from src.data.augment import generator
from src.data.phantom.painting import closed_curve

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


@dataclass(frozen=True)
class Lesion:
    """One lesion of one patient; lengths in half image widths of the upright head."""

    kind: str  # its class
    x: float
    y: float
    radius: float  # in its widest slice
    strength: float  # 0 to 1, how much it stands out
    wobble: tuple[float, ...]  # how far its outline leaves a circle, by harmonic
    on_falx: bool = False  # a meningioma of the midline, on the side of `x`

    def cut_at(self, depth: float) -> "Lesion":
        """Return the lesion as a slice at `depth` cuts it: half as wide at -1 and 1, never gone."""
        return replace(self, radius=self.radius * float(np.sqrt(max(0.06, 1 - 0.75 * depth**2))))


@dataclass(frozen=True)
class Patient:
    """What all slices of a patient share."""

    view: str
    contrast: str
    tilt: float  # radians
    shift: tuple[float, float]  # of the head, in half image widths
    scale: tuple[float, float]  # of the head, by axis
    ventricles: float  # their width, 1 is usual
    atrophy: float  # 0 to 1, how wide the sulci are
    gain: float  # of the scanner; brightness has no unit
    sigma: float  # the scanner's noise, as a share of full brightness
    bias: float  # standard deviation of the log of the coil's shading
    blur: float  # pixels at 192 px
    noise: int  # seeds the anatomy's irregularities
    lesion: Lesion | None  # None in class notumor


def draw_patient(kind: str, *seeds: int) -> Patient:
    """Return the patient of class `kind` that `seeds` (seed, part, class, number) name."""
    random = generator(*seeds)
    between = random.uniform
    # View and contrast say nothing of the class, but that no axial slice here shows the sella.
    views = VIEWS[1:] if kind == "pituitary" else VIEWS
    view = views[random.integers(len(views))]
    size = between(0.98, 1.16) if view == "axial" else between(0.94, 1.08)
    return Patient(
        view=view,
        contrast=CONTRASTS[random.choice(3, p=(0.8, 0.1, 0.1))],
        tilt=float(np.deg2rad(random.normal(0, 6))),
        shift=(between(-0.07, 0.07), between(-0.07, 0.07)),
        scale=(size * between(0.96, 1.04), size),
        ventricles=between(0.7, 1.9),
        atrophy=between(0, 1),
        gain=between(0.7, 1.1),
        sigma=between(0.012, 0.045),
        bias=between(0.06, 0.20),
        blur=between(0.3, 0.9),
        noise=int(random.integers(2**63)),
        lesion=None if kind == "notumor" else _draw_lesion(kind, view, random),
    )


def _draw_lesion(kind: str, view: str, random: np.random.Generator) -> Lesion:
    between = random.uniform
    wobble, strength = tuple(between(0, 0.35) for _ in range(4)), between(0.8, 1.0)
    if kind == "pituitary":
        (x, y), radius = SELLA[view], between(0.09, 0.17)
        return Lesion(kind, x, y - 0.4 * radius, radius, strength, wobble)
    if kind == "meningioma" and view != "sagittal" and random.random() < 0.25:
        radius, side = between(0.12, 0.21), random.choice((-1, 1))
        x, y = float(side * 0.25 * radius), between(-0.60, -0.42)
        return Lesion(kind, x, y, radius, strength, wobble, on_falx=True)
    radius = between(0.14, 0.28) if kind == "glioma" else between(0.12, 0.23)
    # Below the brain of the other views lies the skull base.
    angle = np.deg2rad(between(0, 360) if view == "axial" else between(187, 353))
    rim = float(closed_curve(BRAIN[view])(angle))
    reach = rim * between(0.40, 0.65) if kind == "glioma" else rim - 0.45 * radius
    x, y = np.array(CENTRES[view]) + reach * np.array([np.cos(angle), np.sin(angle)])
    return Lesion(kind, float(x), float(y), radius, strength, wobble)
