"""Least squares of one law of data reuse, and how many independent points its residuals are worth.

Given the one parameter of a law, its effective data are known and the slopes and levels follow by variable projection;
the parameter itself is found by a scan and a golden-section search: nothing is random.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from rlscale.curve_points import Curves, arrange
from rlscale.errors import UserError
from rlscale.fitting.loss_spaces import LinearSpace, LogSpace
from rlscale.fitting.projection import free_slopes
from rlscale.laws import Array, Parameter
from rlscale.laws.data_reuse import ReuseLaw
from rlscale.point_checks import check_points

Loss = Literal["linear", "log"]

_SCAN = 41
_COLUMNS = ("params", "tau", "step", "samples", "unique_samples", "test_loss")


@dataclass(frozen=True)
class ReuseTable:
    """Points of base models: all runs that start from one share a level; arrays are by point."""

    curves: Curves
    unique: Array
    samples: Array
    run: npt.NDArray[np.intp]
    loss: Loss

    def solve(self, log10_effective: Array) -> tuple[Array, Array, Array, float]:
        """Return slopes by size, levels E by base model, residuals by point, and the sum of squares.

        The sum is infinite where the effective data of a size do not vary, so that it has no slope.
        """
        mean = self.curves.by_curve(log10_effective) / self.curves.counts
        curves = replace(self.curves, log10_x=log10_effective - self.curves.spread(mean), mean_log10_x=mean)
        moves = curves.by_size(curves.by_curve(curves.log10_x**2))
        if moves.min() < 1e-12:
            return np.zeros_like(moves), np.zeros_like(mean), np.full_like(log10_effective, np.inf), np.inf
        space = LinearSpace(curves) if self.loss == "linear" else LogSpace(curves)
        # In log space the start is the least-squares slope already.
        slopes = space.start() if self.loss == "log" else free_slopes(space).point[0]
        found = space.residuals(slopes)
        level = found.level + slopes[curves.size] * mean
        return slopes, level, found.residual, float(found.residual @ found.residual)


def arrange_reuse(points: pd.DataFrame, loss: Loss) -> ReuseTable:
    """Check the points and bring them into the order that their values decide."""
    numbered = points.drop(columns="variant", errors="ignore").set_axis(pd.RangeIndex(1, len(points) + 1), axis=0)
    missing = [column for column in _COLUMNS if column not in numbered]
    if missing:
        raise UserError(f"reuse points: missing column{'s' if len(missing) > 1 else ''} {', '.join(missing)}")
    checked = check_points(numbered, source="reuse points", columns=("params", "step", "samples", "test_loss"))
    checked = checked[checked["step"] > 0]
    bad = ~(checked["unique_samples"] > 0)
    if bad.any():
        value = checked["unique_samples"][bad].iloc[0]
        raise UserError(f"reuse points: unique_samples is {value} after step 0; allowed: a positive number")
    names = ["params", *(["base_seed"] if "base_seed" in checked else [])]
    rows = checked.sort_values([*names, "samples", "test_loss", "unique_samples", "tau"], kind="stable")
    run = rows.groupby(["run"] if "run" in rows else [*names, "tau"]).ngroup().to_numpy()
    # What tells runs of one base model apart is left out, so that they make one curve; the order stays as it is.
    curves = arrange(rows[[*names, "step", "samples", "test_loss"]], x="samples")
    unique, samples = (rows[name].to_numpy(dtype=np.float64) for name in ("unique_samples", "samples"))
    return ReuseTable(curves, unique, samples, run.astype(np.intp), loss)


@dataclass(frozen=True)
class Found:
    """A law at its least squares; ``profile`` tells how the sum of squares grows away from it, None without one."""

    value: float | None
    bound_hit: str | None
    slopes: Array
    levels: Array
    residual: Array
    sse: float
    profile: "Profile | None"


@dataclass(frozen=True)
class Profile:
    """The sum of squares over the logarithm of a parameter: scanned values and the place of the least."""

    squares: Callable[[float], float]
    grid: Array
    values: Array
    place: float

    def interval(self, limit: float) -> tuple[float | None, float | None]:
        """Return where the sum of squares crosses ``limit``, on the parameter's own scale; None beyond a bound."""
        inside = self.grid[self.values <= limit]
        innermost = np.append(inside, self.place)
        low = self._crossing(limit, float(innermost.min()), self.grid[self.grid < innermost.min()][-1:])
        high = self._crossing(limit, float(innermost.max()), self.grid[self.grid > innermost.max()][:1])
        return low, high

    def _crossing(self, limit: float, inside: float, beyond: Array) -> float | None:
        if beyond.size == 0:
            return None
        outside = float(beyond[0])
        for _ in range(18):
            middle = 0.5 * (inside + outside)
            inside, outside = (middle, outside) if self.squares(middle) <= limit else (inside, middle)
        return float(np.exp(inside))


def search(law: ReuseLaw, parameter: Parameter | None, table: ReuseTable) -> Found:
    """Return a law at its least squares over the table."""
    if parameter is None:
        return Found(None, None, *table.solve(law.log10_effective(table.unique, table.samples, 0.0)), None)

    def squares(place: float) -> float:
        return table.solve(law.log10_effective(table.unique, table.samples, float(np.exp(place))))[-1]

    grid = np.linspace(np.log(parameter.lower), np.log(parameter.upper), _SCAN)
    values = np.array([squares(place) for place in grid.tolist()])
    least = int(np.argmin(values))
    place = _golden(squares, float(grid[max(least - 1, 0)]), float(grid[min(least + 1, _SCAN - 1)]))
    if values[least] <= squares(place):
        place = float(grid[least])
    ends = {"lower": grid[0], "upper": grid[-1]}
    bound_hit = next((name for name, end in ends.items() if place == end), None)
    value = float(np.clip(np.exp(place), parameter.lower, parameter.upper))
    solved = table.solve(law.log10_effective(table.unique, table.samples, value))
    return Found(value, bound_hit, *solved, Profile(squares, grid, values, place))


def _golden(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where a function with one minimum between two places is least."""
    share = (np.sqrt(5.0) - 1.0) / 2.0
    left, right = high - share * (high - low), low + share * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(32):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - share * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + share * (high - low)
            at_right = function(right)
    return 0.5 * (low + high)


def effective_samples(table: ReuseTable, residual: Array) -> float:
    """Return how many independent points say as much as these.

    Two counts, and the smaller is taken: n (1 - a) / (1 + a), with a the correlation of neighbouring steps of a run,
    and n over the design effect of runs, by how much the residuals of a run add up where independent ones would cancel.
    A run that a law misses as a whole counts as a single sample: the result lies between runs and points.
    """
    order = np.lexsort((table.samples, table.run))
    run, rest = table.run[order], residual[order]
    sums = np.bincount(run, weights=rest)
    total = float(rest @ rest)
    if total == 0:
        return float(rest.size)
    same = run[1:] == run[:-1]
    correlation = float((rest[1:] * rest[:-1])[same].sum()) / total
    design_effect = float(sums @ sums) / total
    by_steps = rest.size * (1.0 - correlation) / (1.0 + correlation)
    by_runs = rest.size / max(design_effect, 1.0)
    return float(np.clip(min(by_steps, by_runs), sums.size, rest.size))
