"""How one slice of a made-up head is drawn: anatomy as soft-edged shapes, then an MRI scanner.

Lengths are in half image widths: x runs right and y down, each from -1 to 1. Shapes are signed
distances (negative inside), so the same head can be drawn at any size. Every array is (S, S)
float32. Nothing here is a model of a disease; it only has to look like head MRI and to hide a
lesion where a radiologist would look for it.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter

VIEWS = ("axial", "coronal", "sagittal")
# Relative brightness of tissues by contrast: T1 with contrast agent, T2, FLAIR.
TISSUES = {
    #               t1c    t2   flair
    "fat":         (0.88, 0.66, 0.62),
    "muscle":      (0.36, 0.24, 0.30),
    "bone":        (0.05, 0.05, 0.06),
    "marrow":      (0.40, 0.32, 0.32),
    "csf":         (0.13, 0.98, 0.10),
    "gray":        (0.43, 0.60, 0.58),
    "white":       (0.57, 0.41, 0.47),
    "nuclei":      (0.47, 0.52, 0.55),
    "vessel":      (0.92, 0.08, 0.14),
    "dura":        (0.62, 0.34, 0.40),
    "gland":       (0.74, 0.58, 0.60),
    "eye":         (0.15, 0.95, 0.15),
    "ring":        (0.96, 0.66, 0.80),
    "necrosis":    (0.20, 0.92, 0.52),
    "edema":       (0.40, 0.82, 0.92),
    "meningioma":  (0.90, 0.76, 0.80),
    "adenoma":     (0.82, 0.78, 0.78),
}  # fmt: skip
CONTRASTS = ("t1c", "t2", "flair")

# Outlines by angle (degrees clockwise from the right, so 90 is down), about each view's centre.
_ANGLES = np.arange(0, 360, 22.5)
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
    "axial": (0.70, 0.71, 0.76, 0.82, 0.84, 0.82, 0.76, 0.71,
              0.70, 0.70, 0.74, 0.82, 0.86, 0.82, 0.74, 0.70),
    "coronal": (0.76, 0.76, 0.84, 1.00, 1.30, 1.00, 0.84, 0.76,
                0.76, 0.75, 0.73, 0.72, 0.72, 0.72, 0.73, 0.75),
    "sagittal": (0.86, 0.86, 0.92, 1.20, 1.50, 1.30, 1.10, 0.96,
                 0.84, 0.82, 0.76, 0.71, 0.69, 0.71, 0.77, 0.84),
}  # fmt: skip
SELLA = {"coronal": (0.0, 0.21), "sagittal": (-0.10, 0.17)}


@dataclass(frozen=True)
class Lesion:
    """One lesion of one patient; `kind` is a class name. The radius is at its widest slice."""

    kind: str
    x: float
    y: float
    radius: float
    strength: float
    wobble: tuple[float, ...]


@dataclass(frozen=True)
class Patient:
    """What all slices of a patient share; `noise` seeds the anatomy's irregular details."""

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


@lru_cache(maxsize=64)
def _spline(size: int, knots: int) -> np.ndarray:
    """Return (S, knots + 3): the cubic B-spline that turns coarse values into a smooth row."""
    place = (np.arange(size) + 0.5) / size * knots
    cell = np.minimum(place.astype(int), knots - 1)
    u = place - cell
    weights = ((1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3)
    matrix = np.zeros((size, knots + 3), np.float32)
    for step, weight in enumerate(weights):
        matrix[np.arange(size), cell + step] = weight / 6
    return matrix


class Fields:
    """Smooth random fields that drift from slice to slice of one patient."""

    def __init__(self, seed: int, depth: float, size: int):
        self._draw = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
        self._mix = np.float32([np.cos(depth), np.sin(depth)])
        self._size = size

    def smooth(self, knots: int) -> np.ndarray:
        """Return about unit-variance noise whose bumps are 1/knots of the image wide."""
        coarse = self._draw.standard_normal((2, knots + 3, knots + 3), np.float32)
        coarse = np.tensordot(self._mix, coarse, 1)
        rows = _spline(self._size, knots)
        return (rows @ coarse @ rows.T) * np.float32(2.1)


def draw_slice(patient: Patient, depth: float, size: int, noise: int) -> np.ndarray:
    """Return the (S, S) uint8 slice of a patient.

    Args:
        patient: whose head.
        depth: place of the slice, -1 to 1; the lesion is widest at 0.
        size: S, pixels.
        noise: seeds the scanner's noise, so that no two slices share it.
    """
    fields = Fields(patient.noise, 0.6 * depth, size)
    x, y = _head_coordinates(patient, depth, fields, size)
    lesion = _sized(patient.lesion, depth)
    if lesion:
        x, y = _push_aside(x, y, lesion)
    picture = _Picture(x, y, TISSUES, CONTRASTS.index(patient.contrast), 2.0 / size)
    brain = _draw_head(picture, patient, fields)
    _draw_brain(picture, brain, patient, depth, fields)
    if lesion:
        _DRAW[lesion.kind](picture, brain, lesion, fields)
    return _scan(picture.image, patient, fields, noise)


class _Picture:
    """An image being painted by soft masks."""

    def __init__(self, x, y, tissues: dict, contrast: int, pixel: float):
        self.x, self.y, self.pixel = x, y, pixel
        self._value = {name: values[contrast] for name, values in tissues.items()}
        self.image = np.zeros_like(x)

    def value(self, tissue: str) -> float:
        return self._value[tissue]

    def soft(self, distance, width: float = 1.0) -> np.ndarray:
        """Return the mask of a signed distance: 1 inside, 0 outside, an edge `width` pixels."""
        return np.clip(0.5 - distance / (width * self.pixel), 0.0, 1.0)

    def paint(self, mask, tissue: str | float, opacity: float = 1.0) -> None:
        value = self._value[tissue] if isinstance(tissue, str) else tissue
        self.image += (mask * np.float32(opacity)) * (np.float32(value) - self.image)

    def ellipse(self, x0, y0, a, b, degrees=0.0) -> np.ndarray:
        c, s = np.float32(np.cos(np.deg2rad(degrees))), np.float32(np.sin(np.deg2rad(degrees)))
        dx, dy = self.x - np.float32(x0), self.y - np.float32(y0)
        u, v = (c * dx + s * dy) / np.float32(a), (c * dy - s * dx) / np.float32(b)
        return (np.sqrt(u * u + v * v) - 1) * np.float32(min(a, b))

    def line(self, points, radii) -> np.ndarray:
        """Return the distance to a chain of segments whose half-width goes along `radii`."""
        best = None
        for (x0, y0), (x1, y1), r0, r1 in zip(points, points[1:], radii, radii[1:]):
            dx, dy = self.x - np.float32(x0), self.y - np.float32(y0)
            ex, ey = np.float32(x1 - x0), np.float32(y1 - y0)
            t = np.clip((dx * ex + dy * ey) / (ex * ex + ey * ey), 0, 1)
            near = np.hypot(dx - t * ex, dy - t * ey) - (np.float32(r0) + t * np.float32(r1 - r0))
            best = near if best is None else np.minimum(best, near)
        return best


def _head_coordinates(patient: Patient, depth: float, fields: Fields, size: int):
    """Return x, y (S, S) in the upright head: turned, scaled, gently bent."""
    line = (np.arange(size, dtype=np.float32) + 0.5) * (2.0 / size) - 1.0
    x, y = np.meshgrid(line - patient.shift[0], line - patient.shift[1])
    c, s = np.float32(np.cos(patient.tilt)), np.float32(np.sin(patient.tilt))
    shrink = 1.0 - 0.05 * abs(depth)
    u = (c * x + s * y) / np.float32(patient.scale[0] * shrink)
    v = (c * y - s * x) / np.float32(patient.scale[1] * shrink)
    return u + 0.022 * fields.smooth(5), v + 0.022 * fields.smooth(5)


def _outline(picture: _Picture, view: str, table: dict) -> np.ndarray:
    """Return the signed distance to a view's outline."""
    x0, y0 = _CENTRES[view]
    dx, dy = picture.x - np.float32(x0), picture.y - np.float32(y0)
    rho = np.hypot(dx, dy)
    fine, radius, slope = _smooth_outline(table[view])
    place = np.arctan2(dy, dx) * np.float32(len(fine) / (2 * np.pi))
    cell = np.rint(place).astype(np.int32) % len(fine)
    return (rho - radius[cell]) * slope[cell]


@lru_cache(maxsize=16)
def _smooth_outline(radii: tuple):
    """Return 2,048 angles, the periodic smooth curve through `radii`, and its cosine of slope."""
    spectrum = np.fft.rfft(radii)
    spectrum[-1] /= 2
    count = 2048
    curve = np.fft.irfft(spectrum, count) * (count / len(radii))
    turn = np.gradient(np.r_[curve[-1], curve, curve[0]])[1:-1] / (2 * np.pi / count)
    slope = 1 / np.hypot(1, turn / curve)
    return np.arange(count), curve.astype(np.float32), slope.astype(np.float32)


# --- the head around the brain ----------------------------------------------------------------


def _draw_head(p: _Picture, patient: Patient, fields: Fields) -> np.ndarray:
    """Paint scalp, skull and face; return the brain's signed distance (S, S)."""
    view = patient.view
    rough = fields.smooth(9)
    head = _outline(p, view, _HEAD) + 0.008 * fields.smooth(7)
    brain = _outline(p, view, _BRAIN) + 0.010 * rough
    inside = brain
    if view == "sagittal":
        head = np.minimum(head, p.ellipse(-0.86, 0.30, 0.11, 0.13, 20))  # nose
        inside = np.minimum(inside, _cerebellum(p))
        inside = np.minimum(inside, _brainstem(p) - 0.01)
    texture = fields.smooth(18)
    flesh = p.value("muscle") + (p.value("fat") - p.value("muscle")) * np.clip(
        0.15 + 0.45 * texture, 0, 0.8
    )
    p.image += p.soft(head) * flesh
    scalp = p.soft(head) * p.soft(-head - (0.050 + 0.012 * rough))
    p.paint(scalp, "fat", 0.9)
    p.paint(p.soft(np.abs(head + 0.006) - 0.007), "muscle", 0.7)  # skin
    _FACE[view](p, fields)
    thickness = 0.070 + 0.012 * rough
    p.paint(p.soft(inside - thickness), "bone")
    marrow = np.abs(inside - 0.55 * thickness) - 0.010 - 0.006 * texture
    p.paint(p.soft(marrow, 2.0), "marrow", 0.75)
    p.paint(p.soft(inside - 0.022), "dura", 0.8)
    p.paint(p.soft(inside - 0.015), "csf")
    return brain


def _no_face(p: _Picture, fields: Fields) -> None:
    """An axial slice at the ventricles shows none."""


def _coronal_face(p: _Picture, fields: Fields) -> None:
    p.paint(p.soft(p.ellipse(0, 0.47, 0.30, 0.16)), "marrow", 0.5)
    p.paint(p.soft(p.ellipse(0, 0.39, 0.13, 0.07)), "bone")  # sphenoid sinus
    p.paint(p.soft(p.ellipse(0, 0.58, 0.07, 0.08)), "bone")  # pharynx
    for side in (-1, 1):
        p.paint(p.soft(p.ellipse(side * 0.33, 0.62, 0.13, 0.20, side * 12)), "muscle")
        p.paint(p.soft(p.ellipse(side * 0.50, 0.66, 0.05, 0.22, side * 10)), "bone")
        p.paint(p.soft(p.ellipse(side * 0.50, 0.66, 0.03, 0.19, side * 10)), "marrow", 0.8)
    p.paint(p.soft(p.ellipse(0, 0.86, 0.24, 0.14)), "muscle", 0.8)


def _sagittal_face(p: _Picture, fields: Fields) -> None:
    p.paint(p.soft(p.ellipse(-0.52, 0.42, 0.24, 0.09, 6)), "bone", 0.85)  # nasal cavity
    p.paint(p.soft(p.ellipse(-0.52, 0.43, 0.19, 0.025, 6)), "muscle", 0.7)
    p.paint(p.soft(p.ellipse(-0.42, 0.74, 0.24, 0.17, 10)), "muscle")  # tongue
    p.paint(p.soft(p.line([(-0.16, 0.44), (-0.10, 0.68), (-0.06, 1.1)], [0.05, 0.03, 0.04])), "bone")
    p.paint(p.soft(p.ellipse(-0.72, -0.10, 0.035, 0.08, -12)), "bone", 0.9)  # frontal sinus
    for step in range(4):
        p.paint(p.soft(p.ellipse(0.04 + 0.02 * step, 0.62 + 0.14 * step, 0.07, 0.055)), "marrow")
    p.paint(p.soft(p.line([(0.02, 0.26), (0.07, 0.44)], [0.07, 0.045])), "marrow")  # clivus
    p.paint(p.soft(p.ellipse(-0.19, 0.31, 0.09, 0.065)), "bone")  # sphenoid sinus


_FACE = {"axial": _no_face, "coronal": _coronal_face, "sagittal": _sagittal_face}


def _cerebellum(p: _Picture) -> np.ndarray:
    return p.ellipse(0.40, 0.24, 0.26, 0.17, -12)


def _brainstem(p: _Picture) -> np.ndarray:
    return p.line([(0.06, 0.05), (0.13, 0.22), (0.20, 0.48), (0.24, 1.2)], [0.07, 0.10, 0.06, 0.045])


# --- the brain --------------------------------------------------------------------------------


def _draw_brain(p: _Picture, brain, patient: Patient, depth: float, fields: Fields) -> None:
    """Paint white and gray matter, sulci, and the view's inner parts."""
    inner = -brain
    folds = fields.smooth(26) + 0.5 * fields.smooth(14)
    # |f| / |grad f| is about the distance to where f is 0: sulci of even width, however f bends.
    slope_y, slope_x = np.gradient(folds, p.pixel)
    fold = np.abs(folds) / np.sqrt(slope_x**2 + slope_y**2 + 1.0)
    reach = np.clip(1.0 - inner / (0.20 + 0.03 * fields.smooth(6)), 0, 1)
    mask = p.soft(brain)
    p.paint(mask, "white")
    cortex = np.minimum(fold - 0.034 * np.sqrt(reach), inner - 0.030)
    p.paint(mask * p.soft(cortex), "gray")
    sulci = fold - (0.007 + 0.012 * patient.atrophy) * reach + 0.004 * (reach == 0)
    p.paint(mask * p.soft(sulci, 1.5), "csf", 0.9)
    _INNER[patient.view](p, mask, patient, fields)
    dots = fields.smooth(40)
    p.paint(mask * p.soft((2.9 - dots) * 0.02, 1.5), "vessel", 0.8)


def _axial_inner(p: _Picture, mask, patient: Patient, fields: Fields) -> None:
    v = patient.ventricles
    for ends in ([(0, -0.8), (0, -0.30)], [(0, 0.32), (0, 0.8)]):
        p.paint(mask * p.soft(p.line(ends, [0.045, 0.035])), "gray")
        p.paint(mask * p.soft(p.line(ends, [0.016, 0.009]), 1.5), "csf")
        p.paint(mask * p.soft(p.line(ends, [0.004, 0.004])), "dura", 0.7)
    for side in (-1, 1):
        sylvian = p.line([(side * 0.60, 0.02), (side * 0.40, -0.03), (side * 0.36, 0.14)], [0.02] * 3)
        p.paint(mask * p.soft(sylvian - 0.035), "gray")
        p.paint(mask * p.soft(sylvian), "csf")
        p.paint(mask * p.soft(p.ellipse(side * 0.13, -0.16, 0.045, 0.085, side * 15), 2), "nuclei")
        p.paint(mask * p.soft(p.ellipse(side * 0.235, -0.02, 0.055, 0.135, side * 12), 2), "nuclei")
        p.paint(mask * p.soft(p.ellipse(side * 0.095, 0.09, 0.065, 0.095, -side * 25), 2), "nuclei")
        horn = p.line(
            [(side * 0.10, -0.25), (side * 0.035, -0.09), (side * 0.05, 0.02)],
            [0.030 * v, 0.022 * v, 0.012 * v],
        )
        atrium = p.line(
            [(side * 0.10, 0.17), (side * 0.19, 0.26), (side * 0.17, 0.36)],
            [0.018 * v, 0.038 * v, 0.012 * v],
        )
        p.paint(mask * p.soft(np.minimum(horn, atrium), 1.5), "csf")
        p.paint(mask * p.soft(p.ellipse(side * 0.17, 0.25, 0.022, 0.03), 2), "vessel", 0.55)
    p.paint(mask * p.soft(p.line([(0, -0.01), (0, 0.13)], [0.010 * v, 0.013 * v])), "csf")
    p.paint(p.soft(p.ellipse(0, 0.715, 0.03, 0.035)), "vessel", 0.9)


def _coronal_inner(p: _Picture, mask, patient: Patient, fields: Fields) -> None:
    v = patient.ventricles
    falx = [(0, -0.8), (0, -0.40)]
    p.paint(mask * p.soft(p.line(falx, [0.045, 0.035])), "gray")
    p.paint(mask * p.soft(p.line(falx, [0.015, 0.010]), 1.5), "csf")
    p.paint(mask * p.soft(p.line(falx, [0.005, 0.004])), "dura", 0.7)
    for side in (-1, 1):
        sylvian = p.line([(side * 0.62, 0.02), (side * 0.40, 0.03), (side * 0.36, -0.10)], [0.02] * 3)
        p.paint(mask * p.soft(sylvian - 0.035), "gray")
        p.paint(mask * p.soft(sylvian), "csf")
        p.paint(mask * p.soft(p.ellipse(side * 0.15, -0.24, 0.05, 0.05), 2), "nuclei")
        p.paint(mask * p.soft(p.ellipse(side * 0.23, -0.08, 0.065, 0.10, side * 15), 2), "nuclei")
        p.paint(mask * p.soft(p.ellipse(side * 0.085, -0.09, 0.06, 0.075), 2), "nuclei")
        horn = p.line([(side * 0.02, -0.27), (side * 0.13, -0.32)], [0.022 * v, 0.026 * v])
        p.paint(mask * p.soft(horn, 1.5), "csf")
        p.paint(mask * p.soft(p.ellipse(side * 0.36, 0.18, 0.05, 0.022, side * -30)), "gray")
    p.paint(mask * p.soft(p.line([(0, -0.16), (0, 0.06)], [0.012 * v, 0.014 * v])), "csf")
    p.paint(p.soft(p.ellipse(0, 0.20, 0.17, 0.055), 2), "csf")  # suprasellar cistern
    p.paint(p.soft(p.ellipse(0, 0.155, 0.075, 0.014)), "white", 0.8)  # optic chiasm
    p.paint(p.soft(p.ellipse(0, 0.255, 0.065, 0.024)), "gland")
    for side in (-1, 1):
        p.paint(p.soft(p.ellipse(side * 0.12, 0.265, 0.045, 0.05)), "gland", 0.6)
        p.paint(p.soft(p.ellipse(side * 0.115, 0.265, 0.02, 0.02)), "bone")  # carotid
    p.paint(p.soft(p.ellipse(0, -0.745, 0.035, 0.03)), "vessel", 0.9)


def _sagittal_inner(p: _Picture, mask, patient: Patient, fields: Fields) -> None:
    v = patient.ventricles
    callosum = [(-0.22, -0.10), (-0.25, -0.20), (-0.12, -0.29), (0.10, -0.30), (0.24, -0.22), (0.24, -0.15)]
    body = p.line(callosum, [0.02, 0.035, 0.024, 0.022, 0.03, 0.04])
    p.paint(p.soft(body - 0.05, 2), "gray", 0.7)
    p.paint(p.soft(body - 0.016), "csf", 0.8)
    under = p.ellipse(0.0, -0.16, 0.22, 0.055 * v, -3)
    p.paint(p.soft(under, 1.5), "csf")
    p.paint(p.soft(p.ellipse(0.03, -0.08, 0.11, 0.07), 2), "nuclei")
    p.paint(p.soft(body), "white", 1.0)
    p.paint(p.soft(_brainstem(p) - 0.03), "csf")
    cerebellum = _cerebellum(p)
    p.paint(p.soft(cerebellum), "gray")
    # Folia: fine leaves across rays from the fourth ventricle.
    rho = np.hypot(p.x - 0.24, p.y - 0.23)
    phi = np.arctan2(p.y - 0.23, p.x - 0.24)
    leaves = np.sin(26 * phi + 1.5 * fields.smooth(12)) + 0.6 * np.sin(70 * rho)
    p.paint(p.soft(cerebellum) * np.clip(leaves - 0.2, 0, 1), "csf", 0.45)
    tree = p.ellipse(0.34, 0.23, 0.12, 0.05, -12)
    p.paint(p.soft(tree - 0.02 * np.sin(9 * phi), 3), "white")
    p.paint(p.soft(p.ellipse(0.235, 0.22, 0.03, 0.06, -15)), "csf")  # fourth ventricle
    p.paint(p.soft(_brainstem(p), 1.5), "white", 0.9)
    p.paint(p.soft(p.ellipse(-0.08, 0.12, 0.10, 0.045), 2), "csf")  # suprasellar cistern
    p.paint(p.soft(p.ellipse(-0.11, 0.205, 0.055, 0.024)), "gland")
    p.paint(p.soft(p.line([(-0.10, 0.10), (-0.11, 0.19)], [0.008, 0.006])), "gland")


_INNER = {"axial": _axial_inner, "coronal": _coronal_inner, "sagittal": _sagittal_inner}


# --- lesions ----------------------------------------------------------------------------------


def _sized(lesion: Lesion | None, depth: float) -> Lesion | None:
    """Return the lesion as this slice cuts it: a ball's disc, half as wide at the ends."""
    if lesion is None:
        return None
    radius = lesion.radius * np.sqrt(1 - 0.75 * depth**2)
    return Lesion(lesion.kind, lesion.x, lesion.y, float(radius), lesion.strength, lesion.wobble)


def _push_aside(x, y, lesion: Lesion):
    """Move the anatomy outwards about a lesion (mass effect); the lesion itself stays."""
    dx, dy = x - np.float32(lesion.x), y - np.float32(lesion.y)
    square = (dx * dx + dy * dy) / np.float32((2.2 * lesion.radius) ** 2)
    pull = np.float32(0.35) * np.exp(-square)
    return x - dx * pull, y - dy * pull


def _ball(p: _Picture, lesion: Lesion, fields: Fields, roughness: float) -> np.ndarray:
    """Return the signed distance to the lesion's outline, in half image widths."""
    dx = p.x - np.float32(lesion.x)
    dy = p.y - np.float32(lesion.y)
    # _push_aside has drawn coordinates in; 0.65 of the radius here is the radius on the picture.
    phi = np.arctan2(dy, dx)
    wave = sum(a * np.cos(k * phi + 7 * a * 10) for k, a in enumerate(lesion.wobble, start=2))
    bumps = roughness * (0.5 * fields.smooth(20) + wave)
    return np.hypot(dx, dy) - np.float32(0.75 * lesion.radius) * (1 + bumps)


def _glioma(p: _Picture, brain, lesion: Lesion, fields: Fields) -> None:
    """Irregular, inside the brain: broken ring, necrotic core, edema that spares the cortex."""
    r = lesion.radius
    out = _ball(p, lesion, fields, 0.32)
    mottle = fields.smooth(24)
    mask = p.soft(brain + 0.02)
    spread = out - r * (0.55 + 0.35 * fields.smooth(9))
    whiteness = p.soft(-(-brain - 0.045), 4) * 0 + p.soft(0.045 + brain, 6)
    p.paint(mask * whiteness * p.soft(spread, 5), "edema", 0.75 * lesion.strength)
    wall = r * (0.20 + 0.07 * fields.smooth(12))
    p.paint(mask * p.soft(out, 2), "gray", 0.6)
    core = p.value("necrosis") * (1 + 0.25 * mottle)
    p.image += mask * p.soft(out + 0.7 * wall, 2.5) * (core - p.image)
    ring = p.soft(np.abs(out + wall / 2) - wall / 2, 2.5)
    broken = np.clip(0.75 + 0.35 * mottle, 0.15, 1)
    p.paint(mask * ring * broken, "ring", lesion.strength)


def _meningioma(p: _Picture, brain, lesion: Lesion, fields: Fields) -> None:
    """Round, even, broad on the dura: the convexity's, or the falx (x near 0) on one side."""
    out = _ball(p, lesion, fields, 0.10)
    on_falx = abs(lesion.x) < lesion.radius
    base = brain - 0.012
    if on_falx:
        base = np.maximum(base, -np.float32(np.sign(lesion.x)) * p.x - 0.004)
    body = np.maximum(out, base)
    p.paint(p.soft(brain) * p.soft(out - 0.35 * lesion.radius, 8), "edema", 0.35 * lesion.strength)
    p.paint(p.soft(brain) * p.soft(out - 0.016), "csf", 0.7)  # the cleft
    even = p.value("meningioma") * (1 + 0.05 * fields.smooth(24))
    p.image += p.soft(body, 1.5) * np.float32(lesion.strength) * (even - p.image)
    if not on_falx:
        tail = np.maximum(np.abs(brain) - 0.011, out - 0.8 * lesion.radius)
        p.paint(p.soft(tail, 2), "meningioma", 0.8 * lesion.strength)


def _adenoma(p: _Picture, brain, lesion: Lesion, fields: Fields) -> None:
    """Round, on the midline, out of the sella upwards, with a waist when large."""
    r = lesion.radius
    out = _ball(p, lesion, fields, 0.10)
    top = np.hypot(p.x - lesion.x, (p.y - lesion.y + 0.75 * r)) - 0.52 * r
    body = np.minimum(out, top)
    p.paint(p.soft(body - 0.014, 1.5), "csf", 0.6)
    even = p.value("adenoma") * (1 + 0.07 * fields.smooth(24))
    p.image += p.soft(body, 1.5) * np.float32(lesion.strength) * (even - p.image)


_DRAW = {"glioma": _glioma, "meningioma": _meningioma, "pituitary": _adenoma}


# --- the scanner ------------------------------------------------------------------------------


def _scan(image, patient: Patient, fields: Fields, noise: int) -> np.ndarray:
    """Return uint8: coil shading, blur, Rician noise (Gudbjartsson and Patz 1995)."""
    shaded = image * np.exp(np.float32(patient.bias) * fields.smooth(3))
    width = patient.blur * image.shape[0] / 192
    shaded = gaussian_filter(shaded, width, truncate=3) if width > 0.2 else shaded
    draw = np.random.Generator(np.random.Philox(np.random.SeedSequence(noise)))
    real, imaginary = draw.standard_normal((2, *image.shape), np.float32) * np.float32(patient.sigma)
    magnitude = np.hypot(shaded + real, imaginary)
    return np.clip(magnitude * np.float32(225.0) + 0.5, 0, 255).astype(np.uint8)


def brain_radius(view: str, angle: float) -> tuple[tuple[float, float], float]:
    """Return a view's centre and how far the brain reaches at `angle` (radians, 90 deg is down)."""
    fine, radius, _ = _smooth_outline(_BRAIN[view])
    return _CENTRES[view], float(radius[round(angle / (2 * np.pi) * len(fine)) % len(fine)])
