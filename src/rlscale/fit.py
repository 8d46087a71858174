"""Fits a law to a table of points: exact, deterministic, in milliseconds.

The table is checked, put in order and grouped into curves; the law's two parameters follow by variable projection; this
module reports them with the slopes, the levels, R² and what a reader must know before trusting them.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from rlscale.curve_points import Curves, arrange, select_points
from rlscale.errors import UserError, did_you_mean
from rlscale.laws import Array
from rlscale.laws.saturating_slope import SaturatingSlope
from rlscale.newton import Minimum
from rlscale.point_checks import check_points
from rlscale.projection import BestFit, LinearSpace, LogSpace, LossSpace, fit_law, free_slopes

Predictor = Literal["compute", "samples"]
Loss = Literal["linear", "log"]

_COLUMN = {"compute": "compute_flops", "samples": "samples"}
_LAW = SaturatingSlope()


@dataclass(frozen=True)
class Fit:
    """A fitted saturating slope. Keys that are sizes are params as integer strings; the fields are the JSON's keys.

    Attributes:
        law: name of the law.
        x: "compute" (FLOPs) or "samples".
        loss: "linear" (least squares on L) or "log" (on log10 L), every point with the same weight.
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
        points: points used.
        sse: sum of squared residuals in the space that was fitted.
        curves: by key of ``e``: params, points and whatever of base_seed, seed, tau and run the table has.
        notes: what a reader must know before trusting a number.
    """

    law: str
    x: Predictor
    loss: Loss
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
    points: int
    sse: float
    curves: dict[str, dict[str, Any]]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-native values; ``Fit(**fit.to_json())`` equals the fit."""
        return asdict(self)

    def slope(self, params: npt.ArrayLike) -> Array:
        """Return k(N) of the law at any sizes."""
        return _LAW.slope(params, self._values)

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
        return _LAW.predict(self.curves[chosen[0]]["params"], x, level, self._values)

    @property
    def _values(self) -> dict[str, float]:
        return {"k_max": self.k_max, "n_0": self.n_0 or 0.0}


def fit_points(
    points: pd.DataFrame,
    *,
    x: Predictor,
    loss: Loss,
    max_params: float | None = None,
    first_steps: int | None = None,
) -> Fit:
    """Fit the saturating slope to the points after step 0, with one level per curve.

    A curve is what params and, where the table has them, base_seed, seed, tau and run tell apart.

    Args:
        points: a table with params, step, test_loss, the column of X and optionally variant and the columns of a curve.
        x: the predictor, compute (column compute_flops) or samples.
        loss: the space of the residuals: linear (L) or log (log10 L).
        max_params: use sizes up to this many parameters only.
        first_steps: use steps up to this one only.

    Raises:
        UserError: an option or a value of the table is not allowed, or the points do not determine a law.
    """
    _check_options(x, loss, max_params, first_steps)
    numbered = points.set_axis(pd.RangeIndex(1, len(points) + 1), axis=0)
    checked = check_points(numbered, source="points", columns=("params", "step", _COLUMN[x], "test_loss"))
    used = select_points(checked, max_params=max_params, first_steps=first_steps)
    curves = arrange(used, x=_COLUMN[x])
    space: LossSpace = LinearSpace(curves) if loss == "linear" else LogSpace(curves)
    free = free_slopes(space)
    best = fit_law(_LAW, curves, space, free.point)
    return Fit(
        law=_LAW.name,
        x=x,
        loss=loss,
        variant=str(checked["variant"].iloc[0]) if "variant" in checked else None,
        max_params=None if max_params is None else float(max_params),
        first_steps=None if first_steps is None else int(first_steps),
        points=int(curves.loss.size),
        **_parameters(curves, space, best),
        **_free_fit(curves, space, free.point),
        **_goodness(curves, space, best),
        notes=_notes(used, curves, best, free),
    )


def _check_options(x: str, loss: str, max_params: float | None, first_steps: int | None) -> None:
    for name, value, allowed in (("x", x, get_args(Predictor)), ("loss", loss, get_args(Loss))):
        if value not in allowed:
            raise UserError(f"{name} is {value!r}; allowed: {', '.join(allowed)}{did_you_mean(value, allowed)}")
    for name, limit in (("max_params", max_params), ("first_steps", first_steps)):
        if limit is not None and not limit > 0:
            raise UserError(f"{name} is {limit!r}; allowed: a positive number")


def _parameters(curves: Curves, space: LossSpace, best: BestFit) -> dict[str, Any]:
    """Return the law's parameters, their bounds and which bind, the slopes and the levels."""
    scale, shape = best.parameters
    bounds_hit = {}
    for parameter, value, low, high in (
        (scale, best.scale, scale.lower, scale.upper),
        (shape, best.log_shape, np.log(shape.lower), np.log(shape.upper)),
    ):
        if value <= low or value >= high:
            bounds_hit[parameter.name] = "lower" if value <= low else "upper"
    if best.scale == 0.0:
        bounds_hit.pop(shape.name, None)
    level = space.residuals(best.slopes)[2] + best.slopes[curves.size] * curves.mean_log10_x
    labels = [dict(label, points=int(count)) for label, count in zip(curves.labels, curves.counts, strict=True)]
    return {
        "k_max": best.scale,
        "n_0": None if best.scale == 0.0 else float(np.clip(np.exp(best.log_shape), shape.lower, shape.upper)),
        "bounds": {parameter.name: [parameter.lower, parameter.upper] for parameter in best.parameters},
        "bounds_hit": bounds_hit,
        "e": dict(zip(curves.keys, level.tolist(), strict=True)),
        "k": _by_size(curves, best.slopes),
        "curves": dict(zip(curves.keys, labels, strict=True)),
    }


def _free_fit(curves: Curves, space: LossSpace, slopes: Array) -> dict[str, Any]:
    """Return the free slopes and their standard errors."""
    residual = space.residuals(slopes)[0]
    squares = curves.by_size(curves.by_curve(residual * residual))
    points = curves.by_size(curves.counts.astype(np.float64))
    freedom = points - curves.by_size(np.ones(curves.size.size)) - 1
    variance = squares / np.where(freedom > 0, freedom, np.nan)
    errors = np.sqrt(variance / (space.squares(slopes).curvature / 2))
    return {"k_free": _by_size(curves, slopes), "k_free_se": _by_size(curves, errors)}


def _goodness(curves: Curves, space: LossSpace, best: BestFit) -> dict[str, Any]:
    """Return the sum of squares and the R²."""
    residual, observed, _ = space.residuals(best.slopes)
    within = observed - np.repeat(curves.by_curve(observed) / curves.counts, curves.counts)
    around = observed - observed.mean()
    # Values that are all equal differ from their mean by rounding only.
    nothing = (1e-14 * np.abs(observed).max()) ** 2 * observed.size
    squares, spread = (curves.by_size(curves.by_curve(values * values)) for values in (residual, within))
    sse, total = float(squares.sum()), float(np.sum(around * around))
    return {
        "sse": sse,
        "r2_pooled": 1.0 - sse / total if total > nothing else None,
        "r2_within": _by_size(curves, 1.0 - squares / np.where(spread > nothing, spread, np.nan)),
    }


def _by_size(curves: Curves, values: Array) -> dict[str, Any]:
    """Return values by size, None where there is none."""
    return {
        str(size): None if np.isnan(value) else value
        for size, value in zip(curves.sizes.tolist(), values.tolist(), strict=True)
    }


def _notes(points: pd.DataFrame, curves: Curves, best: BestFit, free: Minimum) -> list[str]:
    notes = []
    _, shape = best.parameters
    if best.scale == 0.0:
        notes.append(
            "no slope fits better than k = 0 (the loss does not fall with X): k_max is 0 and n_0 has no effect"
        )
    elif best.log_shape >= np.log(shape.upper):
        notes.append("the slope grows in proportion to size: only k_max / n_0 is determined, saturation is not seen")
    elif best.log_shape <= np.log(shape.lower):
        notes.append("the slope does not grow with size: n_0 is at its lower bound")
    if curves.sizes.size == 2:
        notes.append("two sizes determine k_max and n_0 exactly: nothing in the data tests the law")
    if len(curves.labels) > 1 and points.duplicated([*curves.labels[0], "step"]).any():
        notes.append("some curve has several rows of one step: what tells these apart is not a column of a curve")
    if not (best.converged and free.converged):
        notes.append(
            "the least squares is not settled to rounding: the sum of squares hardly depends on some parameter"
        )
    return notes
