"""Is it the size or the base model? The slope k against size at equal base loss, and against it at equal size."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from scipy.special import stdtrit

from rlscale.errors import UserError
from rlscale.figures.style import (
    ACCENT,
    FAINT,
    MARKERS,
    finish,
    human_count,
    label_ticks,
    log_axis,
    new_figure,
    styled,
)
from rlscale.figures.tables import check, is_excluded, omissions
from rlscale.model_base import FULL_SUPERVISION
from rlscale.uncertainty import LEVEL

_COLUMNS = ("panel", "run", "params", "base_seed", "supervision", "base_loss", "k")
_SLOPE_LABEL = "Slope k, L ∝ D$^{-k}$"
_ASIDE = 1.05  # factor on N from a size to its marks, and once more to its points
_OTHERS = "0.15"


@styled
def controls(slopes: pd.DataFrame, missing: Sequence[str] = ()) -> Figure:
    """Draw k against N for fully supervised and matched base models, and k against base loss at one size.

    Light points are base models (means over their training seeds, where there are several base models), marks are means
    over them with t intervals.

    Args:
        slopes: one row per run and panel (``size``, ``base_loss``): run, params, base_seed, supervision, base_loss, k.
        missing: planned cells that are not there, to be named under the figure.

    Raises:
        UserError: a column is missing, or nothing is left to draw.
    """
    check(slopes, _COLUMNS, "controls")
    rows = slopes[~is_excluded(slopes)]
    panels = {name: _by_base(rows[rows["panel"] == name]) for name in ("size", "base_loss")}
    draw = {"size": _against_size, "base_loss": _against_base_loss}
    shown = [name for name, own in panels.items() if not own.empty]
    if not shown:
        raise UserError('figure controls: no row has the panel "size" or "base_loss"')
    figure = new_figure(3.6)
    places = figure.subplots(1, len(shown), squeeze=False)[0]
    looks = _looks(panels)
    notes = [draw[name](axes, panels[name], looks) for name, axes in zip(shown, places, strict=True)]
    levels = [level for level in looks if any(level in set(own["supervision"]) for own in panels.values())]
    handles = [
        Line2D([], [], color=looks[level][0], marker=looks[level][1], ls="", ms=5, label=level) for level in levels
    ]
    title = "Supervision of the base model"
    figure.legend(handles=handles, title=title, loc="outside upper center", ncols=min(len(handles), 8))
    said = (
        f"Light points are base models, marks their means with {LEVEL:.0%} intervals (t) where there are two or more."
    )
    return finish(figure, [said, *notes, *omissions(slopes, missing)])


def _looks(panels: Mapping[str, pd.DataFrame]) -> dict[str, tuple[str, str]]:
    """Return colour and marker by supervision: full first, then what is matched, then the others by base loss."""
    at_sizes, at_one = panels["size"], panels["base_loss"]
    matched = [level for level in dict.fromkeys(at_sizes["supervision"]) if level != FULL_SUPERVISION]
    others = at_one.groupby("supervision")["base_loss"].mean().sort_values(ascending=False).index
    rest = [level for level in others if level not in (FULL_SUPERVISION, *matched)]
    levels = {FULL_SUPERVISION: (FAINT, MARKERS[0])} | dict.fromkeys(matched, (ACCENT, MARKERS[1]))
    return levels | {level: (_OTHERS, MARKERS[2 + i % (len(MARKERS) - 2)]) for i, level in enumerate(rest)}


def _against_size(axes: Axes, rows: pd.DataFrame, looks: Mapping[str, tuple[str, str]]) -> str:
    """Draw k against N by supervision, and return what to say of the base losses."""
    sizes = sorted(set(rows["params"]))
    log_axis(axes, "x", [sizes[0] / 1.3, sizes[-1] * 1.3], human=True)
    losses = []
    for level, (colour, marker) in looks.items():
        own = rows[rows["supervision"] == level]
        if own.empty:
            continue
        aside = 1 / _ASIDE if level == FULL_SUPERVISION else _ASIDE
        axes.plot(own["params"] * aside**2, own["k"], marker, color=colour, ms=3.5, mew=0, alpha=0.5, gid="base")
        summary = _summary(own, "params")
        _marks(axes, summary.index * aside, summary, look=(colour, marker), line=True)
        means = own.groupby("params")["base_loss"].mean()
        losses.append(f"{means.min():.3f} to {means.max():.3f} ({level})")
    label_ticks(axes, {size: human_count(size) for size in sizes}, apart=0.1)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(min(0.0, axes.get_ylim()[0]))
    axes.set(xlabel="Model size N (parameters)", ylabel=_SLOPE_LABEL, title="Against size")
    return f"Base loss, the means of the sizes: {', '.join(losses)}."


def _against_base_loss(axes: Axes, rows: pd.DataFrame, looks: Mapping[str, tuple[str, str]]) -> str:
    """Draw k against base loss by supervision at one size, and return what its line says."""
    for level, (colour, marker) in looks.items():
        own = rows[rows["supervision"] == level]
        if own.empty:
            continue
        axes.plot(own["base_loss"], own["k"], marker, color=colour, ms=3.5, mew=0, alpha=0.5, gid="base")
        _marks(axes, [own["base_loss"].mean()], _summary(own, "supervision"), look=(colour, marker), line=False)
    slope = _slope_within(rows)
    ends = np.array([rows["base_loss"].min(), rows["base_loss"].max()])
    line = rows["k"].mean() + slope * (ends - rows["base_loss"].mean())
    axes.plot(ends, line, color=FAINT, lw=0.9, ls="--", zorder=1, gid="line")
    size = human_count(float(rows["params"].iloc[0]))
    axes.set(xlabel="Loss of the base model, 1 − pass@1", ylabel=_SLOPE_LABEL, title=f"Against base loss, N = {size}")
    change = f"{slope / 10:+.3f}".replace("-", "−")
    return f"Dashed: the mean of the lines of the base seeds, {change} in k per 0.1 of base loss."


def _by_base(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per base model, where a size has several; training seeds are the points where it has one."""
    if rows.empty or rows["base_seed"].nunique() < 2:
        return rows
    keys = ["params", "supervision", "base_seed"]
    return rows.groupby(keys, as_index=False)[["base_loss", "k"]].mean()


def _summary(rows: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return mean and half the t interval of k by a column; NaN for a single point."""
    found = rows.groupby(by)["k"].agg(["mean", "sem", "count"])
    quantile = np.array([stdtrit(count - 1, (1 + LEVEL) / 2) if count > 1 else np.nan for count in found["count"]])
    return found.assign(half=quantile * found["sem"])


def _marks(axes: Axes, at: npt.ArrayLike, summary: pd.DataFrame, *, look: tuple[str, str], line: bool) -> None:
    shape = f"{look[1]}-" if line else look[1]
    places, halves = np.asarray(at), summary["half"].to_numpy()
    axes.errorbar(
        places, summary["mean"], halves, fmt=shape, color=look[0], ms=5, capsize=2.5, elinewidth=1, lw=1.1, gid="mean"
    )


def _slope_within(rows: pd.DataFrame) -> float:
    """Return the mean over base seeds of the slope of k in base loss, as the finding has it."""
    by_seed = [own for _, own in rows.groupby("base_seed") if np.ptp(own["base_loss"]) > 0]
    return float(np.mean([np.polyfit(own["base_loss"], own["k"], 1)[0] for own in by_seed]))
