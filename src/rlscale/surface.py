"""Fits laws that give the loss of any size, levels and all: exact, deterministic, in milliseconds.

The search starts from several shapes of a law: first on curves condensed to a few points, then on all points, and in the
end from the best start alone until it is settled to rounding. Every start is reported.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rlscale.curve_points import Curves
from rlscale.errors import UserError
from rlscale.laws import Array, Parameter
from rlscale.laws.additive import Additive
from rlscale.laws.base_level import BaseLevel
from rlscale.laws.decomposition import Decomposition
from rlscale.laws.joint_sigmoid import JointSigmoid
from rlscale.laws.sigmoid import Sigmoid
from rlscale.laws.smooth_level import SmoothLevel
from rlscale.laws.surface_law import Frame, SurfaceLaw
from rlscale.marquardt import Indices, Minima, descend
from rlscale.surface_fit import Surface, SurfaceFit
from rlscale.surface_residuals import (
    Loss,
    Pieces,
    Points,
    SurfaceResiduals,
    condensed,
    frames_of,
    pieces_of,
    points_of,
)

SURFACE_LAWS: dict[str, SurfaceLaw] = {
    law.name: law for law in (BaseLevel(), SmoothLevel(), Sigmoid(), JointSigmoid(), Additive(), Decomposition())
}
"""The laws of the whole surface by name."""

_ROUGH = {"tolerance": 1e-4, "rounds": 30}
_EXACT = {"tolerance": 1e-13, "rounds": 100, "second_order": True}
_AT_ONCE = 1_000_000  # starts times points that are stepped together, for the memory's sake


def fit_surface(law: SurfaceLaw, curves: Curves, loss: Loss) -> SurfaceFit:
    """Fit a law of the whole surface to points.

    Args:
        law: one of `SURFACE_LAWS`.
        curves: the points; those without weight are left out.
        loss: the space of the residuals: linear (L) or log (log10 L).

    Raises:
        UserError: the points do not determine the law's parameters, or a curve lacks the loss at step 0 that it needs.
    """
    points = points_of(curves)
    _check_base_loss(law, curves)
    frames = frames_of(points, by_size=law.by_size)
    bounds = np.array([[coordinate[1:] for coordinate in law.coordinates(frame)] for frame in frames])
    free = bounds[:, :, 0] < bounds[:, :, 1]
    _check_enough(law, frames, points, free)
    search = _search(law, loss, points, frames, bounds)
    residuals = SurfaceResiduals(law, loss, search.pieces, range(len(frames)), bounds[:, :, 0], bounds[:, :, 1])
    at_best = residuals.at(search.best.points, np.arange(len(frames))).residuals
    names = _names(law, frames)
    parameters = _parameters(law, frames, search.best.points, names)
    return SurfaceFit(
        law=law.name,
        formula=law.formula,
        source=law.source,
        loss=loss,
        parameters=parameters,
        degrees_of_freedom=int(free.sum()),
        points=int(points.loss.size),
        **_goodness(points, loss, at_best[search.pieces.weight > 0]),
        starts=_starts(law, frames, search, names),
        notes=_notes(law, frames, parameters, search.best),
        _surface=Surface(law, frames, search.best.points, _base_losses(curves)),
    )


class _Search(NamedTuple):
    """The points in their pieces; by start its piece, first point and end; and the end of the best start by piece."""

    pieces: Pieces
    piece: Indices
    begun: Array
    ends: Minima
    best: Minima


def _search(law: SurfaceLaw, loss: Loss, points: Points, frames: tuple[Frame, ...], bounds: Array) -> _Search:
    few = condensed(points)
    coarse = pieces_of(few if 2 * few.loss.size <= points.loss.size else points, frames, by_size=law.by_size)
    shapes = [law.guesses(frame, *coarse.of(index)) for index, frame in enumerate(frames)]
    piece = np.repeat(np.arange(len(frames)), [len(rows) for rows in shapes])
    lower, upper = bounds[piece, :, 0], bounds[piece, :, 1]
    residuals = SurfaceResiduals(law, loss, coarse, piece, lower, upper)
    begun = residuals.start(np.clip(np.concatenate(shapes), lower[:, : law.shapes], upper[:, : law.shapes]))
    ends = descend(residuals, begun, lower, upper, residuals.zero, **_ROUGH)
    pieces = pieces_of(points, frames, by_size=law.by_size)
    sse = np.concatenate([
        SurfaceResiduals(law, loss, pieces, piece[row:row+1], lower[row:row+1], upper[row:row+1]).sse(ends.points[row:row+1]) for row in range(piece.size)])
    ends = ends._replace(sse=sse)
    alike = [ends.sse <= ends.sse[piece == index].min() * (1 + 1e-6) for index in range(len(frames))]
    first = np.array([np.flatnonzero(near & (piece == index))[0] for index, near in enumerate(alike)])
    residuals = SurfaceResiduals(law, loss, pieces, piece[first], lower[first], upper[first])
    best = descend(residuals, ends.points[first], lower[first], upper[first], residuals.zero, **_EXACT)
    return _Search(pieces, piece, begun, ends, best)


def _check_base_loss(law: SurfaceLaw, curves: Curves) -> None:
    if law.base_loss != "needed":
        return
    without = [key for key, base in zip(curves.keys, curves.base_loss, strict=True) if np.isnan(base)]
    if without:
        raise UserError(f"{law.name} needs the loss at step 0 of every curve; {without[0]} has none")
    if np.ptp(curves.base_loss) == 0:
        raise UserError(f"{law.name} needs base models that differ in the loss at step 0; all have {curves.base_loss[0]}")


def _check_enough(law: SurfaceLaw, frames: tuple[Frame, ...], points: Points, free: npt.NDArray[np.bool_]) -> None:
    """Refuse fewer sizes, or fewer places (N, X), than the parameters need."""
    sizes = np.unique(points.params)
    if sizes.size < law.sizes_needed:
        raise UserError(f"{law.name} needs at least {law.sizes_needed} sizes; the points have {sizes.size}")
    for frame, needed in zip(frames, free.sum(axis=1).tolist(), strict=True):
        own = np.isin(points.params, frame.params)
        places = np.unique(np.stack([points.params[own], points.log10_x[own]]), axis=1).shape[1]
        if places < needed:
            whose = f" for params {int(frame.params[0])}" if law.by_size else ""
            raise UserError(f"{law.name} needs points at {needed} or more different X{whose}; there are {places}")


def _names(law: SurfaceLaw, frames: tuple[Frame, ...]) -> list[list[str]]:
    """Return the names of the parameters by frame."""
    suffixes = [f"[{int(frame.params[0])}]" if law.by_size else "" for frame in frames]
    return [
        [coordinate.parameter.name + suffix for coordinate in law.coordinates(frame)]
        for frame, suffix in zip(frames, suffixes, strict=True)
    ]


def _parameters(law: SurfaceLaw, frames: tuple[Frame, ...], points: Array, names: list[list[str]]) -> dict[str, Any]:
    """Return the free parameters in natural units, with bounds and which of them binds."""
    parameters = {}
    for frame, point, own in zip(frames, points, names, strict=True):
        for coordinate, name, value in zip(law.coordinates(frame), own, law.natural(point, frame), strict=True):
            parameter = coordinate.parameter
            if coordinate.lower < coordinate.upper:
                hit = _bound_hit(value, parameter)
                parameters[name] = {
                    "estimate": _number(value if hit is None else getattr(parameter, hit)),
                    "unit": parameter.unit,
                    "lower": _number(parameter.lower),
                    "upper": _number(parameter.upper),
                    "bound_hit": hit,
                }
    return parameters


def _bound_hit(value: float, parameter: Parameter) -> str | None:
    """Return the bound within a millionth of which a value lies; a bound of 0 counts in units of the other one."""
    for name, bound, other in (("lower", parameter.lower, parameter.upper), ("upper", parameter.upper, parameter.lower)):
        scale = abs(bound) or (abs(other) if np.isfinite(other) else 0.0)
        if np.isfinite(bound) and abs(value - bound) <= 1e-6 * scale:
            return name
    return None


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _starts(
    law: SurfaceLaw, frames: tuple[Frame, ...], search: _Search, names: list[list[str]]
) -> list[dict[str, Any]]:
    rows = zip(search.piece, search.begun, search.ends.sse.tolist(), search.ends.converged.tolist(), strict=True)
    return [
        {
            "start": dict(zip(names[piece], map(_number, law.natural(point, frames[piece])), strict=True)),
            "sse": sse,
            "converged": converged,
        }
        for piece, point, sse, converged in rows
    ]


def _goodness(points: Points, loss: Loss, residual: Array) -> dict[str, Any]:
    """Return the sum of squares and the R², pooled and within the curves of each size."""
    observed, weight = points.loss if loss == "linear" else np.log10(points.loss), points.weight
    first = np.flatnonzero(np.diff(points.curve, prepend=-1))

    def by_curve(values: Array) -> Array:
        return np.asarray(np.add.reduceat(values, first))

    mean = by_curve(weight * observed) / by_curve(weight)
    within = observed - np.repeat(mean, np.diff(np.append(first, observed.size)))
    around = observed - np.sum(weight * observed) / np.sum(weight)
    # Values that are all equal differ from their mean by rounding only.
    nothing = (1e-14 * np.abs(observed).max()) ** 2 * weight.sum()
    sse, total = float(np.sum(residual**2)), float(np.sum(weight * around**2))
    r2_within: dict[str, float | None] = {}
    for size in np.unique(points.size):
        own = points.size == size
        spread = float(np.sum((weight * within**2)[own]))
        r2 = 1.0 - float(np.sum(residual[own] ** 2)) / spread if spread > nothing else None
        r2_within[str(int(points.params[own][0]))] = r2
    return {"sse": sse, "r2_pooled": 1.0 - sse / total if total > nothing else None, "r2_within": r2_within}


def _notes(law: SurfaceLaw, frames: tuple[Frame, ...], parameters: dict[str, Any], best: Minima) -> list[str]:
    idle = [name for name, parameter in parameters.items() if parameter["estimate"] is None]
    notes = [f"without effect on the fitted loss, so without an estimate: {', '.join(idle)}"] if idle else []
    if law.base_loss == "used" and any(frame.base_loss is not None for frame in frames):
        notes.append("the loss at the start is the curve's own at step 0 where that is known, not a parameter")
    if not best.converged.all():
        notes.append(
            "the least squares is not settled to rounding: the sum of squares hardly depends on some parameter"
        )
    return notes


def _base_losses(curves: Curves) -> dict[str, float]:
    """Return the known losses at step 0 by curve, and their mean by size."""
    known = ~np.isnan(curves.base_loss)
    sizes = curves.sizes[curves.size]
    means = {str(size): float(curves.base_loss[known & (sizes == size)].mean()) for size in np.unique(sizes[known])}
    return means | {key: float(base) for key, base in zip(curves.keys, curves.base_loss, strict=True) if not np.isnan(base)}
