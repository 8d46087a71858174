"""Newton's method within bounds, for many small problems at once, each of a handful of parameters.

Derivatives are exact and nothing is random. Steps are halved until they go downhill, and a bound holds a coordinate as
long as the gradient pushes against it. A problem that has settled leaves the batch, so the others cost no more.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rlscale.laws import Array

Rows = npt.NDArray[np.intp]
Objective = Callable[[Array, Rows], tuple[Array, Array, Array]]
"""Values (b,), gradients (b, d) and Hessians (b, d, d) at points (b, d) of the problems ``rows`` (b,)."""

_STEPS, _HALVINGS = 100, 40


class Minimum(NamedTuple):
    """Where functions are least within their bounds.

    Attributes:
        point: shape (b, d).
        value: shape (b,).
        converged: shape (b,); False where the steps did not shrink to nothing.
    """

    point: Array
    value: Array
    converged: npt.NDArray[np.bool_]


def minimise(objective: Objective, start: Array, lower: Array, upper: Array) -> Minimum:
    """Find a local minimum of each problem by a projected Newton method with step halving.

    Args:
        objective: the functions and their derivatives.
        start: where to start, shape (b, d).
        lower: least value by coordinate, broadcast against ``start``; equal bounds hold a coordinate.
        upper: largest value by coordinate, likewise.
    """
    lower, upper = np.broadcast_to(lower, start.shape), np.broadcast_to(upper, start.shape)
    point = np.clip(start, lower, upper)
    rows = np.arange(len(point))
    value, gradient, hessian = objective(point, rows)
    converged = np.zeros(len(point), dtype=bool)
    for _ in range(_STEPS):
        step = _newton_step(point[rows], gradient[rows], hessian[rows], lower[rows], upper[rows])
        moved = np.zeros_like(step)
        trying = np.arange(rows.size)  # of rows: those whose step has not gone downhill yet
        # Near the minimum the value is level to rounding while the gradient is not: allow for that.
        allowed = value[rows] + 1e-14 * np.abs(value[rows])
        for halvings in range(_HALVINGS):
            own = rows[trying]
            trial = np.clip(point[own] + step[trying] * 0.5**halvings, lower[own], upper[own])
            results = objective(trial, own)
            good = results[0] <= allowed[trying]
            moved[trying[good]] = trial[good] - point[own[good]]
            point[own[good]] = trial[good]
            for kept, found in zip((value, gradient, hessian), results, strict=True):
                kept[own[good]] = found[good]
            trying = trying[~good]
            if trying.size == 0:
                break
        converged[rows] = _tiny(moved, point[rows], 1e-9)
        converged[rows[trying]] = _tiny(step[trying], point[rows[trying]], 1e-6)
        settled = _tiny(moved, point[rows], 1e-13)
        rows = rows[~settled]
        if rows.size == 0:
            break
    return Minimum(point, value, converged)


def _tiny(step: Array, point: Array, tolerance: float) -> npt.NDArray[np.bool_]:
    return np.asarray(np.all(np.abs(step) <= tolerance * (1.0 + np.abs(point)), axis=-1))


def _newton_step(point: Array, gradient: Array, hessian: Array, lower: Array, upper: Array) -> Array:
    """Return downhill Newton steps over the coordinates that no bound holds and that have an effect here."""
    held = ((point <= lower) & (gradient >= 0)) | ((point >= upper) & (gradient <= 0))
    diagonal = np.abs(np.diagonal(hessian, axis1=-2, axis2=-1))
    free = ~held & ~((gradient == 0) & (diagonal == 0))
    # Coordinates are scaled alike, then directions of negative curvature are turned downhill.
    largest = np.max(diagonal, axis=-1, keepdims=True, initial=0.0, where=free)
    scale = np.sqrt(np.maximum(diagonal, np.maximum(1e-16 * largest, np.finfo(float).tiny)))
    both = free[..., :, None] & free[..., None, :]
    block = np.where(both, hessian / (scale[..., :, None] * scale[..., None, :]), np.eye(point.shape[-1]))
    curvature, directions = np.linalg.eigh(block)
    along = np.einsum("bij,bi->bj", directions, np.where(free, gradient / scale, 0.0))
    step = -np.einsum("bij,bj->bi", directions, along / np.maximum(np.abs(curvature), 1e-12))
    return np.asarray(np.where(free, step / scale, 0.0))
