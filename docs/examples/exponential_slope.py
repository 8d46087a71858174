"""The slope saturates exponentially in model size.

    log10 L(N, X) = -k(N) · log10 X + E,        k(N) = k_max · (1 - exp(-N / n_0))

Like the saturating slope it rises in proportion to N at first and has a limit, but it comes to that limit much sooner:
99 % of it at 4.6 n_0, where k_max / (1 + n_0 / N) has come to 82 %.
"""

from collections.abc import Sequence

import numpy as np

from rlscale.laws import Array, Parameter


class ExponentialSlope:
    """k(N) = k_max (1 - exp(-N / n_0)), with k_max per decade of X and n_0 in parameters; searched in ln n_0."""

    name = "exponential_slope"
    formula = "log10 L = -k(N) log10 X + E, k(N) = k_max (1 - exp(-N / n_0))"

    def parameters(self, params: Sequence[int]) -> tuple[Parameter, Parameter]:
        """Return the scale and the shape with their bounds, out to where the law cannot be told from its limits."""
        return (
            Parameter("k_max", "log10 loss per log10 X", 0.0, 1000.0),
            Parameter("n_0", "parameters", min(params) / 100.0, max(params) * 100.0),
        )

    def coordinate(self, shape: float) -> float:
        """Return ln n_0."""
        return float(np.log(shape))

    def natural(self, coordinate: Array) -> Array:
        """Return n_0."""
        return np.exp(coordinate)

    def shape(self, params: Array, coordinate: Array | float) -> tuple[Array, Array, Array]:
        """Return k(N) / k_max and its first two derivatives by ln n_0."""
        ratio = params / np.exp(coordinate)
        left = np.exp(-ratio)
        return -np.expm1(-ratio), -ratio * left, ratio * left * (1.0 - ratio)
