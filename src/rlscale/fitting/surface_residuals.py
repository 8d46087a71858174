"""The least squares behind a surface law: points in pieces that are fitted together, and residuals with derivatives.

A law that is fitted size by size has a piece for each size, any other law one piece; shorter pieces are filled up with
points of no weight, so that all are searched at once. Where the residuals are linear in the law's coefficients (its
link is the space of the loss), the coefficients are solved for at every step, within their bounds.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from rlscale.curve_points import Curves
from rlscale.fitting.marquardt import Bounds, Flags, Indices, State, normal_equations, solve_within
from rlscale.laws import Array
from rlscale.laws.surface_law import LEAST_LOSS, LN10, Frame, Sites, SurfaceLaw

Loss = Literal["linear", "log"]

_MOST = 6.0  # largest log10 of a modelled loss, so that a step too far does not overflow
_GROUPS = 16  # groups of neighbouring points that stand for a curve


class Points(NamedTuple):
    """Points in order of curve and X, with all that a fit needs of them; ``curve`` and ``size`` are indices."""

    curve: Indices
    size: Indices
    params: Array
    base_loss: Array
    log10_x: Array
    loss: Array
    weight: Array

    def where(self, chosen: Flags) -> "Points":
        """Return some of the points."""
        curve, size = self.curve[chosen], self.size[chosen]
        return Points(curve, size, *(column[chosen] for column in self[2:]))

    @property
    def first(self) -> Indices:
        """Index of the first point of each curve."""
        return np.flatnonzero(np.diff(self.curve, prepend=-1))

    @property
    def counts(self) -> Indices:
        """Points of each curve."""
        return np.diff(np.append(self.first, self.curve.size))

    def pieces(self, *, by_size: bool) -> list[Flags]:
        """Return which points are fitted together."""
        return (
            [self.size == size for size in np.unique(self.size)] if by_size else [np.ones(self.size.size, dtype=bool)]
        )


@dataclass(frozen=True)
class Pieces:
    """Points that are fitted together by row; where a row is filled up, the weight is 0 and the loss is 1.

    Attributes:
        sites: where the points lie, arrays of shape (pieces, points).
        loss: test loss, same shape.
        weight: weight of a point's squared residual, same shape.
    """

    sites: Sites
    loss: Array
    weight: Array

    def of(self, index: int) -> tuple[Sites, Array]:
        """Return the sites and the losses of one piece, as it was before it was filled up."""
        there = self.weight[index] > 0
        return Sites(*(column[index, there] for column in self.sites)), self.loss[index, there]


def points_of(curves: Curves) -> Points:
    """Return the points that have any weight."""
    curve = curves.spread(np.arange(curves.size.size))
    log10_x = curves.log10_x + curves.mean_log10_x[curve]
    by_curve = (curves.size[curve], curves.params[curve], curves.base_loss[curve])
    return Points(curve, *by_curve, log10_x, curves.loss, curves.weight).where(curves.weight > 0)


def condensed(points: Points) -> Points:
    """Return each curve as the means of at most 16 groups of neighbouring X: enough to search on, not to fit."""
    new = (np.diff(points.curve, prepend=-1) != 0) | (np.diff(points.log10_x, prepend=np.nan) != 0)
    different = np.add.reduceat(new.astype(np.intp), points.first)
    place = np.cumsum(new) - np.repeat(np.cumsum(different) - different, points.counts) - 1
    opens = new & (place % np.repeat(-(-different // _GROUPS), points.counts) == 0)
    starts = np.flatnonzero(opens)
    weight = np.add.reduceat(points.weight, starts)
    x, loss = (np.add.reduceat(points.weight * column, starts) / weight for column in (points.log10_x, points.loss))
    return points.where(opens)._replace(log10_x=x, loss=loss, weight=weight)


def frames_of(points: Points, *, by_size: bool) -> tuple[Frame, ...]:
    """Return the scales of the pieces."""
    return tuple(_frame(points.where(own)) for own in points.pieces(by_size=by_size))


def _frame(points: Points) -> Frame:
    sizes, base = np.unique(points.params), points.base_loss[points.first]
    low, high = float(points.log10_x.min()), float(points.log10_x.max())
    known = None if np.isnan(base).any() else float(base.mean())
    return Frame(params=tuple(sizes.tolist()), log10_x=low, decades=high - low, base_loss=known)


def pieces_of(points: Points, frames: tuple[Frame, ...], *, by_size: bool) -> Pieces:
    """Return the points in one row for each of the frames."""
    pieces = [points.where(own) for own in points.pieces(by_size=by_size)]
    shape = (len(frames), max(piece.loss.size for piece in pieces))
    sites = Sites(np.zeros(shape), np.zeros(shape), np.zeros(shape), np.ones(shape))
    loss, weight = np.ones(shape), np.zeros(shape)
    for row, (piece, frame) in enumerate(zip(pieces, frames, strict=True)):
        own = frame.sites(piece.params, piece.log10_x, piece.base_loss)
        for target, values in zip((*sites, loss, weight), (*own, piece.loss, piece.weight), strict=True):
            target[row, : values.size] = values
    return Pieces(sites, loss, weight)


class SurfaceResiduals:
    """Residuals of a law over pieces, as a problem for several starts, each of which belongs to one piece.

    Attributes:
        bounds: of the coordinates, by start.
        zero: a sum of squares that is zero to rounding, by start.
    """

    def __init__(self, law: SurfaceLaw, loss: Loss, pieces: Pieces, piece: Indices, bounds: Bounds) -> None:
        """Take a law, the space of the residuals, the points, and by start its piece and the bounds."""
        self.bounds = bounds
        self._law, self._piece, self._sites = law, piece, pieces.sites
        self._within = Bounds(bounds.lower[:, law.shapes :], bounds.upper[:, law.shapes :])
        self._projects = law.link == loss
        log10_loss, root = np.log10(pieces.loss), np.sqrt(pieces.weight)
        self._observed, self._root = (pieces.loss if loss == "linear" else log10_loss), root
        self.zero = 1e-28 * np.sum((root * self._observed) ** 2, axis=1)[piece]
        # Residuals of the link, scaled to approximate those of the loss: what the first coefficients are solved from.
        scale = pieces.loss if law.link == "log" else 1.0 / pieces.loss
        self._linked = pieces.loss if law.link == "linear" else log10_loss
        self._linked_root = root if self._projects else root * scale

    def start(self, shapes: Array) -> Array:
        """Return the points at shapes, (starts, shapes), with the coefficients that approximate the loss best."""
        rows = np.arange(len(shapes))
        points = np.concatenate([shapes, self._within.clip(np.zeros_like(self._within.lower))], axis=1)
        which, sites = self._own(rows)
        basis = self._law.expand(shapes, sites).basis
        for _ in range(2):  # the second time takes off the rounding of the first
            points, _ = self._solve(points, rows, which, basis)
        return points

    def at(self, points: Array, rows: Indices, *, solve: bool = True) -> State:
        """Return the points, coefficients solved for where they are linear, the residuals and their derivatives."""
        which, sites = self._own(rows)
        expansion = self._law.expand(points[:, : self._law.shapes], sites)
        if solve and self._projects:
            points, value = self._solve(points, rows, which, expansion.basis)
        else:
            value = _combined(points[:, self._law.shapes :], expansion.basis)
        modelled, rate = self._modelled(value)
        rates = np.concatenate([expansion.tangent(points[:, self._law.shapes :]), expansion.basis], axis=1)
        rates *= (self._root[which] * rate)[:, None, :]
        return State(points, self._root[which] * (self._observed[which] - modelled), rates)

    def residuals(self, points: Array) -> Array:
        """Return the residuals, (starts, points), of a point for each start."""
        which, sites = self._own(np.arange(len(points)))
        basis = self._law.expand(points[:, : self._law.shapes], sites).basis
        modelled, _ = self._modelled(_combined(points[:, self._law.shapes :], basis))
        return np.asarray(self._root[which] * (self._observed[which] - modelled))

    def _own(self, rows: Indices) -> tuple[slice | Indices, Sites]:
        """Return what selects the points of starts, and their sites; a single piece broadcasts over the starts."""
        if len(self._observed) == 1:
            return slice(None), self._sites
        which = self._piece[rows]
        return which, Sites(*(column[which] for column in self._sites))

    def _solve(self, points: Array, rows: Indices, which: slice | Indices, basis: Array) -> tuple[Array, Array]:
        """Return the points with the coefficients that fit the link best, and the link's value there."""
        shape, coefficients = points[:, : self._law.shapes], points[:, self._law.shapes :]
        root, within, value = self._linked_root[which], self._within.of(rows), _combined(coefficients, basis)
        squares, products = normal_equations(basis * root[:, None, :], root * (self._linked[which] - value))
        step = solve_within(squares, products, np.zeros(len(rows)), within.less(coefficients))
        best = within.clip(coefficients + step)
        return np.concatenate([shape, best], axis=1), value + _combined(best - coefficients, basis)

    def _modelled(self, value: Array) -> tuple[Array, Array]:
        """Return the link's value in the space of the residuals, and its derivative by the link's value."""
        if self._projects:
            return value, np.ones((1, 1))
        if self._law.link == "log":
            loss = 10.0 ** np.minimum(value, _MOST)
            return loss, LN10 * loss
        loss = np.maximum(value, LEAST_LOSS)
        return np.log10(loss), 1.0 / (LN10 * loss)


def _combined(coefficients: Array, basis: Array) -> Array:
    """Return Σ coefficient · basis, (rows, points)."""
    return np.asarray(np.matmul(coefficients[:, None, :], basis)[:, 0, :])
