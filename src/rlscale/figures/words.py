"""How numbers with intervals and names of laws are written on a figure."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from rlscale.figures.style import human_count


def said_slope(k: float) -> str:
    """Write a slope with three significant digits."""
    return f"{k:#.3g}".rstrip(".")


def said_size(params: float) -> str:
    """Write an estimated model size: three significant digits and a unit."""
    return human_count(params, 3)


def with_interval(value: float, interval: Mapping[str, Any] | None, write: Callable[[float], str]) -> str:
    """Write an estimate with its interval, as in ``17.4 B [6.60, 60.6], 90 %``; an open end is said in words.

    Args:
        value: the estimate.
        interval: its JSON (`rlscale.uncertainty.intervals.Interval`); None where there is none.
        write: writes a number; a unit that an end shares with the estimate is not said again.
    """
    said = write(value)
    if interval is None:
        return said
    unit = said.partition(" ")[2]
    ends = [
        f"no {name} end" if interval[side] is None else write(interval[side]).removesuffix(f" {unit}")
        for side, name in (("low", "lower"), ("high", "upper"))
    ]
    return f"{said} [{', '.join(ends)}], {percent(interval['level'])}"


def percent(share: float) -> str:
    """Write a share in per cent, rounded to whole ones."""
    return f"{100 * share:.0f} %"


def in_words(text: str) -> str:
    """Write identifiers as words, ``kept_slope`` as ``kept slope``; symbols such as ``n_0`` stay."""
    return re.sub(r"(?<=[a-z]{2})_(?=[a-z]{2})", " ", text)


def fit_notes(fit: Mapping[str, Any]) -> list[str]:
    """Return a fit's notes as sentences."""
    return [f"{_begin(note).removesuffix('.')}." for note in fit["notes"]]


def interval_notes(fit: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know of a fit's intervals, and the verdict on saturation; none of what is not there."""
    said = []
    if fit["intervals"] is not None:
        found = fit["intervals"]
        made = "by bootstrap" if found["method"] == "bootstrap" else "of K_max and N_0 by profile, of k by bootstrap"
        said.append(". ".join([f"Intervals {made} ({found['draws']} replicates)", *map(_begin, found["notes"])]) + ".")
    if fit["saturation"] is not None:
        verdict = fit["saturation"]
        said.append(f"Verdict on saturation: {verdict['verdict']}. {_begin(in_words(verdict['reason']))}.")
    return said


def _begin(sentence: str) -> str:
    """Begin a sentence with a capital, unless it begins with a symbol such as ``k`` or ``n_0``."""
    return sentence[:1].upper() + sentence[1:] if sentence[:2].isalpha() else sentence
