"""From a checked table to the arrays that a fit works on: selected points, in one order, grouped into curves.

The order depends on the values alone, so that the same points give the same bits however their rows were shuffled.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from rlscale.errors import UserError
from rlscale.laws import Array
from rlscale.point_checks import CURVE_COLUMNS, check_sizes

Indices = npt.NDArray[np.intp]
Weights = Literal["none", "se"]
Predictor = Literal["compute", "samples"]

X_COLUMN = {"compute": "compute_flops", "samples": "samples"}
"""The column of each predictor."""

Number = TypeVar("Number", np.float64, np.intp, np.bool_)


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
        rows: row of each point in the table it came from.
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
    rows: Indices

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

    def spread(self, values: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """Repeat values by curve for each of its points; the last axis is the curves'."""
        return np.repeat(values, self.counts, axis=-1)

    def weighted_mean(self, values: Array) -> Array:
        """Return the mean over each curve by the points' weights; the last axis is the points'."""
        return np.asarray(self.by_curve(self.weight * values) / self.by_curve(self.weight))

    def apart(self) -> "Curves":
        """Return the same curves, each as if it were a size of its own."""
        each = np.arange(self.size.size)
        return replace(self, size=each, sizes=self.sizes[self.size])

    def by_size(self, values: Array) -> Array:
        """Sum over the curves of each size; the last axis is the curves'."""
        return np.asarray(np.add.reduceat(values, self.first_curve, axis=-1))


def keep_curves(curves: Curves, kept: npt.NDArray[np.bool_]) -> Curves:
    """Return some of the curves and nothing of the others; ``kept`` is by curve."""
    points = curves.spread(kept)
    sizes, size = np.unique(curves.size[kept], return_inverse=True)
    return Curves(
        log10_x=curves.log10_x[points],
        loss=curves.loss[points],
        mean_log10_x=curves.mean_log10_x[kept],
        start=np.cumsum(curves.counts[kept]) - curves.counts[kept],
        size=size,
        sizes=curves.sizes[sizes],
        labels=tuple(label for label, keep in zip(curves.labels, kept, strict=True) if keep),
        base_loss=curves.base_loss[kept],
        weight=curves.weight[points],
        rows=curves.rows[points],
    )


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
    """Return the points with a column ``base_loss``: their curve's test loss at step 0, NaN where there is none."""
    names = curve_columns(points)
    if not (points["step"] == 0).any():
        return points.assign(base_loss=np.nan)
    base = points.loc[points["step"] == 0, [*names, "test_loss"]].groupby(names, dropna=False)["test_loss"].mean()
    return points.drop(columns="base_loss", errors="ignore").join(base.rename("base_loss"), on=names)


def curve_columns(points: pd.DataFrame) -> list[str]:
    """Return the columns that tell the curves of a table apart."""
    return ["params", *(column for column in CURVE_COLUMNS if column in points)]


def _weight(points: pd.DataFrame, weights: Weights) -> Array:
    """Return weights of mean 1: all alike, or as the inverse of the scores' variance."""
    if weights == "none":
        return np.ones(len(points))
    error = points.get("test_loss_se", pd.Series(np.nan, points.index)).to_numpy(dtype=np.float64)
    if not np.all(error > 0):
        raise UserError("points: weights from standard errors need a positive test_loss_se at every point")
    return np.asarray(error**-2.0 / np.mean(error**-2.0))


def arrange(points: pd.DataFrame, *, x: str, weights: Weights = "none") -> Curves:
    """Sort and group selected points.

    Args:
        points: from `select_points`.
        x: the column of the predictor.
        weights: none, or se for squared residuals of the loss over the variance of its score.

    Raises:
        UserError: no curve of a size has two different values of X, so that the size has no slope, or a weight is
            asked for that the table does not give.
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
        weight=_weight(points, weights)[order],
        rows=order,
    )
