"""Fits the saturating slope to a table of points: exact, deterministic, in milliseconds.

The table is checked, put in order and grouped into curves; the law's two parameters follow by variable projection; this
module reports them with the slopes, the levels, R² and what a reader must know before trusting them.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from rlscale.curve_points import X_COLUMN, Curves, Predictor, Weights, arrange, select_points
from rlscale.errors import UserError, did_you_mean
from rlscale.fitting.loss_spaces import Loss, loss_space
from rlscale.fitting.projection import fit_slope_law
from rlscale.fitting.slope_report import describe_slopes, fitted_ranges, slope_notes
from rlscale.laws import Array
from rlscale.laws.saturating_slope import SaturatingSlope
from rlscale.point_checks import check_points
from rlscale.uncertainty import LEVEL
from rlscale.uncertainty.intervals import Method, make_intervals
from rlscale.uncertainty.saturation import judge_saturation

DRAWS = 1000
_LAW = SaturatingSlope()


@dataclass(frozen=True)
class Fit:
    """A fitted saturating slope. Keys that are sizes are params as integer strings; the fields are the JSON's keys.

    Attributes:
        law: name of the law.
        x: "compute" (FLOPs) or "samples".
        loss: "linear" (least squares on L), "log" (on log10 L) or "huber" (on log10 L, outliers counted linearly).
        weights: "none" (every point alike) or "se" (by the standard errors of the scores).
        variant: the variant of the points, None where the table does not say.
        max_params: only sizes up to this were used; None for all.
        first_steps: only steps up to this were used; None for all.
        k_max: the slope of an infinitely large model, in log10 loss per log10 X.
        n_0: the size at which the slope is half of k_max, in parameters; None where k_max is 0.
        bounds: least and largest value allowed, by parameter.
        bounds_hit: "lower" or "upper" by parameter whose bound binds.
        e: level E by curve, the log10 of the fitted loss at X = 1. The keys are sizes where every size has one curve,
            and runs otherwise: the run column where it tells the curves apart, else params and the columns that do.
        k: slope of the law by size.
        k_free: slope by size fitted to that size alone, with one level per curve.
        k_free_se: its standard error from the residuals within the curves, taken as independent. The steps of a run are
            correlated, so it is too optimistic for new runs. None where the points only just determine the slope.
        r2_pooled: 1 - sse / (sum of squares around the mean of all used points), in the space that was fitted.
        r2_within: the same by size, around the mean of each of its curves.
        k_local: slopes in the first, middle and last third of the curves by size; equal if the loss is a power law.
        r2_line: R² of a curve's own straight line in log10 L by size, median over its curves.
        points: points used.
        sse: sum of squared residuals in the space that was fitted.
        curves: by key of ``e``: params, points and whatever of base_seed, seed, tau and run the table has.
        notes: what a reader must know before trusting a number.
        intervals: of k_max, n_0 and k (`rlscale.uncertainty.intervals.Intervals`), None where they were not asked for.
        saturation: the verdict (`rlscale.uncertainty.saturation.Saturation`), None where intervals were not asked for.
        ranges: by size: first_x and last_x that were fitted, flops_per_sample and samples_per_step at the curves' ends
            (means over the curves; None where the table does not say). Empty in fits of older versions.
    """

    law: str
    x: Predictor
    loss: Loss
    weights: Weights
    variant: str | None
    max_params: float | None
    first_steps: int | None
    k_max: float
    n_0: float | None
    bounds: dict[str, list[float]]
    bounds_hit: dict[str, str]
    e: dict[str, float]
    k: dict[str, float]
    k_free: dict[str, float]
    k_free_se: dict[str, float | None]
    r2_pooled: float | None
    r2_within: dict[str, float | None]
    k_local: dict[str, list[float | None]]
    r2_line: dict[str, float | None]
    points: int
    sse: float
    curves: dict[str, dict[str, Any]]
    notes: list[str]
    intervals: dict[str, Any] | None
    saturation: dict[str, Any] | None
    ranges: dict[str, dict[str, float | None]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-native values; ``Fit(**fit.to_json())`` equals the fit."""
        return asdict(self)

    def slope(self, params: npt.ArrayLike) -> Array:
        """Return k(N) of the law at any sizes."""
        sizes = np.asarray(params, dtype=np.float64)
        return np.asarray(self.k_max / (1.0 + (self.n_0 or 0.0) / sizes))

    def predict(self, curve: str | int, x: npt.ArrayLike) -> Array:
        """Return the fitted test loss of one curve.

        Args:
            curve: a key of ``e``, or a size, for which E is the mean over its curves.
            x: values of X (FLOPs or samples), all positive.

        Raises:
            UserError: the fit has no such curve or size.
        """
        key = str(curve)
        chosen = [name for name, label in self.curves.items() if key in (name, str(label["params"]))]
        if not chosen:
            known = sorted({*self.e, *self.k})
            raise UserError(f"the fit has no curve {key!r} (it has {', '.join(known)}){did_you_mean(key, known)}")
        level = float(np.mean([self.e[name] for name in chosen]))
        slope = self.slope(self.curves[chosen[0]]["params"])
        return np.asarray(10.0 ** (level - slope * np.log10(np.asarray(x, dtype=np.float64))))


def fit_points(
    points: pd.DataFrame,
    *,
    x: Predictor,
    loss: Loss,
    weights: Weights = "none",
    max_params: float | None = None,
    first_steps: int | None = None,
    intervals: Method = "none",
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
    problem_losses: pd.DataFrame | None = None,
) -> Fit:
    """Fit the saturating slope to the points after step 0, with one level per curve.

    A curve is what params and, where the table has them, base_seed, seed, tau and run tell apart.

    Args:
        points: a table with params, step, test_loss, the column of X and optionally variant, test_loss_se and the
            columns of a curve.
        x: the predictor, compute (column compute_flops) or samples.
        loss: the space of the residuals: linear (L), log (log10 L) or huber (log10 L, robust).
        weights: none, or se for weights from the column test_loss_se.
        max_params: use sizes up to this many parameters only.
        first_steps: use steps up to this one only.
        intervals: make none, or by bootstrap or profile; the verdict on saturation comes with them.
        level: of the intervals.
        draws: replicates.
        seed: of the random numbers.
        problem_losses: where the rollouts are known, a row per point (columns run and step name it) and a column
            ``0``, ``1``, ... for each drawing of the problems, at least ``draws`` of them: the loss on that drawing.

    Raises:
        UserError: an option or a value of the table is not allowed, or the points do not determine a law.
    """
    _check_choices(x=(x, Predictor), loss=(loss, Loss), weights=(weights, Weights), intervals=(intervals, Method))
    _check_positive(max_params=max_params, first_steps=first_steps, draws=draws)
    if not 0 < level < 1:
        raise UserError(f"level is {level!r}; allowed: a number between 0 and 1")
    used, variant = usable_points(points, x=x, max_params=max_params, first_steps=first_steps)
    curves = arrange(used, x=X_COLUMN[x], weights=weights)
    space = loss_space(curves, loss)
    fit = fit_slope_law(_LAW, space)
    made = None
    if intervals != "none":
        deviations = None if problem_losses is None else _deviations(used, curves, problem_losses, draws)
        made = make_intervals(fit, intervals, level=level, draws=draws, seed=seed, deviations=deviations)
    return Fit(
        law=_LAW.name,
        x=x,
        loss=loss,
        weights=weights,
        variant=variant,
        max_params=None if max_params is None else float(max_params),
        first_steps=None if first_steps is None else int(first_steps),
        **describe_slopes(fit),
        notes=slope_notes(used, fit),
        intervals=None if made is None else made.to_json(),
        saturation=None if made is None else judge_saturation(space, seed=seed).to_json(),
        ranges=fitted_ranges(used, curves),
    )


def usable_points(
    points: pd.DataFrame, *, x: Predictor, max_params: float | None, first_steps: int | None
) -> tuple[pd.DataFrame, str | None]:
    """Check a table and return the rows that a law is fitted on, with its variant where the table says it.

    Raises:
        UserError: a value of the table is not allowed, or too few sizes or points are left.
    """
    numbered = points.set_axis(pd.RangeIndex(1, len(points) + 1), axis=0)
    checked = check_points(numbered, source="points", columns=("params", "step", X_COLUMN[x], "test_loss"))
    used = select_points(checked, max_params=max_params, first_steps=first_steps)
    return used, str(checked["variant"].iloc[0]) if "variant" in checked else None


def _check_choices(**options: tuple[str, Any]) -> None:
    """Refuse a value that its literal type does not name; options are pairs of both."""
    for name, (value, literal) in options.items():
        allowed = get_args(literal)
        if value not in allowed:
            raise UserError(f"{name} is {value!r}; allowed: {', '.join(allowed)}{did_you_mean(value, allowed)}")


def _check_positive(**limits: float | None) -> None:
    for name, limit in limits.items():
        if limit is not None and not limit > 0:
            raise UserError(f"{name} is {limit!r}; allowed: a positive number")


def _deviations(points: pd.DataFrame, curves: Curves, problem_losses: pd.DataFrame, draws: int) -> Array:
    """Return, by drawing and point in the order of the curves, how the loss differs from that on all problems."""
    columns = [str(index) for index in range(draws)]
    if "run" not in points or not {"run", "step", *columns} <= set(problem_losses):
        raise UserError(
            f"problem_losses: needs run, step and the columns 0 to {draws - 1}, and the points a column run"
        )
    drawn = points[["run", "step"]].merge(problem_losses, on=["run", "step"], how="left", validate="1:1")
    losses = drawn[columns].to_numpy(dtype=np.float64)
    if np.isnan(losses).any():
        first = drawn.loc[np.isnan(losses).any(axis=1), ["run", "step"]].iloc[0]
        raise UserError(f"problem_losses: has no row for run {first['run']}, step {first['step']}")
    change = losses - points["test_loss"].to_numpy(dtype=np.float64)[:, None]
    return np.ascontiguousarray(change[curves.rows].T)
