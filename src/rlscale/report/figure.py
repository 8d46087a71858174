"""A figure of the page: traces and axes as the plotting library takes them, and the table behind it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlscale.report.words import plain


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        heads: of the columns, with units.
        rows: cells; a cell is a text, or a pair of text and relative link.
        caption: what it shows.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""


@dataclass(frozen=True)
class Group:
    """Traces that are switched on and off together.

    Attributes:
        key: the ``legendgroup`` of these.
        label: for people.
        colour: of all of them.
    """

    key: str
    label: str
    colour: str


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        key: unique on the page, and part of an address in it.
        title: what it shows.
        caption: how to read it, sentences.
        traces: of the plotting library.
        x: title and type of the horizontal axis, and whether it may be switched to logarithmic.
        y: of the vertical one.
        table: the numbers behind it.
        sources: names of the files it was made from (keys of `Material.files`).
        groups: what can be switched on and off.
        picture: name of the study's picture of the same; "" where it has none.
        height: pixels.
        bars: how bars of one place stand: "stack" or "".
    """

    key: str
    title: str
    caption: str
    traces: Sequence[dict[str, Any]]
    x: dict[str, Any]
    y: dict[str, Any]
    table: Table
    sources: Sequence[str]
    groups: Sequence[Group] = field(default_factory=tuple)
    picture: str = ""
    height: int = 440
    bars: str = ""

    def data(self) -> dict[str, Any]:
        """Return what the page's script draws from."""
        return {
            "traces": list(self.traces),
            "layout": {"xaxis": self.x, "yaxis": self.y, "height": self.height, "barmode": self.bars or "group"},
        }


def axis(title: str, kind: str = "log") -> dict[str, Any]:
    """Return an axis."""
    return {"title": {"text": plain(title)}, "type": kind}


def rounded(values: Iterable[float]) -> list[float]:
    """Return numbers with six significant digits: more than any screen shows, in half the space."""
    return [float(f"{float(value):.6g}") for value in values]
