"""The tournament: who is ranked by what, who is declared before the target is looked at, and why some are not."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rlscale.curve_points import Curves
from rlscale.errors import UserError
from rlscale.fit import fit_points
from rlscale.fitting.law_fits import LAWS
from rlscale.forecasts.misfit_bands import misfit_band
from rlscale.forecasts.tournament import Tournament, declare_winner, run_tournament
from rlscale.points import read_points

DATA = Path(__file__).parents[2] / "config" / "data"
LARGEST = 72_000_000_000
SLOPES: Mapping[str, Any] = {name: LAWS[name] for name in ("saturating_slope", "kept_slope")}


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    return read_points(DATA / "tan2025_base_curves.csv")


@pytest.fixture(scope="module")
def tournament(published: pd.DataFrame) -> Tournament:
    return tournament_of(published, xs=("compute", "samples"), loss="linear")


def tournament_of(points: pd.DataFrame, **options: Any) -> Tournament:
    """Run a tournament with the bands that are quick to make: nothing here depends on them."""
    return run_tournament(points, **{"laws": SLOPES, "band": misfit_band, **options})


def table(sizes: tuple[int, ...] = (1_000, 4_000, 16_000, 64_000, 256_000), steps: int = 20) -> pd.DataFrame:
    generator = np.random.default_rng(4)
    step = np.arange(1, steps + 1)
    tables = []
    for size in sizes:
        loss = 10 ** (-0.1 - 0.3 / (1 + 9e3 / size) * np.log10(step)) * np.exp(generator.normal(0, 0.02, steps))
        tables.append(pd.DataFrame({"params": size, "step": step, "samples": 64 * step, "test_loss": loss}))
    points = pd.concat(tables, ignore_index=True)
    return points.assign(compute_flops=6.0 * points["params"] * points["samples"])


def setting(ranking: pd.DataFrame, **chosen: Any) -> pd.DataFrame:
    """Return the rows of one setting, by law."""
    for name, value in chosen.items():
        ranking = ranking[ranking[name] == value]
    return ranking.set_index("law")


@pytest.mark.parametrize(
    ("x", "on_target"),
    [
        ("compute", {"saturating_slope": 0.0302, "kept_slope": 0.0153}),
        ("samples", {"saturating_slope": 0.0393, "kept_slope": 0.0130}),
    ],
)
def test_the_winner_declared_up_to_32b_is_then_scored_on_72b(
    tournament: Tournament, x: str, on_target: dict[str, float]
) -> None:
    """Known beforehand: the saturating slope wins at 7B, 14B and 32B, and loses to the kept slope at 72B."""
    verdict = next(verdict for verdict in tournament.to_json()["winners"] if verdict["x"] == x)
    assert verdict["law"] == "saturating_slope"
    assert verdict["chosen_on_params"] == [7_000_000_000, 14_000_000_000, 32_000_000_000]
    assert list(verdict["rmse_test_loss"].values()) == sorted(verdict["rmse_test_loss"].values())
    assert verdict["target_params"] == LARGEST
    assert {law: verdict["target_rmse_test_loss"][law] for law in on_target} == pytest.approx(on_target, abs=0.00005)
    assert verdict["best_on_target"] != "saturating_slope"
    if x == "compute":
        known = (
            np.sqrt(np.mean(np.square([0.0555, 0.0541, 0.0262]))),
            np.sqrt(np.mean(np.square([0.0622, 0.0718, 0.0706]))),
        )
        assert verdict["rmse_test_loss"]["saturating_slope"] == pytest.approx(known[0], abs=0.0001)
        assert verdict["rmse_test_loss"]["kept_slope"] == pytest.approx(known[1], abs=0.0001)


def test_a_winner_is_declared_without_the_target(published: pd.DataFrame, tournament: Tournament) -> None:
    upended = published["params"] == LARGEST
    other = published.assign(test_loss=published["test_loss"].where(~upended, 1.0 - 0.99 * published["test_loss"]))
    again = tournament_of(other, xs=("compute",), loss="linear")
    assert again.winners == tournament.winners[:1]
    assert again.to_json()["winners"] != tournament.to_json()["winners"][:1]
    less = declare_winner(tournament.scores, x="compute", below=32_000_000_000)
    assert less is not None
    assert less.chosen_on == (7_000_000_000, 14_000_000_000)
    assert declare_winner(tournament.scores, x="compute", below=7_000_000_000) is None


def test_the_ranking_is_by_rmse_over_sizes_each_counting_once(tournament: Tournament) -> None:
    for law, row in setting(tournament.ranking, x="compute", protocol="early-size", training="others").iterrows():
        own = setting(tournament.scores, x="compute", protocol="early-size", training="others").loc[law]
        assert row["rmse_test_loss"] == pytest.approx(np.sqrt(np.mean(own["rmse_test_loss"] ** 2)))
        assert row["curves"] == 7
    for _, rows in tournament.ranking.groupby(["x", "protocol", "training", "fraction_of_steps"], dropna=False):
        ranked = rows.dropna(subset="rank")
        assert ranked["rank"].tolist() == ranked["rmse_test_loss"].rank(method="min").tolist()
        assert ranked["rmse_test_loss"].is_monotonic_increasing


def test_several_curves_of_a_size_count_as_one_size() -> None:
    points = pd.concat([table().assign(base_seed=0), table((64_000,)).assign(base_seed=1)])
    made = tournament_of(points, xs=("samples",), loss="log")
    own = setting(made.scores, protocol="early-size", training="others").loc["kept_slope"]
    row = setting(made.ranking, protocol="early-size", training="others").loc["kept_slope"]
    assert row["curves"] == 6
    by_size = (own["rmse_test_loss"] ** 2).groupby(own["target_params"]).mean()
    assert row["rmse_test_loss"] == pytest.approx(np.sqrt(by_size.mean()))


def test_goodness_of_fit_stands_beside(published: pd.DataFrame, tournament: Tournament) -> None:
    fit = fit_points(published, x="compute", loss="linear")
    rows = setting(tournament.ranking, x="compute", protocol="early-size", training="others")
    assert rows.loc["saturating_slope", "r2_pooled"] == pytest.approx(fit.r2_pooled)
    assert rows.loc["saturating_slope", "r2_within"] == pytest.approx(np.mean([*fit.r2_within.values()]))  # type: ignore[arg-type]
    assert rows.loc["last_slope", ["r2_pooled", "r2_within"]].isna().all()


def test_what_is_no_forecast_is_never_ranked(tournament: Tournament) -> None:
    refitted = tournament.ranking[tournament.ranking["protocol"] == "refit-level"]
    assert len(refitted) == 8
    assert refitted["rank"].isna().all()
    assert refitted["rmse_test_loss"].notna().all()
    assert refitted["reason"].str.startswith("not a forecast").all()


def test_laws_that_say_nothing_are_named_with_the_reason(tournament: Tournament) -> None:
    rows = setting(tournament.ranking, x="samples", protocol="blind-size", training="others")
    assert rows.loc["saturating_slope", "reason"] == "saturating_slope: no level for an unseen size"
    assert rows["rank"].dropna().to_dict() == {"nearest_size": 1}


def test_a_law_that_misses_a_size_is_not_ranked() -> None:
    def shy(curves: Curves, loss: Any) -> Any:
        if curves.sizes.size < 4:
            raise UserError("shy: needs four sizes")
        return LAWS["saturating_slope"](curves, loss)

    made = tournament_of(table(), xs=("samples",), loss="log", laws={**SLOPES, "shy": shy})
    row = setting(made.ranking, protocol="early-size", training="smaller").loc["shy"]
    assert (pd.isna(row["rank"]), row["curves"]) == (True, 1)
    assert row["reason"] == "forecasts 1 of 2 curves; shy: needs four sizes"
    assert "shy" not in made.winners[0].rmse
    assert setting(made.ranking, protocol="early-size", training="others").loc["shy", "rank"] == 1


def test_equals_share_a_rank_and_the_first_by_name_is_declared() -> None:
    laws = dict.fromkeys(("twin_b", "twin_a"), SLOPES["saturating_slope"])
    made = tournament_of(table(), xs=("samples",), loss="log", laws=laws)
    rows = setting(made.ranking, protocol="early-size", training="smaller")
    assert list(rows.index[:2]) == ["twin_a", "twin_b"]
    assert rows["rank"].tolist() == [1, 1, 3, 4]
    assert made.winners[0].law == "twin_a"


def test_what_a_table_does_not_allow_is_noted() -> None:
    four = tournament_of(table((1_000, 4_000, 16_000, 64_000), steps=6), xs=("samples",), loss="log")
    assert four.winners == ()
    assert [note.split(":")[0] for note in four.notes] == [
        "early-time by samples, from 20% of the steps",
        "early-time by samples, from 30% of the steps",
    ]
    with pytest.raises(UserError, match="no size can be sealed: at least 3 other sizes are needed to train on"):
        tournament_of(table((1_000, 4_000), steps=2), xs=("samples",), loss="log")


def test_json_is_strict_and_the_order_of_rows_changes_nothing() -> None:
    points = table()
    made = tournament_of(points, xs=("compute",), loss="linear")
    text = json.dumps(made.to_json(), allow_nan=False)
    shuffled = points.sample(frac=1.0, random_state=2)
    again = tournament_of(shuffled, xs=("compute",), loss="linear")
    assert json.dumps(again.to_json(), allow_nan=False) == text
    assert list(json.loads(text)) == ["loss", "ranking", "winners", "scores", "notes"]
