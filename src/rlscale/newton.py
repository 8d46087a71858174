"""Newton's method within bounds, for functions of a handful of parameters with exact derivatives.

Deterministic; steps are halved until they go downhill, and a bound holds a coordinate as long as the gradient pushes
against it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rlscale.laws import Array

Objective = Callable[[Array], tuple[float, Array, Array]]
"""Value, gradient and Hessian at a point."""


class Minimum(NamedTuple):
    """Where a function is least within its bounds; ``converged`` is False where the steps did not shrink to nothing."""

    point: Array
    value: float
    converged: bool


def minimise(objective: Objective, start: Array, lower: Array, upper: Array) -> Minimum:
    """Find a local minimum within bounds by a projected Newton method with step halving.

    Args:
        objective: returns the value, the gradient and the Hessian at a point.
        start: where to start, shape (d,).
        lower: least value by coordinate, shape (d,).
        upper: largest value by coordinate, shape (d,).
    """
    point = np.clip(start, lower, upper)
    value, gradient, hessian = objective(point)
    for _ in range(100):
        step = _newton_step(point, gradient, hessian, lower, upper)
        # Near the minimum the value is level to rounding while the gradient is not: allow for that.
        allowed = value + 1e-14 * abs(value)
        for halvings in range(40):
            trial = np.clip(point + step * 0.5**halvings, lower, upper)
            trial_value, trial_gradient, trial_hessian = objective(trial)
            if trial_value <= allowed:
                break
        else:
            return Minimum(point, value, _is_tiny(step, point, 1e-6))
        moved = trial - point
        point, value, gradient, hessian = trial, trial_value, trial_gradient, trial_hessian
        if _is_tiny(moved, point, 1e-13):
            return Minimum(point, value, True)
    return Minimum(point, value, _is_tiny(moved, point, 1e-9))


def _is_tiny(step: Array, point: Array, tolerance: float) -> bool:
    return bool(np.all(np.abs(step) <= tolerance * (1.0 + np.abs(point))))


def _newton_step(point: Array, gradient: Array, hessian: Array, lower: Array, upper: Array) -> Array:
    """Return a downhill Newton step over the coordinates that no bound holds and that have an effect here."""
    held = ((point <= lower) & (gradient >= 0)) | ((point >= upper) & (gradient <= 0))
    idle = (gradient == 0) & (np.diag(hessian) == 0)
    free = np.flatnonzero(~held & ~idle)
    step = np.zeros_like(point)
    if free.size:
        # Coordinates are scaled alike, then directions of negative curvature are turned downhill.
        block = hessian[np.ix_(free, free)]
        diagonal = np.abs(np.diag(block))
        scale = np.sqrt(np.maximum(diagonal, max(1e-16 * diagonal.max(), np.finfo(float).tiny)))
        curvature, directions = np.linalg.eigh(block / np.outer(scale, scale))
        floor = np.maximum(np.abs(curvature), 1e-12)
        step[free] = -(directions @ ((directions.T @ (gradient[free] / scale)) / floor)) / scale
    return step
