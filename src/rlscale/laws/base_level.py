"""The saturating slope with a level that follows from the base model's own loss before training.

    log10 L(N, X) = -k(N) · (log10 X - c) + a + b · log10 L_0,        k(N) = k_max / (1 + n_0 / N)

L_0 is the test loss at step 0, known before a model is trained; 10^c is the X from which the slope counts. With a = 0
and b = 1 the line starts there from L_0 itself. Source of the slope: Tan et al., arXiv 2509.25300, equations 1 and 2;
the level is this project's.
"""

import numpy as np

from rlscale.laws import Array
from rlscale.laws.smooth_level import SmoothLevel
from rlscale.laws.surface_law import Coordinate, Expansion, Frame, Sites, plain, stack


class BaseLevel(SmoothLevel):
    """E(N) = a + b · log10 L_0 + c · k(N)."""

    name = "base_level"
    formula = "log10 L = -k(N) (log10 X - c) + a + b log10 L_0, k(N) = k_max / (1 + n_0 / N)"
    sizes_needed = 3
    base_loss = "needed"

    def coordinates(self, frame: Frame) -> tuple[Coordinate, ...]:
        """Return the coordinates of `SmoothLevel`, and b."""
        return (*super().coordinates(frame), plain("b", "1", -np.inf, np.inf))

    def expand(self, shape: Array, sites: Sites) -> Expansion:
        """Return the expansion of `SmoothLevel`, with the basis of b added."""
        basis, tangent = super().expand(shape, sites)
        return Expansion(stack(*basis.transpose(1, 0, 2), np.log10(sites.base_loss)), tangent)

    def natural(self, point: Array, frame: Frame) -> list[float]:
        """Return the parameters of `SmoothLevel`, and b."""
        return [*super().natural(point, frame), float(point[4])]
