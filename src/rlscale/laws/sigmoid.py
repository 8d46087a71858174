"""The sigmoid in log X: reward rises from the base model's to a ceiling, each size by itself.

    R(X) = R_0 + (A - R_0) / (1 + (C_mid / X)^B),        R = 1 - L

R_0 is the reward before training, A the ceiling, C_mid the X at which half of the gain is made and B the steepness.
Source: Khatri et al., "The Art of Scaling Reinforcement Learning Compute for LLMs" (ScaleRL), arXiv 2510.13786,
equation 1, where X is compute. As there, R_0 is the score at step 0 where every curve of the size has one; otherwise
it is a free parameter. C_mid is kept within a decade of the fitted X: further out, it and the ceiling cannot be told
apart.
"""

import numpy as np

from rlscale.laws import Array
from rlscale.laws.surface_law import (
    FLAT,
    LN10,
    Coordinate,
    Expansion,
    Frame,
    Sites,
    SurfaceLaw,
    logarithmic,
    place_of_x,
    plain,
    stack,
)

STEEPNESS = (0.02, 20.0)  # from a rise over a hundred decades to one within a tenth of a decade


class Sigmoid(SurfaceLaw):
    """Steepness b and midpoint c_mid are the shape; the losses at the start and at the end are coefficients."""

    name = "sigmoid"
    formula = "L = 1 - R, R = r_0 + (a - r_0) / (1 + (c_mid / X)^b), each size by itself"
    source = "Khatri et al., arXiv 2510.13786, equation 1"
    shapes = 2
    sizes_needed = 1
    x_needed = 3
    by_size = True
    base_loss = "used"

    def coordinates(self, frame: Frame) -> tuple[Coordinate, ...]:
        """Return b, c_mid, r_0 and a; for r_0 stands its loss, as a share of the loss at step 0 where that is known."""
        r_0 = plain("r_0", "reward", 0.0, 1.0)
        return (
            logarithmic("b", "1", *STEEPNESS),
            place_of_x("c_mid", frame, beyond=1.0),
            r_0 if frame.base_loss is None else r_0._replace(lower=1.0),
            plain("a", "reward", 0.0, 1.0),
        )

    def guesses(self, frame: Frame, sites: Sites, loss: Array) -> Array:
        """Return the X where the loss is half-way, then a gentle sigmoid late in X, steep ones amid and ahead of X."""
        spread = ((0.5, frame.decades), (2.0, frame.decades / 2), (5.0, -0.5))
        return np.array([(0.0, half_way(sites.x, loss)), *((np.log(steep), middle) for steep, middle in spread)])

    def expand(self, shape: Array, sites: Sites) -> Expansion:
        """Return the basis of the loss at the start and at the end, with the derivatives by ln b and c_mid's place."""
        z, done, left = progress(shape[:, :1], shape[:, 1:], sites.x)

        def tangent(coefficients: Array) -> Array:
            rate = (coefficients[:, 1:] - coefficients[:, :1] * sites.base_loss) * done * left
            return stack(rate * z, -rate * np.exp(shape[:, :1]) * LN10)

        return Expansion(stack(left * sites.base_loss, done), tangent)

    def natural(self, point: Array, frame: Frame) -> list[float]:
        """Return b, c_mid, r_0 and a."""
        log_b, middle, first, last = (float(value) for value in point)
        first *= 1.0 if frame.base_loss is None else frame.base_loss
        shape = [float(np.exp(log_b)), 10.0 ** (middle + frame.log10_x)]
        return [*(shape if abs(first - last) > FLAT else (np.nan, np.nan)), 1.0 - first, 1.0 - last]


def progress(log_steepness: Array, middle: Array, x: Array) -> tuple[Array, Array, Array]:
    """Return z = B ln(X / C_mid), the share of the gain that is made, 1 / (1 + e^-z), and the share that is left."""
    z = np.exp(log_steepness) * LN10 * (x - middle)
    small = np.exp(-np.abs(z))
    larger, smaller = 1.0 / (1.0 + small), small / (1.0 + small)
    return z, np.where(z > 0, larger, smaller), np.where(z > 0, smaller, larger)


def half_way(x: Array, loss: Array) -> float:
    """Return the X where the loss is nearest to the middle between its extremes."""
    return float(x[np.argmin(np.abs(loss - (loss.min() + loss.max()) / 2))])
