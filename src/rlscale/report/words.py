"""How numbers are written on the page."""

import math
from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import quote

_COLOURS = ("3b0f70", "31688e", "1f8a70", "6b8e1a", "b8700d")
"""Dark enough on white for lines and marks (3:1 and more), and in an order that survives in grey."""

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down", "star")


def number(value: Any, digits: int = 3) -> str:
    """Write a number with three significant digits, or a dash where there is none; thousands are set apart."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    return f"{value:,.0f}" if 100 <= abs(value) < 1e6 else f"{value:.{digits}g}"


def count(value: Any) -> str:
    """Write a whole number with thousands set apart; scientific from a billion on."""
    return f"{value:,.0f}" if abs(value) < 1e9 else f"{value:.3g}"


def size(params: float) -> str:
    """Write a model size: 3012 is ``3.01 k``, 7e9 is ``7 B``."""
    for factor, unit in ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " k")):
        if params >= factor * 0.9995:
            return f"{params / factor:.3g}{unit}"
    return f"{params:.3g}"


def interval(value: Mapping[str, Any] | None, write: Any = number) -> str:
    """Write an estimate with its interval; an end that was not found is open."""
    if not value or value.get("estimate") is None:
        return "–"
    low, high = ("open" if value[end] is None else write(value[end]) for end in ("low", "high"))
    return f"{write(value['estimate'])} [{low}, {high}]"


def seconds(value: float) -> str:
    """Write a duration."""
    for length, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if value >= 2 * length:
            return f"{value / length:.3g} {unit}"
    return f"{value:.3g} s"


def words(name: str) -> str:
    """Write an identifier as words."""
    return name.replace("_", " ")


def plain(text: object) -> str:
    """Return a text for a chart, which reads markup: so that none of it is any."""
    return escape(str(text), quote=False)


def link(path: str) -> str:
    """Return a path as a relative link."""
    return quote(path)


def colours(how_many: int) -> list[str]:
    """Return so many colours, from dark and blue to warm."""
    stops = [[int(stop[at : at + 2], 16) for at in (0, 2, 4)] for stop in _COLOURS]
    found = []
    for rank in range(how_many):
        place = rank * (len(stops) - 1) / max(how_many - 1, 1)
        left = min(int(place), len(stops) - 2)
        mixed = [a + (place - left) * (b - a) for a, b in zip(stops[left], stops[left + 1], strict=True)]
        found.append("#" + "".join(f"{round(part):02x}" for part in mixed))
    return found
