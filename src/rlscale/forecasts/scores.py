"""How good a forecast was, once the points it was made for are looked at."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlscale.fitting.loss_spaces import Loss
from rlscale.forecasts.misfit_bands import Bands
from rlscale.forecasts.protocols import Series
from rlscale.laws import Array

END = 0.1
"""The end of a curve: this share of its steps."""


@dataclass(frozen=True)
class Scores:
    """Scores of one forecast.

    Attributes:
        points: points scored.
        rmse: root mean square of predicted - observed test loss.
        bias_at_end: mean of predicted - observed test loss over the last tenth of the steps, at least the last point.
        coverage: share of the points within each band, by the share that it is to hold; empty without bands.
        best_baseline: the naive forecast with the least rmse on these points, known only afterwards; None without one.
        skill: 1 - rmse / (rmse of that baseline); None without one, or where it is exact.
        r2_within: 1 - (sum of squared errors) / (sum of squares around the curve's mean), in the space of the fit; for
            refit-level only, else None. None as well where all points are alike.
    """

    points: int
    rmse: float
    bias_at_end: float
    coverage: dict[float, float]
    best_baseline: str | None
    skill: float | None
    r2_within: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the scores as JSON-native values."""
        return {
            "points": self.points,
            "rmse_test_loss": self.rmse,
            "bias_at_end_test_loss": self.bias_at_end,
            "coverage": {str(share): value for share, value in self.coverage.items()},
            "best_baseline": self.best_baseline,
            "skill": self.skill,
            "r2_within": self.r2_within,
        }


def score_forecast(
    observed: Series, predicted: Array, *, bands: Bands | None, baselines: Mapping[str, Array], r2_within: float | None
) -> Scores:
    """Score a forecast of a curve's points.

    Args:
        observed: the points, at least one, in order of step.
        predicted: their forecast test loss, shape (n,).
        bands: lower and upper test loss by share.
        baselines: naive forecasts of the same points, by name.
        r2_within: passed on.
    """
    error = predicted - observed.loss
    rmse = _rmse(error)
    others = {name: _rmse(loss - observed.loss) for name, loss in baselines.items()}
    best = min(others, key=lambda name: (others[name], name), default=None)
    return Scores(
        points=int(error.size),
        rmse=rmse,
        bias_at_end=float(error[at_end(observed)].mean()),
        coverage={
            share: float(np.mean((low <= observed.loss) & (observed.loss <= high)))
            for share, (low, high) in (bands or {}).items()
        },
        best_baseline=best,
        skill=None if best is None or others[best] == 0 else 1.0 - rmse / others[best],
        r2_within=r2_within,
    )


def at_end(points: Series) -> npt.NDArray[np.intp]:
    """Return the indices of the points in the last tenth of a curve's steps, at least the last one."""
    return np.flatnonzero((points.step > (1 - END) * points.step[-1]) | (points.step == points.step[-1]))


def in_space(loss: Array, space: Loss) -> Array:
    """Return test loss as the residuals of a fit see it: itself, or its log10."""
    return loss if space == "linear" else np.asarray(np.log10(loss))


def r2(centred: Array, residual: Array) -> float | None:
    """Return 1 - (sum of squared residuals) / (sum of squares around the mean).

    Args:
        centred: observed values less their mean, which may be one of each curve.
        residual: observed values less predicted ones.

    Returns:
        None where all observed values are alike.
    """
    around = float(centred @ centred)
    return 1.0 - float(residual @ residual) / around if around > 1e-26 * centred.size else None


def _rmse(error: Array) -> float:
    return float(np.sqrt(np.mean(error * error)))
