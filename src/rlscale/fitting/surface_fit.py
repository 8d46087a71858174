"""A fitted law of the whole loss surface: what it found, and the loss it gives to a size that it may not have seen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rlscale.errors import UserError, did_you_mean
from rlscale.laws import Array, Target
from rlscale.laws.surface_law import Frame, SurfaceLaw


@dataclass(frozen=True)
class Surface:
    """A law with its coordinates.

    Attributes:
        law: the law.
        frames: the scales, one for each size where the law is fitted by size.
        coordinates: shape (frames, d).
        base_loss: the fitted curves' test losses at step 0, by curve and (their mean) by size, where known.
    """

    law: SurfaceLaw
    frames: tuple[Frame, ...]
    coordinates: Array
    base_loss: Mapping[str, float]

    def refusal(self, target: Target) -> str | None:
        """Return why there is no loss for the target, None where there is one."""
        if not target.params > 0:
            return f"params is {target.params!r}; allowed: a positive whole number"
        if self._index(target) is None:
            known = [str(int(frame.params[0])) for frame in self.frames]
            has = f"no params {target.params} (it has {', '.join(known)}){did_you_mean(target.params, known)}"
            return f"{self.law.name} is fitted size by size and has {has}"
        base = self._base_loss(target)
        if base is None:
            return f"{self.law.name} needs the loss at step 0 of params {target.params}, which is not known"
        if not 0 < base <= 1:
            return f"the loss at step 0 of params {target.params} is {base!r}; allowed: above 0 and at most 1"
        return None

    def predict(self, target: Target, x: Array) -> Array:
        """Return the test loss at X = ``x`` of a target that is not refused."""
        index, base = self._index(target), self._base_loss(target)
        if index is None or base is None:
            raise UserError(self.refusal(target))
        sites = self.frames[index].sites(float(target.params), np.log10(x).ravel(), base)
        return self.law.predict(self.coordinates[index], sites).reshape(x.shape)

    def _index(self, target: Target) -> int | None:
        if not self.law.by_size:
            return 0
        sizes = [frame.params[0] for frame in self.frames]
        return sizes.index(target.params) if target.params in sizes else None

    def _base_loss(self, target: Target) -> float | None:
        """Return the loss at step 0 that the law is to use: 1 where it uses none, None where it is not known."""
        index = self._index(target)
        if self.law.base_loss == "unused" or index is None or self.frames[index].base_loss is None:
            return 1.0
        known = (target.base_loss, self.base_loss.get(target.curve or ""), self.base_loss.get(str(target.params)))
        return next((value for value in known if value is not None), None)


@dataclass(frozen=True)
class SurfaceFit:
    """A fitted law of the whole surface. The public fields are the JSON's keys.

    Attributes:
        law: name of the law.
        formula: the law in one line.
        source: where the law comes from.
        loss: "linear" (residuals of L) or "log" (of log10 L).
        parameters: by name (with the size in brackets where each size has its own): estimate, unit, lower and upper
            bound (None where there is none) and bound_hit, "lower", "upper" or None. The estimate is None where the
            parameter has no effect on the fitted loss.
        degrees_of_freedom: free parameters.
        points: points used.
        sse: weighted sum of squared residuals in the space that was fitted.
        r2_pooled: 1 - sse / (sum of squares around the mean of all points), in that space.
        r2_within: the same by size, around the mean of each of its curves.
        starts: each start's parameters, the sum of squares that it led to and whether it had settled there.
        notes: what a reader must know before trusting a number.
    """

    law: str
    formula: str
    source: str
    loss: Literal["linear", "log"]
    parameters: dict[str, dict[str, Any]]
    degrees_of_freedom: int
    points: int
    sse: float
    r2_pooled: float | None
    r2_within: dict[str, float | None]
    starts: list[dict[str, Any]]
    notes: list[str]
    _surface: Surface = field(repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return the public fields as JSON-native values."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def levelled(self, target: Target) -> bool:
        """Return whether the law has a loss for the target: then the level is right too."""
        return self._surface.refusal(target) is None

    def predict(self, target: Target, x: npt.ArrayLike) -> Array:
        """Return the test loss of the target at X = ``x``, in the shape of ``x``.

        Raises:
            UserError: the law is fitted size by size and has not seen the target's size, it needs the target's loss at
                step 0 and none is known, or a value is not allowed.
        """
        refusal = self._surface.refusal(target)
        if refusal:
            raise UserError(refusal)
        values = np.asarray(x, dtype=np.float64)
        wrong = values[~(np.isfinite(values) & (values > 0))]
        if wrong.size:
            raise UserError(f"{self.law} is asked for the loss at X = {wrong.flat[0]!r}; allowed: a positive number")
        return self._surface.predict(target, values)
