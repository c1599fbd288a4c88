"""Who a made-up patient is: head, scanner and lesion, all from a few words of seed."""

import numpy as np

from src.data.phantom.anatomy import CONTRASTS, SELLA, VIEWS, Patient, brain_radius
from src.data.phantom.lesion import Lesion
from src.data.phantom.painting import generator


def draw_patient(kind: str, *words: int) -> Patient:
    """Return the patient of class `kind` that `words` (seed, part, class, number) name."""
    draw = generator(*words)
    between = draw.uniform
    # View and contrast tell nothing of the class, but that no axial slice here shows the sella.
    views = VIEWS[1:] if kind == "pituitary" else VIEWS
    view = views[draw.integers(len(views))]
    size = between(0.98, 1.16) if view == "axial" else between(0.94, 1.08)
    return Patient(
        view=view,
        contrast=CONTRASTS[draw.choice(3, p=(0.8, 0.1, 0.1))],
        tilt=float(np.deg2rad(draw.normal(0, 5))),
        shift=(between(-0.05, 0.05), between(-0.05, 0.05)),
        scale=(size * between(0.96, 1.04), size),
        ventricles=between(0.7, 1.9),
        atrophy=between(0, 1),
        sigma=between(0.012, 0.045),
        bias=between(0.04, 0.16),
        blur=between(0.3, 0.9),
        noise=int(draw.integers(2**63)),
        lesion=None if kind == "notumor" else _draw_lesion(kind, view, draw),
    )


def _draw_lesion(kind: str, view: str, draw: np.random.Generator) -> Lesion:
    between = draw.uniform
    wobble = tuple(between(0, 0.35) for _ in range(4))
    strength = between(0.8, 1.0)
    if kind == "pituitary":
        x, y = SELLA[view]
        radius = between(0.09, 0.17)
        return Lesion(kind, x, y - 0.4 * radius, radius, strength, wobble)
    if kind == "meningioma" and view != "sagittal" and draw.random() < 0.25:
        radius, side = between(0.12, 0.21), draw.choice((-1, 1))
        x, y = side * 0.25 * radius, between(-0.60, -0.42)
        return Lesion(kind, float(x), y, radius, strength, wobble, on_falx=True)
    radius = between(0.14, 0.28) if kind == "glioma" else between(0.12, 0.23)
    # Below the brain of the other views lies the skull base.
    angle = np.deg2rad(between(0, 360) if view == "axial" else between(187, 353))
    (x, y), rim = brain_radius(view, angle)
    reach = rim * between(0.40, 0.65) if kind == "glioma" else rim - 0.45 * radius
    x, y = x + reach * np.cos(angle), y + reach * np.sin(angle)
    return Lesion(kind, float(x), float(y), radius, strength, wobble)
