"""A rival of saturation: the slope is a power of size, without limit.

    log10 L(N, X) = -k(N) · log10 X + E,        k(N) = k_largest · (N / N_largest)^a,    a >= 0

The saturating slope of Tan et al. (arXiv 2509.25300, equation 2) tends to a = 1 far below N_0 and to a = 0 far above.
"""

from collections.abc import Sequence

import numpy as np

from rlscale.laws import Array, Parameter


class PowerSlope:
    """k(N) = k_largest · (N / N_largest)^a, relative to the largest fitted size; searched in a."""

    name = "power_slope"
    formula = "log10 L = -k(N) log10 X + E, k(N) = k_largest (N / N_largest)^a"

    def __init__(self, largest: float) -> None:
        """Take the size to which the scale refers, in parameters."""
        self._largest = float(largest)

    def parameters(self, params: Sequence[int]) -> tuple[Parameter, Parameter]:  # noqa: ARG002 - part of the protocol
        """Return k_largest and a with their bounds: the slope rises with size, at most as its square."""
        return (
            Parameter("k_largest", "log10 loss per log10 X", 0.0, 1000.0),
            Parameter("a", "exponent", 0.0, 2.0),
        )

    def coordinate(self, shape: float) -> float:
        """Return the exponent itself."""
        return shape

    def natural(self, coordinate: Array) -> Array:
        """Return the exponent itself."""
        return coordinate

    def shape(self, params: Array, coordinate: Array | float) -> tuple[Array, Array, Array]:
        """Return (N / N_largest)^a and its first two derivatives by a."""
        log_size = np.log(params / self._largest)
        share = np.exp(coordinate * log_size)
        return share, share * log_size, share * log_size**2
