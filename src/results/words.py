"""The grid's findings in words: a sentence for each that the records found can decide."""

from collections.abc import Mapping, Sequence

from src.comparison.report.tables import signed
from src.records import FRAMEWORKS

EQUAL = 0.01  # of all images: accuracies that differ by less count as one


def findings_in_words(measured: Mapping) -> str:
    """Return a Markdown list of what `src.results.statistics.find` found, or nothing."""
    lines = [
        *_equal(measured["agreement"]),
        *_leak(measured["leak"]),
        *_defaults(measured["defaults"]),
        *_speed(measured["speed"]),
        *_use(measured),
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


def _is_equal(found: Mapping | None) -> bool:
    """Say whether the frameworks' accuracies are proved to differ by less than `EQUAL`."""
    difference = found and found["difference"]
    if not difference or difference["low"] is None:
        return False
    return max(-difference["low"], difference["high"]) < EQUAL


def _equal(found: Mapping | None) -> list[str]:
    if not found:
        return []
    said = []
    if found["twins"]:
        said.append(
            f"on the first fold twins with one seed give {_range(found['twins'])} of the images "
            "the same class"
        )
    seeds = [share for shares in found["seeds"].values() for share in shares]
    if seeds:
        said.append(f"two seeds of one framework {_range(seeds)}")
    if found["difference"]:
        said.append(
            f"over the five folds twins agree on {found['five_folds']:.1%}, and PyTorch's "
            f"accuracy less TensorFlow's is {points(found['difference'])}"
        )
    if _is_equal(found):
        said[0] = f"yes, to within a point: {said[0]}"
    return [f"**Are the frameworks equal?** {_sentence(said)}"]


def _leak(found: Mapping) -> list[str]:
    known = [
        f"{name} {signed(100 * found[key]['difference'], 1)}"
        for key, name in FRAMEWORKS.items()
        if found[key]
    ]
    if not known:
        return []
    said = [f"official less clean accuracy is, in points, {', '.join(known)}"]
    same = {key: found[key]["same_images"] if found[key] else None for key in FRAMEWORKS}
    if _each(same):
        said.append(f"on the official test images alone {_each(same)}")
    return [f"**What is the leak worth?** {_sentence(said)}"]


def _defaults(found: Mapping) -> list[str]:
    if not _each(found):
        return []
    said = [f"stock less exact accuracy on the first fold is {_each(found)}"]
    if shares := found["agreement"]:
        said.append(
            f"stock twins give {shares['stock']:.1%} of the images the same class, exact twins "
            f"{shares['exact']:.1%}"
        )
    return [f"**What do defaults cost?** {_sentence(said)}"]


def _speed(found: Mapping | None) -> list[str]:
    arms = found["arms"].items() if found else ()
    ratios = {arm: costs["ratio"] for arm, costs in arms if costs["ratio"]}
    if not ratios:
        return []
    faster = "neither in all arms"
    if min(ratios.values()) > 1:
        faster = "PyTorch"
    elif max(ratios.values()) < 1:
        faster = "TensorFlow"
    shown = ", ".join(f"{ratio:.2f} ({arm})" for arm, ratio in ratios.items())
    said = [
        f"{faster}, where both ran on one machine: PyTorch's images a second in training are "
        f"TensorFlow's times {shown}"
    ]
    return [f"**Which is faster?** {_sentence(said)}"]


def _use(measured: Mapping) -> list[str]:
    found = measured["against_probe"]
    known = [each for each in found.values() if each]
    if not known:
        return []
    beaten = all(each["low"] is not None and each["low"] > 0 for each in known)
    which = "either framework" if _is_equal(measured["agreement"]) else "a twin"
    exact = next(row for row in measured["rows"] if row["arm"] == "exact" and row["cells"])
    worth = "more often right" if beaten else "not proved to be more often right"
    said = (
        f"{which}, trained from {exact['unfreeze_from']} on: {worth} than a linear probe of the "
        f"frozen blocks, on the same images of the five folds, by {_each(found)}"
    )
    return [f"**What to use?** {_sentence([said])}"]


def _sentence(said: Sequence[str]) -> str:
    whole = "; ".join(said)
    return f"{whole[0].upper()}{whole[1:]}."


def _range(shares: Sequence[float]) -> str:
    low, high = (f"{end(shares):.1%}" for end in (min, max))
    return low if low == high else f"{low} to {high}"
