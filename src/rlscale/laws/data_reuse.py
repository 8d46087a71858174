"""Data reuse: what a run that sees its problems again has learned from, in problems seen once.

    log10 L = -k(N) · log10 D_eff + E

D samples (repeats counted) of U different problems make r = D / U - 1 repeats; they are worth D_eff samples of ever new
problems. E is one level for all runs of a base model, whatever their reuse, since they start from the same loss. With
*saturating reuse* D_eff = U + U · r* · (1 - exp(-r / r*)): the first repeats are worth nearly as much as new problems,
and no number of them more than r* passes (Muennighoff et al., arXiv 2305.16264, D' of the tokens of pretraining). The
rivals: reuse has *no effect*, D_eff = D, or it is a *linear penalty*, so many decades of data a repeat.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rlscale.laws import Array, Parameter


class ReuseLaw(Protocol):
    """Effective data with at most one parameter, searched in its logarithm."""

    @property
    def name(self) -> str:
        """Name of the law."""
        ...

    @property
    def formula(self) -> str:
        """The formula in plain text."""
        ...

    @property
    def neutral(self) -> str | None:
        """The bound of the parameter at which the law is "no effect"; None without a parameter."""
        ...

    def parameter(self, most_repeats: float) -> Parameter | None:
        """Return the parameter, with bounds for points with up to so many repeats; None for a law without."""
        ...

    def log10_effective(self, unique: Array, samples: Array, value: Array | float) -> Array:
        """Return log10 D_eff of ``samples`` (D) drawn from ``unique`` problems (U), at the parameter's value."""
        ...


def repeats(unique: Array, samples: Array) -> Array:
    """Return r, how often a problem was seen again, on average; 0 where all samples are different."""
    return np.maximum(samples / unique - 1.0, 0.0)


@dataclass(frozen=True)
class SaturatingReuse:
    """Repeats are worth less and less; r_star is the number of passes that all of them together are worth."""

    name: str = "saturating_reuse"
    formula: str = "log10 L = -k log10(U + U r_star (1 - exp(-r / r_star))) + E, r = max(D / U - 1, 0)"
    neutral: str | None = "upper"

    def parameter(self, most_repeats: float) -> Parameter:
        """Return r_star; at its bounds repeats are worth nothing, or as much as new problems, to 0.1 %."""
        return Parameter("r_star", "repeats", 1e-3, 1e3 * most_repeats)

    def log10_effective(self, unique: Array, samples: Array, value: Array | float) -> Array:
        """Return log10 D_eff."""
        return np.log10(unique) + np.log10(1.0 - value * np.expm1(-repeats(unique, samples) / value))


@dataclass(frozen=True)
class NoEffect:
    """A problem seen again is worth a new one."""

    name: str = "no_effect"
    formula: str = "log10 L = -k log10 D + E"
    neutral: str | None = None

    def parameter(self, most_repeats: float) -> None:
        """Return None: there is nothing to fit but k and E."""

    def log10_effective(self, unique: Array, samples: Array, value: Array | float) -> Array:  # noqa: ARG002 - likewise
        """Return log10 D."""
        return np.log10(np.maximum(samples, unique))


@dataclass(frozen=True)
class LinearPenalty:
    """Each repeat costs the same: log10 L rises by gamma = k · penalty with every one."""

    name: str = "linear_penalty"
    formula: str = "log10 L = -k (log10 D - penalty r) + E, r = max(D / U - 1, 0)"
    neutral: str | None = "lower"

    def parameter(self, most_repeats: float) -> Parameter:
        """Return the penalty, from a ten-thousandth of a decade at the most repeats to ten decades."""
        return Parameter("penalty", "log10 samples per repeat", 1e-4 / most_repeats, 10.0 / most_repeats)

    def log10_effective(self, unique: Array, samples: Array, value: Array | float) -> Array:
        """Return log10 D_eff, which falls again after many repeats."""
        return np.log10(np.maximum(samples, unique)) - value * repeats(unique, samples)


LAWS: tuple[ReuseLaw, ...] = (SaturatingReuse(), NoEffect(), LinearPenalty())
