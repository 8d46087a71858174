"""Scaling laws of RL post-training, one file each, behind one protocol.

A law here is a line in log-log whose slope depends on model size: log10 L = -k(N) · log10 X + E, where
k(N) = scale · shape(N). The scale enters linearly and the shape has one free parameter, which is all that the fit uses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

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


class Law(Protocol):
    """A slope law: test loss by model size N (``params``) and by X (samples or FLOPs)."""

    name: str

    def parameters(self, params: Sequence[int]) -> tuple[Parameter, Parameter]:
        """Return the scale and the shape parameter, with bounds for a table that holds the sizes ``params``."""
        ...

    def shape(self, params: Array, log_shape: Array | float) -> tuple[Array, Array, Array]:
        """Return the shape by size and its first two derivatives by the natural logarithm of the shape parameter."""
        ...

    def slope(self, params: npt.ArrayLike, values: Mapping[str, float]) -> Array:
        """Return k(N) at the named parameter values."""
        ...

    def predict(
        self, params: npt.ArrayLike, x: npt.ArrayLike, level: npt.ArrayLike, values: Mapping[str, float]
    ) -> Array:
        """Return the test loss at X = ``x``, where ``level`` is E, the log10 of the loss at X = 1."""
        ...
