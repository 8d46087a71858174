"""One sigmoid in log X for all sizes: they share the steepness, and the rest follows from size.

    R(N, X) = R_0(N) + (A(N) - R_0(N)) / (1 + (C_mid(N) / X)^B),        R = 1 - L

C_mid, the loss at the start 1 - R_0 and the loss at the end 1 - A are power laws of N, each given by its values at the
smallest and the largest fitted size: positive at every size and, for rewards, within [0, 1] from one end to the other.
Source of the sigmoid: Khatri et al. (ScaleRL), arXiv 2510.13786, equation 1; of the power laws: chosen here, by leaving
out each published base size up to 32B in turn (the 72B points had no say). RMSE in loss over the six sizes 0.031 to
0.032 (compute and samples, log and linear loss), against 0.032 to 0.036 with rewards linear in log N, and 0.040 to
0.042 (compute) where C_mid may lie three decades outside the fitted X instead of one. Taking R_0 from the step-0 score
changed nothing on this project's own `mini` study, so it is a parameter here.
"""

import numpy as np

from rlscale.laws import Array, Parameter
from rlscale.laws.sigmoid import STEEPNESS, half_way, progress
from rlscale.laws.surface_law import (
    FLAT,
    LN10,
    Coordinate,
    Expansion,
    Frame,
    Sites,
    SurfaceLaw,
    ends_of_power,
    logarithmic,
    place_of_x,
    plain,
    power_of_size,
    stack,
)

_RATIO = 16.0  # bound of a natural logarithm: seven decades between the ends


class JointSigmoid(SurfaceLaw):
    """The shape is b, c_mid at both ends and the ratios of the losses between the ends; a coefficient is a loss."""

    name = "joint_sigmoid"
    formula = "L = 1 - R, R = r_0(N) + (a(N) - r_0(N)) / (1 + (c_mid(N) / X)^b), c_mid, 1 - r_0, 1 - a powers of N"
    source = "sigmoid: Khatri et al., arXiv 2510.13786, equation 1; powers of N: rlscale"
    shapes = 5
    sizes_needed = 2

    def coordinates(self, frame: Frame) -> tuple[Coordinate, ...]:
        """Return b, c_mid at the ends, r_0 and a at the largest size, then at the smallest."""
        ratios = (
            Coordinate(Parameter(f"{name}_largest", "reward", 0.0, 1.0), -_RATIO, _RATIO) for name in ("r_0", "a")
        )
        return (
            logarithmic("b", "1", *STEEPNESS),
            *(place_of_x(f"c_mid_{end}", frame, beyond=1.0) for end in ("smallest", "largest")),
            *ratios,
            *(plain(f"{name}_smallest", "reward", 0.0, 1.0) for name in ("r_0", "a")),
        )

    def guesses(self, frame: Frame, sites: Sites, loss: Array) -> Array:
        """Return midpoints where the loss of the smallest and of the largest size is half-way, then a spread of them."""
        low, high = frame.x_range
        first, last = (half_way(sites.x[end], loss[end]) for end in (sites.share == 0.0, sites.share == 1.0))
        middle = (low + high) / 2
        spread = ((2.0, middle, middle), (0.5, high, high), (0.5, high + 1.0, middle), (1.0, high, low))
        return np.array([(np.log(steep), *ends, 0.0, -0.3) for steep, *ends in ((1.0, first, last), *spread)])

    def expand(self, shape: Array, sites: Sites) -> Expansion:
        """Return the basis of the loss at the start and at the end, with derivatives in the order of the coordinates."""
        log_b, mid_small, mid_large, by_start, by_end = (shape[:, i : i + 1] for i in range(5))
        z, done, left = progress(log_b, mid_small * (1.0 - sites.share) + mid_large * sites.share, sites.x)
        (start, start_rate), (end, end_rate) = power_of_size(by_start, sites.share), power_of_size(by_end, sites.share)

        def tangent(coefficients: Array) -> Array:
            first, last = coefficients[:, :1], coefficients[:, 1:]
            rate = (last * end - first * start) * done * left
            by_middle = -rate * np.exp(log_b) * LN10
            by_small, by_large = by_middle * (1.0 - sites.share), by_middle * sites.share
            return stack(rate * z, by_small, by_large, first * start_rate * left, last * end_rate * done)

        return Expansion(stack(left * start, done * end), tangent)

    def natural(self, point: Array, frame: Frame) -> list[float]:
        """Return b, c_mid at the smallest and the largest size, r_0 and a at the largest and at the smallest."""
        log_b, first, last, by_start, by_end, start, end = (float(value) for value in point)
        (start_small, start_large), (end_small, end_large) = ends_of_power(by_start, start), ends_of_power(by_end, end)
        flat = max(abs(start_small - end_small), abs(start_large - end_large)) < FLAT
        middle = [np.nan, np.nan, np.nan] if flat else [float(np.exp(log_b)), frame.x_at(first), frame.x_at(last)]
        return [*middle, 1.0 - start_large, 1.0 - end_large, 1.0 - start_small, 1.0 - end_small]
