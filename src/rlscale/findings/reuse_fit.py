"""Fits the laws of data reuse, and says which one the runs tell from the others.

The steps of a run are correlated: the laws are compared with as many samples as there would be independent ones.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd
from scipy.special import chdtri

from rlscale.errors import UserError, did_you_mean
from rlscale.findings.reuse_search import Found, Loss, ReuseTable, arrange_reuse, effective_samples, search
from rlscale.laws.data_reuse import LAWS, ReuseLaw, repeats
from rlscale.uncertainty import LEVEL

_CHI_SQUARE = float(chdtri(1, 1 - LEVEL))  # the level's quantile of chi-square with one degree of freedom
_CLEAR = 2.0  # difference in AIC by which a law is told from the others


@dataclass(frozen=True)
class FittedReuse:
    """One law of reuse at its least squares; the fields are the JSON's keys.

    Attributes:
        law: name of the law.
        formula: the formula in plain text.
        parameters: by name: estimate, unit, lower, upper, bound_hit, and the profile interval as low, high, level (an
            end beyond a bound is None).
        k: slope by size, per decade of effective samples.
        e: level E by base model, the log10 of its loss at one effective sample.
        degrees_of_freedom: free parameters, levels included.
        sse: sum of squared residuals in the space that was fitted.
        r2: 1 - sse / (sum of squares around the mean of all points).
        aic: m ln(sse / points) + 2 degrees of freedom, with m effective samples; None where the fit is exact.
    """

    law: str
    formula: str
    parameters: dict[str, dict[str, Any]]
    k: dict[str, float]
    e: dict[str, float]
    degrees_of_freedom: int
    sse: float
    r2: float | None
    aic: float | None


@dataclass(frozen=True)
class ReuseFit:
    """The laws of reuse on one table, and the one that the table tells from the others.

    Attributes:
        loss: space of the residuals, "linear" (L) or "log" (log10 L).
        winner: name of a law, or "not identified".
        reason: one sentence with the numbers.
        runs: curves, one a run.
        points: points used.
        effective_samples: points that would say as much if the steps of a run were independent.
        laws: by name.
        notes: what a reader must know before trusting a number.
    """

    loss: Loss
    winner: str
    reason: str
    runs: int
    points: int
    effective_samples: float
    laws: dict[str, FittedReuse]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-native values."""
        return asdict(self)


def fit_reuse(points: pd.DataFrame, *, loss: Loss) -> ReuseFit:
    """Fit the laws of data reuse to runs that differ in how often they see their problems.

    Runs of one size and one base_seed start from the same base model and share one level; all runs of a size share one
    slope. Runs that differ in more than reuse do not belong in one table.

    Args:
        points: columns params, tau, step, samples (repeats counted), unique_samples (different problems seen so far),
            test_loss, and whatever of run and base_seed there is. Rows of step 0 are not fitted.
        loss: space of the residuals, linear (L) or log (log10 L).

    Raises:
        UserError: an option or a value of the table is not allowed, or no run repeats its problems.
    """
    if loss not in get_args(Loss):
        raise UserError(f"loss is {loss!r}; allowed: linear, log{did_you_mean(loss, get_args(Loss))}")
    table = arrange_reuse(points, loss)
    most = float(repeats(table.unique, table.samples).max())
    if most == 0:
        raise UserError("reuse points: no run repeats a problem (samples equal unique_samples), so reuse has no effect")
    fits = {law.name: search(law, law.parameter(most), table) for law in LAWS}
    best = min(fits.values(), key=lambda fit: fit.sse)
    effective = effective_samples(table, best.residual)
    observed = table.curves.loss if loss == "linear" else np.log10(table.curves.loss)
    around = float(np.sum((observed - observed.mean()) ** 2))
    laws = {law.name: _report(law, fits[law.name], table, effective, around) for law in LAWS}
    winner, reason = _winner(laws, fits, effective)
    runs = int(np.unique(table.run).size)
    notes = []
    if len(table.curves.keys) == 1:
        notes.append("one base model: how much the parameters vary between base models is not in their intervals")
    return ReuseFit(loss, winner, reason, runs, int(table.samples.size), effective, laws, notes)


def _report(law: ReuseLaw, found: Found, table: ReuseTable, effective: float, around: float) -> FittedReuse:
    most = float(repeats(table.unique, table.samples).max())
    parameter, parameters = law.parameter(most), {}
    if parameter is not None and found.profile is not None:
        low, high = found.profile.interval(found.sse * float(np.exp(_CHI_SQUARE / effective)))
        parameters[parameter.name] = {
            "estimate": found.value,
            "unit": parameter.unit,
            "lower": parameter.lower,
            "upper": parameter.upper,
            "bound_hit": found.bound_hit,
            "low": low,
            "high": high,
            "level": LEVEL,
        }
    freedom = len(parameters) + found.slopes.size + found.levels.size
    sizes = (str(size) for size in table.curves.sizes.tolist())
    exact = found.sse <= 1e-24 * max(around, 1e-300)
    return FittedReuse(
        law=law.name,
        formula=law.formula,
        parameters=parameters,
        k=dict(zip(sizes, found.slopes.tolist(), strict=True)),
        e=dict(zip(table.curves.keys, found.levels.tolist(), strict=True)),
        degrees_of_freedom=freedom,
        sse=found.sse,
        r2=1.0 - found.sse / around if around > 0 else None,
        aic=None if exact else effective * float(np.log(found.sse / table.samples.size)) + 2.0 * freedom,
    )


def _winner(laws: Mapping[str, FittedReuse], fits: Mapping[str, Found], effective: float) -> tuple[str, str]:
    """Return the law that its AIC tells from the others; a law at its neutral bound is "no effect" and no rival."""
    neutral = {law.name for law in LAWS if law.neutral is not None and fits[law.name].bound_hit == law.neutral}
    scores = {name: -np.inf if fit.aic is None else fit.aic for name, fit in laws.items() if name not in neutral}
    ranked = sorted(scores, key=lambda name: (scores[name], laws[name].degrees_of_freedom, name))
    of = f"with {effective:.1f} effective samples"
    if len(ranked) == 1:
        return ranked[0], f"Fitted freely, the other laws come to no effect at all ({of})."
    gap = scores[ranked[1]] - scores[ranked[0]] if np.isfinite(scores[ranked[1]]) else 0.0
    if gap < _CLEAR:
        return "not identified", f"{ranked[0]} leads {ranked[1]} by {gap:.1f} in AIC, less than {_CLEAR:g} ({of})."
    return ranked[0], f"{ranked[0]} leads {ranked[1]} by {gap:.1f} in AIC ({of})."
