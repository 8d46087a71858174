"""Forecasts of sealed curves by fitted laws and by naive rules, with bands and scores.

Every number says under which protocol it was made (`rlscale.forecasts.protocols`). A law that has nothing to say about
a curve is kept in the results with the reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from rlscale.curve_points import X_COLUMN, Curves, Predictor, arrange, select_points
from rlscale.errors import UserError
from rlscale.fitting.law_fits import Fitter
from rlscale.fitting.loss_spaces import Loss
from rlscale.forecasts.baselines import naive_forecasts
from rlscale.forecasts.misfit_bands import BAND_LEVELS, Band, Bands, Outlook
from rlscale.forecasts.protocols import (
    SEEN_FRACTION,
    SEEN_POINTS,
    Protocol,
    Sealed,
    Series,
    Setting,
    Split,
    Training,
    check_protocol,
    first_points,
    label,
    size_splits,
    time_split,
)
from rlscale.forecasts.scores import Scores, in_space, r2, score_forecast
from rlscale.forecasts.slope_bands import forecast_band
from rlscale.laws import Array, Fitted


@dataclass(frozen=True)
class Forecast:
    """One curve forecast by one law or naive rule.

    Attributes:
        law: name of the law or of the naive rule.
        role: which of the two it is.
        setting: how it was made.
        training_params: sizes that were trained on, ascending.
        target_params: size of the curve.
        curve: its name in the whole table.
        seen: its points that were used.
        observed: its points that the forecast is compared with.
        predicted: their forecast test loss; None where there is no forecast.
        bands: lower and upper test loss by the share of points to hold; None without a basis for them.
        scores: None where there is no forecast.
        reason: why there is no forecast; None where there is one.
    """

    law: str
    role: Literal["law", "baseline"]
    setting: Setting
    training_params: tuple[int, ...]
    target_params: int
    curve: str
    seen: Series
    observed: Series
    predicted: Array | None
    bands: Bands | None
    scores: Scores | None
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON-native values: the setting, the scores, and the series that a figure draws."""
        column = X_COLUMN[self.setting.x]
        return {
            **self.heading(),
            "reason": self.reason,
            "scores": None if self.scores is None else self.scores.to_json(),
            "seen": _columns(self.seen, column),
            "hidden": _columns(self.observed, column)
            | {
                "predicted_test_loss": None if self.predicted is None else self.predicted.tolist(),
                "bands": {
                    str(share): {"low": low.tolist(), "high": high.tolist()}
                    for share, (low, high) in (self.bands or {}).items()
                },
            },
        }

    def heading(self) -> dict[str, Any]:
        """Return what tells this forecast from others."""
        setting = self.setting
        return {
            "law": self.law,
            "role": self.role,
            "protocol": setting.protocol,
            "label": label(setting.protocol),
            "x": setting.x,
            "loss": setting.loss,
            "training": setting.training,
            "fraction_of_steps": setting.fraction,
            "training_params": list(self.training_params),
            "target_params": self.target_params,
            "curve": self.curve,
            "seen_points": int(self.seen.step.size),
        }


def run_forecasts(
    points: pd.DataFrame,
    *,
    protocol: Protocol,
    laws: Mapping[str, Fitter],
    x: Predictor,
    loss: Loss,
    target_params: int | None = None,
    fraction: float | None = None,
    seen: int = SEEN_POINTS,
    training: Training = "others",
    band: Band = forecast_band,
) -> list[Forecast]:
    """Forecast sealed curves by every law and naive rule.

    Args:
        points: a checked table (`rlscale.points.read_points`), with rows of step 0 where the base score is known.
        protocol: what is sealed.
        laws: how to fit each law, by name.
        x: the predictor.
        loss: the space of the fit's residuals.
        target_params: seal this size only; each in turn without. Not for early-time.
        fraction: share of the steps that early-time sees, 0.3 without.
        seen: points of a sealed size that early-size sees.
        training: the sizes that a law is trained on; not used by early-time.
        band: makes the bands of a forecast.

    Returns:
        By sealed size and curve, each law in the given order and then the naive rules.

    Raises:
        UserError: an option is not allowed, or the table lacks the sizes or points to seal anything.
    """
    check_protocol(protocol, training, fraction, seen)
    if protocol == "early-time":
        if target_params is not None:
            raise UserError("target_params is an option of the protocols that seal a size, not of early-time")
        share = SEEN_FRACTION if fraction is None else fraction
        splits = [time_split(points, x=x, fraction=share)]
        setting = Setting(protocol, x, loss, None, share)
    else:
        splits = size_splits(points, x=x, training=training, target_params=target_params)
        setting = Setting(protocol, x, loss, training, None)
    return [
        forecast for split in splits for forecast in forecast_split(split, [setting], laws=laws, seen=seen, band=band)
    ]


def forecast_split(
    split: Split, settings: Sequence[Setting], *, laws: Mapping[str, Fitter], seen: int, band: Band
) -> list[Forecast]:
    """Fit each law once on a training table and forecast the curves sealed from it under each setting.

    Args:
        split: the training table and the sealed curves.
        settings: alike in x and loss.
        laws: how to fit each law, by name.
        seen: points of a curve that early-size sees.
        band: makes the bands of a forecast.
    """
    x, loss = settings[0].x, settings[0].loss
    curves = arrange(select_points(split.training, max_params=None, first_steps=None), x=X_COLUMN[x])
    fits = {name: _fit(fitter, curves, loss) for name, fitter in laws.items()}
    forecasts = []
    for setting in settings:
        for sealed in split.curves:
            curve = first_points(sealed, seen) if setting.protocol == "early-size" else sealed
            blank = _blank(curve, setting, curves)
            if not curve.hidden.step.size:
                reason = f"the curve has {sealed.hidden.step.size} points, and the first {seen} are seen"
                forecasts += [replace(blank, law=name, reason=reason) for name in laws]
                continue
            naive = {} if setting.protocol == "refit-level" else naive_forecasts(curve, curves)
            forecasts += [
                _by_law(replace(blank, law=name), fitted, curve, curves=curves, naive=naive, band=band)
                for name, fitted in fits.items()
            ]
            forecasts += [
                replace(
                    blank,
                    law=name,
                    role="baseline",
                    predicted=predicted,
                    scores=score_forecast(curve.hidden, predicted, bands=None, baselines=naive, r2_within=None),
                )
                for name, predicted in naive.items()
            ]
    return forecasts


def _fit(fitter: Fitter, curves: Curves, loss: Loss) -> Fitted | UserError:
    try:
        return fitter(curves, loss)
    except UserError as error:
        return error


def _blank(curve: Sealed, setting: Setting, curves: Curves) -> Forecast:
    return Forecast(
        law="",
        role="law",
        setting=setting,
        training_params=tuple(curves.sizes.tolist()),
        target_params=curve.target.params,
        curve=curve.key,
        seen=curve.seen,
        observed=curve.hidden,
        predicted=None,
        bands=None,
        scores=None,
        reason=None,
    )


def _by_law(
    blank: Forecast,
    fitted: Fitted | UserError,
    curve: Sealed,
    *,
    curves: Curves,
    naive: Mapping[str, Array],
    band: Band,
) -> Forecast:
    try:
        if isinstance(fitted, UserError):
            raise fitted
        predicted = _predict(fitted, curve, blank.setting)
    except UserError as error:
        return replace(blank, reason=str(error))
    bands, within = None, None
    if blank.setting.protocol == "refit-level":
        within = _r2(curve.hidden.loss, predicted, blank.setting.loss)
    else:
        anchored = blank.setting.protocol == "early-size" or not fitted.levelled(replace(curve.target, curve=None))
        outlook = Outlook(curve.target, curve.seen, anchored, curve.hidden.x, predicted)
        bands = band(fitted, curves, outlook, BAND_LEVELS)
    scores = score_forecast(curve.hidden, predicted, bands=bands, baselines=naive, r2_within=within)
    return replace(blank, predicted=predicted, bands=bands, scores=scores)


def _predict(fitted: Fitted, curve: Sealed, setting: Setting) -> Array:
    """Return the test loss at the hidden points' X, at the level that the protocol allows and at most 1.

    Raises:
        UserError: the law says nothing, or no level, about the curve.
    """
    protocol, x = setting.protocol, curve.hidden.x
    own = _positive(fitted, curve, x)
    if protocol == "early-size":
        factor = _level(curve.seen.loss, _positive(fitted, curve, curve.seen.x), "log")
    elif protocol == "refit-level":
        factor = _level(curve.hidden.loss, own, setting.loss)
    elif fitted.levelled(curve.target):
        factor = 1.0
    else:
        raise UserError(f"{fitted.law}: no level for an unseen size")
    return np.asarray(np.minimum(factor * own, 1.0))


def _positive(fitted: Fitted, curve: Sealed, x: Array) -> Array:
    loss = fitted.predict(curve.target, x)
    if not np.all(np.isfinite(loss) & (loss > 0)):
        raise UserError(f"{fitted.law}: predicts no positive loss for params {curve.target.params}")
    return loss


def _level(observed: Array, predicted: Array, loss: Loss) -> float:
    """Return the factor on the prediction that fits the observed loss best, in the space of the fit."""
    if loss == "linear":
        return float(observed @ predicted / (predicted @ predicted))
    return float(10 ** np.mean(np.log10(observed / predicted)))


def _r2(observed: Array, predicted: Array, loss: Loss) -> float | None:
    values = in_space(observed, loss)
    return r2(values - values.mean(), values - in_space(predicted, loss))


def _columns(points: Series, x_column: str) -> dict[str, Any]:
    return {"step": points.step.tolist(), x_column: points.x.tolist(), "test_loss": points.loss.tolist()}
