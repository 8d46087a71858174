"""The law's parameters and how sure they are: the slope k against model size, and the profile of N_0."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rlscale.errors import UserError
from rlscale.figures.style import ACCENT, FAINT, finish, human_count, label_ticks, log_axis, new_figure, styled
from rlscale.figures.tables import absences
from rlscale.figures.words import fit_notes, interval_notes, percent, said_size, said_slope, with_interval

Array = npt.NDArray[np.float64]

_SLOPE_LABEL = {"compute": "Slope k, L ∝ C$^{-k}$", "samples": "Slope k, L ∝ D$^{-k}$"}
_SIZE_LABEL = "Model size N (parameters)"
_SIDES = {"low": "lower", "high": "upper"}
_LAW_COLOUR, _BAND_SHADE = "0.15", 0.13
_HIGHEST = 4.0  # thresholds of rise that the profile is drawn up to


@styled
def slope(fit: Mapping[str, Any], missing: Sequence[str] = ()) -> Figure:
    """Draw the slope k against model size N: each size's own slope with its standard error, and K_max/(1 + N_0/N).

    Where the fit has intervals, those of the law's k are a band from the smallest fitted size to the largest, and those
    of K_max and N_0 are written beside them.

    Args:
        fit: a fit as its JSON: k_free and k_free_se by size, k_max, n_0, intervals, saturation.
        missing: planned cells that are not there, to be named under the figure.

    Raises:
        UserError: the fit holds no slope.
    """
    if not fit["k_free"]:
        raise UserError("figure slope: the fit holds no size with a slope of its own (k_free is empty)")
    sizes = sorted(int(size) for size in fit["k_free"])
    k_free = np.array([fit["k_free"][str(size)] for size in sizes])
    errors = np.array([_number(fit["k_free_se"].get(str(size))) for size in sizes])
    k_max, n_0, intervals = fit["k_max"], fit["n_0"], fit["intervals"] or {}

    figure = new_figure(3.6)
    axes = figure.add_subplot(xlabel=_SIZE_LABEL, ylabel=_SLOPE_LABEL[fit["x"]])
    shown = [*sizes, n_0] if n_0 and sizes[0] / 10 < n_0 < sizes[-1] * 10 else sizes
    log_axis(axes, "x", [min(shown) / 1.4, max(shown) * 1.4], human=True)
    grid = np.geomspace(*axes.get_xlim(), 200)
    law = axes.plot(grid, _law(fit, grid), color=_LAW_COLOUR, lw=1.4, gid="law")
    axes.errorbar(sizes, k_free, yerr=errors, fmt="o", color=ACCENT, ms=5, capsize=2.5, elinewidth=1, zorder=3)
    band = _draw_band(axes, fit)
    label_ticks(axes, {size: human_count(size) for size in sizes}, apart=0.06)
    spread = np.nan_to_num(errors)
    low, high = np.min([0.0, *(k_free - spread), *band]), np.max([0.0, *(k_free + spread), *band])
    # A K_max far above every slope would press them all onto the axis.
    high = max(high, k_max) if k_max <= 3 * high else high
    pad = 0.12 * ((high - low) or 1.0)
    axes.set_ylim(low - pad * (low < 0), high + pad)
    _mark_k_max(axes, k_max, intervals.get("k_max"))
    _mark_n_0(axes, n_0, intervals.get("n_0"))
    handles: list[Any] = [Line2D([], [], color=ACCENT, marker="o", ls="", ms=5), *law]
    said = ["slope of one size alone, ± standard error", r"law, $K_{\max}/(1 + N_0/N)$"]
    if band:
        handles.append(Patch(color=_LAW_COLOUR, alpha=_BAND_SHADE, lw=0))
        said.append(f"{percent(intervals['level'])} interval of the law")
    figure.legend(handles, said, loc="outside upper center", ncols=len(said))
    return finish(figure, [*absences(missing), *fit_notes(fit), *interval_notes(fit)])


@styled
def profile(fit: Mapping[str, Any]) -> Figure:
    """Draw the profile of N_0: how far the least sum of squares rises where N_0 is held, over the rise allowed.

    Args:
        fit: a fit as its JSON, with intervals of the method profile.

    Raises:
        UserError: the fit has no profile, or one that allows no rise at all.
    """
    found = fit["intervals"]
    if found is None or found["profile"] is None:
        made = "the fit has none" if found is None else f"those of the fit are by {found['method']}"
        raise UserError(f"figure profile: it needs intervals by profile, and {made}")
    if not found["profile"]["threshold"] > 0:
        raise UserError("figure profile: the points lie on the law exactly, so the profile allows no rise to draw")
    interval, n_0 = found["n_0"], np.array(found["profile"]["n_0"])
    figure = new_figure(3.6)
    axes = figure.add_subplot(xlabel=r"Model size $N_0$ of half the largest slope (parameters)")
    axes.set_ylabel("Rise of the sum of squares,\nin thresholds")
    drawn = _draw_profile(axes, found["profile"], interval)
    bounds = {side: bound for side, bound in zip(_SIDES, n_0[[0, -1]], strict=True) if bound in drawn}
    for bound in bounds.values():
        axes.axvline(bound, color=_LAW_COLOUR, lw=1.6, gid="bound", label="bound of the search")
    title = None
    if interval["estimate"] is not None:
        axes.axvline(interval["estimate"], color=FAINT, lw=0.9, ls=":", gid="n-0")
        title = rf"$N_0$ = {with_interval(interval['estimate'], interval, said_size)}"
    named = {str(handle.get_label()): handle for handle in axes.get_legend_handles_labels()[0]}
    figure.legend(handles=[*named.values()], loc="outside upper center", ncols=len(named), title=title)
    return finish(figure, [*_open_ends(interval), _searched(n_0, bounds), *fit_notes(fit), *interval_notes(fit)])


def _draw_profile(axes: Axes, found: Mapping[str, Any], interval: Mapping[str, Any]) -> Array:
    """Draw the profile where it is low, the threshold and the interval; return the least and largest N_0 drawn."""
    points, line = _profile_line(found, interval)
    searched = points[0, [0, -1]]
    near = line[0, line[1] <= _HIGHEST]
    margin = (near[-1] / near[0]) ** 0.15
    drawn = np.clip([near[0] / margin, near[-1] * margin], *searched)
    log_axis(axes, "x", drawn, human=True, apart=0.08)
    axes.set_ylim(0, min(_HIGHEST, 1.15 * max(line[1].max(), 1.2)))
    ends = [bound if interval[side] is None else interval[side] for side, bound in zip(_SIDES, searched, strict=True)]
    axes.axvspan(*ends, color=ACCENT, alpha=0.16, lw=0, gid="interval", label=f"{percent(interval['level'])} interval")
    axes.plot(*line, color=_LAW_COLOUR, lw=1.4, gid="profile", label="profile")
    axes.plot(*points, color=_LAW_COLOUR, ls="", marker=".", ms=4, gid="profile-points")
    axes.axhline(1.0, color=FAINT, lw=0.9, ls="--", gid="threshold", label="threshold")
    return np.asarray(drawn)


def _profile_line(found: Mapping[str, Any], interval: Mapping[str, Any]) -> tuple[Array, Array]:
    """Return the profile's points, with the ends that were found, and a line through them, as rows of N_0 and of rise.

    Between points the root of the rise, which is nearly straight in log N_0, is interpolated and squared.
    """
    ends = [(interval[side], 1.0) for side in _SIDES if interval[side] is not None]
    rises = np.array(found["excess"]) / found["threshold"]
    points = np.array(sorted([*zip(found["n_0"], rises, strict=True), *ends])).T
    log_n_0, lowest = np.log10(points[0]), int(points[1].argmin())
    root = np.sqrt(points[1]) * np.sign(np.arange(log_n_0.size) - lowest)
    along = np.union1d(np.linspace(log_n_0[0], log_n_0[-1], 4000), log_n_0)
    return points, np.array([10**along, np.interp(along, log_n_0, root) ** 2])


def _draw_band(axes: Axes, fit: Mapping[str, Any]) -> list[float]:
    """Draw the intervals of k, if any, as a band across the fitted sizes and return their ends.

    Between sizes the distance of an end from the law is straight in log N.
    """
    intervals = fit["intervals"]["k"] if fit["intervals"] else {}
    if not intervals:
        return []
    sizes = np.array(sorted(map(int, intervals)))
    along = np.union1d(np.geomspace(sizes[0], sizes[-1], 200)[1:-1], sizes)
    ends = np.array([[intervals[str(size)][side] for size in sizes] for side in _SIDES])
    low, high = (
        _law(fit, along) + np.interp(np.log(along), np.log(sizes), distance) for distance in ends - _law(fit, sizes)
    )
    axes.fill_between(along, low, high, color=_LAW_COLOUR, alpha=_BAND_SHADE, lw=0, gid="band")
    return [float(end) for end in ends.flat]


def _law(fit: Mapping[str, Any], params: npt.ArrayLike) -> Array:
    return np.asarray(fit["k_max"] / (1 + (fit["n_0"] or 0.0) / np.asarray(params, dtype=np.float64)))


def _mark_k_max(axes: Axes, k_max: float, interval: Mapping[str, Any] | None) -> None:
    said = rf"$K_{{\max}}$ = {with_interval(k_max, interval, said_slope)}"
    # At the left, where a rising curve leaves room.
    if k_max < axes.get_ylim()[1]:
        axes.axhline(k_max, color=FAINT, lw=0.9, ls="--", gid="k-max")
        axes.text(0.012, k_max, said, transform=axes.get_yaxis_transform(), va="bottom")
    else:
        axes.text(0.012, 0.97, f"{said}, above the axis", transform=axes.transAxes, va="top")


def _mark_n_0(axes: Axes, n_0: float | None, interval: Mapping[str, Any] | None) -> None:
    low, high = axes.get_xlim()
    if n_0 is None:
        return
    said = rf"$N_0$ = {with_interval(n_0, interval, said_size)}"
    if low < n_0 < high:
        axes.axvline(n_0, color=FAINT, lw=0.9, ls=":", gid="n-0")
        right = math.log(n_0 / low) > (0.75 if interval is None else 0.6) * math.log(high / low)
        axes.annotate(
            said,
            (n_0, 0.03),
            xycoords=axes.get_xaxis_transform(),
            xytext=(-4 if right else 4, 0),
            textcoords="offset points",
            ha="right" if right else "left",
        )
    else:
        said = f"{said}, {'below' if n_0 <= low else 'beyond'} the axis"
        axes.text(0.985, 0.03, said, transform=axes.transAxes, ha="right")


def _open_ends(interval: Mapping[str, Any]) -> list[str]:
    """Return a sentence where the interval has an end that the search did not find."""
    names = [name for side, name in _SIDES.items() if interval[side] is None]
    said = f"No {' and no '.join(names)} end: the profile stays within the threshold up to the bound of the search."
    return [said] if names else []


def _searched(n_0: Array, bounds: Mapping[str, float]) -> str:
    said = f"N_0 was searched from {said_size(n_0[0])} to {said_size(n_0[-1])}"
    beyond = [name for side, name in _SIDES.items() if side not in bounds]
    lies = "the bounds lie" if len(beyond) == 2 else f"the {''.join(beyond)} bound lies"
    return f"{said}; {lies} beyond the axis." if beyond else f"{said}."


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
