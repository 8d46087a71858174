"""What every figure shares: one look, readable logarithmic axes, notes under the panels, and deterministic bytes.

Figures are built with the object API inside a style context, so neither pyplot nor a user's matplotlibrc has a say.
"""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps, style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

WIDTH_INCHES = 7.0
LOSS_LABEL = "Test loss, 1 − pass@1"
X_AXES = {
    "compute": ("compute_flops", "Compute C (FLOPs)"),
    "samples": ("samples", "Samples D (prompts, repeats counted)"),
}
"""Column and label by name of the predictor."""
ACCENT = "#2a788e"  # of the one thing that a figure is about
FAINT = "0.45"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">", "h", "*")
METADATA_KEYS = (
    "Title",
    "Description",
    "Identifier",
    "Source",
    "Creator",
    "Rights",
    "Language",
    "Coverage",
    "Relation",
)

# "default" first: it undoes what a user's matplotlibrc says. Text as outlines looks the same on every machine.
STYLE: list[Any] = [
    "default",
    {
        "font.size": 9,
        "axes.labelsize": 9,
        "axes.titlesize": 9,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.fontsize": 8,
        "legend.title_fontsize": 8,
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "0.92",
        "grid.linewidth": 0.6,
        "lines.solid_capstyle": "round",
        "svg.fonttype": "path",
        "svg.hashsalt": "rlscale",
    },
]
styled = style.context(STYLE)

_NOTE_POINTS = 8
_NOTE_CHARACTERS = 118  # of a line
_NOTE_LINE_INCHES = _NOTE_POINTS * 1.35 / 72
_PNG_DOTS_PER_INCH = 200


def human_count(value: float, digits: int = 2) -> str:
    """Write a count with a unit and ``digits`` significant digits: 3012 is ``3.0 k``, 7e9 exactly is ``7 B``."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.{digits - 1}e}")
    # The unit follows the rounded value, so that 999,950 is 1 M and not 1000 k.
    unit, factor = next(
        (u, f) for u, f in ((" T", 1e12), (" B", 1e9), (" M", 1e6), (" k", 1e3), ("", 0)) if rounded >= f
    )
    factor = factor or 1.0
    exact = math.isclose(value, round(value / factor) * factor)
    places = 0 if exact else max(0, digits - 1 - math.floor(math.log10(rounded / factor)))
    return f"{rounded / factor:.{places}f}{unit}"


def colours(count: int) -> list[str]:
    """Return ``count`` colours of viridis from dark to light; its pale end is left out, being unreadable on white."""
    return [to_hex(colormaps["viridis"](at)) for at in np.linspace(0.0, 0.86, max(count, 1))]


def new_figure(height_inches: float) -> Figure:
    """Return an empty white figure of the journal's width with automatic layout."""
    return Figure(
        figsize=(WIDTH_INCHES, height_inches), dpi=_PNG_DOTS_PER_INCH, layout="constrained", facecolor="white"
    )


def finish(figure: Figure, notes: Sequence[str]) -> Figure:
    """Write ``notes`` under the panels, in room of their own, and freeze the layout: every format gets the same."""
    lines = [line for note in notes for line in textwrap.wrap(note, width=_NOTE_CHARACTERS)]
    room = len(lines) * _NOTE_LINE_INCHES + 0.06 * bool(lines)
    figure.set_figheight(figure.get_figheight() + room)
    if lines:
        figure.text(0.01, 0.01, "\n".join(lines), fontsize=_NOTE_POINTS, color="0.25", va="bottom", linespacing=1.2)
    bottom = room / figure.get_figheight()
    figure.set_layout_engine("constrained", rect=(0, bottom, 1, 1 - bottom))
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def log_axis(
    axes: Axes, which: Literal["x", "y"], values: Iterable[float], *, human: bool = False, apart: float = 0.055
) -> None:
    """Make an axis logarithmic over ``values``, with plain labels where powers of ten alone would be too few to read.

    Args:
        axes: the panel.
        which: its x or its y axis.
        values: the positive numbers to be seen; they set the limits, with a margin of 4 % on either side.
        human: write counts with a unit (``10 B``) rather than as numbers.
        apart: how far apart plain labels stay, as a share of the axis.
    """
    seen = list(values)
    margin = max(0.04 * math.log10(max(seen) / min(seen)), 0.01)
    low, high = min(seen) * 10**-margin, max(seen) * 10**margin
    axis: Axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}scale": "log", f"{which}lim": (low, high)})
    if math.log10(high / low) < 2:
        axis.set_major_locator(FixedLocator(plain_ticks(low, high, apart)))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(LogLocator(numticks=12))
        axis.set_minor_locator(LogLocator(subs=tuple(range(2, 10)), numticks=12))
    if human:
        axis.set_major_formatter(FuncFormatter(lambda value, _: _human(value)))
    elif math.log10(high / low) < 2:
        axis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))
    axis.set_minor_formatter(NullFormatter())


def _human(value: float) -> str:
    """Write a number of a tick as a count with a unit, in as many digits as it has."""
    number, _, unit = human_count(value, 3).partition(" ")
    return f"{float(number):g} {unit}".rstrip()


def _plain(value: float) -> str:
    """Write a number of a tick, a large one as a power of ten with a factor in front."""
    if value < 1e5:
        return f"{value:g}"
    power = math.floor(math.log10(value) + 1e-9)
    factor = f"{value / 10.0**power:.3g}"
    return rf"$10^{{{power}}}$" if factor == "1" else rf"${factor} \times 10^{{{power}}}$"


def label_ticks(axes: Axes, labels: Mapping[float, str], *, apart: float) -> None:
    """Put the ticks of the x axis at given values; one within ``apart`` of a labelled one before it has no label."""
    along = axes.transScale + axes.transLimits
    axes.set_xlim(axes.get_xlim())  # so that the limits are those that will be drawn
    shown, last = [], -math.inf
    for value, label in sorted(labels.items()):
        at = float(along.transform((value, axes.get_ylim()[1]))[0])
        shown.append(label if at - last >= apart else "")
        last = at if at - last >= apart else last
    axes.set_xticks(sorted(labels), shown)


def plain_ticks(low: float, high: float, apart: float = 0.055) -> list[float]:
    """Return round numbers in ``[low, high]``, as many as stay ``apart`` (a share of the axis) on a logarithmic axis.

    The choice is between multiples of 0.01, 0.02, 0.05, 0.1, 0.2 or 0.5 of the highest power of ten and, in every
    decade, some of 1, 1.5, 2, 3, 4, 5, 6, 8.
    """
    span = math.log10(high / low)
    powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    ladders = [[step * i * 10.0 ** powers[-1] for i in range(1, int(10 / step) + 1)] for step in _STEPS]
    ladders += [[lead * 10.0**power for power in powers for lead in leads] for leads in _LEADS]
    best = [float(f"{math.sqrt(low * high):.2g}")]
    for ladder in ladders:
        inside = [float(f"{tick:.6g}") for tick in ladder if low <= tick <= high]
        if len(inside) > len(best) and np.min(np.diff(np.log10(inside))) >= apart * span:
            best = inside
    return best


_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_LEADS = ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 4, 6, 8), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,))


def base_tick(axes: Axes, loss: float, colour: str) -> None:
    """Mark the loss before training at the left margin, where step 0 would lie on an axis that cannot show 0."""
    axes.plot([0, 0.022], [loss, loss], transform=axes.get_yaxis_transform(), color=colour, lw=1.1, gid="base-loss")


def base_handle() -> Line2D:
    """Return the legend's entry for :func:`base_tick`."""
    return Line2D([], [], color="0.4", marker="_", ms=7, mew=1.1, ls="", label="before training")


@styled
def render(figure: Figure, format: Literal["svg", "png"], metadata: Mapping[str, str]) -> bytes:  # noqa: A002
    """Return the figure as a file's bytes: the same figure and metadata give the same bytes in every process.

    Args:
        figure: a figure made by this package.
        format: ``svg`` (text as outlines) or ``png`` (200 dots per inch).
        metadata: Dublin Core terms, such as ``Title``, or ``Identifier`` for the derivation digest. They are the RDF
            block of an SVG and tEXt chunks of a PNG (iTXt where a value is not Latin-1). No date is written.

    Raises:
        ValueError: the format or a key of the metadata is not one of those allowed.
    """
    if format not in ("svg", "png"):
        raise ValueError(f"format {format!r}: svg or png")
    if unknown := sorted(set(metadata) - set(METADATA_KEYS)):
        raise ValueError(f"metadata {', '.join(unknown)}: only {', '.join(METADATA_KEYS)}")
    # What matplotlib would add by itself: the time, and its version, which the record of the figure already holds.
    silent = {"Date": None, "Creator": None} if format == "svg" else {"Software": None}
    buffer = BytesIO()
    figure.savefig(buffer, format=format, metadata={**silent, **dict(sorted(metadata.items()))}, facecolor="white")
    return buffer.getvalue()
