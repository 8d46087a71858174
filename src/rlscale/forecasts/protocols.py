"""What a forecast may see and what it must not: one table becomes a training table and sealed curves.

Sealing is structural. The sealed rows are taken out before anything is fitted, so a law cannot use them, whatever its
code does; what it may know of a sealed curve besides (its size and its step-0 score) travels as a `Target`.

- ``blind-size``: a size is sealed, points and levels and all.
- ``early-size``: a size is sealed but for the first few points of each of its curves, which set the level.
- ``refit-level``: a size is kept from the slopes only and its level is refitted on all of its points. Not a forecast.
- ``early-time``: every curve is sealed after the first fraction of its steps.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from rlscale.curve_points import X_COLUMN, Predictor, arrange, curve_columns, select_points
from rlscale.errors import UserError, did_you_mean
from rlscale.fitting.loss_spaces import Loss
from rlscale.laws import Array, Target

Protocol = Literal["blind-size", "early-size", "refit-level", "early-time"]
Training = Literal["others", "smaller"]

SEEN_POINTS = 3
SEEN_FRACTION = 0.3
MIN_SIZES = 3
"""Sizes that a law is trained on at least: two determine a slope law of two parameters exactly, which tests nothing."""

_LABELS = {
    "blind-size": "forecast of an unseen size",
    "early-size": "forecast of an unseen size from its first points",
    "refit-level": "not a forecast: the level is refitted on the points it is compared with",
    "early-time": "forecast of the later steps of the same curves",
}


@dataclass(frozen=True)
class Setting:
    """How forecasts are made: protocol, X, the fit's loss space, and what belongs to the protocol.

    Attributes:
        protocol: what is sealed.
        x: "compute" (FLOPs) or "samples".
        loss: the space of the fit's residuals.
        training: sizes trained on, "others" or "smaller" ones; None for early-time, which trains on every size.
        fraction: share of the steps that early-time sees; None for other protocols.
    """

    protocol: Protocol
    x: Predictor
    loss: Loss
    training: Training | None
    fraction: float | None


@dataclass(frozen=True)
class Series:
    """Points of one curve in order of step: step, X (FLOPs or samples) and test loss, each of shape (n,)."""

    step: Array
    x: Array
    loss: Array

    def where(self, chosen: npt.NDArray[np.bool_]) -> "Series":
        """Return the chosen points."""
        return Series(self.step[chosen], self.x[chosen], self.loss[chosen])


@dataclass(frozen=True)
class Sealed:
    """A curve to forecast.

    Attributes:
        key: its name in the whole table, as in `Curves.keys`.
        target: what a fitted law is told about it.
        seen: the points that a forecast may use.
        hidden: the points that it is scored on.
    """

    key: str
    target: Target
    seen: Series
    hidden: Series


@dataclass(frozen=True)
class Split:
    """A training table, without any sealed row, and the curves that are sealed from it."""

    training: pd.DataFrame
    curves: tuple[Sealed, ...]


def label(protocol: Protocol) -> str:
    """Return what a protocol's numbers are, for a reader."""
    return _LABELS[protocol]


def check_protocol(protocol: str, training: str, fraction: float | None, seen: int) -> None:
    """Refuse options of a protocol that are not allowed.

    Raises:
        UserError: the protocol or the training set has no such name, or a number is out of range.
    """
    for name, value, allowed in (
        ("protocol", protocol, get_args(Protocol)),
        ("training", training, get_args(Training)),
    ):
        if value not in allowed:
            raise UserError(f"{name} is {value!r}; allowed: {', '.join(allowed)}{did_you_mean(value, allowed)}")
    if fraction is not None and protocol != "early-time":
        raise UserError(f"fraction is an option of the protocol early-time, not of {protocol}")
    if fraction is not None and not 0 < fraction < 1:
        raise UserError(f"fraction is {fraction!r}; allowed: a number between 0 and 1, both excluded")
    if seen < 1:
        raise UserError(f"seen is {seen!r}; allowed: a whole number of points from 1")


def size_splits(
    points: pd.DataFrame, *, x: Predictor, training: Training, target_params: int | None = None
) -> list[Split]:
    """Seal each size in turn, ascending; the sealed curves come with every point hidden.

    Args:
        points: a checked table, with rows of step 0 where the base score is known.
        x: the predictor.
        training: "others" trains on all other sizes, "smaller" on the sizes below the sealed one. Sizes with fewer than
            three sizes to train on are left out.
        target_params: seal this size only.

    Raises:
        UserError: the table lacks the sizes, or there is no such size.
    """
    curves = [_sealed(key, rows, x) for key, _, rows in _labelled(points, x)]
    params = points["params"].to_numpy()
    sizes = sorted({sealed.target.params for sealed in curves})
    trained_on = {
        size: [other for other in sizes if other < size or (training == "others" and other != size)] for size in sizes
    }
    if target_params is not None and target_params not in sizes:
        named = ", ".join(map(str, sizes))
        raise UserError(
            f"target_params is {target_params}; the points hold {named}{did_you_mean(target_params, map(str, sizes))}"
        )
    targets = [size for size in sizes if len(trained_on[size]) >= MIN_SIZES and target_params in (None, size)]
    if not targets:
        about = "no size can" if target_params is None else f"params {target_params} cannot"
        which = "smaller" if training == "smaller" else "other"
        raise UserError(f"{about} be sealed: at least {MIN_SIZES} {which} sizes are needed to train on")
    return [
        Split(
            training=points[np.isin(params, trained_on[size])],
            curves=tuple(sealed for sealed in curves if sealed.target.params == size),
        )
        for size in targets
    ]


def first_points(sealed: Sealed, count: int) -> Sealed:
    """Return the curve with its first points seen and the others hidden."""
    early = np.arange(sealed.hidden.step.size) < count
    return Sealed(sealed.key, sealed.target, sealed.hidden.where(early), sealed.hidden.where(~early))


def time_split(points: pd.DataFrame, *, x: Predictor, fraction: float) -> Split:
    """Seal every curve after ``fraction`` of its last step.

    A curve without a point on either side is not forecast; its early points, if any, are trained on.

    Raises:
        UserError: the early points do not suffice to fit a law.
    """
    last_step = points.groupby(curve_columns(points))["step"].transform("max")
    training = points[points["step"] <= fraction * last_step]
    keys = {tuple(label.items()): key for key, label, _ in _labelled(training, x)}
    curves = []
    for key, name, rows in _labelled(points, x):
        whole = _sealed(key, rows, x)
        early = whole.hidden.step <= fraction * whole.hidden.step[-1]
        if early.any() and not early.all():
            target = replace(whole.target, curve=keys[tuple(name.items())])
            curves.append(Sealed(key, target, whole.hidden.where(early), whole.hidden.where(~early)))
    return Split(training, tuple(curves))


def _labelled(points: pd.DataFrame, x: Predictor) -> Iterator[tuple[str, Mapping[str, Any], pd.DataFrame]]:
    """Yield key, label and rows of every curve in order of size, without step 0, whose loss is a column."""
    used = select_points(points, max_params=None, first_steps=None)
    curves = arrange(used, x=X_COLUMN[x])
    rows = np.split(curves.rows, curves.start[1:])
    for key, name, own in zip(curves.keys, curves.labels, rows, strict=True):
        yield key, name, used.iloc[own]


def _sealed(key: str, rows: pd.DataFrame, x: Predictor) -> Sealed:
    """Return a curve with every point hidden."""
    ordered = rows.sort_values(["step", X_COLUMN[x], "test_loss"])
    columns = (ordered[column].to_numpy(dtype=np.float64) for column in ("step", X_COLUMN[x], "test_loss"))
    base = float(ordered["base_loss"].iloc[0])
    target = Target(int(ordered["params"].iloc[0]), None if np.isnan(base) else base)
    return Sealed(key, target, Series(np.empty(0), np.empty(0), np.empty(0)), Series(*columns))
