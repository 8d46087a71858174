"""The profile of a slope law's parameter: how much worse the fit becomes where that parameter is held elsewhere.

An interval is where the sum of squares rises by no more than a threshold. The threshold comes from a bootstrap, as the
quantile of the rise at the true value, so correlated steps and scatter between runs are counted for what they are; a
textbook chi² would count every step as news. An end that the profile never reaches is open (None).
"""

from dataclasses import dataclass

import numpy as np

from rlscale.fitting.projection import Held, SlopeFit, held_box, law_box, refit_law
from rlscale.laws import Array

_GRID, _FINE, _ROUNDS = 97, 17, 4


@dataclass(frozen=True)
class Profile:
    """A profile on a grid, and the interval it gives.

    Attributes:
        value: the parameter, ascending, in natural units, shape (grid,).
        excess: rise of the sum of squares above its least, shape (grid,).
        threshold: the rise that the interval allows.
        low: lower end, None where open.
        high: upper end, None where open.
    """

    value: Array
    excess: Array
    threshold: float
    low: float | None
    high: float | None


def excess_at(fit: SlopeFit, which: Held, points: Array) -> Array:
    """Return the rise of the least sum of squares where a parameter is held at ``points`` (b,).

    The scale is in natural units, the shape in the coordinate of its search.
    """
    box = held_box(fit.law, fit.space, which, points)
    tables = np.zeros(points.size, dtype=np.intp)
    found = refit_law(fit.law, fit.space, fit.free.point[0], tables=tables, box=box)
    return np.asarray(np.maximum(found.sse - fit.best.sse[0], 0.0))


def profile(fit: SlopeFit, which: Held, threshold: float) -> Profile:
    """Profile one parameter and read its interval at ``threshold``."""
    box = law_box(fit.law, fit.space)
    if which == "scale":
        best = float(fit.best.scale[0])
        grid = np.concatenate([[0.0], np.geomspace(max(best, 1e-6) / 1e3, box.upper[0, 0], _GRID)])
    else:
        best = float(fit.best.shape[0])
        grid = np.linspace(box.lower[0, 1], box.upper[0, 1], _GRID)
    grid = np.unique(np.append(grid, best))
    excess = excess_at(fit, which, grid)
    inside = np.flatnonzero((excess <= threshold) | (grid == best))
    first, last = int(inside[0]), int(inside[-1])
    low = None if first == 0 else _crossing(fit, which, grid[first - 1], grid[first], threshold)
    high = None if last == grid.size - 1 else _crossing(fit, which, grid[last + 1], grid[last], threshold)
    if which == "shape":
        low, high = (None if end is None else float(fit.law.natural(np.array(end))) for end in (low, high))
        grid = fit.law.natural(grid)
    elif first == 0:
        low = 0.0  # not open: the scale is not negative
    return Profile(grid, excess, threshold, low, high)


def _crossing(fit: SlopeFit, which: Held, outside: float, inside: float, threshold: float) -> float:
    """Return where the profile crosses the threshold between a point outside of the interval and one inside."""
    for _ in range(_ROUNDS):
        points = np.linspace(outside, inside, _FINE)
        within = excess_at(fit, which, points) <= threshold
        within[0], within[-1] = False, True
        index = int(np.argmax(within))
        outside, inside = points[index - 1], points[index]
    return float(inside)
