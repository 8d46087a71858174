"""What the replicates of a fit believe of every size's line, as one covariance that further runs would shrink.

The state is the goal and, by size, slope and level; its spread is that of the replicates. Levels of unfitted sizes
come from the fitted ones, E(N) = a + c · k(N), with an error that they share as far as a and c do. A run observes
slope and level of its size, with the noise that runs of the fit show; what is left of the spread afterwards follows as
in a Kalman filter. Everything is linear and normal: only how spreads compare is asked of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from rlscale.errors import UserError
from rlscale.laws import Array
from rlscale.plan.lines import Lines
from rlscale.uncertainty import LEVEL
from rlscale.uncertainty.replicates import read_replicates

NORMAL = 1.6448536269514722
"""Half of a 90 % interval of a normal distribution, in standard deviations."""

_CLIP = 2.5  # standard deviations beyond which a replicate counts as this far out: tails must not set correlations
_LEAST = 1e-14  # variance of an observation at least


@dataclass(frozen=True)
class Noise:
    """How far a run's line is off that of its size; all but ``mid`` as variances, by size.

    Attributes:
        run: of the slope, between runs.
        within: of the slope, from the steps of one run of the fitted length.
        level: of the level amid a run of the fitted length, beyond what the slope's error about the first point makes.
    """

    run: float
    within: Array
    level: Array


@dataclass(frozen=True)
class Belief:
    """A joint spread of the goal (place 0), slopes (1 to S) and levels (S + 1 to 2 S).

    Attributes:
        lines: sizes, and the ends of their curves.
        pivot: log10 FLOPs at which levels are, by size.
        noise: of a run.
        spread: covariance from the replicates.
        modelled: covariance from the scatter of levels around a + c · k(N).
        freedom: degrees of freedom behind the noise of runs.
        runs: runs added since the fit.
        sizes: fitted sizes, with those added since the fit.
        first_sizes: fitted sizes.
    """

    lines: Lines
    pivot: Array
    noise: Noise
    spread: Array
    modelled: Array
    freedom: int
    runs: int
    sizes: frozenset[int]
    first_sizes: int

    @property
    def width(self) -> float:
        """Expected width of the goal's 90 % interval, in the goal's unit (decades)."""
        noise = _narrower(self.freedom, self.freedom + self.runs)
        model = _narrower(self.first_sizes - 2, len(self.sizes) - 2)
        return 2 * NORMAL * float(np.sqrt(self.spread[0, 0] * noise**2 + self.modelled[0, 0] * model**2))

    def after(self, size: int, end: float) -> "Belief":
        """Return the belief after one more run.

        Args:
            size: its column of the lines.
            end: log10 FLOPs at its end.
        """
        lines, count = self.lines, self.lines.params.size
        first, full = lines.first[size], lines.last[size] - lines.first[size]
        share = (end - first) / full
        half = 0.5 * (end - first)
        observe = np.zeros((2, len(self.spread)))
        observe[:, 1 + size] = 1.0, -(first + half - self.pivot[size])
        observe[1, 1 + count + size] = 1.0
        run = self.noise.run
        noise = np.array(
            [
                [run + self.noise.within[size] / share**3, -half * run],
                [-half * run, half**2 * run + self.noise.level[size] / share],
            ]
        )
        noise[np.diag_indices(2)] += _LEAST
        total = self.spread + self.modelled
        gain = np.linalg.solve(observe @ total @ observe.T + noise, observe @ total).T
        kept = np.eye(len(total)) - gain @ observe
        return replace(
            self,
            spread=kept @ self.spread @ kept.T + gain @ noise @ gain.T,
            modelled=kept @ self.modelled @ kept.T,
            runs=self.runs + 1,
            sizes=self.sizes | {size},
        )


@dataclass(frozen=True)
class Goal:
    """What is to be known better: ``n_0``, ``k_max``, or (``loss``) the loss of a size at a compute.

    Attributes:
        name: which.
        params: of loss: the size.
        compute: of loss: FLOPs.
    """

    name: str
    params: float | None = None
    compute: float | None = None


def believe(
    fit: Mapping[str, Any], lines: Lines, goal: Goal, chosen: npt.NDArray[np.intp] | slice = slice(None)
) -> Belief:
    """Return the belief of a fit.

    Args:
        fit: its JSON.
        lines: of its sizes and of all others that matter.
        goal: what is to be known better.
        chosen: replicates to use, from 0.

    Raises:
        UserError: the fit is damaged.
    """
    try:
        made = fit["intervals"]["replicates"]
        freedom, run_sd = int(fit["intervals"]["run_freedom"]), float(fit["intervals"]["run_sd"])
        counts = _runs(fit, lines)
        errors = np.array([fit["k_free_se"].get(f"{size:.0f}") or 0.0 for size in lines.params])
        middle = float(np.mean(list(made["pivot"].values())))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"the fit is damaged or of another schema: {error!r}") from error
    fitted = lines.fitted
    pivot = middle + (np.log10(lines.flops_per_sample) if fit["x"] == "samples" else np.zeros(lines.params.size))
    slope = lines.slope[1:][chosen]
    level = (lines.level - lines.slope * pivot)[1:][chosen]
    estimate = lines.slope[0], (lines.level - lines.slope * pivot)[0]
    shared = np.zeros((2 * lines.params.size + 1,) * 2)
    if not fitted.all():
        level = level.copy()
        level[:, ~fitted] = _modelled(slope, level, fitted)
        places = 1 + lines.params.size + np.flatnonzero(~fitted)
        shared[np.ix_(places, places)] = _scatter(*estimate, fitted)
    target, weight = _goal(fit, lines, goal, chosen, slope, level + slope * pivot)
    if weight is not None:
        own = 1 + lines.params.size + weight
        shared[0], shared[:, 0] = shared[own], shared[:, own]
        shared[0, 0] = shared[own, own]
    spread = _covariance(np.column_stack([target, slope, level]))
    tails = _tail(freedom) / NORMAL
    run = (run_sd * tails) ** 2
    half = 0.5 * (lines.last - lines.first)
    amid = _deviation(level - slope * (lines.first + half - pivot)) ** 2
    alone = np.maximum(counts * amid - half**2 * run, 0.05 * counts * amid)
    within = counts * errors**2
    noise = Noise(run, *(np.where(fitted, own, own[fitted].mean()) for own in (within, alone)))
    sizes = frozenset(np.flatnonzero(fitted).tolist())
    return Belief(lines, pivot, noise, spread, shared, freedom, 0, sizes, len(sizes))


def _runs(fit: Mapping[str, Any], lines: Lines) -> Array:
    """Return the runs of each size, 0 for those that were not fitted."""
    found = [float(label["params"]) for label in fit["curves"].values()]
    return np.array([float(found.count(size)) for size in lines.params.tolist()])


def _goal(  # noqa: PLR0917
    fit: Mapping[str, Any], lines: Lines, goal: Goal, chosen: Any, slope: Array, level: Array
) -> tuple[Array, int | None]:
    """Return the goal by replicate, in decades, and the size whose level it holds."""
    if goal.name == "loss":
        column = lines.index(goal.params or 0.0)
        return level[:, column] - slope[:, column] * np.log10(goal.compute or 0.0), column
    return np.log10(np.maximum(read_replicates(fit["intervals"]["replicates"][goal.name])[chosen], 1e-30)), None


def _modelled(slope: Array, level: Array, fitted: npt.NDArray[np.bool_]) -> Array:
    """Return levels of sizes that were not fitted, from the line of levels over slopes of each replicate."""
    k, e = slope[:, fitted], level[:, fitted]
    mean_k, mean_e = k.mean(axis=1, keepdims=True), e.mean(axis=1, keepdims=True)
    squares = np.sum((k - mean_k) ** 2, axis=1, keepdims=True)
    tilt = np.sum((k - mean_k) * (e - mean_e), axis=1, keepdims=True) / np.maximum(squares, 1e-300)
    return np.asarray(mean_e + tilt * (slope[:, ~fitted] - mean_k))


def _scatter(slope: Array, level: Array, fitted: npt.NDArray[np.bool_]) -> Array:
    """Return the covariance of levels around that line, with what they share: the line's own error."""
    k, e = slope[fitted], level[fitted]
    off, freedom = k - k.mean(), k.size - 2
    squares = max(float(off @ off), 1e-300)
    misfit = e - e.mean() - (off @ e) / squares * off
    beyond = slope[~fitted] - k.mean()
    leverage = np.eye(beyond.size) + 1.0 / k.size + np.outer(beyond, beyond) / squares
    return np.asarray((misfit @ misfit) / freedom * (_tail(freedom) / NORMAL) ** 2 * leverage)


def _deviation(values: Array) -> Array:
    """Return by column the standard deviation of the normal distribution whose 90 % interval is as wide."""
    low, high = np.quantile(values, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
    return np.asarray((high - low) / (2 * NORMAL))


def _covariance(values: Array) -> Array:
    deviation = _deviation(values)
    scaled = (values - np.median(values, axis=0)) / np.maximum(deviation, 1e-300)
    scaled = np.clip(scaled, -_CLIP, _CLIP)
    scaled -= scaled.mean(axis=0)
    size = np.maximum(np.sqrt(np.mean(scaled**2, axis=0)), 1e-300)
    return np.asarray((scaled / size).T @ (scaled / size) / len(values) * np.outer(deviation, deviation))


@cache
def _tail(freedom: int) -> float:
    """Return half of a 90 % interval of Student's t; where nothing is known of the noise, that of the normal."""
    return float(student.ppf((1 + LEVEL) / 2, freedom)) if freedom > 0 else NORMAL


def _narrower(before: int, after: int) -> float:
    return _tail(after) / _tail(before) if before > 0 else 1.0
