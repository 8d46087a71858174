"""From a checked table to the arrays that a fit works on: selected points, in one order, grouped into curves.

The order depends on the values alone, so that the same points give the same bits however their rows were shuffled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from rlscale.errors import UserError
from rlscale.laws import Array
from rlscale.point_checks import CURVE_COLUMNS, check_sizes

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Curves:
    """Points in order of curve, and curves in order of size.

    Attributes:
        log10_x: log10 X less its mean over the curve, one per point: well-conditioned, and the unit of X drops out.
        loss: test loss, one per point.
        mean_log10_x: that mean, one per curve.
        start: index of each curve's first point.
        size: index of each curve's size, non-decreasing.
        sizes: params of each size, ascending.
        labels: params and the columns that tell curves apart, by curve.
        base_loss: test loss at step 0 by curve, NaN where the table has none.
        weight: weight of each point's squared residual; 1 unless scores have standard errors and these are used.
    """

    log10_x: Array
    loss: Array
    mean_log10_x: Array
    start: Indices
    size: Indices
    sizes: npt.NDArray[np.int64]
    labels: tuple[Mapping[str, Any], ...]
    base_loss: Array
    weight: Array

    @property
    def params(self) -> Array:
        """Model size by curve."""
        return self.sizes[self.size].astype(np.float64)

    @property
    def counts(self) -> Indices:
        """Points per curve."""
        return np.diff(np.append(self.start, self.loss.size))

    @property
    def first_curve(self) -> Indices:
        """Index of each size's first curve."""
        return np.searchsorted(self.size, np.arange(self.sizes.size))

    @property
    def keys(self) -> tuple[str, ...]:
        """A name by curve: its size where every size has one curve, else its run, else all that tells it apart."""
        sizes = [str(label["params"]) for label in self.labels]
        runs = [str(label.get("run", "")) for label in self.labels]
        whole = [" ".join(f"{name}={value}" for name, value in label.items()) for label in self.labels]
        return next(tuple(names) for names in (sizes, runs, whole) if len(set(names)) == len(names))

    def by_curve(self, values: Array) -> Array:
        """Sum over the points of each curve; the last axis is the points'."""
        return np.asarray(np.add.reduceat(values, self.start, axis=-1))

    def by_size(self, values: Array) -> Array:
        """Sum over the curves of each size; the last axis is the curves'."""
        return np.asarray(np.add.reduceat(values, self.first_curve, axis=-1))


def select_points(points: pd.DataFrame, *, max_params: float | None, first_steps: int | None) -> pd.DataFrame:
    """Return the points after step 0, of sizes up to ``max_params`` and steps up to ``first_steps``.

    Raises:
        UserError: fewer than two sizes, or a size with fewer than two points, are left.
    """
    limits = {f"params <= {max_params}": max_params, f"step <= {first_steps}": first_steps}
    named = " and ".join(text for text, limit in limits.items() if limit is not None)
    used = with_base_loss(points)
    if max_params is not None:
        used = used[used["params"] <= max_params]
    if first_steps is not None:
        used = used[used["step"] <= first_steps]
    check_sizes(used, source=f"points with {named}" if named else "points")
    return used[used["step"] > 0]


def with_base_loss(points: pd.DataFrame) -> pd.DataFrame:
    """Return the points with a column ``base_loss``: the test loss of their curve at step 0, NaN where there is none."""
    names = curve_columns(points)
    base = points.loc[points["step"] == 0, [*names, "test_loss"]].groupby(names, dropna=False)["test_loss"].mean()
    return points.drop(columns="base_loss", errors="ignore").join(base.rename("base_loss"), on=names)


def curve_columns(points: pd.DataFrame) -> list[str]:
    """Return the columns that tell the curves of a table apart."""
    return ["params", *(column for column in CURVE_COLUMNS if column in points)]


def arrange(points: pd.DataFrame, *, x: str) -> Curves:
    """Sort and group selected points; ``x`` is the column of the predictor.

    Raises:
        UserError: no curve of a size has two different values of X, so that the size has no slope.
    """
    names = curve_columns(points)
    keys = points[names].apply(lambda column: column.astype(str) if column.dtype == object else column)
    curve = keys.groupby(names, sort=True).ngroup().to_numpy()
    log10_x = np.log10(points[x].to_numpy(dtype=np.float64))
    loss = points["test_loss"].to_numpy(dtype=np.float64)
    base = points["base_loss"].to_numpy(dtype=np.float64) if "base_loss" in points else np.full(loss.size, np.nan)
    order = np.lexsort((loss, log10_x, curve))
    curve, log10_x, loss = curve[order], log10_x[order], loss[order]

    start = np.flatnonzero(np.diff(curve, prepend=-1))
    counts = np.diff(np.append(start, curve.size))
    mean_log10_x = np.add.reduceat(log10_x, start) / counts
    firsts = keys.iloc[order[start]]
    sizes, size = np.unique(firsts["params"].to_numpy(dtype=np.int64), return_inverse=True)
    # X is sorted within a curve: its ends say whether it moves.
    moves = log10_x[start + counts - 1] > log10_x[start]
    still = sizes[np.bincount(size, weights=moves) == 0]
    if still.size:
        raise UserError(f"points: no curve of params {still[0]} has two different values of {x}, so it has no slope")
    return Curves(
        log10_x=log10_x - np.repeat(mean_log10_x, counts),
        loss=loss,
        mean_log10_x=mean_log10_x,
        start=start,
        size=size,
        sizes=sizes,
        labels=tuple(firsts.to_dict("records")),
        base_loss=base[order[start]],
        weight=np.ones_like(loss),
    )
