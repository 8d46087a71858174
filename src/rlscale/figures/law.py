"""The scaling law: test loss against compute or samples with the fitted lines, and the slope k against model size."""

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
from rlscale.figures.tables import absences, check, drawn, omissions, runs

_X = {
    "compute": ("compute_flops", "Compute C (FLOPs)"),
    "samples": ("samples", "Samples D (prompts, repeats counted)"),
}
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
    if x not in _X:
        raise UserError(f"figure loss_{x}: x is compute or samples")
    if fit["x"] != x:
        raise UserError(f"figure loss_{x}: the fit is a law of {fit['x']}, not of {x}")
    column, label = _X[x]
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
    return finish(figure, [*_point_errors(trained), *off_axis, *omissions(curves, missing), *fit["notes"]])


@styled
def slope(fit: Mapping[str, Any], missing: Sequence[str] = ()) -> Figure:
    """Draw the slope k against model size N: each size's own slope with its standard error, and K_max/(1 + N_0/N).

    Args:
        fit: a fit as its JSON: k_free and k_free_se by size, k_max, n_0.
        missing: planned cells that are not there, to be named under the figure.

    Raises:
        UserError: the fit holds no slope.
    """
    if not fit["k_free"]:
        raise UserError("figure slope: the fit holds no size with a slope of its own (k_free is empty)")
    sizes = sorted(int(size) for size in fit["k_free"])
    k_free = np.array([fit["k_free"][str(size)] for size in sizes])
    errors = np.array([_number(fit["k_free_se"].get(str(size))) for size in sizes])
    k_max, n_0 = fit["k_max"], fit["n_0"]

    figure = new_figure(3.6)
    axes = figure.add_subplot(xlabel="Model size N (parameters)", ylabel=_SLOPE_LABEL[fit["x"]])
    shown = [*sizes, n_0] if n_0 and sizes[0] / 10 < n_0 < sizes[-1] * 10 else sizes
    log_axis(axes, "x", [min(shown) / 1.4, max(shown) * 1.4], human=True)
    grid = np.geomspace(*axes.get_xlim(), 200)
    law = axes.plot(grid, k_max / (1 + (n_0 or 0.0) / grid), color="0.15", lw=1.4, gid="law")
    axes.errorbar(sizes, k_free, yerr=errors, fmt="o", color=_SLOPE_COLOUR, ms=5, capsize=2.5, elinewidth=1, zorder=3)
    label_ticks(axes, {size: human_count(size) for size in sizes}, apart=0.06)
    spread = np.nan_to_num(errors)
    low, high = min(0.0, float(np.min(k_free - spread))), max(0.0, float(np.max(k_free + spread)))
    # A K_max far above every slope would press them all onto the axis.
    high = max(high, k_max) if k_max <= 3 * high else high
    pad = 0.12 * ((high - low) or 1.0)
    axes.set_ylim(low - pad * (low < 0), high + pad)
    _mark_k_max(axes, k_max)
    _mark_n_0(axes, n_0)
    free = Line2D([], [], color=_SLOPE_COLOUR, marker="o", ls="", ms=5)
    said = ["slope of one size alone, ± standard error", r"law, $K_{\max}/(1 + N_0/N)$"]
    figure.legend([free, *law], said, loc="outside upper center", ncols=2)
    return finish(figure, [*absences(missing), *fit["notes"]])


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
    inside = trained.loc[trained["step"].between(first_step, fit["first_steps"] or math.inf), column]
    if level is None or inside.empty:
        return
    k = fit["k"][str(int(size))]
    ends = (trained[column].min(), inside.min(), inside.max(), trained[column].max())
    looks = (("--", 1.0, "law-beyond"), ("-", 1.5, "law"), ("--", 1.0, "law-beyond"))
    for start, end, (dashes, width, gid) in zip(ends, ends[1:], looks, strict=False):
        if start < end:
            along = np.geomspace(start, end, 50)
            axes.plot(along, 10 ** (level - k * np.log10(along)), color=colour, ls=dashes, lw=width, gid=gid)


def _size_handle(size: float, k: float | None, colour: str, marker: str) -> Line2D:
    said = f"{human_count(size)}   k = {_slope(k)}" if k is not None else f"{human_count(size)}   not fitted"
    return Line2D([], [], color=colour, marker=marker, ms=4, lw=1.5 if k is not None else 0, label=said)


def _explain(figure: Figure, axes: Axes, handles: list[Line2D], has_base: bool, fit: Mapping[str, Any]) -> None:
    if has_base:
        handles = [*handles, base_handle()]
    figure.legend(handles=handles, title="Model size N (parameters)", loc="outside right upper", alignment="left")
    said = [rf"$K_{{\max}}$ = {_slope(fit['k_max'])}"]
    said += [rf"$N_0$ = {human_count(fit['n_0'], 3)}"] if fit["n_0"] is not None else []
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


def _mark_k_max(axes: Axes, k_max: float) -> None:
    # At the left, where a rising curve leaves room.
    if k_max < axes.get_ylim()[1]:
        axes.axhline(k_max, color="0.45", lw=0.9, ls="--", gid="k-max")
        axes.text(0.012, k_max, rf"$K_{{\max}}$ = {_slope(k_max)}", transform=axes.get_yaxis_transform(), va="bottom")
    else:
        axes.text(0.012, 0.97, rf"$K_{{\max}}$ = {_slope(k_max)}, above the axis", transform=axes.transAxes, va="top")


def _mark_n_0(axes: Axes, n_0: float | None) -> None:
    low, high = axes.get_xlim()
    if n_0 is None:
        return
    if low < n_0 < high:
        axes.axvline(n_0, color="0.45", lw=0.9, ls=":", gid="n-0")
        right = math.log(n_0 / low) > 0.75 * math.log(high / low)
        said = rf"$N_0$ = {human_count(n_0, 3)}"
        axes.annotate(
            said,
            (n_0, 0.03),
            xycoords=axes.get_xaxis_transform(),
            xytext=(-4 if right else 4, 0),
            textcoords="offset points",
            ha="right" if right else "left",
        )
    else:
        said = rf"$N_0$ = {human_count(n_0, 3)}, {'below' if n_0 <= low else 'beyond'} the axis"
        axes.text(0.985, 0.03, said, transform=axes.transAxes, ha="right")


def _point_errors(trained: pd.DataFrame) -> list[str]:
    errors = trained["test_loss_se"].dropna() if "test_loss_se" in trained else pd.Series(dtype=float)
    if errors.empty:
        return ["The table gives no standard error of a point."]
    return [f"Standard error of a point: median {errors.median():.2g}, at most {errors.max():.2g}."]


def _looks(count: int) -> list[tuple[str, str]]:
    return [(colour, MARKERS[rank % len(MARKERS)]) for rank, colour in enumerate(colours(count))]


def _slope(k: float) -> str:
    return f"{k:#.3g}".rstrip(".")


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


_SLOPE_LABEL = {"compute": "Slope k, L ∝ C$^{-k}$", "samples": "Slope k, L ∝ D$^{-k}$"}
_SLOPE_COLOUR = "#2a788e"
