"""Scaling laws of RL post-training, one file each.

A *slope law* is a line in log-log whose slope depends on model size: log10 L = -k(N) · log10 X + E, with a free level E
of each curve and k(N) = scale · shape(N); the scale enters linearly and the shape has one free parameter. Other laws
give the loss of any size, levels and all. Once fitted, every law answers the same question: the loss of a curve of
which only its `Target` is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Parameter:
    """A free parameter of a law: its name, its unit and the values that a fit may give it."""

    name: str
    unit: str
    lower: float
    upper: float


class SlopeLaw(Protocol):
    """The slope k of a line in log-log as a function of model size N (``params``)."""

    @property
    def name(self) -> str:
        """Name of the law."""
        ...

    @property
    def formula(self) -> str:
        """The formula in plain text."""
        ...

    def parameters(self, params: Sequence[int]) -> tuple[Parameter, Parameter]:
        """Return the scale and the shape parameter, with bounds for a table that holds the sizes ``params``."""
        ...

    def coordinate(self, shape: float) -> float:
        """Return the coordinate in which the shape parameter is searched, one-to-one and smooth."""
        ...

    def natural(self, coordinate: Array) -> Array:
        """Return the shape parameter at its coordinate."""
        ...

    def shape(self, params: Array, coordinate: Array | float) -> tuple[Array, Array, Array]:
        """Return slope / scale by size and its first two derivatives by the coordinate; the arguments broadcast."""
        ...


@dataclass(frozen=True)
class Target:
    """What is known of a curve before any of its points.

    Attributes:
        params: its model size.
        base_loss: its test loss at step 0, None where unknown.
        curve: its key in the fitted curves, None where it is not one of them.
    """

    params: int
    base_loss: float | None = None
    curve: str | None = None


class Fitted(Protocol):
    """A law with its parameters."""

    @property
    def law(self) -> str:
        """Name of the law."""
        ...

    def levelled(self, target: Target) -> bool:
        """Return whether the law knows the level of the target's curve, and not its shape only."""
        ...

    def predict(self, target: Target, x: npt.ArrayLike) -> Array:
        """Return the test loss of the target at X = ``x``; up to a constant factor where the law knows no level.

        Raises:
            UserError: the law says nothing about this target.
        """
        ...

    def to_json(self) -> dict[str, Any]:
        """Return the parameters and the goodness of fit as JSON-native values."""
        ...
