"""The grid's findings in words: a line for each that the records found can decide."""

from collections.abc import Mapping, Sequence

from src.comparison.records import FRAMEWORKS
from src.comparison.tables import signed


def findings_in_words(measured: Mapping) -> str:
    """Return a Markdown list of what `src.reproduce.findings.find` found, or nothing."""
    lines = [
        *_probe(measured["against_probe"]),
        *_agreement(measured["agreement"]),
        *_leak(measured["leak"]),
        *_defaults(measured["defaults"]),
        *_speed(measured["speed"]),
    ]
    return "\n".join(f"- {line}" for line in lines)


def points(found: Mapping) -> str:
    """{"value": 0.012, "low": 0.003, "high": 0.021} -> "+1.2 points (+0.3 to +2.1)"."""
    value, low, high = (
        None if found[name] is None else signed(100 * found[name], 1)
        for name in ("value", "low", "high")
    )
    return f"{value} points" if low is None else f"{value} points ({low} to {high})"


def _each(found: Mapping) -> str:
    """Return both frameworks' differences, of those that are known."""
    known = [f"{name} {points(found[key])}" for key, name in FRAMEWORKS.items() if found[key]]
    return ", ".join(known)


def _probe(found: Mapping) -> list[str]:
    if not _each(found):
        return []
    return [
        f"**Against the linear probe**, accuracy on the same images of the five folds: "
        f"{_each(found)}."
    ]


def _agreement(found: Mapping | None) -> list[str]:
    if not found:
        return []
    said = []
    if found["twins"]:
        said.append(
            f"twins with one seed give {_range(found['twins'])} of the images the same class"
        )
    seeds = [share for shares in found["seeds"].values() for share in shares]
    if seeds:
        said.append(f"two seeds of one framework {_range(seeds)}")
    line = f"**Twins against seeds**, on the first fold: {', '.join(said)}."
    if found["difference"]:
        line += (
            f" PyTorch less TensorFlow over the five folds: {points(found['difference'])}, the "
            f"same class to {found['five_folds']:.1%} of the images."
        )
    return [line]


def _leak(found: Mapping) -> list[str]:
    known = [
        f"{name} {signed(100 * found[key]['difference'], 1)}"
        for key, name in FRAMEWORKS.items()
        if found[key]
    ]
    if not known:
        return []
    line = f"**What the leak is worth**, official less clean accuracy in points: {', '.join(known)}"
    same = {key: found[key]["same_images"] if found[key] else None for key in FRAMEWORKS}
    if _each(same):
        line += f"; on the official test images alone: {_each(same)}"
    return [f"{line}."]


def _defaults(found: Mapping) -> list[str]:
    if not _each(found):
        return []
    line = f"**What defaults cost**, stock less exact on the first fold: {_each(found)}."
    if shares := found["agreement"]:
        line += (
            f" Stock twins give {shares['stock']:.1%} of the images the same class, exact "
            f"twins {shares['exact']:.1%}."
        )
    return [line]


def _speed(found: Mapping) -> list[str]:
    ratios = [
        f"{arm} {costs['ratio']:.2f}" for arm, costs in found["arms"].items() if costs["ratio"]
    ]
    if not ratios:
        return []
    return [f"**Speed**, PyTorch's images/s by TensorFlow's: {', '.join(ratios)}."]


def _range(shares: Sequence[float]) -> str:
    if len(shares) == 1:
        return f"{shares[0]:.1%}"
    return f"{min(shares):.1%} to {max(shares):.1%}"
