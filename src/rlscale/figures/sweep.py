"""One axis of the grid at a time: the curves at each of its levels, and where they end.

Only runs that differ in that axis alone are compared, and only those whose base and seed are there at two levels or
more, so that a difference between levels is not one between bases.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from rlscale.errors import UserError, did_you_mean
from rlscale.figures.style import (
    LOSS_LABEL,
    MARKERS,
    base_handle,
    base_tick,
    colours,
    finish,
    human_count,
    label_ticks,
    log_axis,
    new_figure,
    styled,
)
from rlscale.figures.tables import RUN_COLUMNS, SEED_COLUMNS, check, drawn, omissions, runs


@dataclass(frozen=True)
class _Axis:
    """How an axis of the grid is drawn."""

    column: str
    label: str
    short: str
    scale: str
    against: str = "samples"


_AGAINST = {"samples": "Samples D (prompts)", "step": "Optimiser step"}
_FACTORS = {
    axis.column: axis
    for axis in (
        _Axis("reward_accuracy", "Reward accuracy (probability that a reward is right)", "Reward accuracy", "linear"),
        _Axis("skill_share", "Skill share (fraction of the skills trained on)", "Skill share", "linear"),
        _Axis("group_size", "Group size G (rollouts per prompt)", "Group size G", "log"),
        _Axis("variant", "Variant of the model", "Variant", "category"),
    )
}
_REUSE = _Axis("tau", "Data reuse τ (passes over the unique samples)", "Data reuse τ", "log", against="step")
_MOST_COLUMNS = 3
_APART = 0.08  # of two labels on a loss axis of about two inches


def reuse(curves: pd.DataFrame, missing: Sequence[str] = ()) -> Figure:
    """Draw test loss against step for each data reuse τ, and the last loss of each run against τ.

    Thin lines are runs, thick ones means over runs; there is a panel of curves per setting of the other axes.

    Args:
        curves: one row per run and step: params, tau, step, test_loss, and the other axes where they vary.
        missing: planned cells that are not there, to be named under the figure.

    Raises:
        UserError: a column is missing, nothing is left to draw, or no runs differ in τ alone.
    """
    return _sweep_figure(curves, _REUSE, "reuse", missing)


def factor(curves: pd.DataFrame, name: str, missing: Sequence[str] = ()) -> Figure:
    """Draw test loss against samples for each level of a factor, and the last loss of each run against the level.

    Args:
        curves: one row per run and step: params, step, samples, test_loss, the factor, and the other axes that vary.
        name: reward_accuracy, skill_share, group_size or variant.
        missing: planned cells that are not there, to be named under the figure.

    Raises:
        UserError: the factor is unknown, a column is missing, nothing is left to draw, or no runs differ in it alone.
    """
    if name not in _FACTORS:
        raise UserError(f"no figure of factor {name!r}: only {', '.join(_FACTORS)}{did_you_mean(name, _FACTORS)}")
    return _sweep_figure(curves, _FACTORS[name], name, missing)


def matched(curves: pd.DataFrame, column: str) -> list[tuple[str, pd.DataFrame]]:
    """Split a table into settings of the other axes, keeping the bases and seeds for which ``column`` varies.

    Returns:
        For each setting, in order of size, what tells it from the other settings and its rows.
    """
    others = [name for name in RUN_COLUMNS if name in curves and name not in ("run", column)]
    seeds = [name for name in SEED_COLUMNS if name in curves]
    levels = curves.groupby([*others, *seeds], dropna=False)[column].transform("nunique")
    rows = curves[levels > 1]
    telling = [name for name in others if name != "model" and len(rows[name].unique()) > 1] or ["params"]
    groups = [(dict(zip(others, key, strict=True)), group) for key, group in rows.groupby(others, dropna=False)]
    return [(", ".join(_say(name, setting[name]) for name in telling), group) for setting, group in groups]


@styled
def _sweep_figure(curves: pd.DataFrame, axis: _Axis, name: str, missing: Sequence[str]) -> Figure:
    check(curves, ("params", "step", axis.against, "test_loss", axis.column), name)
    rows, off_axis = drawn(curves)
    settings = matched(rows, axis.column)
    if not settings:
        raise UserError(f"figure {name}: no two runs differ in {axis.column} alone, so there is nothing to compare")
    together = pd.concat([group for _, group in settings])
    levels = sorted(together[axis.column].unique())
    trained = together.loc[together["step"] > 0, axis.against]
    figure, panels, last = _panels(len(settings))
    for panel, (title, group) in zip(panels, settings, strict=True):
        _draw_curves(panel, group, axis, levels)
        log_axis(panel, "x", [trained.min() / 1.5, trained.max()], human=True)
        log_axis(panel, "y", together["test_loss"], apart=_APART if len(panels) == 1 else 1.6 * _APART)
        panel.set(xlabel=_AGAINST[axis.against], title=title)
        panel.set_ylabel(LOSS_LABEL if panel.get_subplotspec().is_first_col() else "")  # type: ignore[union-attr]
    _draw_last(last, settings, axis, levels)
    handles = [
        Line2D([], [], color=colour, marker=marker, ms=4, lw=1.5, label=_say_level(level))
        for level, colour, marker in _looks(levels)
    ]
    handles += [base_handle()] if len(trained) < len(together) else []
    figure.legend(handles=handles, title=axis.short, loc="outside upper center", ncols=min(len(handles), 8))
    planned = pd.concat([group for _, group in matched(curves, axis.column)])
    return finish(figure, [*_last_steps(together), *off_axis, *omissions(planned, missing)])


def _panels(settings: int) -> tuple[Figure, list[Axes], Axes]:
    """Return a figure, a panel for each setting's curves and one for their ends: beside a lone one, below several."""
    if settings == 1:
        figure = new_figure(3.5)
        left, right = figure.subplots(1, 2)
        return figure, [left], right
    columns = min(settings, _MOST_COLUMNS)
    lines = -(-settings // columns)
    heights = (2.0 * lines, 2.6)
    figure = new_figure(sum(heights) + 0.4)
    above, below = figure.subfigures(2, 1, height_ratios=heights, squeeze=False).ravel()
    grid = above.add_gridspec(lines, columns)
    return figure, [above.add_subplot(grid[divmod(i, columns)]) for i in range(settings)], below.add_subplot()


def _draw_curves(panel: Axes, rows: pd.DataFrame, axis: _Axis, levels: Sequence[Any]) -> None:
    for level, colour, marker in _looks(levels):
        of_level = rows[(rows[axis.column] == level) & (rows["step"] > 0)]
        curves = runs(of_level)
        for run in curves:
            panel.plot(run[axis.against], run["test_loss"], color=colour, lw=0.5, alpha=0.45, gid="run")
        # A mean over fewer runs at some steps would jump where a run ends.
        means = of_level.groupby(axis.against)["test_loss"].agg(["mean", "size"])
        means = means.loc[means["size"] == len(curves), "mean"]
        every = max(1, len(means) // 12)
        panel.plot(means.index, means, color=colour, marker=marker, markevery=every, ms=3.5, mew=0, lw=1.5, gid="mean")
        before = rows.loc[(rows[axis.column] == level) & (rows["step"] == 0), "test_loss"]
        if not before.empty:
            base_tick(panel, float(before.mean()), colour)


def _draw_last(panel: Axes, settings: Sequence[tuple[str, pd.DataFrame]], axis: _Axis, levels: Sequence[Any]) -> None:
    places = dict(zip(levels, range(len(levels)) if axis.scale == "category" else levels, strict=True))
    shades = colours(len(settings)) if len(settings) > 1 else ["0.15"]
    seen: list[float] = []
    for (title, rows), shade in zip(settings, shades, strict=True):
        ends = pd.concat([run.tail(1) for run in runs(rows[rows["step"] > 0])])
        ends = ends.assign(place=ends[axis.column].map(places)).sort_values("place")
        seen += ends["test_loss"].tolist()
        seeds = [name for name in SEED_COLUMNS if name in ends]
        for _, pair in ends.groupby(seeds, dropna=False) if seeds else [((), ends)]:
            look: dict[str, Any] = {"color": shade, "fmt": "o-", "ms": 2.5, "lw": 0.5, "elinewidth": 0.6, "alpha": 0.45}
            panel.errorbar(pair["place"], pair["test_loss"], yerr=pair.get("test_loss_se"), **look)
        means = ends.groupby("place")["test_loss"].mean()
        panel.plot(means.index, means, color=shade, marker="_", ms=9, mew=1.8, lw=1.5, gid="mean", label=title)
    log_axis(panel, "y", seen, apart=_APART)
    _level_axis(panel, axis, places)
    panel.set(xlabel=axis.label.replace(" (", "\n("), ylabel="Last test loss, 1 − pass@1", title="Where the runs end")
    if len(settings) > 1:
        panel.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))


def _level_axis(panel: Axes, axis: _Axis, places: Mapping[Any, float]) -> None:
    if axis.scale == "log":
        log_axis(panel, "x", places.values())
    elif axis.scale == "category":
        panel.set_xlim(-0.5, len(places) - 0.5)
    label_ticks(panel, {place: _say_level(level) for level, place in places.items()}, apart=0.1)
    panel.xaxis.set_minor_locator(NullLocator())


def _last_steps(rows: pd.DataFrame) -> list[str]:
    last = [int(run["step"].max()) for run in runs(rows)]
    if min(last) == max(last):
        return [f"Last step of every run: {last[0]}."]
    return [f"The runs end at different steps, {min(last)} to {max(last)}: their last losses are not at one budget."]


def _looks(levels: Sequence[Any]) -> list[tuple[Any, str, str]]:
    shades = colours(len(levels))
    return [
        (level, shade, MARKERS[i % len(MARKERS)]) for i, (level, shade) in enumerate(zip(levels, shades, strict=True))
    ]


def _say(name: str, value: object) -> str:
    if name == "params":
        return f"N = {human_count(float(str(value)))}"
    return str(value) if isinstance(value, str) else f"{name.replace('_', ' ')} {value}"


def _say_level(level: object) -> str:
    return level if isinstance(level, str) else f"{level:g}"
