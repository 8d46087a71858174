"""Least squares of a slope law: its two parameters, with the levels projected out, for one table or for many alike.

Deterministic: a scan over the shape parameter gives the starts, Newton's method on the true sum of squares finishes.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from rlscale.fitting.loss_spaces import LossSpace
from rlscale.fitting.newton import Minimum, Objective, Rows, minimise
from rlscale.laws import Array, Parameter, SlopeLaw

Held = Literal["scale", "shape"]

_SCAN = 241  # values of the shape parameter in the scan: its bounds lie six decades and more apart
_FLAT = 1e-13  # slopes below this are zero to rounding


class Box(NamedTuple):
    """Bounds of (scale, shape) in the coordinates of the search, shape (b, 2); equal bounds hold a parameter."""

    lower: Array
    upper: Array


@dataclass(frozen=True)
class BestFit:
    """A law at the least squares of b tables.

    Attributes:
        parameters: the scale and the shape parameter, with their bounds in natural units.
        scale: value of the scale, shape (b,).
        shape: shape parameter in the coordinate of the search, shape (b,); without effect where the scale is 0.
        slopes: slope by size, shape (b, sizes).
        sse: sum of squared residuals, shape (b,).
        converged: whether the search settled to rounding, shape (b,).
    """

    parameters: tuple[Parameter, Parameter]
    scale: Array
    shape: Array
    slopes: Array
    sse: Array
    converged: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SlopeFit:
    """A slope law fitted to one table, and each size fitted by itself.

    Attributes:
        law: the slope law.
        space: the table.
        free: least squares of each size by itself; the point has shape (1, sizes).
        best: least squares of the law.
    """

    law: SlopeLaw
    space: LossSpace
    free: Minimum
    best: BestFit


def fit_slope_law(law: SlopeLaw, space: LossSpace) -> SlopeFit:
    """Fit the law to one table."""
    free = free_slopes(space)
    return SlopeFit(law, space, free, fit_law(law, space, free.point))


def free_slopes(space: LossSpace) -> Minimum:
    """Fit each size by itself; the point has shape (1, sizes). The sizes share nothing: the Hessian is diagonal."""

    def objective(slopes: Array, rows: Rows) -> tuple[Array, Array, Array]:
        squares = space.squares(slopes, rows)
        return squares.value.sum(axis=-1), squares.first, squares.second[..., None] * np.eye(slopes.shape[-1])

    start = space.start()[None]
    return minimise(objective, start, np.full_like(start, -np.inf), np.full_like(start, np.inf))


def law_box(law: SlopeLaw, space: LossSpace, tables: int = 1) -> Box:
    """Return the law's bounds in the coordinates of the search, one row a table."""
    scale, shape = law.parameters(space.curves.sizes.tolist())
    ends = np.array([[scale.lower, law.coordinate(shape.lower)], [scale.upper, law.coordinate(shape.upper)]])
    return Box(*(np.tile(end, (tables, 1)) for end in ends))


def held_box(law: SlopeLaw, space: LossSpace, which: Held, values: Array) -> Box:
    """Return the law's bounds with one parameter held, at one value a row (b,); the shape's in its coordinate."""
    box = law_box(law, space, values.size)
    for end in box:
        end[:, 0 if which == "scale" else 1] = values
    return box


def fit_law(law: SlopeLaw, space: LossSpace, free: Array) -> BestFit:
    """Find the parameters of least squares of one table.

    Each size's sum of squares is nearly a parabola about its free slope (exactly one for log loss), which makes a scan
    over the shape parameter closed-form; Newton's method on the true sum of squares finishes from the scan's minima.
    For log loss that is the global minimum. For linear loss with noise as large as the loss the parabolas may mislead,
    so the best point of a coarse grid is a start as well, unless it is far too high to lead lower.

    Args:
        law: the slope law.
        space: one table.
        free: slope of each size by itself, shape (1, sizes).
    """
    params = space.curves.sizes.astype(np.float64)
    box = law_box(law, space)
    objective = _objective(law, space, np.zeros(1, dtype=np.intp))
    curvature = space.squares(free, np.zeros(1, dtype=np.intp)).curvature
    starts = np.unique(_scan(law, params, free, curvature, box, minima=4)[0], axis=0)
    best = _from(objective, starts, box)
    (low, high) = box.lower[0, 1], box.upper[0, 1]
    grid = np.array(
        [
            (steepest / max(law.shape(params, shape)[0].max(), 1e-300), shape)
            for shape in low + np.array([0.3, 0.5, 0.7]) * (high - low)
            for steepest in (0.03, 0.3, 2.0)  # slope of the steepest size
        ]
    )
    values = objective(grid, np.zeros(len(grid), dtype=np.intp))[0]
    if values.min() < 2 * best.value[0]:
        other = _from(objective, grid[[values.argmin()]], box)
        best = other if other.value[0] < best.value[0] else best
    return _best_fit(law, space, best)


def refit_law(law: SlopeLaw, space: LossSpace, near: Array, *, tables: Rows, box: Box | None = None) -> BestFit:
    """Find the parameters of least squares of many tables, from one start each: the least of its scan.

    Args:
        law: the slope law.
        space: the tables.
        near: slopes that are near every table's free ones, shape (sizes,).
        tables: which tables, shape (b,); a table may come several times, with other bounds.
        box: bounds, of shape (b, 2); the law's own without.
    """
    params = space.curves.sizes.astype(np.float64)
    box = law_box(law, space, tables.size) if box is None else box
    there = space.squares(np.broadcast_to(near, (tables.size, near.size)), tables)
    free = near - there.first / there.curvature
    starts = _scan(law, params, free, there.curvature, box, minima=1)[:, 0]
    return _best_fit(law, space, minimise(_objective(law, space, tables), starts, *box))


def _objective(law: SlopeLaw, space: LossSpace, tables: Rows) -> Objective:
    params = space.curves.sizes.astype(np.float64)

    def objective(point: Array, rows: Rows) -> tuple[Array, Array, Array]:
        scale = point[:, :1]
        share, first, second = law.shape(params, point[:, 1:])
        squares = space.squares(scale * share, tables[rows % tables.size])
        rate, bend = squares.first, squares.second
        gradient = np.stack([np.sum(rate * share, axis=-1), np.sum(scale * rate * first, axis=-1)], axis=-1)
        by_scale = np.sum(bend * share**2, axis=-1)
        mixed = np.sum(bend * scale * share * first + rate * first, axis=-1)
        by_shape = np.sum(scale * (bend * scale * first**2 + rate * second), axis=-1)
        hessian = np.stack([by_scale, mixed, mixed, by_shape], axis=-1).reshape(-1, 2, 2)
        return squares.value.sum(axis=-1), gradient, hessian

    return objective


def _from(objective: Objective, starts: Array, box: Box) -> Minimum:
    minima = minimise(objective, starts, *box)
    best = slice(int(minima.value.argmin()), int(minima.value.argmin()) + 1)
    return Minimum(minima.point[best], minima.value[best], minima.converged[best])


def _best_fit(law: SlopeLaw, space: LossSpace, best: Minimum) -> BestFit:
    params = space.curves.sizes.astype(np.float64)
    scale, shape = best.point.T
    slopes = scale[:, None] * law.shape(params, shape[:, None])[0]
    flat = np.abs(slopes).max(axis=-1) < _FLAT
    scale, slopes = np.where(flat, 0.0, scale), np.where(flat[:, None], 0.0, slopes)
    parameters = law.parameters(space.curves.sizes.tolist())
    return BestFit(parameters, scale, shape, slopes, best.value, best.converged)


def _scan(law: SlopeLaw, params: Array, slopes: Array, curvature: Array, box: Box, *, minima: int) -> Array:
    """Return starts (b, minima, 2): the lowest local minima, over the shape, of parabolas about the free slopes."""
    low, high = box.lower[:, 1:], box.upper[:, 1:]
    shapes = low if np.array_equal(low, high) else low + np.linspace(0.0, 1.0, _SCAN) * (high - low)
    alike = shapes[:1] if np.all(shapes == shapes[:1]) else shapes
    share = np.broadcast_to(law.shape(params, alike[:, :, None])[0], (*alike.shape, params.size))
    if len(share) == 1:
        steepness = np.einsum("bs,gs->bg", curvature, share[0] ** 2)
        along = np.einsum("bs,gs->bg", curvature * slopes, share[0])
    else:
        steepness = np.einsum("bs,bgs->bg", curvature, share**2)
        along = np.einsum("bs,bgs->bg", curvature * slopes, share)
    scale = np.clip(along / np.maximum(steepness, 1e-300), box.lower[:, :1], box.upper[:, :1])
    value = scale * (scale * steepness - 2.0 * along)
    padded = np.pad(value, ((0, 0), (1, 1)), constant_values=np.inf)
    is_minimum = (value < padded[:, :-2]) & (value <= padded[:, 2:])
    value = np.where(is_minimum, value, np.inf)
    rank = np.argsort(value, axis=-1, kind="stable")[:, :minima]
    rank = np.where(np.isinf(np.take_along_axis(value, rank, -1)), rank[:, :1], rank)  # fewer minima than asked for
    return np.stack([np.take_along_axis(scale, rank, -1), np.take_along_axis(shapes, rank, -1)], axis=-1)
