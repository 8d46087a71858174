"""A rival of saturation: the slope grows with the logarithm of size, without limit.

    log10 L(N, X) = -k(N) · log10 X + E,        k(N) = a + b · ln N,    b >= 0, k >= 0 at every fitted size

Tan et al. (arXiv 2509.25300) do not test it; over the sizes of one study it looks much like saturation.
"""

from collections.abc import Sequence

import numpy as np

from rlscale.laws import Array, Parameter


class LogSlope:
    """k(N) = k_largest · (1 + rise · ln(N / N_largest) / ln(N_largest / N_smallest)), searched in the rise.

    The rise is the share of the largest size's slope that came with size: 0 is a constant slope, 1 a slope that is nil
    at the smallest size.
    """

    name = "log_slope"
    formula = "log10 L = -k(N) log10 X + E, k(N) = k_largest (1 + rise ln(N / N_largest) / ln(N_largest / N_smallest))"

    def __init__(self, smallest: float, largest: float) -> None:
        """Span the line between two sizes, in parameters."""
        self._low, self._high = float(np.log(smallest)), float(np.log(largest))

    def parameters(self, params: Sequence[int]) -> tuple[Parameter, Parameter]:  # noqa: ARG002 - part of the protocol
        """Return k_largest and rise with their bounds: a slope that neither falls with size nor is negative."""
        return (
            Parameter("k_largest", "log10 loss per log10 X", 0.0, 1000.0),
            Parameter("rise", "share", 0.0, 1.0),
        )

    def coordinate(self, shape: float) -> float:
        """Return the rise itself."""
        return shape

    def natural(self, coordinate: Array) -> Array:
        """Return the rise itself."""
        return coordinate

    def shape(self, params: Array, coordinate: Array | float) -> tuple[Array, Array, Array]:
        """Return k(N) / k_largest and its derivatives by the rise."""
        below = (np.log(params) - self._high) / (self._high - self._low)
        share = 1.0 + coordinate * below
        return share, np.broadcast_to(below, share.shape), np.zeros_like(share)
