"""Least squares within bounds from many starts at once: Levenberg and Marquardt's method on a stack of rows.

Every row is a start of its own and all rows are stepped together, so that a dozen starts cost little more than one.
Nothing is random. A step minimises the damped Gauss-Newton model over the whole box; what a problem can solve for in
closed form it puts right after each step, which turns the method into variable projection (Ruhe and Wedin, SIAM Review
22, 1980, algorithm 2; damping after Marquardt, J. SIAM 11, 1963). Gauss and Newton's model settles slowly where the
residuals are large, so the last steps may use the true curvature.
"""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from scipy.optimize import lsq_linear

from rlscale.laws import Array

Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

_RIDGE = 1e-13  # against singular systems, relative to the diagonal
_DAMPING = (1e-12, 1e-3, 1e10)  # least, first, and where no step goes downhill any more
_PIVOTS = 8  # changes of the active set before it is taken to go round in circles
_SHIFT = 1e-4  # of a coordinate, for the curvature by differences: its error is about the shift squared


class State(NamedTuple):
    """Points of a problem and what is known there.

    Attributes:
        points: shape (rows, d).
        residuals: observed less modelled, shape (rows, residuals).
        rates: derivatives of the modelled values by each coordinate, shape (rows, d, residuals).
    """

    points: Array
    residuals: Array
    rates: Array


class Problem(Protocol):
    """Residuals as a function of d coordinates, all of order 1, for several rows at once."""

    def at(self, points: Array, rows: Indices, *, solve: bool = True) -> State:
        """Return the state at points.

        Args:
            points: shape (rows, d).
            rows: which start each row of ``points`` continues.
            solve: whether to put the coordinates with a closed form, if any, to their best first.
        """
        ...


class Minima(NamedTuple):
    """Where each row ended, of shape (rows, d), its sum of squares, and whether it settled there."""

    points: Array
    sse: Array
    converged: Flags


class Bounds(NamedTuple):
    """Least and largest coordinates by row, each of shape (rows, d)."""

    lower: Array
    upper: Array

    def of(self, rows: Indices) -> "Bounds":
        """Return the bounds of some rows."""
        return Bounds(self.lower[rows], self.upper[rows])

    def less(self, points: Array) -> "Bounds":
        """Return the bounds of a step from points."""
        return Bounds(self.lower - points, self.upper - points)

    def clip(self, points: Array) -> Array:
        """Return the points within the bounds."""
        return np.clip(points, self.lower, self.upper)


def descend(
    problem: Problem, starts: Array, bounds: Bounds, zero: Array, *, tolerance: float, rounds: int, exact: bool = False
) -> Minima:
    """Find a local least squares from each start.

    Args:
        problem: the residuals and their derivatives.
        starts: shape (rows, d), within the bounds.
        bounds: of the coordinates, by start.
        zero: by start, a sum of squares that is zero to rounding.
        tolerance: a row has settled where a step without damping promises to lower its sum of squares by no more than
            this share.
        rounds: steps at most.
        exact: whether to use the true curvature where it is positive; each round costs 2 d rows more.
    """
    rows = np.arange(len(starts))
    known = _model(problem, problem.at(starts, rows), rows, bounds if exact else None)
    points, sse, slope, bend = known
    damping, converged = np.full(len(starts), _DAMPING[1]), np.zeros(len(starts), dtype=bool)
    for _ in range(rounds):
        room, pull, curve = bounds.of(rows).less(points[rows]), slope[rows], bend[rows]
        step = solve_within(curve, pull, damping[rows], room)
        enough = np.maximum(tolerance * sse[rows], zero[rows])
        near = np.flatnonzero(np.einsum("ri,ri->r", pull, step) <= enough)
        if near.size:
            undamped = solve_within(curve[near], pull[near], np.zeros(near.size), room.of(near))
            converged[rows[near]] = np.einsum("ri,ri->r", pull[near], undamped) <= enough[near]
        going = ~converged[rows] & (damping[rows] < _DAMPING[2])
        rows, step = rows[going], step[going]
        if not rows.size:
            break
        trial = problem.at(bounds.of(rows).clip(points[rows] + step), rows)
        better = _squares(trial) < sse[rows]
        moved = rows[better]
        if moved.size:
            state = State(*(column[better] for column in trial))
            for now, then in zip(
                known, _model(problem, state, moved, bounds.of(moved) if exact else None), strict=True
            ):
                now[moved] = then
        damping[rows] = np.maximum(damping[rows] * np.where(better, 0.1, 8.0), _DAMPING[0])
    return Minima(points, sse, converged)


def solve_within(squares: Array, products: Array, damping: Array, room: Bounds) -> Array:
    """Minimise ½ s'(H + damping · diag H)s - g's within bounds, row by row.

    By the primal-dual active-set method (Hintermüller, Ito and Kunisch, SIAM J. Optim. 13, 2002): it is nearly always
    done after two or three solutions; the rows where it goes round in circles are left to scipy's.

    Args:
        squares: H, positive semi-definite, shape (rows, d, d); a coordinate whose row is zero stays where it is.
        products: g, shape (rows, d).
        damping: by row.
        room: the bounds of s; 0 lies within them.
    """
    diagonal = np.einsum("rii->ri", squares)
    bend = squares.copy()
    np.einsum("rii->ri", bend)[...] += diagonal * (damping[:, None] + _RIDGE) + (diagonal == 0)
    loose = room.lower < room.upper
    low, high = loose & (room.lower >= 0) & (products <= 0), loose & (room.upper <= 0) & (products >= 0)
    for _ in range(_PIVOTS):
        held = low | high | ~loose
        if not held.any():
            step, push = _solved(bend, products), products
        else:
            free, bound = ~held, np.where(low, room.lower, np.where(high, room.upper, 0.0))
            rest = products - np.matmul(bend, bound[:, :, None])[:, :, 0]
            system = np.where(free[:, :, None] & free[:, None, :], bend, np.eye(free.shape[1]))
            step = np.where(free, _solved(system, np.where(free, rest, 0.0)), bound)
            push = products - np.matmul(bend, step[:, :, None])[:, :, 0]
        before = low, high
        low = loose & ((step < room.lower) | (low & (push <= 0)))
        high = loose & ((step > room.upper) | (high & (push >= 0)))
        changed = ((low != before[0]) | (high != before[1])).any(axis=1)
        if not changed.any():
            return step
    for row in np.flatnonzero(changed):
        step[row] = _bounded(bend[row], products[row], room.lower[row], room.upper[row])
    return step


def _bounded(bend: Array, products: Array, lower: Array, upper: Array) -> Array:
    """Minimise ½ s'Hs - g's within bounds for one row, as bounded least squares with a root of H."""
    values, directions = np.linalg.eigh(bend)
    root = np.sqrt(np.maximum(values, _RIDGE * values[-1]))
    free, step = lower < upper, np.zeros_like(products)
    matrix, target = (directions * root).T[:, free], directions.T @ products / root
    step[free] = lsq_linear(matrix, target, (lower[free], upper[free]), method="bvls").x
    return step


def normal_equations(rates: Array, residuals: Array) -> tuple[Array, Array]:
    """Return the squares, (rows, d, d), and the products, (rows, d), of rates and residuals."""
    return np.matmul(rates, rates.transpose(0, 2, 1)), np.matmul(rates, residuals[:, :, None])[:, :, 0]


def _solved(matrices: Array, vectors: Array) -> Array:
    return np.asarray(np.linalg.solve(matrices, vectors[:, :, None])[:, :, 0], dtype=np.float64)


def _squares(state: State) -> Array:
    return np.asarray(np.einsum("rp,rp->r", state.residuals, state.residuals))


def _model(problem: Problem, state: State, rows: Indices, bounds: Bounds | None) -> tuple[Array, Array, Array, Array]:
    """Return the points, the sums of squares, and half of their downhill gradients and of their curvature.

    The curvature is Gauss and Newton's; within ``bounds``, where given, the true one in the rows where it is positive.
    """
    squares, products = normal_equations(state.rates, state.residuals)
    if bounds is not None:
        held = ((state.points <= bounds.lower) & (products <= 0)) | ((state.points >= bounds.upper) & (products >= 0))
        free = ~(held[:, :, None] | held[:, None, :])
        true = _curvature(problem, state.points, rows)
        squares = np.where(free & _positive(true, squares, free)[:, None, None], true, squares)
    return state.points, _squares(state), products, squares


def _curvature(problem: Problem, points: Array, rows: Indices) -> Array:
    """Return half the Hessian of the sum of squares, by central differences of its gradient."""
    hessian = np.empty((*points.shape, points.shape[1]))
    for index, shift in enumerate(_SHIFT * np.eye(points.shape[1])):
        ahead, behind = (problem.at(points + sign * shift, rows, solve=False) for sign in (1.0, -1.0))
        up, down = (normal_equations(state.rates, state.residuals)[1] for state in (behind, ahead))
        hessian[:, index] = (up - down) / (2 * _SHIFT)
    return np.asarray((hessian + hessian.transpose(0, 2, 1)) / 2)


def _positive(hessian: Array, squares: Array, free: Flags) -> Flags:
    """Return, by row, whether the free part of a Hessian is positive definite, with the scales of the squares."""
    diagonal = np.einsum("rii->ri", squares)
    scale = 1.0 / np.sqrt(diagonal + (diagonal == 0))
    scaled = np.where(free, hessian * scale[:, :, None] * scale[:, None, :], np.eye(hessian.shape[1]))
    return np.asarray(np.linalg.eigvalsh(scaled)[:, 0] > 1e-9)
