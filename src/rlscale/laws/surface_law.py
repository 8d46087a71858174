"""Laws of the whole loss surface: a loss for any model size and any X, levels and all.

Such a law is linear in some of its parameters once the others, its *shape*, are known: g(L) = Σ coefficient · basis,
with g the identity or the decimal logarithm (the law's *link*). A fit searches the shape alone and solves for the
coefficients. Inside, N and X are log10 over the smallest size and the least X, so that no unit matters and a term that
only the first points feel has a coefficient of its own size; a law knows which named parameters in natural units its
numbers stand for.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from rlscale.laws import Array, Parameter

LN10 = float(np.log(10.0))
FLAT = 1e-12  # a change of the loss, or of its logarithm, that is rounding
LEAST_LOSS = 1e-12  # what a modelled loss of zero counts as, so that it has a logarithm


class Sites(NamedTuple):
    """Where the loss is asked for: arrays of one shape, whose last axis is the points'.

    Attributes:
        n: log10 of N over the smallest fitted size.
        share: where n lies between the smallest (0) and the largest (1) fitted size.
        x: log10 of X over the least fitted X.
        base_loss: test loss at step 0 of the point's curve; 1 where the frame has none.
    """

    n: Array
    share: Array
    x: Array
    base_loss: Array


@dataclass(frozen=True)
class Frame:
    """The scales of the points that are fitted together.

    Attributes:
        params: the sizes, ascending.
        log10_x: least log10 X.
        decades: largest log10 X less that.
        base_loss: mean test loss at step 0, None unless it is known for every curve.
    """

    params: tuple[float, ...]
    log10_x: float
    decades: float
    base_loss: float | None

    @property
    def log10_n(self) -> float:
        """Return log10 of the smallest size."""
        return float(np.log10(self.params[0]))

    def sites(self, params: npt.ArrayLike, log10_x: npt.ArrayLike, base_loss: npt.ArrayLike) -> Sites:
        """Return places in the frame's scales; the arguments broadcast."""
        n = np.log10(np.asarray(params, dtype=np.float64)) - self.log10_n
        span = float(np.log10(self.params[-1])) - self.log10_n
        share = n / (span if span > 0 else 1.0)
        base = np.asarray(1.0 if self.base_loss is None else base_loss, dtype=np.float64)
        columns = np.broadcast_arrays(n, share, np.asarray(log10_x, dtype=np.float64) - self.log10_x, base)
        return Sites(*(np.array(column) for column in columns))


class Coordinate(NamedTuple):
    """A parameter, and the bounds of the number that stands for it inside."""

    parameter: Parameter
    lower: float
    upper: float

    @property
    def free(self) -> bool:
        """Whether it is fitted: between equal bounds it is given."""
        return self.lower < self.upper


class Expansion(NamedTuple):
    """A law at given shapes.

    Attributes:
        basis: shape (rows, coefficients, points).
        tangent: from coefficients, (rows, coefficients), to the derivatives of Σ coefficient · basis by each number of
            the shape, (rows, shapes, points).
    """

    basis: Array
    tangent: Callable[[Array], Array]


class SurfaceLaw(ABC):
    """A law g(L) = Σ coefficient · basis(shape; N, X, L_0) with bounded shape and coefficients.

    Attributes:
        name: name of the law.
        formula: the law in one line of plain text.
        source: where it comes from.
        link: g: "linear" (the identity) or "log" (decimal).
        shapes: how many of the coordinates, the first ones, are the shape.
        sizes_needed: how many sizes determine the parameters.
        x_needed: how many different values of X do.
        by_size: whether each size is fitted by itself, so that an unseen size has no loss.
        base_loss: whether the loss at step 0 is "unused", "used" where every curve of a fit has one, or "needed".
    """

    name: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    link: ClassVar[Literal["linear", "log"]] = "linear"
    shapes: ClassVar[int]
    sizes_needed: ClassVar[int]
    x_needed: ClassVar[int]
    by_size: ClassVar[bool] = False
    base_loss: ClassVar[Literal["unused", "used", "needed"]] = "unused"

    @abstractmethod
    def coordinates(self, frame: Frame) -> tuple[Coordinate, ...]:
        """Return the parameters, shape first."""

    @abstractmethod
    def guesses(self, frame: Frame, sites: Sites, loss: Array) -> Array:
        """Return starts of the shape, (starts, shapes): the first guessed from the points, the rest a fixed spread."""

    @abstractmethod
    def expand(self, shape: Array, sites: Sites) -> Expansion:
        """Return the basis and its derivatives at shapes of shape (rows, shapes); sites are (rows or 1, points)."""

    @abstractmethod
    def natural(self, point: Array, frame: Frame) -> list[float]:
        """Return the parameters in natural units, in the order of the coordinates; NaN where one is without effect."""

    def predict(self, point: Array, sites: Sites) -> Array:
        """Return the test loss at given coordinates, kept within (0, 1], where losses lie, if the formula says more."""
        row = Sites(*(column[None, :] for column in sites))
        value = np.matmul(point[self.shapes :], self.expand(point[None, : self.shapes], row).basis[0])
        loss = value if self.link == "linear" else 10.0 ** np.minimum(value, 0.0)
        return np.asarray(np.clip(loss, LEAST_LOSS, 1.0))


def stack(*columns: Array) -> Array:
    """Return arrays of shape (rows or 1, points or 1) as one of shape (rows, columns, points)."""
    rows, points = (max(column.shape[axis] for column in columns) for axis in (0, 1))
    together = np.empty((rows, len(columns), points))
    for index, column in enumerate(columns):
        together[:, index] = column
    return together


def logarithmic(name: str, unit: str, lower: float, upper: float) -> Coordinate:
    """Return a parameter for which its natural logarithm stands inside."""
    return Coordinate(Parameter(name, unit, lower, upper), float(np.log(lower)), float(np.log(upper)))


def plain(name: str, unit: str, lower: float, upper: float) -> Coordinate:
    """Return a parameter for which a number with the same bounds stands inside."""
    return Coordinate(Parameter(name, unit, lower, upper), lower, upper)


def place_of_x(name: str, frame: Frame, *, beyond: float) -> Coordinate:
    """Return a parameter in units of X at most ``beyond`` decades outside the fitted X; inside stands a `Sites.x`."""
    low, high = -beyond, frame.decades + beyond
    return Coordinate(Parameter(name, "X", 10.0 ** (frame.log10_x + low), 10.0 ** (frame.log10_x + high)), low, high)


def power_of_size(log_ratio: Array, share: Array) -> tuple[Array, Array]:
    """Return a power law of N that is 1 at the fitted size where it is largest, and its derivative by ``log_ratio``.

    Args:
        log_ratio: natural logarithm of its value at the largest size over that at the smallest.
        share: where N lies between the smallest (0) and the largest (1) fitted size.
    """
    falls = np.where(log_ratio > 0, share - 1.0, share)
    power = np.exp(np.minimum(log_ratio * falls, 300.0))
    return power, falls * power


def ends_of_power(log_ratio: float, largest: float) -> tuple[float, float]:
    """Return such a power law at the smallest and at the largest size; ``largest`` is its larger value."""
    return largest * float(np.exp(min(-log_ratio, 0.0))), largest * float(np.exp(min(log_ratio, 0.0)))
