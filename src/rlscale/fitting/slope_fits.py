"""Slope laws as fitted laws: what they say of a curve of which only its target is known.

A slope law leaves the level of each curve free, so of a size that it was not fitted on it knows the slope only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rlscale.curve_points import Curves
from rlscale.fitting.goodness import Goodness, goodness
from rlscale.fitting.loss_spaces import Loss, LossSpace, loss_space
from rlscale.fitting.projection import SlopeFit, fit_slope_law, free_slopes
from rlscale.laws import Array, SlopeLaw, Target
from rlscale.laws.log_slope import LogSlope
from rlscale.laws.power_slope import PowerSlope
from rlscale.laws.saturating_slope import SaturatingSlope

SlopeLawName = Literal["saturating_slope", "log_slope", "power_slope", "free_slope", "kept_slope"]


@dataclass(frozen=True, eq=False)
class LevelledSlopes:
    """Fitted slopes with a level of each curve; a slope for sizes that were not fitted comes from ``slope``.

    Attributes:
        law: name of the law.
        formula: its formula.
        curves: what it was fitted on.
        slopes: slope by fitted size.
        level: E at the mean log10 X of each curve.
        slope: slope of any size.
        parameters: named parameters, as JSON.
        shared: parameters beside the levels.
        fit: the slope law behind it, None for free slopes.
        goodness: how well the points are met.
    """

    law: str
    formula: str
    curves: Curves
    slopes: Array
    level: Array
    slope: Callable[[float], float]
    parameters: Mapping[str, Any]
    shared: int
    fit: SlopeFit | None
    goodness: Goodness

    def levelled(self, target: Target) -> bool:
        """Return whether the target is one of the fitted curves."""
        return target.curve in self.curves.keys

    def predict(self, target: Target, x: npt.ArrayLike) -> Array:
        """Return the test loss of the target at X = ``x``; with the level 0 where it is not a fitted curve."""
        log10_x = np.log10(np.asarray(x, dtype=np.float64))
        if target.curve is not None and self.levelled(target):
            index = self.curves.keys.index(target.curve)
            slope = self.slopes[self.curves.size[index]]
            return np.asarray(10.0 ** (self.level[index] - slope * (log10_x - self.curves.mean_log10_x[index])))
        return np.asarray(10.0 ** (-self.slope(float(target.params)) * log10_x))

    def to_json(self) -> dict[str, Any]:
        """Return the parameters, the slopes and the goodness of fit."""
        return {
            "law": self.law,
            "formula": self.formula,
            "parameters": dict(self.parameters),
            "k": dict(zip(map(str, self.curves.sizes.tolist()), self.slopes.tolist(), strict=True)),
            "degrees_of_freedom": self.shared + len(self.curves.keys),
            **self.goodness.to_json(),
            "notes": [],
        }


def slope_laws(curves: Curves) -> dict[str, SlopeLaw]:
    """Return saturation and its rivals, for the sizes of a table."""
    smallest, largest = (float(size) for size in curves.sizes[[0, -1]])
    laws: tuple[SlopeLaw, ...] = (SaturatingSlope(), LogSlope(smallest, largest), PowerSlope(largest))
    return {law.name: law for law in laws}


def fit_slopes(
    law: SlopeLawName,
    curves: Curves,
    loss: Loss,
) -> LevelledSlopes:
    """Fit a slope law by name.

    ``free_slope`` gives each size a slope of its own, and a size that was not fitted that of the nearest in log N.
    ``kept_slope`` is saturation that stops at the sizes it was fitted on: another size keeps the law's slope of the
    nearest. Both are what a law has to beat.
    """
    space = loss_space(curves, loss)
    if law == "free_slope":
        slopes = free_slopes(space).point[0]
        formula = "log10 L = -k_N log10 X + E, one k_N a size"
        return _levelled(law, formula, space, slopes, slope=_nearest(curves, slopes), fit=None)
    if law == "kept_slope":
        saturating = slope_laws(curves)["saturating_slope"]
        fit = fit_slope_law(saturating, space)
        slopes = fit.best.slopes[0]
        formula = f"{saturating.formula}; k of the nearest fitted size"
        return _levelled(law, formula, space, slopes, slope=_nearest(curves, slopes), fit=fit)
    return fit_one_slope_law(slope_laws(curves)[law], curves, loss)


def fit_one_slope_law(law: SlopeLaw, curves: Curves, loss: Loss) -> LevelledSlopes:
    """Fit any law of the slope, named or not."""
    space = loss_space(curves, loss)
    fit = fit_slope_law(law, space)
    shape = float(fit.best.shape[0])

    def slope(params: float) -> float:
        return float(fit.best.scale[0] * law.shape(np.array([params]), shape)[0][0])

    return _levelled(law.name, law.formula, space, fit.best.slopes[0], slope=slope, fit=fit)


def _levelled(
    law: str,
    formula: str,
    space: LossSpace,
    slopes: Array,
    *,
    slope: Callable[[float], float],
    fit: SlopeFit | None,
) -> LevelledSlopes:
    rest = space.residuals(slopes)
    return LevelledSlopes(
        law=law,
        formula=formula,
        curves=space.curves,
        slopes=slopes,
        level=rest.level,
        slope=slope,
        parameters={} if fit is None else slope_parameters(fit),
        shared=slopes.size if fit is None else 2,
        fit=fit,
        goodness=goodness(space.curves, rest.residual, rest.observed),
    )


def slope_parameters(fit: SlopeFit) -> dict[str, dict[str, Any]]:
    """Return a slope law's two parameters by name: estimate, unit, bounds and whether one binds."""
    scale, shape = fit.best.parameters
    natural = float(fit.law.natural(fit.best.shape)[0])
    found = {}
    for parameter, value, at in (
        (scale, float(fit.best.scale[0]), float(fit.best.scale[0])),
        (shape, float(np.clip(natural, shape.lower, shape.upper)), float(fit.best.shape[0])),
    ):
        ends = (parameter.lower, parameter.upper)
        low, high = ends if parameter is scale else map(fit.law.coordinate, ends)
        hit = "lower" if at <= low else "upper" if at >= high else None
        found[parameter.name] = {
            "estimate": value,
            "unit": parameter.unit,
            "lower": parameter.lower,
            "upper": parameter.upper,
            "bound_hit": hit,
        }
    return found


def _nearest(curves: Curves, slopes: Array) -> Callable[[float], float]:
    def slope(params: float) -> float:
        return float(slopes[np.abs(np.log(curves.sizes / params)).argmin()])

    return slope
