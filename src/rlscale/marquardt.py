"""Least squares within bounds from many starts at once: Levenberg and Marquardt's method on a stack of rows.

Every row is a start of its own and all rows are stepped together, so that a dozen starts cost little more than one.
Nothing is random. A step minimises the damped Gauss-Newton model over the whole box; what a problem can solve for in
closed form it puts right after each step, which turns the method into variable projection (Ruhe and Wedin, SIAM Review
22, 1980, algorithm 2; damping after Marquardt, J. SIAM 11, 1963).
"""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from rlscale.laws import Array

Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

_SHIFT = 1e-4
_RIDGE = 1e-13  # against singular systems, relative to a unit diagonal
_DAMPING = (1e-12, 1e-3, 1e10)  # least, first, and where no step goes downhill any more


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
    """Residuals as a function of d coordinates, for several rows at once."""

    def at(self, points: Array, rows: Indices) -> State:
        """Return the state at points after the coordinates with a closed form, if any, are put to their best.

        Args:
            points: shape (rows, d).
            rows: which start each row of ``points`` continues.
        """
        ...


class Minima(NamedTuple):
    """Where each row ended, of shape (rows, d), its sum of squares, and whether it settled there."""

    points: Array
    sse: Array
    converged: Flags


def descend(
    problem: Problem, starts: Array, lower: Array, upper: Array, zero: Array, *, tolerance: float, rounds: int, second_order: bool = False
) -> Minima:
    """Find a local least squares from each start.

    Args:
        problem: the residuals and their derivatives.
        starts: shape (rows, d), within the bounds.
        lower: least values, shape (rows, d).
        upper: largest values, shape (rows, d).
        zero: by row, a sum of squares that is zero to rounding.
        tolerance: a row has settled where Gauss-Newton promises to lower its sum of squares by a smaller share.
        rounds: steps at most.
    """
    rows = np.arange(len(starts))
    points, sse, slope, bend = _model(problem.at(starts, rows))
    if second_order:
        bend = _curvature(problem, points, rows, slope, bend, lower, upper)
    damping, converged = np.full(len(starts), _DAMPING[1]), np.zeros(len(starts), dtype=bool)
    for _ in range(rounds):
        low, high, pull, curve = lower[rows] - points[rows], upper[rows] - points[rows], slope[rows], bend[rows]
        step = solve_within(curve, pull, damping[rows], low, high)
        enough = np.maximum(tolerance * sse[rows], zero[rows])
        near = np.flatnonzero(np.einsum("ri,ri->r", pull, step) <= enough)
        if near.size:
            full = solve_within(curve[near], pull[near], 0.0, low[near], high[near])
            converged[rows[near]] = np.einsum("ri,ri->r", pull[near], full) <= enough[near]
        going = ~converged[rows] & (damping[rows] < _DAMPING[2])
        rows, step = rows[going], step[going]
        if not rows.size:
            break
        trial = _model(problem.at(np.clip(points[rows] + step, lower[rows], upper[rows]), rows))
        better = trial[1] < sse[rows]
        if second_order and better.any():
            own = rows[better]
            trial[3][better] = _curvature(problem, trial[0][better], own, trial[2][better], trial[3][better], lower[own], upper[own])
        for now, then in zip((points, sse, slope, bend), trial, strict=True):
            now[rows[better]] = then[better]
        damping[rows] = np.maximum(damping[rows] * np.where(better, 0.1, 8.0), _DAMPING[0])
    return Minima(points, sse, converged)


def solve_within(squares: Array, products: Array, damping: Array | float, lower: Array, upper: Array) -> Array:
    """Minimise ½ s'(H + damping · diag H)s - g's over lower <= s <= upper, row by row, by an active-set method.

    Args:
        squares: H, positive semi-definite, shape (rows, d, d); a coordinate whose row is zero stays where it is.
        products: g, shape (rows, d).
        damping: by row, or for all.
        lower: at most 0, shape (rows, d).
        upper: at least 0, shape (rows, d).
    """
    diagonal = np.einsum("rii->ri", squares)
    added = diagonal * (np.asarray(damping)[..., None] + _RIDGE) + (diagonal == 0)
    bend = squares.copy()
    np.einsum("rii->ri", bend)[...] += added
    step, held = np.zeros_like(products), (lower >= 0) | (upper <= 0)
    if not held.any():
        step = np.linalg.solve(bend, products[:, :, None])[:, :, 0]
        if ((step >= lower) & (step <= upper)).all():
            return step
        step = np.zeros_like(products)
    rest, identity, scale = products, np.eye(products.shape[-1]), 1.0 / np.sqrt(diagonal + (diagonal == 0))
    for _ in range(3 * products.shape[-1]):
        free = ~held
        system = np.where(free[:, :, None] & free[:, None, :], bend, identity)
        move = np.linalg.solve(system, np.where(free, rest, 0.0)[:, :, None])[:, :, 0]
        step, blocked = _move(step, move, lower, upper)
        held |= blocked
        rest = products - np.matmul(bend, step[:, :, None])[:, :, 0]
        let_go = _released(step <= lower, rest * scale, held & (lower < upper))
        let_go[blocked.any(axis=-1)] = False
        if not (blocked.any() or let_go.any()):
            break
        held &= ~let_go
    return step


def _move(step: Array, move: Array, lower: Array, upper: Array) -> tuple[Array, Flags]:
    """Return the steps after a move as far as the first bound in its way, and which coordinates that bound stopped."""
    end = step + move
    if ((end >= lower) & (end <= upper)).all():
        return end, np.zeros(step.shape, dtype=bool)
    bound = np.where(move > 0, upper, lower)
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(move == 0, np.inf, (bound - step) / move)
    share = np.minimum(room.min(axis=-1, keepdims=True), 1.0)
    blocked = room <= share
    return np.where(blocked, bound, np.clip(step + share * move, lower, upper)), blocked


def _released(low: Flags, rest: Array, held: Flags) -> Flags:
    """Return, by row, the held coordinate whose release lowers the value the fastest, if any does."""
    gain = np.where(held, np.where(low, rest, -rest), 0.0)
    fastest = np.arange(rest.shape[-1]) == gain.argmax(axis=-1)[:, None]
    return np.asarray(fastest & (gain > 1e-12 * np.abs(rest).max(axis=-1, keepdims=True)))


def normal(rates: Array, residuals: Array) -> tuple[Array, Array]:
    """Return the normal equations, squares (rows, d, d) and products (rows, d)."""
    return np.matmul(rates, rates.transpose(0, 2, 1)), np.matmul(rates, residuals[:, :, None])[:, :, 0]


def _model(state: State) -> tuple[Array, Array, Array, Array]:
    """Return the points, the sums of squares and half of their downhill gradients and Gauss-Newton Hessians."""
    squares, products = normal(state.rates, state.residuals)
    return state.points, np.einsum("rp,rp->r", state.residuals, state.residuals), products, squares


def _curvature(problem, points, rows, slope, bend, lower, upper):
    hessian = np.empty_like(bend)
    for i in range(points.shape[1]):
        shift = np.zeros(points.shape[1]); shift[i] = _SHIFT
        state = problem.at(np.concatenate([points + shift, points - shift]), np.concatenate([rows, rows]), solve=False)
        g = np.matmul(state.rates, state.residuals[:, :, None])[:, :, 0]
        hessian[:, i] = (g[len(rows):] - g[:len(rows)]) / (2 * _SHIFT)
    hessian = (hessian + hessian.transpose(0, 2, 1)) / 2
    held = ((points <= lower) & (slope <= 0)) | ((points >= upper) & (slope >= 0))
    scale = np.sqrt(np.einsum("rii->ri", bend)); scale = 1 / np.where(scale > 0, scale, 1)
    both = ~(held[:, :, None] | held[:, None, :])
    scaled = np.where(both, hessian * scale[:, :, None] * scale[:, None, :], np.eye(points.shape[1]))
    good = np.linalg.eigvalsh(scaled)[:, 0] > 1e-9
    return np.where(both & good[:, None, None], hessian, bend)
