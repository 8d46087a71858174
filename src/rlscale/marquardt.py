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
    problem: Problem, starts: Array, lower: Array, upper: Array, *, tolerance: float, floor: Array, rounds: int
) -> Minima:
    """Find a local least squares from each start.

    Args:
        problem: the residuals and their derivatives.
        starts: shape (rows, d), within the bounds.
        lower: least values, shape (rows, d).
        upper: largest values, shape (rows, d).
        tolerance: a row has settled where Gauss-Newton promises to lower its sum of squares by a smaller share.
        floor: by row, a sum of squares that is zero to rounding.
        rounds: steps at most.
    """
    rows = np.arange(len(starts))
    points, sse, slope, bend = _model(problem.at(starts, rows))
    damping, converged = np.full(len(starts), _DAMPING[1]), np.zeros(len(starts), dtype=bool)
    for _ in range(rounds):
        low, high, pull, curve = lower[rows] - points[rows], upper[rows] - points[rows], slope[rows], bend[rows]
        diagonal = damping[rows, None] * np.einsum("rii->ri", curve)
        step = box_newton(curve + diagonal[:, :, None] * np.eye(low.shape[1]), pull, low, high)
        enough = np.maximum(tolerance * sse[rows], floor[rows])
        near = np.flatnonzero(np.sum(pull * step, axis=-1) <= enough)
        if near.size:
            undamped = box_newton(curve[near], pull[near], low[near], high[near])
            converged[rows[near]] = np.sum(pull[near] * undamped, axis=-1) <= enough[near]
        going = ~converged[rows] & (damping[rows] < _DAMPING[2])
        rows, step = rows[going], step[going]
        if not rows.size:
            break
        trial = _model(problem.at(np.clip(points[rows] + step, lower[rows], upper[rows]), rows))
        better = trial[1] < sse[rows]
        for now, then in zip((points, sse, slope, bend), trial, strict=True):
            now[rows[better]] = then[better]
        damping[rows] = np.maximum(damping[rows] * np.where(better, 0.1, 8.0), _DAMPING[0])
    return Minima(points, sse, converged)


def box_newton(hessian: Array, gradient: Array, lower: Array, upper: Array) -> Array:
    """Minimise ½ s'Hs - g's over lower <= s <= upper, row by row, by an active-set method that starts at s = 0.

    Args:
        hessian: positive semi-definite, shape (rows, d, d); a coordinate whose row is zero stays where it is.
        gradient: shape (rows, d).
        lower: at most 0, shape (rows, d).
        upper: at least 0, shape (rows, d).
    """
    diagonal = np.einsum("rii->ri", hessian)
    scale = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    identity = np.eye(gradient.shape[-1])
    bend = hessian / (scale[:, :, None] * scale[:, None, :]) + (_RIDGE + (diagonal == 0)[:, :, None]) * identity
    slope, low, high = gradient / scale, lower * scale, upper * scale
    step, rest, held = np.zeros_like(slope), slope, (low >= 0) | (high <= 0)
    for _ in range(3 * slope.shape[-1]):
        free = ~held
        system = np.where(free[:, :, None] & free[:, None, :], bend, identity) if held.any() else bend
        move = np.linalg.solve(system, np.where(free, rest, 0.0)[:, :, None])[:, :, 0]
        step, blocked = _move(step, move, low, high)
        held |= blocked
        if not held.any():
            break
        rest = slope - np.matmul(bend, step[:, :, None])[:, :, 0]
        let_go = _released(step, rest, held & (low < high), low)
        let_go[blocked.any(axis=-1)] = False
        if not (blocked.any() or let_go.any()):
            break
        held &= ~let_go
    return np.asarray(step / scale)


def _move(step: Array, move: Array, low: Array, high: Array) -> tuple[Array, Flags]:
    """Return the steps after a move as far as the first bound in its way, and which coordinates that bound stopped."""
    end = step + move
    if not ((end < low) | (end > high)).any():
        return end, np.zeros(step.shape, dtype=bool)
    bound = np.where(move > 0, high, low)
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(move == 0, np.inf, (bound - step) / move)
    share = np.minimum(room.min(axis=-1, keepdims=True), 1.0)
    blocked = room <= share
    return np.where(blocked, bound, np.clip(step + share * move, low, high)), blocked


def _released(step: Array, rest: Array, held: Flags, low: Array) -> Flags:
    """Return, by row, the held coordinate whose release lowers the value the fastest, if any does."""
    gain = np.where(held, np.where(step <= low, rest, -rest), 0.0)
    fastest = np.arange(step.shape[-1]) == gain.argmax(axis=-1)[:, None]
    return np.asarray(fastest & (gain > 1e-12 * np.abs(rest).max(axis=-1, keepdims=True)))


def _model(state: State) -> tuple[Array, Array, Array, Array]:
    """Return the points, the sums of squares and half of their downhill gradients and Gauss-Newton Hessians."""
    points, residuals, rates = state
    sse = np.einsum("rp,rp->r", residuals, residuals)
    return points, sse, np.matmul(rates, residuals[:, :, None])[:, :, 0], np.matmul(rates, rates.transpose(0, 2, 1))
