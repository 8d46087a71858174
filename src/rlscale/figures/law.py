"""The scaling law: test loss against compute or samples, with the fitted line of each size."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rlscale.errors import UserError
from rlscale.figures.style import (
    LOSS_LABEL,
    MARKERS,
    X_AXES,
    base_handle,
    base_tick,
    colours,
    finish,
    human_count,
    log_axis,
    new_figure,
    styled,
)
from rlscale.figures.tables import check, drawn, omissions, runs
from rlscale.figures.words import fit_notes, percent, said_size, said_slope, with_interval

_DENSE = 40  # points of a curve


@styled
def loss_against_x(
    curves: pd.DataFrame,
    fit: Mapping[str, Any],
    x: Literal["compute", "samples"] = "compute",
    *,
    first_step: int = 1,
    missing: Sequence[str] = (),
) -> Figure:
    """Draw test loss against compute or samples, both logarithmic, with the fitted law.

    A size has one colour and one marker, and each of its runs a thin line. The law, log10 L = −k log10 X + E with the
    mean E of the size's runs, is solid over the points it was fitted on and dashed where it is carried on beyond them.
    Where the fit has intervals, a band turns the line about its mean log10 X through the interval of k, the level held.
    The loss before training, which has no place on a logarithmic axis, is a tick at the left margin.

    Args:
        curves: the runs of the law, one row per run and step: params, step, samples or compute_flops, test_loss.
        fit: a fit of these curves on the same ``x``, as its JSON.
        x: what the loss is drawn against.
        first_step: the first step that the fit was given; its last step and largest size are in the fit itself.
        missing: planned cells that are not there, to be named under the figure.

    Raises:
        UserError: ``x`` is unknown or not the fit's, a column is missing, or nothing is left to draw.
    """
    if x not in X_AXES:
        raise UserError(f"figure loss_{x}: x is compute or samples")
    if fit["x"] != x:
        raise UserError(f"figure loss_{x}: the fit is a law of {fit['x']}, not of {x}")
    column, label = X_AXES[x]
    if "variant" in curves and fit["variant"]:
        curves = curves[curves["variant"] == fit["variant"]]
    check(curves, ("params", "step", column, "test_loss"), f"loss_{x}")
    rows, off_axis = drawn(curves)
    trained = rows[rows["step"] > 0]
    if trained.empty:
        raise UserError(f"figure loss_{x}: no run has a step above 0 with a positive test loss")

    figure = new_figure(4.4)
    axes = figure.add_subplot(xlabel=label, ylabel=LOSS_LABEL)
    sizes = sorted(trained["params"].unique())
    handles = []
    for size, (colour, marker) in zip(sizes, _looks(len(sizes)), strict=True):
        of_size = rows[rows["params"] == size]
        _draw_size(axes, of_size, column, colour, marker)
        _draw_law(axes, of_size[of_size["step"] >= 1], column, fit, first_step=first_step, colour=colour)
        handles.append(_size_handle(size, fit["k"].get(str(int(size))), colour, marker))
    has_base = len(trained) < len(rows)
    # Room at the left for the ticks of the loss before training.
    log_axis(axes, "x", [trained[column].min() / (1.5 if has_base else 1), trained[column].max()], human=x == "samples")
    log_axis(axes, "y", rows["test_loss"])
    _explain(figure, axes, handles, has_base, fit)
    return finish(
        figure, [*_point_errors(trained), *off_axis, *omissions(curves, missing), *fit_notes(fit), *_said_of_bands(fit)]
    )


def size_level(fit: Mapping[str, Any], size: float) -> float | None:
    """Return the level E of a size, the mean where each of its runs has one, or None where the fit has none."""
    levels = [fit["e"][key] for key, curve in fit["curves"].items() if curve["params"] == size]
    return float(np.mean(levels)) if levels else None


def _draw_size(axes: Axes, rows: pd.DataFrame, column: str, colour: str, marker: str) -> None:
    for run in runs(rows):
        trained = run[run["step"] > 0]
        # A line through a dense curve is all noise and hides the law.
        size, width = (2.2, 0.0) if len(trained) > _DENSE else (3.0, 0.6)
        look: dict[str, Any] = {"marker": marker, "ms": size, "mew": 0, "lw": width, "alpha": 0.55, "gid": "run"}
        axes.plot(trained[column], trained["test_loss"], color=colour, **look)
        for loss in run.loc[run["step"] == 0, "test_loss"]:
            base_tick(axes, loss, colour)


def _draw_law(
    axes: Axes, trained: pd.DataFrame, column: str, fit: Mapping[str, Any], *, first_step: int, colour: str
) -> None:
    size = trained["params"].iloc[0]
    level = size_level(fit, size)
    inside = trained[trained["step"].between(first_step, fit["first_steps"] or math.inf)]
    if level is None or inside.empty:
        return
    k = fit["k"][str(int(size))]
    ends = (trained[column].min(), inside[column].min(), inside[column].max(), trained[column].max())
    looks = (("--", 1.0, "law-beyond"), ("-", 1.5, "law"), ("--", 1.0, "law-beyond"))
    for start, end, (dashes, width, gid) in zip(ends, ends[1:], looks, strict=False):
        if start < end:
            along = np.geomspace(start, end, 50)
            axes.plot(along, 10 ** (level - k * np.log10(along)), color=colour, ls=dashes, lw=width, gid=gid)
    interval = (fit["intervals"] or {"k": {}})["k"].get(str(int(size)))
    if interval is not None:
        # The mean over runs of their means, since the line's level is the mean of their levels.
        pivot = np.mean([np.log10(run[column]).mean() for run in runs(inside)])
        along = np.geomspace(ends[0], ends[-1], 50)
        sides = [10 ** (level - k * pivot - interval[side] * (np.log10(along) - pivot)) for side in ("low", "high")]
        axes.fill_between(along, *sides, color=colour, alpha=0.13, lw=0, gid="band")


def _size_handle(size: float, k: float | None, colour: str, marker: str) -> Line2D:
    said = f"{human_count(size)}   k = {said_slope(k)}" if k is not None else f"{human_count(size)}   not fitted"
    return Line2D([], [], color=colour, marker=marker, ms=4, lw=1.5 if k is not None else 0, label=said)


def _explain(figure: Figure, axes: Axes, handles: list[Line2D], has_base: bool, fit: Mapping[str, Any]) -> None:
    if has_base:
        handles = [*handles, base_handle()]
    figure.legend(handles=handles, title="Model size N (parameters)", loc="outside right upper", alignment="left")
    intervals = fit["intervals"] or {}
    said = [rf"$K_{{\max}}$ = {with_interval(fit['k_max'], intervals.get('k_max'), said_slope)}"]
    if fit["n_0"] is not None:
        said.append(rf"$N_0$ = {with_interval(fit['n_0'], intervals.get('n_0'), said_size)}")
    said += [rf"$R^2$ = {fit['r2_pooled']:.3f} (pooled)"] if fit["r2_pooled"] is not None else []
    axes.text(
        0.04,
        0.04,
        "\n".join(said),
        transform=axes.transAxes,
        fontsize=8,
        va="bottom",
        linespacing=1.4,
        gid="law-parameters",
    )


def _point_errors(trained: pd.DataFrame) -> list[str]:
    errors = trained["test_loss_se"].dropna() if "test_loss_se" in trained else pd.Series(dtype=float)
    if errors.empty:
        return ["The table gives no standard error of a point."]
    return [f"Standard error of a point: median {errors.median():.2g}, at most {errors.max():.2g}."]


def _said_of_bands(fit: Mapping[str, Any]) -> list[str]:
    if fit["intervals"] is None:
        return []
    level = percent(fit["intervals"]["level"])
    return [
        f"Bands: the {level} interval of each size's slope k, its line turned about the mean log10 X of the fitted "
        "points; how sure the level is, they do not say."
    ]


def _looks(count: int) -> list[tuple[str, str]]:
    return [(colour, MARKERS[rank % len(MARKERS)]) for rank, colour in enumerate(colours(count))]
