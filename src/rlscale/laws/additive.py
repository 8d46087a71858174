"""The additive law: what a model of this size can reach, and what is still to be learned, add up.

    L(N, X) = L_inf + (N_0 / N)^alpha + (X_0 / X)^beta

Source: the form of Hoffmann et al., "Training Compute-Optimal Large Language Models", arXiv 2203.15556, equation 2, for
pretraining loss by parameters and tokens; here L is 1 - pass@1 and X samples or compute.
"""

import numpy as np

from rlscale.laws import Array
from rlscale.laws.surface_law import LN10, Coordinate, Expansion, Frame, Sites, SurfaceLaw, logarithmic, plain, stack

EXPONENT = (0.01, 5.0)


class Additive(SurfaceLaw):
    """The exponents alpha and beta are the shape; N_0^alpha and X_0^beta are coefficients."""

    name = "additive"
    formula = "L = l_inf + (n_0 / N)^alpha + (x_0 / X)^beta"
    source = "Hoffmann et al., arXiv 2203.15556, equation 2"
    shapes = 2
    sizes_needed = 3

    def coordinates(self, frame: Frame) -> tuple[Coordinate, ...]:  # noqa: ARG002 - the same for every frame
        """Return alpha, beta, l_inf, n_0 and x_0; for the last two their terms at the geometric means stand inside."""
        return (
            logarithmic("alpha", "1", *EXPONENT),
            logarithmic("beta", "1", *EXPONENT),
            plain("l_inf", "loss", 0.0, 1.0),
            plain("n_0", "parameters", 0.0, np.inf),
            plain("x_0", "X", 0.0, np.inf),
        )

    def guesses(self, frame: Frame, sites: Sites, loss: Array) -> Array:  # noqa: ARG002
        """Return twice the slopes of log10 L by log10 N and by log10 X, as if half the loss were irreducible, and a spread."""
        first = [exponent_of(sites.n, loss), exponent_of(sites.x, loss)]
        return np.log(np.array([first, [1.0, 0.1], [0.1, 1.0], [1.0, 1.0]]))

    def expand(self, shape: Array, sites: Sites) -> Expansion:
        """Return the basis of l_inf and of the two terms, with the derivatives by ln alpha and ln beta."""
        (by_n, alpha_rate), (by_x, beta_rate) = falling(shape[:, :1], sites.n), falling(shape[:, 1:], sites.x)

        def tangent(coefficients: Array) -> Array:
            return stack(coefficients[:, 1:2] * alpha_rate, coefficients[:, 2:3] * beta_rate)

        return Expansion(stack(np.ones((1, 1)), by_n, by_x), tangent)

    def natural(self, point: Array, frame: Frame) -> list[float]:
        """Return alpha, beta, l_inf, n_0 and x_0."""
        log_alpha, log_beta, l_inf, by_n, by_x = (float(value) for value in point)
        alpha, n_0 = scale_of(log_alpha, by_n, frame.log10_n)
        beta, x_0 = scale_of(log_beta, by_x, frame.log10_x)
        return [alpha, beta, l_inf, n_0, x_0]


def falling(log_exponent: Array, log10: Array) -> tuple[Array, Array]:
    """Return 10^(-exponent · log10) and its derivative by the logarithm of the exponent."""
    z = LN10 * np.exp(log_exponent) * log10
    power = np.exp(-z)
    return power, -z * power


def exponent_of(log10: Array, loss: Array) -> float:
    """Return a first guess of an exponent: twice the slope of log10 L."""
    centred = log10 - log10.mean()
    slope = -float(centred @ np.log10(loss)) / max(float(centred @ centred), 1e-12)
    return float(np.clip(2.0 * slope, 0.05, 2.0))


def scale_of(log_exponent: float, coefficient: float, log10_centre: float) -> tuple[float, float]:
    """Return the exponent, NaN where the term is zero, and s of a term (s / u)^exponent with this value at the centre."""
    if coefficient <= 0.0:
        return np.nan, 0.0
    exponent = float(np.exp(log_exponent))
    return exponent, float(10.0 ** (log10_centre + np.log10(coefficient) / exponent))
