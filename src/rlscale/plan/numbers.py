"""A number of a plan: never without its interval."""

from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from rlscale.laws import Array
from rlscale.uncertainty import LEVEL

REACH = 40.0
"""log10 FLOPs beyond which a target counts as never reached: no machine comes within ten decades of it."""


@dataclass(frozen=True)
class Number:
    """An estimate and its interval by quantiles of the replicates; None is open: beyond what any compute reaches.

    Attributes:
        estimate: from the fit itself.
        low: lower end.
        high: upper end.
        unit: of all three.
        level: share of the replicates that lie inside.
        finite: share of the replicates in which there is such a number at all.
    """

    estimate: float | None
    low: float | None
    high: float | None
    unit: str
    level: float
    finite: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-native values."""
        return asdict(self)


def number(values: Array, unit: str, level: float = LEVEL) -> Number:
    """Return a number from its estimate (row 0) and its replicates (the other rows); inf says "never"."""
    draws = values[1:]
    # Ends are replicates themselves: between a number and inf there is nothing to interpolate.
    low = np.quantile(draws, (1 - level) / 2, method="lower")
    high = np.quantile(draws, (1 + level) / 2, method="higher")
    return Number(_finite(values[0]), _finite(low), _finite(high), unit, level, float(np.mean(np.isfinite(draws))))


def least_number(values: Array, unit: str, level: float = LEVEL) -> Number:
    """Return the least over sizes of values by row (0 the estimate) and size; inf says "never"."""
    lowest = values.min(axis=1)
    low, high = least_ends(values[1:], level)
    finite = float(np.mean(np.isfinite(lowest[1:])))
    return Number(_finite(lowest[0]), _finite(low), _finite(high), unit, level, finite)


def least_ends(draws: Array, level: float) -> tuple[float, float]:
    """Return the interval of the least over sizes, from draws by replicate and size.

    The least of uncertain numbers is too low on average, and the more so in replicates, which are noisier once more:
    their quantiles lie too low where sizes are nearly tied. But the least over the sizes' own ends has no such bias
    (intersection bounds: Chernozhukov, Lee and Rosen, Econometrica 81, 2013). The low end may be that of each size by
    itself, since the truth is one size's. All high ends of tied sizes must hold, so they are raised until, in at most
    1 - level of the replicates, a size is above its end or all are below theirs. Sizes that begin above the high end
    of another are no candidates.
    """
    count = len(draws)
    ordered = np.sort(draws, axis=0)
    low, high = int((count - 1) * (1 - level) / 2), ceil((count - 1) * (1 + level) / 2)
    tied = ordered[low] <= ordered[high].min()
    rank = np.stack([np.searchsorted(*columns) for columns in zip(ordered.T[tied], draws.T[tied], strict=True)])
    misses = int(count * (1 - level) + 1e-9) - int(np.all(draws[:, tied] < ordered[low, tied], axis=1).sum())
    joint = int(np.sort(rank.max(axis=0))[count - 1 - max(misses, 0)])
    return float(ordered[low].min()), float(ordered[max(high, joint), tied].min())


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def from_log10(values: Array) -> Array:
    """Return 10 to the values, inf beyond the reach of any machine."""
    return np.where(values > REACH, np.inf, 10.0 ** np.minimum(values, REACH))


def least(values: Array) -> tuple[int, npt.NDArray[np.intp]]:
    """Return which column is the least in the estimate, and which it is in each row; -1 where nothing is finite."""
    which = np.where(np.isfinite(values.min(axis=1)), np.argmin(values, axis=1), -1)
    return int(which[0]), which


def share(which: npt.NDArray[np.intp], column: int) -> float:
    """Return the share of replicates in which a column is the choice."""
    return float(np.mean(which[1:] == column))
