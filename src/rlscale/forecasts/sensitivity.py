"""How far the headline numbers move with choices that a study could have made otherwise.

One fit of the saturating slope on all sizes but the largest gives K_max and N_0, and, with the level from the largest
size's first points (the protocol early-size), the forecast of that size. Each row changes one choice of the reference.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from rlscale.curve_points import X_COLUMN, Curves, Predictor, Weights, arrange, curve_columns, select_points
from rlscale.errors import UserError
from rlscale.fitting.loss_spaces import Loss
from rlscale.fitting.slope_fits import fit_slopes
from rlscale.forecasts.forecast import forecast_split
from rlscale.forecasts.misfit_bands import misfit_band
from rlscale.forecasts.protocols import SEEN_POINTS, Setting, size_splits
from rlscale.forecasts.scores import at_end
from rlscale.laws import Fitted

DROPPED = (0.1, 0.25)
"""Shares of a curve's last step whose points are left out, at its start or its end."""

_LAW: Literal["saturating_slope"] = "saturating_slope"


@dataclass(frozen=True)
class Variation:
    """One row of the table: a choice, and what it makes of the numbers. None where ``reason`` says why there is none.

    Attributes:
        choice: what is varied.
        value: how, in words.
        sizes: sizes fitted.
        points: points fitted.
        k_max: the slope of an infinitely large model, in log10 loss per log10 X.
        n_0_params: the size of half that slope, in parameters; None as well where k_max is 0.
        forecast_test_loss_at_end: forecast of the largest size over the last tenth of its steps, mean over its curves.
        forecast_rmse_test_loss: root mean square error of that forecast over all points after the seen ones.
        k_max_change_percent: change from the reference.
        n_0_change_percent: change from the reference.
        forecast_change_percent: change of ``forecast_test_loss_at_end`` from the reference.
        reason: why the row is empty.
    """

    choice: str
    value: str
    sizes: int | None = None
    points: int | None = None
    k_max: float | None = None
    n_0_params: float | None = None
    forecast_test_loss_at_end: float | None = None
    forecast_rmse_test_loss: float | None = None
    k_max_change_percent: float | None = None
    n_0_change_percent: float | None = None
    forecast_change_percent: float | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON-native values."""
        return asdict(self)


@dataclass(frozen=True)
class _Choice:
    """What a row fits, all but its name."""

    points: pd.DataFrame
    x: Predictor
    loss: Loss
    weights: Weights = "none"


def sensitivity(
    points: pd.DataFrame,
    *,
    x: Predictor,
    loss: Loss,
    non_embedding_params: Mapping[int, int] | None = None,
    seen: int = SEEN_POINTS,
) -> list[Variation]:
    """Return the reference and one row for each changed choice.

    Varied are the loss space, weights by standard error (where there is a column ``test_loss_se``), points left out at
    the start or the end of the fitted curves, each fitted size left out, compute by the full ledger (where there is a
    column ``total_flops``) in place of 6·N·T, parameters without embeddings (where they are given), and X. The largest
    size is always forecast at all of its points.

    Args:
        points: a checked table.
        x: the predictor of the reference.
        loss: the space of its residuals.
        non_embedding_params: the parameters without embeddings, by size; for every size.
        seen: points of the largest size that set its level.

    Returns:
        The reference alone, with the reason, where it cannot be fitted: fewer than three sizes below the largest, or
        too few points.

    Raises:
        UserError: ``non_embedding_params`` lacks a size.
    """
    chosen = _Choice(points, x, loss)
    named = f"{x}, {loss} loss, all as in the table"
    try:
        reference = _outcome(chosen, seen)
    except UserError as error:
        return [Variation("reference", named, reason=str(error))]
    rows = [_compared("reference", named, reference, reference)]
    for choice, value, changed in _choices(chosen, non_embedding_params):
        try:
            rows.append(_compared(choice, value, _outcome(changed, seen), reference))
        except UserError as error:
            rows.append(Variation(choice, value, reason=str(error)))
    return rows


def _choices(reference: _Choice, non_embedding_params: Mapping[int, int] | None) -> Iterator[tuple[str, str, _Choice]]:
    """Yield every choice that the points allow with its value: the reference with one thing changed."""
    points, x = reference.points, reference.x
    for loss in get_args(Loss):
        if loss != reference.loss:
            yield "loss space", loss, replace(reference, loss=loss)
    if "test_loss_se" in points:
        yield "weights", "by standard error", replace(reference, weights="se")
    for choice, value, table in (*_fewer_points(points), *_other_columns(points, x, non_embedding_params)):
        yield choice, value, replace(reference, points=table)
    (other,) = set(get_args(Predictor)) - {x}
    yield "X", other, replace(reference, x=other)


def _fewer_points(points: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield the points without an end of the fitted curves, and without each fitted size."""
    step, params = points["step"], points["params"]
    last = step.groupby([points[name] for name in curve_columns(points)]).transform("max")
    whole = (step == 0) | (params == params.max())
    for share in DROPPED:
        for end, kept in (("start", step > share * last), ("end", step <= (1 - share) * last)):
            yield "steps left out", f"{share:.0%} at the {end}", points[kept | whole]
    for size in sorted({int(size) for size in params})[:-1]:
        yield "size left out", str(size), points[params != size]


def _other_columns(
    points: pd.DataFrame, x: Predictor, non_embedding_params: Mapping[int, int] | None
) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield the points with compute and with sizes counted otherwise."""
    if x == "compute" and "total_flops" in points:
        yield "compute", "full ledger", points.assign(compute_flops=points["total_flops"])
    if non_embedding_params is not None:
        missing = sorted({int(size) for size in points["params"]} - set(non_embedding_params))
        if missing:
            raise UserError(f"non_embedding_params lacks params {', '.join(map(str, missing))}")
        counted = points.assign(params=[non_embedding_params[int(size)] for size in points["params"]])
        yield "count of parameters", "without embeddings", counted


def _outcome(choice: _Choice, seen: int) -> Variation:
    """Return a row without name and changes."""
    largest = int(choice.points["params"].max())
    split = size_splits(choice.points, x=choice.x, training="smaller", target_params=largest)[0]
    used = select_points(split.training, max_params=None, first_steps=None)
    curves = arrange(used, x=X_COLUMN[choice.x], weights=choice.weights)
    fitted = fit_slopes(_LAW, curves, choice.loss)
    setting = Setting("early-size", choice.x, choice.loss, "smaller", None)
    made = forecast_split(split, [setting], laws={_LAW: partial(_already, fitted)}, seen=seen, band=misfit_band)
    ends, squares = [], []
    for forecast in made:
        if forecast.role == "law":
            if forecast.predicted is None or forecast.scores is None:
                raise UserError(str(forecast.reason))
            ends.append(forecast.predicted[at_end(forecast.observed)].mean())
            squares.append(forecast.scores.rmse**2)
    k_max, n_0 = (fitted.to_json()["parameters"][name]["estimate"] for name in ("k_max", "n_0"))
    return Variation(
        choice="",
        value="",
        sizes=int(curves.sizes.size),
        points=int(curves.loss.size),
        k_max=k_max,
        n_0_params=n_0 if k_max else None,  # without effect there
        forecast_test_loss_at_end=float(np.mean(ends)),
        forecast_rmse_test_loss=float(np.sqrt(np.mean(squares))),
    )


def _already(fitted: Fitted, _curves: Curves, _loss: Loss) -> Fitted:
    return fitted


def _compared(choice: str, value: str, row: Variation, reference: Variation) -> Variation:
    return replace(
        row,
        choice=choice,
        value=value,
        k_max_change_percent=_change(row.k_max, reference.k_max),
        n_0_change_percent=_change(row.n_0_params, reference.n_0_params),
        forecast_change_percent=_change(row.forecast_test_loss_at_end, reference.forecast_test_loss_at_end),
    )


def _change(value: float | None, reference: float | None) -> float | None:
    """Return the change in per cent; None where there is nothing to compare."""
    return None if value is None or not reference else 100.0 * (value / reference - 1.0)
