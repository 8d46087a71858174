"""A number of a plan: never without its interval."""

from dataclasses import asdict, dataclass
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


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def from_log10(values: Array) -> Array:
    """Return 10 to the values, inf beyond the reach of any machine."""
    return np.where(values > REACH, np.inf, 10.0 ** np.minimum(values, REACH))


def least(values: Array) -> tuple[int, Array, npt.NDArray[np.intp]]:
    """Return which column is the least in the estimate, the least of each row, and which column it was there.

    Where nothing in a row is finite, no column is the least: -1.
    """
    which = np.argmin(values, axis=1)
    lowest = values[np.arange(len(values)), which]
    which = np.where(np.isfinite(lowest), which, -1)
    return int(which[0]), lowest, which


def share(which: npt.NDArray[np.intp], column: int) -> float:
    """Return the share of replicates in which a column is the choice."""
    return float(np.mean(which[1:] == column))
