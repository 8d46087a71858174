"""The loss in three parts: irreducible, limited by size, and still to be learned.

    L(N, X) = L_inf + (N_0 / N)^alpha + lambda(N) / (1 + (X / D_0(N))^beta)

lambda is what training can remove and D_0 the X at which half of it is removed. Source: Tan et al., arXiv 2509.25300,
appendix D, which leaves lambda and D_0 open; here they are power laws of N, each given by its values at the smallest
and at the largest fitted size, so that unseen sizes have a loss. D_0 may lie three decades outside the fitted X: with
one, each published base size up to 32B is forecast worse from the others (RMSE 0.036 to 0.046 in place of 0.033 to
0.034; the 72B points had no say).
"""

import numpy as np

from rlscale.laws import Array, Parameter
from rlscale.laws.additive import EXPONENT, exponent_of, falling, scale_of
from rlscale.laws.joint_sigmoid import RATIO
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


class Decomposition(SurfaceLaw):
    """The shape is alpha, beta, D_0 at both ends and lambda's ratio between them; the three parts are coefficients."""

    name = "decomposition"
    formula = "L = l_inf + (n_0 / N)^alpha + lambda(N) / (1 + (X / d_0(N))^beta); lambda and d_0 powers of N"
    source = "Tan et al., arXiv 2509.25300, appendix D; powers of N: rlscale"
    shapes = 5
    sizes_needed = 3
    x_needed = 4

    def coordinates(self, frame: Frame) -> tuple[Coordinate, ...]:
        """Return alpha, beta, d_0 at the ends, lambda at the largest size, l_inf, n_0, lambda at the smallest."""
        return (
            logarithmic("alpha", "1", *EXPONENT),
            logarithmic("beta", "1", *STEEPNESS),
            *(place_of_x(f"d_0_{end}", frame, beyond=3.0) for end in ("smallest", "largest")),
            Coordinate(Parameter("lambda_largest", "loss", 0.0, 1.0), -RATIO, RATIO),
            plain("l_inf", "loss", 0.0, 1.0),
            plain("n_0", "parameters", 0.0, np.inf),
            plain("lambda_smallest", "loss", 0.0, 1.0),
        )

    def guesses(self, frame: Frame, sites: Sites, loss: Array) -> Array:
        """Return alpha from the slope by N and D_0 where the end sizes' losses are half-way, then a spread."""
        ends = (sites.share == 0.0, sites.share == 1.0)
        places = (half_way(sites.x[end], loss[end]) for end in ends)
        first = (exponent_of(sites.n, loss), 1.0, *places, 0.0)
        middle = frame.decades / 2
        late = (0.1, 0.5, frame.decades + 1.5, middle, 0.0)
        spread = ((0.3, 0.5, 0.0, 0.0, 0.0), (1.0, 0.5, middle, middle, 1.0), late)
        return np.array([(np.log(alpha), np.log(beta), *rest) for alpha, beta, *rest in (first, *spread)])

    def expand(self, shape: Array, sites: Sites) -> Expansion:
        """Return the basis of l_inf, of the part limited by size and of the part to be learned."""
        log_alpha, log_beta, half_small, half_large, ratio = (shape[:, index : index + 1] for index in range(5))
        z, done, left = progress(log_beta, half_small * (1.0 - sites.share) + half_large * sites.share, sites.x)
        by_n, alpha_rate = falling(log_alpha, sites.n)
        power, ratio_rate = power_of_size(ratio, sites.share)

        def tangent(coefficients: Array) -> Array:
            limited, learned = coefficients[:, 1:2], coefficients[:, 2:]
            rate = learned * power * left * done
            by_half = rate * np.exp(log_beta) * LN10
            by_small, by_large = by_half * (1.0 - sites.share), by_half * sites.share
            return stack(limited * alpha_rate, -rate * z, by_small, by_large, learned * ratio_rate * left)

        return Expansion(stack(np.ones((1, 1)), by_n, power * left), tangent)

    def natural(self, point: Array, frame: Frame) -> list[float]:
        """Return the parameters in the order of the coordinates."""
        log_alpha, log_beta, half_small, half_large, ratio, l_inf, by_n, larger = (float(value) for value in point)
        alpha, n_0 = scale_of(log_alpha, by_n, frame.log10_n)
        shape = [float(np.exp(log_beta)), *(10.0 ** (half + frame.log10_x) for half in (half_small, half_large))]
        learned_small, learned_large = ends_of_power(ratio, larger)
        return [alpha, *(shape if larger > FLAT else [np.nan] * 3), learned_large, l_inf, n_0, learned_small]
