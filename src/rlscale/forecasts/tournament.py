"""Every law under every protocol on one table: who forecasts best what it has not seen.

Laws and naive rules are ranked by the root mean square, over the sealed sizes, of their RMSE in test loss: each size
counts once, however many curves or points it has. Only those that forecast every curve which any of them forecasts are
ranked; for the others the reason is said. Goodness of fit stands beside and ranks nothing, and neither does
``refit-level``, which is no forecast.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import numpy as np
import pandas as pd

from rlscale.curve_points import X_COLUMN, Predictor, arrange, select_points
from rlscale.errors import UserError
from rlscale.fitting.law_fits import LAWS, Fitter
from rlscale.fitting.loss_spaces import Loss
from rlscale.forecasts.forecast import Forecast, forecast_split
from rlscale.forecasts.misfit_bands import BAND_LEVELS, Band
from rlscale.forecasts.protocols import SEEN_POINTS, Protocol, Setting, Split, Training, label, size_splits, time_split
from rlscale.forecasts.slope_bands import forecast_band

SIZE_PROTOCOLS: tuple[Protocol, ...] = ("blind-size", "early-size", "refit-level")
FRACTIONS = (0.2, 0.3, 0.5, 0.7)

_SETTING = ["x", "protocol", "training", "fraction_of_steps"]
_COVERAGE = {share: f"coverage_{round(100 * share)}" for share in BAND_LEVELS}


@dataclass(frozen=True)
class Winner:
    """The law or naive rule that forecasts smaller sizes best, declared without the target.

    Attributes:
        x: "compute" or "samples".
        law: its name.
        below: the sizes it was chosen on are smaller than this.
        chosen_on: those sizes, each forecast from its first points by what was trained on still smaller ones.
        rmse: by law and naive rule that forecasts all of them, the root mean square over the sizes; ascending.
    """

    x: Predictor
    law: str
    below: int
    chosen_on: tuple[int, ...]
    rmse: dict[str, float]


@dataclass(frozen=True)
class Tournament:
    """What `run_tournament` found.

    Attributes:
        loss: the space of the fits' residuals.
        scores: a row per law or naive rule and sealed curve, with the scores or the reason for none.
        ranking: a row per law or naive rule and setting (x, protocol, training, fraction_of_steps), in order of rank.
        winners: declared for the largest size, by X.
        notes: settings that the table does not allow, and why.
    """

    loss: Loss
    scores: pd.DataFrame
    ranking: pd.DataFrame
    winners: tuple[Winner, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the tables as lists of rows, and each declared winner beside what the target then said."""
        return {
            "loss": self.loss,
            "ranking": _records(self.ranking),
            "winners": [self.verdict(winner) for winner in self.winners],
            "scores": _records(self.scores),
            "notes": list(self.notes),
        }

    def verdict(self, winner: Winner) -> dict[str, Any]:
        """Return a declared winner and how it and the others then did on the target, the best first."""
        known = _early(self.scores, winner.x)
        on_target = _rmse_by_law(known[known["target_params"] == winner.below])
        return {
            "x": winner.x,
            "law": winner.law,
            "chosen_on_params": list(winner.chosen_on),
            "rmse_test_loss": winner.rmse,
            "target_params": winner.below,
            "target_rmse_test_loss": on_target,
            "best_on_target": next(iter(on_target), None),
        }


def run_tournament(
    points: pd.DataFrame,
    *,
    xs: Sequence[Predictor],
    loss: Loss,
    laws: Mapping[str, Fitter] | None = None,
    seen: int = SEEN_POINTS,
    band: Band = forecast_band,
) -> Tournament:
    """Score every law and naive rule under every protocol and training set.

    Args:
        points: a checked table, with rows of step 0 where the base score is known.
        xs: the predictors.
        loss: the space of the fits' residuals.
        laws: how to fit each law, by name; all of the registry without.
        seen: points of a sealed size that early-size sees.
        band: makes the bands of the forecasts.

    Raises:
        UserError: the table allows no protocol.
    """
    laws = LAWS if laws is None else laws
    forecasts: list[Forecast] = []
    notes = []
    for settings, seal in (round_ for x in xs for round_ in _rounds(points, x, loss)):
        try:
            for split in seal():
                forecasts += forecast_split(split, settings, laws=laws, seen=seen, band=band)
        except UserError as error:
            notes.append(f"{_named(settings)}: {error}")
    if not forecasts:
        raise UserError(notes[0])
    scores = pd.DataFrame([_row(forecast) for forecast in forecasts])
    goodness = pd.DataFrame([row for x in xs for row in _goodness(points, x, loss, laws)])
    largest = int(points["params"].max())
    declared = [declare_winner(scores, x=x, below=largest) for x in xs]
    winners = tuple(winner for winner in declared if winner is not None)
    return Tournament(
        loss, scores, _ranking(scores).merge(goodness, how="left", on=["x", "law"]), winners, tuple(notes)
    )


def declare_winner(scores: pd.DataFrame, *, x: Predictor, below: int) -> Winner | None:
    """Choose who forecasts best the sizes below a target: early-size, trained on still smaller sizes.

    Nothing of the target or of larger sizes is in it: their rows are dropped first, and no other row depends on them.
    Of equals the first by name is chosen.

    Args:
        scores: the scores of a tournament.
        x: the predictor.
        below: size of the target.

    Returns:
        None where no size below the target was forecast.
    """
    known = _early(scores, x)
    known = known[known["target_params"] < below]
    rmse = _rmse_by_law(known)
    if not rmse:
        return None
    sizes = sorted({int(size) for size in known["target_params"]})
    return Winner(x=x, law=next(iter(rmse)), below=below, chosen_on=tuple(sizes), rmse=rmse)


def _rounds(
    points: pd.DataFrame, x: Predictor, loss: Loss
) -> Iterator[tuple[list[Setting], Callable[[], list[Split]]]]:
    """Yield settings that share their fits, and what makes their splits."""
    for training in get_args(Training):
        settings = [Setting(protocol, x, loss, training, None) for protocol in SIZE_PROTOCOLS]
        yield settings, partial(size_splits, points, x=x, training=training)
    for fraction in FRACTIONS:
        yield [Setting("early-time", x, loss, None, fraction)], partial(_time_splits, points, x, fraction)


def _time_splits(points: pd.DataFrame, x: Predictor, fraction: float) -> list[Split]:
    return [time_split(points, x=x, fraction=fraction)]


def _named(settings: Sequence[Setting]) -> str:
    first = settings[0]
    detail = f"trained on {first.training}" if first.fraction is None else f"from {first.fraction:.0%} of the steps"
    return f"{', '.join(setting.protocol for setting in settings)} by {first.x}, {detail}"


def _row(forecast: Forecast) -> dict[str, Any]:
    heading = forecast.heading()
    row = {name: heading[name] for name in heading if name not in ("label", "training_params")}
    scores = forecast.scores
    if scores is None:
        return row | {"points": 0, "reason": forecast.reason}
    return row | {
        "points": scores.points,
        "rmse_test_loss": scores.rmse,
        "bias_at_end_test_loss": scores.bias_at_end,
        **{name: scores.coverage.get(share) for share, name in _COVERAGE.items()},
        "best_baseline": scores.best_baseline,
        "skill": scores.skill,
        "r2_within": scores.r2_within,
        "reason": None,
    }


def _early(scores: pd.DataFrame, x: Predictor) -> pd.DataFrame:
    """Return the scores that winners are declared on and judged by."""
    return scores[(scores["protocol"] == "early-size") & (scores["training"] == "smaller") & (scores["x"] == x)]


def _rmse_by_law(scores: pd.DataFrame) -> dict[str, float]:
    """Return the RMSE over sizes by law, ascending, of those that forecast every curve that any of them does."""
    made = scores[scores["points"] > 0]
    curves = made["curve"].nunique()
    rmse = {str(law): _rmse(own) for law, own in made.groupby("law") if len(own) == curves}
    return dict(sorted(rmse.items(), key=lambda item: (item[1], item[0])))


def _rmse(scores: pd.DataFrame) -> float:
    """Return the root mean square over sizes of the root mean square over their curves."""
    squares = (scores["rmse_test_loss"] ** 2).groupby(scores["target_params"]).mean()
    return float(np.sqrt(squares.mean()))


def _ranking(scores: pd.DataFrame) -> pd.DataFrame:
    """Return a row per setting and law: settings in order, laws by rank and then by name."""
    rows = []
    for number, (_, group) in enumerate(scores.groupby(_SETTING, sort=False, dropna=False)):
        rmse = _rmse_by_law(group)
        curves = int(group.loc[group["points"] > 0, "curve"].nunique())
        rows += [{"setting": number} | _standing(own, rmse, curves) for _, own in group.groupby("law")]
    table = pd.DataFrame(rows).astype({"rank": "Int64"})
    return table.sort_values(["setting", "rank", "law"], ignore_index=True).drop(columns="setting")


def _standing(own: pd.DataFrame, rmse: Mapping[str, float], curves: int) -> dict[str, Any]:
    """Return where one law stands in one setting; ``rmse`` is of those whose forecasts are complete."""
    made = own[own["points"] > 0]
    reason = next(iter(own["reason"].dropna()), None)
    law, rank = own["law"].iloc[0], None
    if own["protocol"].iloc[0] == "refit-level" and not made.empty:
        reason = label("refit-level")
    elif law in rmse:
        rank = 1 + sum(other < rmse[law] for other in rmse.values())
    elif not made.empty:
        reason = f"forecasts {len(made)} of {curves} curves" + (f"; {reason}" if reason else "")
    heading = {name: own[name].iloc[0] for name in (*_SETTING, "law", "role")}
    return heading | {"rank": rank, "curves": len(made)} | (_pooled(made) if len(made) else {}) | {"reason": reason}


def _pooled(made: pd.DataFrame) -> dict[str, float]:
    """Return the scores of one law over its curves; each size counts once, for coverage each point."""
    bias = made["bias_at_end_test_loss"].groupby(made["target_params"]).mean()
    covered = made[list(_COVERAGE.values())].astype(float)
    return {
        "rmse_test_loss": _rmse(made),
        "bias_at_end_test_loss": float(bias.mean()),
        **{name: float(np.average(covered[name], weights=made["points"])) for name in _COVERAGE.values()},
    }


def _goodness(points: pd.DataFrame, x: Predictor, loss: Loss, laws: Mapping[str, Fitter]) -> Iterator[dict[str, Any]]:
    """Yield R² of each law fitted to the whole table: pooled, and within its curves as the mean over sizes."""
    curves = arrange(select_points(points, max_params=None, first_steps=None), x=X_COLUMN[x])
    for law, fitter in laws.items():
        try:
            fit = fitter(curves, loss).to_json()
        except UserError:
            continue
        within = [value for value in fit["r2_within"].values() if value is not None]
        mean = float(np.mean(within)) if within else None
        yield {"x": x, "law": law, "r2_pooled": fit["r2_pooled"], "r2_within": mean}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows as JSON-native values, null where there is none."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [
        {str(name): value.item() if isinstance(value, np.generic) else value for name, value in row.items()}
        for row in rows
    ]
