"""One sigmoid in log X for all sizes: they share the steepness, and the rest follows from size.

    R(N, X) = R_0(N) + (A(N) - R_0(N)) / (1 + (C_mid(N) / X)^B),        R = 1 - L

C_mid, the loss at the end 1 - A and the loss at the start 1 - R_0 are power laws of N, each given by its values at the
smallest and at the largest fitted size; so the rewards lie within [0, 1] from one end to the other. Where every curve
has a score at step 0, that is R_0. Source of the sigmoid: Khatri et al. (ScaleRL), arXiv 2510.13786, equation 1.

The rest is chosen here, by leaving out each size in turn, on published base sizes up to 32B (the 72B points had no
say): RMSE of the loss over the six 0.031 to 0.032 (compute and samples, log and linear loss), against 0.032 to 0.036
with rewards linear in log N, and 0.032 to 0.046 where C_mid may lie three decades outside the fitted X and not only
one. R_0 from step 0 in place of a free one: on the project's own `mini` study 0.057 against 0.063 on log loss, 0.046
against 0.053 on linear loss.
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

RATIO = 16.0  # bound of the natural logarithm of a ratio between the end sizes: seven decades


class JointSigmoid(SurfaceLaw):
    """The shape is b, c_mid at both ends and the two losses' ratios between the ends; the losses are coefficients."""

    name = "joint_sigmoid"
    formula = "L = 1 - R, R = r_0(N) + (a(N) - r_0(N)) / (1 + (c_mid(N) / X)^b); c_mid, 1 - r_0, 1 - a powers of N"
    source = "sigmoid: Khatri et al., arXiv 2510.13786, equation 1; powers of N: rlscale"
    shapes = 5
    sizes_needed = 2
    x_needed = 4
    base_loss = "used"

    def coordinates(self, frame: Frame) -> tuple[Coordinate, ...]:
        """Return b, c_mid at the ends, r_0 and a at the largest size, then at the smallest."""
        first, last = (Parameter(f"{name}_largest", "reward", 0.0, 1.0) for name in ("r_0", "a"))
        given = frame.base_loss is not None
        return (
            logarithmic("b", "1", *STEEPNESS),
            *(place_of_x(f"c_mid_{end}", frame, beyond=1.0) for end in ("smallest", "largest")),
            Coordinate(first, 0.0, 0.0) if given else Coordinate(first, -RATIO, RATIO),
            Coordinate(last, -RATIO, RATIO),
            Coordinate(Parameter("r_0_smallest", "reward", 0.0, 1.0), 1.0 if given else 0.0, 1.0),
            plain("a_smallest", "reward", 0.0, 1.0),
        )

    def guesses(self, frame: Frame, sites: Sites, loss: Array) -> Array:
        """Return midpoints where the end sizes' losses are half-way, then a spread, once with a ceiling near 1."""
        places = (half_way(sites.x[end], loss[end]) for end in (sites.share == 0.0, sites.share == 1.0))
        middle, high = frame.decades / 2, frame.decades
        spread = (
            (2.0, middle, middle, -0.3),
            (1.0, high, high, -5.0),
            (0.5, high + 1.0, middle, -0.3),
            (2.0, 0.0, 0.0, -0.3),
        )
        rows = ((1.0, *places, -0.3), *spread)
        return np.array([(np.log(steep), small, large, 0.0, ratio) for steep, small, large, ratio in rows])

    def expand(self, shape: Array, sites: Sites) -> Expansion:
        """Return the basis of the loss at the start and at the end."""
        log_b, mid_small, mid_large, by_start, by_end = (shape[:, index : index + 1] for index in range(5))
        z, done, left = progress(log_b, mid_small * (1.0 - sites.share) + mid_large * sites.share, sites.x)
        start, start_rate = (sites.base_loss * power for power in power_of_size(by_start, sites.share))
        end, end_rate = power_of_size(by_end, sites.share)

        def tangent(coefficients: Array) -> Array:
            first, last = coefficients[:, :1], coefficients[:, 1:]
            rate = (last * end - first * start) * done * left
            by_middle = -rate * np.exp(log_b) * LN10
            by_small, by_large = by_middle * (1.0 - sites.share), by_middle * sites.share
            return stack(rate * z, by_small, by_large, first * start_rate * left, last * end_rate * done)

        return Expansion(stack(left * start, done * end), tangent)

    def natural(self, point: Array, frame: Frame) -> list[float]:
        """Return the parameters in the order of the coordinates."""
        log_b, mid_small, mid_large, by_start, by_end, start, end = (float(value) for value in point)
        start_small, start_large = ends_of_power(by_start, start * (frame.base_loss or 1.0))
        end_small, end_large = ends_of_power(by_end, end)
        moves = max(abs(start_small - end_small), abs(start_large - end_large)) > FLAT
        shape = [float(np.exp(log_b)), *(10.0 ** (middle + frame.log10_x) for middle in (mid_small, mid_large))]
        rewards = [1.0 - loss for loss in (start_large, end_large, start_small, end_small)]
        return [*(shape if moves else [np.nan] * 3), *rewards]
