"""Intervals of a fitted saturating slope: for K_max, N_0 and the slope of each size.

``bootstrap`` reads quantiles of replicates; ``profile`` inverts a test, with the replicates as its reference, and so
says honestly where K_max or N_0 has no end in sight.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from rlscale.fitting.projection import SlopeFit
from rlscale.laws import Array
from rlscale.uncertainty.bootstrap import Draws, bootstrap
from rlscale.uncertainty.noise import Noise, measure_noise
from rlscale.uncertainty.profile import Profile, profile
from rlscale.uncertainty.replicates import keep_replicates

Method = Literal["none", "bootstrap", "profile"]
Ends = tuple[float | None, float | None]


@dataclass(frozen=True)
class Interval:
    """An estimate and its interval; an end that is None is open.

    Attributes:
        estimate: the fitted value.
        low: lower end.
        high: upper end.
        level: probability that such intervals cover the truth.
    """

    estimate: float | None
    low: float | None
    high: float | None
    level: float


@dataclass(frozen=True)
class Intervals:
    """Intervals of a fit.

    Attributes:
        method: how those of k_max and n_0 were made; those of k are quantiles of replicates with either.
        level: of every interval.
        draws: replicates.
        seed: of the random numbers.
        run_sd: standard deviation of the runs' slopes around the law beyond what their steps explain.
        run_freedom: degrees of freedom behind run_sd.
        k_max: per log10 X.
        n_0: parameters.
        k: by size.
        replicates: what plans are made from (`rlscale.uncertainty.replicates`).
        profile: the profile of n_0 as ``n_0``, ``excess`` and ``threshold``; None for quantiles.
        notes: what a reader must know before trusting them.
    """

    method: str
    level: float
    draws: int
    seed: int
    run_sd: float
    run_freedom: int
    k_max: Interval
    n_0: Interval
    k: dict[str, Interval]
    replicates: dict[str, Any]
    profile: dict[str, Any] | None
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-native values."""
        return asdict(self)


def make_intervals(
    fit: SlopeFit,
    method: Literal["bootstrap", "profile"],
    *,
    level: float,
    draws: int,
    seed: int,
    deviations: Array | None = None,
) -> Intervals:
    """Make the intervals of a fitted saturating slope.

    Args:
        fit: the fit.
        method: how k_max and n_0 get theirs.
        level: of the intervals.
        draws: replicates.
        seed: of the random numbers.
        deviations: by replicate and point, how the loss changes where the problems are drawn anew.
    """
    noise = measure_noise(fit)
    profiled = method == "profile"
    found = bootstrap(fit, noise, draws=draws, seed=seed, deviations=deviations, with_excess=profiled)
    tails = ((1 - level) / 2, (1 + level) / 2)
    k_ends = np.quantile(found.slopes, tails, axis=0)
    k_max, n_0 = float(fit.best.scale[0]), float(fit.law.natural(fit.best.shape)[0])
    of_n_0: Profile | None = None
    if profiled:
        thresholds = np.quantile(found.excess, level, axis=0)
        of_scale = profile(fit, "scale", float(thresholds[0]))
        of_n_0 = profile(fit, "shape", float(thresholds[1]))
        of_k_max: Ends = (of_scale.low, of_scale.high)
        ends = _tied(k_max, of_k_max, (of_n_0.low, of_n_0.high))
    else:
        shapes = _quantiles(fit.law.natural(found.shape), tails)
        ends = _tied(k_max, _quantiles(found.scale, tails), _open(fit, shapes))
    sizes = map(str, fit.space.curves.sizes.tolist())
    return Intervals(
        method=method,
        level=level,
        draws=draws,
        seed=seed,
        run_sd=noise.run_sd,
        run_freedom=noise.freedom,
        k_max=Interval(k_max, *ends[0], level),
        n_0=Interval(None if k_max == 0 else n_0, *ends[1], level),
        k={
            size: Interval(float(value), float(low), float(high), level)
            for size, value, low, high in zip(sizes, fit.best.slopes[0], *k_ends, strict=True)
        },
        replicates=keep_replicates(fit, found, seed=seed),
        profile=None if of_n_0 is None else _curve(of_n_0),
        notes=_notes(fit, noise, found),
    )


def _quantiles(values: Array, tails: tuple[float, float]) -> tuple[float, float]:
    low, high = np.quantile(values, tails)
    return float(low), float(high)


def _open(fit: SlopeFit, ends: tuple[float, float]) -> Ends:
    """Open the ends that lie at a bound of the search, give or take rounding."""
    shape = fit.best.parameters[1]
    low, high = ends
    return (None if low <= shape.lower * 1.001 else low), (None if high >= shape.upper * 0.999 else high)


def _tied(k_max: float, of_k_max: Ends, of_n_0: Ends) -> tuple[Ends, Ends]:
    """Open what only a bound of the search ends: k_max where n_0 is open above, n_0 where there is no slope at all."""
    if k_max == 0.0:
        of_n_0 = (None, None)
    return (of_k_max[0], None if of_n_0[1] is None and of_k_max[1] != of_k_max[0] else of_k_max[1]), of_n_0


def _curve(found: Profile) -> dict[str, Any]:
    return {"n_0": found.value.tolist(), "excess": found.excess.tolist(), "threshold": found.threshold}


def _notes(fit: SlopeFit, noise: Noise, found: Draws) -> list[str]:
    notes = []
    if noise.freedom == 0:
        notes.append("as many parameters as runs: how runs differ is unknown and not in the intervals")
    elif noise.freedom < 3:
        notes.append(f"how runs differ rests on {noise.freedom} degrees of freedom: the intervals are wide for that")
    if not np.any(np.diff(fit.space.curves.size) == 0):
        notes.append("each size has one run, so the law's own misfit counts as scatter between runs")
    at_bound = np.mean(found.shape >= fit.law.coordinate(fit.best.parameters[1].upper) - 1e-9)
    if at_bound > 0:
        share = f"{at_bound:.0%}" if at_bound >= 0.01 else "fewer than 1%"
        notes.append(f"{share} of the replicates see no saturation (n_0 at its upper bound)")
    return notes
