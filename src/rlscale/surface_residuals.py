"""The least squares behind a surface law: points in pieces that are fitted together, and residuals with derivatives.

A law that is fitted size by size has a piece for each size, any other law one piece; shorter pieces are filled up with
points of no weight, so that all are searched at once. Where the residuals are linear in the law's coefficients (its link
is the space of the loss), the coefficients are solved for at every step, within their bounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from rlscale.curve_points import Curves
from rlscale.laws import Array
from rlscale.laws.surface_law import LN10, Frame, Sites, SurfaceLaw
from rlscale.marquardt import Indices, State, normal, solve_within

Loss = Literal["linear", "log"]

_LEAST = 1e-12  # what a modelled loss of zero counts as, so that it has a logarithm
_MOST = 6.0  # largest log10 of a modelled loss, so that a step too far does not overflow
_GROUPS = 16  # groups of neighbouring points that stand for a curve


class Points(NamedTuple):
    """Points with all that a fit needs of them, one entry per point; ``curve`` and ``size`` are indices."""

    curve: Indices
    size: Indices
    params: Array
    base_loss: Array
    log10_x: Array
    loss: Array
    weight: Array


@dataclass(frozen=True)
class Pieces:
    """Points that are fitted together by row; where a row is filled up, the weight is 0 and the loss is 1.

    Attributes:
        frames: the scales of each piece.
        sites: where the points lie, arrays of shape (pieces, points).
        loss: test loss, same shape.
        weight: weight of a point's squared residual, same shape.
    """

    frames: tuple[Frame, ...]
    sites: Sites
    loss: Array
    weight: Array

    def of(self, index: int) -> tuple[Sites, Array]:
        """Return the sites and the losses of one piece, as it was before it was filled up."""
        there = self.weight[index] > 0
        return Sites(*(column[index, there] for column in self.sites)), self.loss[index, there]


def points_of(curves: Curves) -> Points:
    """Return the points that have any weight."""
    curve = np.repeat(np.arange(curves.size.size), curves.counts)
    log10_x = curves.log10_x + curves.mean_log10_x[curve]
    by_curve = (curves.size[curve], curves.params[curve], curves.base_loss[curve])
    points = Points(curve, *by_curve, log10_x, curves.loss, curves.weight)
    return Points(*(column[curves.weight > 0] for column in points))


def condensed(points: Points) -> Points:
    """Return each curve as the means of at most 16 groups of neighbouring points: enough to search on, not to fit."""
    first = np.flatnonzero(np.diff(points.curve, prepend=-1))
    counts = np.diff(np.append(first, points.curve.size))
    place = np.arange(points.curve.size) - np.repeat(first, counts)
    starts = np.flatnonzero(place % np.repeat(-(-counts // _GROUPS), counts) == 0)
    weight = np.add.reduceat(points.weight, starts)
    x, loss = (np.add.reduceat(points.weight * column, starts) / weight for column in (points.log10_x, points.loss))
    return Points(*(column[starts] for column in points[:4]), x, loss, weight)


def frames_of(points: Points, *, by_size: bool) -> tuple[Frame, ...]:
    """Return the scales of the pieces."""
    frames = []
    for chosen in _chosen(points, by_size=by_size):
        own = Points(*(column[chosen] for column in points))
        sizes, base = np.unique(own.params), own.base_loss[np.flatnonzero(np.diff(own.curve, prepend=-1))]
        centre = float(own.log10_x.mean())
        frame = Frame(
            params=tuple(sizes.tolist()),
            log10_n=float(np.log10(sizes).mean()),
            log10_x=centre,
            x_range=(float(own.log10_x.min()) - centre, float(own.log10_x.max()) - centre),
            base_loss=None if np.isnan(base).any() else float(base.mean()),
        )
        frames.append(frame)
    return tuple(frames)


def pieces_of(points: Points, frames: tuple[Frame, ...], *, by_size: bool) -> Pieces:
    """Return the points in one row for each of the frames."""
    chosen = _chosen(points, by_size=by_size)
    shape = (len(frames), max(int(np.count_nonzero(own)) for own in chosen))
    sites = Sites(np.zeros(shape), np.zeros(shape), np.zeros(shape), np.ones(shape))
    loss, weight = np.ones(shape), np.zeros(shape)
    for row, (own, frame) in enumerate(zip(chosen, frames, strict=True)):
        there = frame.sites(points.params[own], points.log10_x[own], points.base_loss[own])
        columns = ((loss, points.loss[own]), (weight, points.weight[own]), *zip(sites, there, strict=True))
        for target, values in columns:
            target[row, : values.size] = values
    return Pieces(frames, sites, loss, weight)


def _chosen(points: Points, *, by_size: bool) -> list[Array]:
    return [points.size == size for size in np.unique(points.size)] if by_size else [points.size >= 0]


class SurfaceResiduals:
    """Residuals of a law over pieces, as a problem for several starts, each of which belongs to one piece."""

    def __init__(
        self, law: SurfaceLaw, loss: Loss, pieces: Pieces, piece: Sequence[int] | Indices, lower: Array, upper: Array
    ) -> None:
        """Take a law and points.

        Args:
            law: the law.
            loss: the space of the residuals, L or log10 L.
            pieces: the points.
            piece: index of the piece by start.
            lower: least coordinates by start, shape (starts, d).
            upper: largest coordinates by start.
        """
        self._law, self._piece, self._sites = law, np.asarray(piece), pieces.sites
        self._lower, self._upper = lower[:, law.shapes :], upper[:, law.shapes :]
        self._projects = law.link == loss
        log10_loss, root = np.log10(pieces.loss), np.sqrt(pieces.weight)
        self._observed, self._root = (pieces.loss if loss == "linear" else log10_loss), root
        # Residuals of the link, scaled to approximate those of the loss: what the first coefficients are solved from.
        slope = pieces.loss if law.link == "log" else 1.0 / pieces.loss
        self._linked = pieces.loss if law.link == "linear" else log10_loss
        self._linked_root = root if self._projects else root * slope
        self.zero = 1e-28 * np.sum((root * self._observed) ** 2, axis=-1)[self._piece]

    def start(self, shapes: Array) -> Array:
        """Return the points at shapes, (starts, shapes), with the coefficients that approximate the loss best."""
        points = np.concatenate([shapes, np.clip(0.0, self._lower, self._upper)], axis=1)
        rows = np.arange(len(points))
        basis = self._law.expand(shapes, self._rows(rows)[1]).basis
        for _ in range(2):  # the second time takes off the rounding of the first
            points, _ = self._solve(points, rows, basis, _combined(points[:, self._law.shapes :], basis))
        return points

    def at(self, points: Array, rows: Indices, *, solve: bool = True) -> State:
        """Return the points, coefficients solved for where they are linear, the residuals and their derivatives."""
        which, sites = self._rows(rows)
        shapes = self._law.shapes
        expansion = self._law.expand(points[:, :shapes], sites)
        value = _combined(points[:, shapes:], expansion.basis)
        if self._projects and solve:
            points, value = self._solve(points, rows, expansion.basis, value)
        root = self._root[which]
        modelled, rate = self._modelled(value)
        rates = np.concatenate([expansion.tangent(points[:, shapes:]), expansion.basis], axis=1)
        rates *= (root * rate)[:, None, :]
        return State(points, root * (self._observed[which] - modelled), rates)

    def sse(self, points: Array) -> Array:
        _, residuals, _ = self.at(points, np.arange(len(points)))
        return np.einsum("rp,rp->r", residuals, residuals)

    def _rows(self, rows: Indices) -> tuple[slice | Indices, Sites]:
        """Return what selects the points of starts, and their sites; a single piece broadcasts over the starts."""
        if len(self._observed) == 1:
            return slice(None), self._sites
        which = self._piece[rows]
        return which, Sites(*(column[which] for column in self._sites))

    def _solve(self, points: Array, rows: Indices, basis: Array, value: Array) -> tuple[Array, Array]:
        """Return the points with the coefficients that fit the link best, and the link's value there."""
        which, _ = self._rows(rows)
        shape, coefficients = points[:, : self._law.shapes], points[:, self._law.shapes :]
        lower, upper = self._lower[rows], self._upper[rows]
        root = self._linked_root[which]
        step = solve_within(*normal(basis * root[:, None, :], root * (self._linked[which] - value)), 0.0, lower - coefficients, upper - coefficients)
        best = np.clip(coefficients + step, lower, upper)
        return np.concatenate([shape, best], axis=1), value + _combined(best - coefficients, basis)

    def _modelled(self, value: Array) -> tuple[Array, Array]:
        """Return the link's value in the space of the residuals, and its derivative by the link's value."""
        if self._projects:
            return value, np.ones(1)
        if self._law.link == "log":
            loss = 10.0 ** np.minimum(value, _MOST)
            return loss, LN10 * loss
        loss = np.maximum(value, _LEAST)
        return np.log10(loss), 1.0 / (LN10 * loss)


def _combined(coefficients: Array, basis: Array) -> Array:
    """Return Σ coefficient · basis, (rows, points)."""
    return np.asarray(np.matmul(coefficients[:, None, :], basis)[:, 0, :])
