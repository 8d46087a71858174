"""The saturating slope: bigger models learn faster, up to a limit.

    log10 L(N, X) = -k(N) · log10 X + E,        k(N) = K_max / (1 + N_0 / N)

L is the test loss 1 - pass@1, N the number of parameters, X compute in FLOPs or samples, and E a free level of each
curve (the log10 of its loss at X = 1). N_0 is the size at which the slope is half of K_max. Source: Tan et al.,
"Scaling Behaviors of LLM Reinforcement Learning Post-Training", arXiv 2509.25300, equations 1 and 2.
"""

from collections.abc import Sequence

import numpy as np

from rlscale.laws import Array, Parameter


class SaturatingSlope:
    """k(N) = k_max / (1 + n_0 / N), with k_max per decade of X and n_0 in parameters; searched in ln n_0."""

    name = "saturating_slope"
    formula = "log10 L = -k(N) log10 X + E, k(N) = k_max / (1 + n_0 / N)"

    def parameters(self, params: Sequence[int]) -> tuple[Parameter, Parameter]:
        """Return k_max and n_0 with their bounds.

        k_max is not negative: the law is of a loss that falls. n_0 runs from a thousandth of the smallest size, where k
        is constant to 0.1 %, to a thousand times the largest, where k is proportional to N to 0.1 %: further out the
        law cannot be told from those limits.
        """
        return (
            Parameter("k_max", "log10 loss per log10 X", 0.0, 1000.0),
            Parameter("n_0", "parameters", min(params) / 1000.0, max(params) * 1000.0),
        )

    def coordinate(self, shape: float) -> float:
        """Return ln n_0."""
        return float(np.log(shape))

    def natural(self, coordinate: Array) -> Array:
        """Return n_0."""
        return np.exp(coordinate)

    def shape(self, params: Array, coordinate: Array | float) -> tuple[Array, Array, Array]:
        """Return 1 / (1 + n_0 / N) and its first two derivatives by ln n_0."""
        share = 1.0 / (1.0 + np.exp(coordinate) / params)
        first = -share * (1.0 - share)
        return share, first, first * (2.0 * share - 1.0)
