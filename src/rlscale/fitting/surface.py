"""Fits laws that give the loss of any size, levels and all: exact, deterministic, in milliseconds.

The search starts from several shapes of a law, on curves condensed to a few points. The start that leads lowest on all
points goes on there until it has settled to rounding. Every start is reported.
"""

from typing import Any, NamedTuple

import numpy as np

from rlscale.curve_points import Curves
from rlscale.errors import UserError
from rlscale.fitting.goodness import NOT_SETTLED, goodness
from rlscale.fitting.marquardt import Bounds, Indices, Minima, descend
from rlscale.fitting.surface_fit import Surface, SurfaceFit
from rlscale.fitting.surface_residuals import (
    Loss,
    Points,
    SurfaceResiduals,
    condensed,
    frames_of,
    pieces_of,
    points_of,
)
from rlscale.laws import Array, Parameter
from rlscale.laws.additive import Additive
from rlscale.laws.base_level import BaseLevel
from rlscale.laws.decomposition import Decomposition
from rlscale.laws.joint_sigmoid import JointSigmoid
from rlscale.laws.sigmoid import Sigmoid
from rlscale.laws.smooth_level import SmoothLevel
from rlscale.laws.surface_law import Frame, SurfaceLaw

SURFACE_LAWS: dict[str, SurfaceLaw] = {
    law.name: law for law in (BaseLevel(), SmoothLevel(), Sigmoid(), JointSigmoid(), Additive(), Decomposition())
}
"""The laws of the whole surface by name."""

_ROUGH = 1e-3  # share of its sum of squares within which a search is near its end
_SETTLED = 1e-13  # the same at its end: rounding


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
    _check_enough(law, frames, points)
    search = _search(law, loss, points, frames)
    parameters = _parameters(law, frames, search.best.points)
    return SurfaceFit(
        law=law.name,
        formula=law.formula,
        source=law.source,
        loss=loss,
        parameters=parameters,
        degrees_of_freedom=len(parameters),
        **_goodness(curves, loss, search.residuals),
        starts=_starts(law, frames, search),
        notes=_notes(law, frames, parameters, search.best),
        _surface=Surface(law, frames, search.best.points, _base_losses(curves)),
    )


class _Search(NamedTuple):
    """By start its piece, first point and end; by piece the end of the best start; by point the residual there."""

    piece: Indices
    begun: Array
    ends: Minima
    best: Minima
    residuals: Array


def _search(law: SurfaceLaw, loss: Loss, points: Points, frames: tuple[Frame, ...]) -> _Search:
    coarse = pieces_of(condensed(points), frames, by_size=law.by_size)
    guesses = [law.guesses(frame, *coarse.of(index)) for index, frame in enumerate(frames)]
    piece = np.repeat(np.arange(len(frames)), [len(rows) for rows in guesses])
    bounds = _bounds(law, frames)
    problem = SurfaceResiduals(law, loss, coarse, piece, bounds.of(piece))
    begun = problem.start(np.concatenate(guesses))
    ends = descend(problem, begun, problem.bounds, problem.zero, tolerance=_ROUGH, rounds=30)

    pieces = pieces_of(points, frames, by_size=law.by_size)
    every = SurfaceResiduals(law, loss, pieces, piece, bounds.of(piece))
    ends = ends._replace(sse=np.sum(every.residuals(ends.points) ** 2, axis=1))
    first = np.array([_first_of_the_lowest(ends.sse, piece == index) for index in range(len(frames))])
    final = SurfaceResiduals(law, loss, pieces, piece[first], bounds)
    best = descend(final, ends.points[first], bounds, final.zero, tolerance=_SETTLED, rounds=12)
    if not best.converged.all():
        best = descend(final, best.points, bounds, final.zero, tolerance=_SETTLED, rounds=100, exact=True)
    return _Search(piece, begun, ends, best, final.residuals(best.points)[pieces.weight > 0])


def _first_of_the_lowest(sse: Array, chosen: Array) -> int:
    """Return the first of the chosen starts that led lowest, so that rounding does not choose among equals."""
    return int(np.flatnonzero(chosen & (sse <= sse[chosen].min() * (1 + 1e-9)))[0])


def _bounds(law: SurfaceLaw, frames: tuple[Frame, ...]) -> Bounds:
    """Return the bounds of the coordinates by piece."""
    pairs = np.array([[coordinate[1:] for coordinate in law.coordinates(frame)] for frame in frames])
    return Bounds(pairs[:, :, 0], pairs[:, :, 1])


def _check_base_loss(law: SurfaceLaw, curves: Curves) -> None:
    if law.base_loss != "needed":
        return
    base = curves.base_loss
    without = [key for key, unknown in zip(curves.keys, np.isnan(base).tolist(), strict=True) if unknown]
    if without:
        raise UserError(f"{law.name} needs the loss at step 0 of every curve; {without[0]} has none")
    if np.ptp(base) == 0:
        raise UserError(f"{law.name} needs base models that differ in the loss at step 0; all have {float(base[0])!r}")


def _check_enough(law: SurfaceLaw, frames: tuple[Frame, ...], points: Points) -> None:
    """Refuse fewer sizes, fewer values of X, or fewer different places (N, X) than the parameters need."""
    sizes = np.unique(points.params).size
    if sizes < law.sizes_needed:
        raise UserError(f"{law.name} needs at least {law.sizes_needed} sizes; the points have {sizes}")
    for frame in frames:
        own = points.where(np.isin(points.params, frame.params))
        whose = f"params {int(frame.params[0])} has" if law.by_size else "the points have"
        different = np.unique(own.log10_x).size
        if different < law.x_needed:
            raise UserError(f"{law.name} needs at least {law.x_needed} different X; {whose} {different}")
        places = len({*zip(own.params.tolist(), own.log10_x.tolist(), strict=True)})
        needed = sum(coordinate.free for coordinate in law.coordinates(frame))
        if places < needed:
            raise UserError(f"{law.name} needs points at {needed} or more different sizes and X; {whose} {places}")


def _named(law: SurfaceLaw, frame: Frame, point: Array) -> dict[str, tuple[Parameter, float]]:
    """Return the free parameters by name, with the size in brackets where each size has its own, in natural units."""
    suffix = f"[{int(frame.params[0])}]" if law.by_size else ""
    pairs = zip(law.coordinates(frame), law.natural(point, frame), strict=True)
    return {own.parameter.name + suffix: (own.parameter, value) for own, value in pairs if own.free}


def _parameters(law: SurfaceLaw, frames: tuple[Frame, ...], points: Array) -> dict[str, dict[str, Any]]:
    parameters = {}
    for frame, point in zip(frames, points, strict=True):
        for name, (parameter, value) in _named(law, frame, point).items():
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
    """Return the bound that a value lies within a millionth of; a bound of 0 is measured by the other one."""
    for name, other in (("lower", "upper"), ("upper", "lower")):
        bound, across = getattr(parameter, name), getattr(parameter, other)
        scale = abs(bound) or (abs(across) if np.isfinite(across) else 0.0)
        if np.isfinite(bound) and abs(value - bound) <= 1e-6 * scale:
            return name
    return None


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _starts(law: SurfaceLaw, frames: tuple[Frame, ...], search: _Search) -> list[dict[str, Any]]:
    rows = zip(search.piece, search.begun, search.ends.sse.tolist(), search.ends.converged.tolist(), strict=True)
    starts = []
    for piece, point, sse, converged in rows:
        named = _named(law, frames[piece], point)
        start = {name: _number(value) for name, (_, value) in named.items()}
        starts.append({"start": start, "sse": sse, "converged": converged})
    return starts


def _goodness(curves: Curves, loss: Loss, residuals: Array) -> dict[str, Any]:
    """Return how well the points are met, from weighted residuals of the points that have weight."""
    weighted = curves.weight > 0
    residual = np.zeros_like(curves.loss)
    residual[weighted] = residuals / np.sqrt(curves.weight[weighted])
    return goodness(curves, residual, curves.loss if loss == "linear" else np.log10(curves.loss)).to_json()


def _notes(law: SurfaceLaw, frames: tuple[Frame, ...], parameters: dict[str, Any], best: Minima) -> list[str]:
    idle = [name for name, parameter in parameters.items() if parameter["estimate"] is None]
    notes = [f"without effect on the fitted loss, so without an estimate: {', '.join(idle)}"] if idle else []
    if law.base_loss == "used" and any(frame.base_loss is not None for frame in frames):
        notes.append("where the loss at step 0 is known, curves start there, and r_0 is not a parameter")
    if not best.converged.all():
        notes.append(NOT_SETTLED)
    return notes


def _base_losses(curves: Curves) -> dict[str, float]:
    """Return the known losses at step 0 by curve, and their mean by size."""
    known = ~np.isnan(curves.base_loss)
    sizes = curves.sizes[curves.size]
    means = {str(size): float(curves.base_loss[known & (sizes == size)].mean()) for size in np.unique(sizes[known])}
    by_curve = zip(curves.keys, curves.base_loss.tolist(), known.tolist(), strict=True)
    return means | {key: base for key, base, there in by_curve if there}
