"""The least squares of a surface law: points in pieces that are fitted together, residuals and their derivatives.

A law that is fitted size by size has a piece for each size, any other law one piece; pieces of unequal length are filled
up with points of no weight, so that all are searched at once. Where the residuals are linear in the law's coefficients
(its link is the space of the loss), the coefficients are solved for at every step within their bounds.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from rlscale.curve_points import Curves
from rlscale.laws import Array
from rlscale.laws.surface_law import LN10, Frame, Sites, SurfaceLaw
from rlscale.marquardt import Indices, State, box_newton

Loss = Literal["linear", "log"]

_LEAST_LOSS = 1e-12  # what a modelled loss of zero counts as, so that it has a logarithm
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
class Piece:
    """Points that are fitted together."""

    frame: Frame
    sites: Sites
    loss: Array
    weight: Array


def points_of(curves: Curves) -> Points:
    """Return the points that have any weight."""
    curve = np.repeat(np.arange(curves.size.size), curves.counts)
    points = Points(
        curve,
        curves.size[curve],
        curves.params[curve],
        curves.base_loss[curve],
        curves.log10_x + curves.mean_log10_x[curve],
        curves.loss,
        curves.weight,
    )
    return Points(*(column[points.weight > 0] for column in points))


def condensed(points: Points) -> Points:
    """Return each curve's points as the means of at most 16 groups of neighbours: enough to search on, not to fit."""
    first = np.flatnonzero(np.diff(points.curve, prepend=-1))
    counts = np.diff(np.append(first, points.curve.size))
    width = np.repeat(-(-counts // _GROUPS), counts)
    place = np.arange(points.curve.size) - np.repeat(first, counts)
    starts = np.flatnonzero(place % width == 0)
    weight = np.add.reduceat(points.weight, starts)
    x, loss = (np.add.reduceat(points.weight * column, starts) / weight for column in (points.log10_x, points.loss))
    same = (column[starts] for column in points[:4])
    return Points(*same, x, loss, weight)


def pieces_of(points: Points, frames: list[Frame] | None, *, by_size: bool) -> list[Piece]:
    """Return the points in pieces; ``frames`` are those of the pieces where they are known, else the points' own."""
    chosen = [points.size == size for size in np.unique(points.size)] if by_size else [np.ones(points.size.size, bool)]
    pieces = []
    for index, own in enumerate(chosen):
        piece = Points(*(column[own] for column in points))
        frame = frames[index] if frames else _frame(piece)
        sites = frame.sites(piece.params, piece.log10_x, piece.base_loss)
        pieces.append(Piece(frame, sites, piece.loss, piece.weight))
    return pieces


def _frame(points: Points) -> Frame:
    sizes = np.unique(points.params)
    log10_x, x = float(points.log10_x.mean()), points.log10_x
    base = points.base_loss[np.flatnonzero(np.diff(points.curve, prepend=-1))]
    return Frame(
        params=tuple(sizes.tolist()),
        log10_n=float(np.log10(sizes).mean()),
        log10_x=log10_x,
        x_range=(float(x.min()) - log10_x, float(x.max()) - log10_x),
        base_loss=None if np.isnan(base).any() else float(base.mean()),
    )


class SurfaceResiduals:
    """Residuals of a law over pieces; each start belongs to one piece.

    Args:
        law: the law.
        loss: the space of the residuals, L or log10 L.
        pieces: the points.
        piece: index of the piece by start.
        lower: least coordinates by start, shape (starts, d).
        upper: largest coordinates by start.
    """

    def __init__(
        self, law: SurfaceLaw, loss: Loss, pieces: list[Piece], piece: Indices, lower: Array, upper: Array
    ) -> None:
        self._law, self._piece = law, piece
        self._lower, self._upper = lower[:, law.shapes :], upper[:, law.shapes :]
        self._sites = Sites(*(_filled([sites[i] for _, sites, *_ in map(_fields, pieces)], 0.0) for i in range(4)))
