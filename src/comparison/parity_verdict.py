"""How large a gap is still rounding? The limits of the parity verdict."""

from dataclasses import dataclass

from src.config import ExperimentConfig

GREEN, RED, NOT_JUDGED = "green", "red", "not judged"


@dataclass(frozen=True)
class Limits:
    """The largest values that pass as rounding.

    Attributes:
        ratio: gap / floor, over trained weights.
        bn_ratio: gap / floor, over BatchNorm moving statistics.
        gap: of the weights, by itself.
        first: the first step that is judged.
    """

    ratio: float
    bn_ratio: float
    gap: float = float("inf")
    first: int = 1


# Two exact twins were seen up to 3 apart in float64, where the floor is a few last bits and the
# order of a sum shows; a fault of 1e-6 is nine digits above it. float32 Adam takes its first step
# by the signs of gradients, so the first ratio says little.
LIMITS = {
    "float64": Limits(ratio=10, bn_ratio=20, gap=1e-12),
    "float32": Limits(ratio=2, bn_ratio=20, first=2),
}


def judge(steps: list[dict], config: ExperimentConfig) -> dict:
    """Return `verdict`, `reason` and the largest ratios of a run's `steps`.

    bfloat16 is not judged: activations keep 8 bits, so the first step's gap is already 1e-5, and
    which sums keep more differs between the frameworks' kernels. (Twenty SGD steps stayed within
    1.2 times the floor: there one epsilon of float32 weights turns a few of the same roundings.)
    """
    limits = LIMITS.get(config.precision)
    judged = [step for step in steps if step["step"] >= (limits.first if limits else 1)]
    ratio = max((step["gap"] / step["floor"] for step in judged), default=0.0)
    bn_ratio = max((step["bn_gap"] / step["bn_floor"] for step in judged), default=0.0)
    figures = {"largest_ratio": ratio, "largest_bn_ratio": bn_ratio}
    gap = max((step["gap"] for step in judged), default=0.0)
    seen = (
        f"gap/floor is at most {ratio:.2g} over the weights and {bn_ratio:.2g} over the BatchNorm "
        f"statistics, the gap at most {gap:.1e}"
    )
    if limits is None or not judged:
        return {"verdict": NOT_JUDGED, "reason": f"{seen}; no limit is set.", **figures}
    green = ratio <= limits.ratio and bn_ratio <= limits.bn_ratio and gap <= limits.gap
    allowed = f"allowed are {limits.ratio:g}, {limits.bn_ratio:g} and {limits.gap:g}"
    return {"verdict": GREEN if green else RED, "reason": f"{seen}; {allowed}.", **figures}
