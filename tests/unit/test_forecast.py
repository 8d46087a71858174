"""Forecasts: published numbers, what is sealed, the naive rules, the bands and the scores."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from rlscale.curve_points import Curves
from rlscale.errors import UserError
from rlscale.fitting.law_fits import LAWS
from rlscale.forecasts.forecast import Forecast, run_forecasts
from rlscale.forecasts.misfit_bands import misfit_band
from rlscale.laws import Array, Target
from rlscale.points import read_points

DATA = Path(__file__).parents[2] / "config" / "data"
SIZES = (1_000, 4_000, 16_000, 64_000, 256_000)
SLOPES: Mapping[str, Any] = {name: LAWS[name] for name in ("saturating_slope", "kept_slope")}


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    return read_points(DATA / "tan2025_base_curves.csv")


def slope(size: float) -> float:
    return 0.3 / (1 + 9e3 / size)


def table(*, noise: float = 0.0, seeds: int = 1, steps: int = 20, base: bool = True) -> pd.DataFrame:
    """Return curves of every size on saturating slopes, each seed at its own level, with step 0 where ``base``."""
    generator = np.random.default_rng(3)
    tables = []
    for size in SIZES:
        for seed in range(seeds):
            step = np.arange(1, steps + 1)
            level = -0.1 - 0.03 * seed
            loss = 10 ** (level - slope(size) * np.log10(step)) * np.exp(generator.normal(0, noise, steps))
            rows = {"params": size, "base_seed": seed, "step": step, "samples": 64 * step, "test_loss": loss}
            tables.append(pd.DataFrame(rows))
            if base:
                first = {
                    "params": [size],
                    "base_seed": seed,
                    "step": 0,
                    "samples": 0,
                    "test_loss": 10 ** (level + 0.01),
                }
                tables.append(pd.DataFrame(first))
    points = pd.concat(tables, ignore_index=True)
    return points.assign(compute_flops=6.0 * points["params"] * points["samples"], variant="base")


@dataclass(frozen=True)
class Straight:
    """A law that knows every level: log10 L = log10 L_0 - 0.01 - k(N) · log10 step."""

    law: str = "straight"
    parameters: int = 2

    def levelled(self, target: Target) -> bool:  # noqa: ARG002 (a protocol's method)
        return True

    def predict(self, target: Target, x: npt.ArrayLike) -> Array:
        if target.base_loss is None:
            raise UserError("straight: needs the loss at step 0")
        return np.asarray(target.base_loss * 10 ** (-0.01 - slope(target.params) * np.log10(np.asarray(x) / 64)))

    def to_json(self) -> dict[str, Any]:
        return {"degrees_of_freedom": self.parameters}


def straight(curves: Curves, loss: str) -> Straight:  # noqa: ARG001 (a fitter's arguments)
    return Straight()


def of(forecasts: list[Forecast], law: str) -> dict[int, Forecast]:
    """Return the forecasts of one law by size, one curve a size."""
    return {forecast.target_params: forecast for forecast in forecasts if forecast.law == law}


def rmse(forecast: Forecast) -> float:
    assert forecast.scores is not None, forecast.reason
    return forecast.scores.rmse


# Known beforehand from the published curves: saturating slope fitted on sizes up to 32B (linear loss) and that fit's
# k(32B) kept for 72B, both anchored on the first three points; RMSE in loss over the others.
@pytest.mark.parametrize(
    ("x", "law", "known"),
    [
        ("compute", "saturating_slope", 0.0302),
        ("samples", "saturating_slope", 0.0393),
        ("compute", "kept_slope", 0.0153),
        ("samples", "kept_slope", 0.0130),
    ],
)
@pytest.mark.parametrize("training", ["others", "smaller"])
def test_published_72b_from_its_first_three_points(
    published: pd.DataFrame, x: Any, law: str, known: float, training: Any
) -> None:
    made = run_forecasts(
        published,
        protocol="early-size",
        laws=SLOPES,
        x=x,
        loss="linear",
        training=training,
        target_params=72_000_000_000,
    )
    forecast = of(made, law)[72_000_000_000]
    assert rmse(forecast) == pytest.approx(known, abs=0.00005)
    assert forecast.scores is not None
    assert forecast.scores.points == 100
    assert forecast.seen.step.tolist() == [1, 2, 3]
    assert forecast.training_params == (
        500_000_000,
        1_500_000_000,
        3_000_000_000,
        7_000_000_000,
        14_000_000_000,
        32_000_000_000,
    )


def test_keeping_the_slope_loses_at_every_smaller_published_size(published: pd.DataFrame) -> None:
    made = run_forecasts(published, protocol="early-size", laws=SLOPES, x="compute", loss="linear", training="smaller")
    saturating, kept = of(made, "saturating_slope"), of(made, "kept_slope")
    assert list(saturating) == [7_000_000_000, 14_000_000_000, 32_000_000_000, 72_000_000_000]
    for size, ours, theirs in ((7, 0.0555, 0.0622), (14, 0.0541, 0.0718), (32, 0.0262, 0.0706)):
        assert rmse(saturating[size * 10**9]) == pytest.approx(ours, abs=0.00005)
        assert rmse(kept[size * 10**9]) == pytest.approx(theirs, abs=0.00005)


def test_published_refit_of_the_level_is_no_forecast_and_says_so(published: pd.DataFrame) -> None:
    """Tan et al. print R² of 72B after refitting its level on its own points: 0.92 by compute."""
    made = run_forecasts(
        published, protocol="refit-level", laws=SLOPES, x="compute", loss="linear", target_params=72_000_000_000
    )
    assert {forecast.law for forecast in made} == set(SLOPES)
    scores = of(made, "saturating_slope")[72_000_000_000].scores
    assert scores is not None
    assert scores.r2_within == pytest.approx(0.92, abs=0.01)
    assert scores.points == 103
    assert (scores.coverage, scores.skill, scores.best_baseline) == ({}, None, None)
    assert all(forecast.to_json()["label"].startswith("not a forecast") for forecast in made)


@pytest.mark.parametrize("loss", ["linear", "log"])
def test_the_refitted_level_is_the_best_there_is(published: pd.DataFrame, loss: Any) -> None:
    made = run_forecasts(
        published, protocol="refit-level", laws=SLOPES, x="samples", loss=loss, target_params=7_000_000_000
    )
    forecast = of(made, "saturating_slope")[7_000_000_000]
    assert forecast.predicted is not None

    def squares(factor: float) -> float:
        predicted = factor * forecast.predicted  # type: ignore[operator]
        if loss == "linear":
            return float(np.sum((predicted - forecast.observed.loss) ** 2))
        return float(np.sum(np.log10(predicted / forecast.observed.loss) ** 2))

    assert squares(1.0) < min(squares(0.9999), squares(1.0001))


def test_the_level_of_early_size_is_the_mean_over_the_seen_points() -> None:
    points = table(noise=0.05)
    made = run_forecasts(points, protocol="early-size", laws=SLOPES, x="samples", loss="log", seen=4)
    forecast = of(made, "saturating_slope")[64_000]
    assert forecast.predicted is not None
    u, y = np.log10(forecast.observed.x), np.log10(forecast.predicted)
    k = -np.polyfit(u, y, 1)[0]
    np.testing.assert_allclose(
        y + k * u, np.mean(np.log10(forecast.seen.loss) + k * np.log10(forecast.seen.x)), atol=1e-12
    )


@pytest.mark.parametrize("training", ["others", "smaller"])
@pytest.mark.parametrize("loss", ["linear", "log"])
def test_a_curve_on_the_law_is_forecast_exactly(training: Any, loss: Any) -> None:
    made = run_forecasts(table(seeds=2), protocol="early-size", laws=SLOPES, x="compute", loss=loss, training=training)
    ours = [forecast for forecast in made if forecast.law == "saturating_slope"]
    assert len(ours) == (10 if training == "others" else 4)
    assert max(rmse(forecast) for forecast in ours) < 1e-6
    assert {forecast.curve for forecast in ours} >= {"params=64000 base_seed=0", "params=64000 base_seed=1"}


@pytest.mark.parametrize("training", ["others", "smaller"])
@pytest.mark.parametrize("protocol", ["blind-size", "early-size"])
def test_sealed_points_of_a_size_change_nothing(protocol: Any, training: Any) -> None:
    points = table(noise=0.05, seeds=2)
    sealed = (points["params"] == 64_000) & (points["step"] > (3 if protocol == "early-size" else 0))
    if training == "smaller":
        sealed |= (points["params"] > 64_000) & (points["step"] > 0)
    check_poisoned(points, sealed, protocol=protocol, training=training, target_params=64_000)


def test_sealed_later_points_change_nothing() -> None:
    points = table(noise=0.05, seeds=2)
    check_poisoned(points, points["step"] > 6, protocol="early-time", fraction=0.3)


def check_poisoned(points: pd.DataFrame, sealed: "pd.Series[bool]", **options: Any) -> None:
    """Compare forecasts, bands and naive rules with those of a table whose sealed losses are no numbers."""
    laws = {**SLOPES, "straight": straight}
    clean = run_forecasts(points, laws=laws, x="samples", loss="linear", **options)
    poisoned = points.assign(test_loss=points["test_loss"].where(~sealed))
    dirty = run_forecasts(poisoned, laws=laws, x="samples", loss="linear", **options)
    assert [forecast.heading() for forecast in clean] == [forecast.heading() for forecast in dirty]
    assert sum(forecast.predicted is not None for forecast in clean) >= 6
    assert any(forecast.bands for forecast in clean)
    for ours, theirs in zip(clean, dirty, strict=True):
        assert np.isfinite(ours.observed.loss).all()
        assert np.isnan(theirs.observed.loss).all()
        assert ours.reason == theirs.reason
        assert (ours.predicted is None) == (theirs.predicted is None)
        if ours.predicted is not None:
            np.testing.assert_array_equal(ours.predicted, theirs.predicted)
        assert (ours.bands is None) == (theirs.bands is None)
        for share in ours.bands or {}:
            np.testing.assert_array_equal(ours.bands[share], theirs.bands[share])  # type: ignore[index]


def test_the_fit_is_given_none_of_the_sealed_points() -> None:
    points = table(noise=0.05)
    given: list[tuple[list[int], int]] = []

    def spy(curves: Curves, loss: Any) -> Any:
        given.append((curves.sizes.tolist(), curves.loss.size))
        return LAWS["saturating_slope"](curves, loss)

    options: Any = {"laws": {"spy": spy}, "x": "samples", "loss": "log"}
    run_forecasts(points, protocol="early-size", **options)
    assert given == [([size for size in SIZES if size != target], 80) for target in SIZES]
    given.clear()
    run_forecasts(points, protocol="blind-size", training="smaller", **options)
    assert given == [(list(SIZES[:3]), 60), (list(SIZES[:4]), 80)]
    given.clear()
    run_forecasts(points, protocol="early-time", fraction=0.5, **options)
    assert given == [(list(SIZES), 50)]


def test_an_unseen_size_is_forecast_by_laws_that_know_its_level_only() -> None:
    laws = {**SLOPES, "straight": straight}
    made = run_forecasts(table(), protocol="blind-size", laws=laws, x="samples", loss="linear")
    for size in SIZES:
        assert of(made, "saturating_slope")[size].reason == "saturating_slope: no level for an unseen size"
        assert rmse(of(made, "straight")[size]) < 1e-12
        assert of(made, "straight")[size].seen.step.size == 0
    blind = run_forecasts(table(base=False), protocol="blind-size", laws=laws, x="samples", loss="linear")
    assert of(blind, "straight")[1_000].reason == "straight: needs the loss at step 0"
    assert "last_value" not in {forecast.law for forecast in blind}


def test_the_first_part_of_each_curve_forecasts_the_rest() -> None:
    made = run_forecasts(table(), protocol="early-time", laws=SLOPES, x="samples", loss="linear", fraction=0.3)
    for forecast in of(made, "saturating_slope").values():
        assert forecast.seen.step.tolist() == [1, 2, 3, 4, 5, 6]
        assert forecast.observed.step.tolist() == list(range(7, 21))
        assert rmse(forecast) < 1e-6
        assert forecast.training_params == SIZES
    json = made[0].to_json()
    assert (json["training"], json["fraction_of_steps"], json["seen_points"]) == (None, 0.3, 6)


def test_the_naive_rules_by_hand() -> None:
    points = table()
    early = run_forecasts(points, protocol="early-size", laws={}, x="samples", loss="linear")
    assert {forecast.role for forecast in early} == {"baseline"}
    for size, forecast in of(early, "last_slope").items():
        assert rmse(forecast) < 1e-12
        value = of(early, "last_value")[size]
        np.testing.assert_array_equal(value.predicted, value.seen.loss[-1])  # type: ignore[arg-type]
    blind = run_forecasts(points, protocol="blind-size", laws={}, x="samples", loss="linear")
    for size, nearest in ((1_000, 4_000), (16_000, 4_000), (256_000, 64_000)):  # 16,000 is as near to 64,000
        curve = points[(points["params"] == nearest) & (points["step"] > 0)]["test_loss"].to_numpy()
        np.testing.assert_allclose(of(blind, "nearest_size")[size].predicted, curve)  # type: ignore[arg-type]
        base = points[(points["params"] == size) & (points["step"] == 0)]["test_loss"].iloc[0]
        np.testing.assert_array_equal(of(blind, "last_value")[size].predicted, base)  # type: ignore[arg-type]


@pytest.mark.parametrize(("fraction", "tail"), [(0.61, 6), (0.2, 3), (0.15, 3), (0.07, 2)])
def test_the_last_slope_is_that_of_the_last_third_at_least_of_three(fraction: float, tail: int) -> None:
    points = table(noise=0.05, steps=30)  # 18, 6, 4 and 2 points are seen
    made = run_forecasts(points, protocol="early-time", laws={}, x="samples", loss="linear", fraction=fraction)
    for forecast in of(made, "last_slope").values():
        assert forecast.predicted is not None
        u, y = np.log10(forecast.seen.x[-tail:]), np.log10(forecast.seen.loss[-tail:])
        line = np.polynomial.Polynomial.fit(u, y, 1)(np.log10(forecast.observed.x))
        np.testing.assert_allclose(forecast.predicted, np.minimum(10**line, 1.0))


def test_scores_by_hand() -> None:
    points = table(noise=0.05, steps=40)
    made = run_forecasts(points, protocol="early-size", laws=SLOPES, x="samples", loss="linear", target_params=16_000)
    forecast, naive = of(made, "saturating_slope")[16_000], [item for item in made if item.role == "baseline"]
    assert forecast.predicted is not None
    assert forecast.scores is not None
    assert forecast.bands is not None
    error = forecast.predicted - forecast.observed.loss
    assert forecast.scores.rmse == pytest.approx(np.sqrt(np.mean(error**2)))
    assert forecast.observed.step[-4:].tolist() == [37, 38, 39, 40]
    assert forecast.scores.bias_at_end == pytest.approx(error[-4:].mean())
    best = min(naive, key=rmse)
    assert forecast.scores.best_baseline == best.law
    assert forecast.scores.skill == pytest.approx(1 - forecast.scores.rmse / rmse(best))
    assert list(forecast.scores.coverage) == [0.5, 0.8, 0.9]
    for share, (low, high) in forecast.bands.items():
        inside = [a <= b <= c for a, b, c in zip(low, forecast.observed.loss, high, strict=True)]
        assert forecast.scores.coverage[share] == pytest.approx(np.mean(inside))


def test_the_end_is_the_last_point_where_steps_are_sparse() -> None:
    points = table()
    sparse = points[points["step"].isin([0, 1, 2, 4, 6, 10, 20])]
    made = run_forecasts(sparse, protocol="early-size", laws=SLOPES, x="samples", loss="linear", seen=2)
    forecast = of(made, "kept_slope")[256_000]
    assert forecast.predicted is not None
    assert forecast.scores is not None
    assert forecast.scores.bias_at_end == pytest.approx(forecast.predicted[-1] - forecast.observed.loss[-1])


def test_a_curve_that_ends_before_it_is_sealed_says_so() -> None:
    points = table(steps=3)
    made = run_forecasts(points, protocol="early-size", laws=SLOPES, x="samples", loss="linear")
    assert {forecast.reason for forecast in made} == {"the curve has 3 points, and the first 3 are seen"}
    assert {forecast.scores for forecast in made} == {None}


# Standard deviations of the curves' levels and slopes about the law, and of a point at a loss of one half, in log10 L.
@pytest.mark.parametrize(
    ("protocol", "seen", "levels", "slopes", "noise", "tolerance"),  # larger where curves err as a whole
    [
        ("blind-size", 3, 0.0, 0.02, 0.01, 0.1),
        ("blind-size", 3, 0.02, 0.0, 0.003, 0.1),
        ("early-size", 3, 0.0, 0.02, 0.01, 0.1),
        ("early-size", 1, 0.02, 0.0, 0.02, 0.07),
        ("early-size", 9, 0.02, 0.0, 0.02, 0.07),
        ("early-time", 3, 0.0, 0.02, 0.01, 0.1),
        ("early-time", 3, 0.02, 0.0, 0.003, 0.1),
    ],
)
def test_bands_hold_what_they_promise(
    protocol: Any, seen: int, levels: float, slopes: float, noise: float, tolerance: float
) -> None:
    """Curves scattered about a law that knows every level; sixty of a size are forecast."""
    options: dict[str, Any] = {} if protocol == "early-time" else {"target_params": 1_000, "seen": seen}
    laws: dict[str, Any] = {"laws": {"straight": straight}, "band": misfit_band}
    made = run_forecasts(
        scattered(levels, slopes, noise), protocol=protocol, x="samples", loss="log", **laws, **options
    )
    scores = [one.scores for one in made if one.law == "straight" and one.target_params == 1_000]
    assert len(scores) == 60
    for share in (0.5, 0.8, 0.9):
        held = np.mean([score.coverage[share] for score in scores if score is not None])
        assert held == pytest.approx(share, abs=tolerance)


def scattered(levels: float, slopes: float, noise: float) -> pd.DataFrame:
    """Return twelve curves of each size, sixty of one, off the law that `Straight` tells."""
    generator = np.random.default_rng(8)
    tables = []
    for size in SIZES:
        for seed in range(60 if size == 1_000 else 12):
            step = np.arange(0, 25)
            own, off = slope(size) + generator.normal(0, slopes), generator.normal(0, levels) - 0.01
            y = -0.1 + np.where(step == 0, 0.0, off - own * np.log10(np.maximum(step, 1)))
            y += np.where(step == 0, 0.0, noise * np.sqrt(10**-y - 1) * generator.standard_normal(step.size))
            rows = {"params": size, "seed": seed, "step": step, "samples": 64 * step, "test_loss": 10**y}
            tables.append(pd.DataFrame(rows))
    return pd.concat(tables, ignore_index=True)


@pytest.mark.parametrize(("parameters", "banded"), [(3, True), (4, False)])
def test_a_band_needs_more_curves_than_parameters(parameters: int, banded: bool) -> None:
    laws = {"straight": lambda curves, loss: Straight(parameters=parameters)}  # noqa: ARG005 (a fitter's arguments)
    made = run_forecasts(table(noise=0.05), protocol="blind-size", laws=laws, x="samples", loss="log")
    for forecast in of(made, "straight").values():
        assert forecast.training_params == tuple(size for size in SIZES if size != forecast.target_params)
        assert (forecast.bands is not None) == banded
        assert forecast.scores is not None
        assert bool(forecast.scores.coverage) == banded


def test_json_is_strict_and_says_units(published: pd.DataFrame) -> None:
    made = run_forecasts(
        published, protocol="early-size", laws=SLOPES, x="compute", loss="linear", target_params=72_000_000_000
    )
    for forecast in made:
        text = forecast.to_json()
        assert json.loads(json.dumps(text, allow_nan=False)) == text
    text = of(made, "saturating_slope")[72_000_000_000].to_json()
    assert list(text["seen"]) == ["step", "compute_flops", "test_loss"]
    assert list(text["hidden"]) == ["step", "compute_flops", "test_loss", "predicted_test_loss", "bands"]
    assert list(text["hidden"]["bands"]) == ["0.5", "0.8", "0.9"]
    assert len(text["hidden"]["bands"]["0.9"]["high"]) == text["scores"]["points"] == 100
    assert (text["law"], text["curve"], text["training"], text["x"]) == (
        "saturating_slope",
        "72000000000",
        "others",
        "compute",
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"protocol": "early"}, "protocol is 'early'; allowed: blind-size, early-size, refit-level, early-time"),
        ({"training": "small"}, "training is 'small'; allowed: others, smaller; did you mean smaller?"),
        ({"fraction": 0.3}, "fraction is an option of the protocol early-time, not of early-size"),
        (
            {"protocol": "early-time", "fraction": 1.0},
            "fraction is 1.0; allowed: a number between 0 and 1, both excluded",
        ),
        (
            {"protocol": "early-time", "target_params": 1_000},
            "target_params is an option of the protocols that seal a size, not of early-time",
        ),
        (
            {"protocol": "early-time", "fraction": 0.05},
            "points: params 1000 has 1 usable points (after step 0); at least 2 are needed",
        ),
        ({"seen": 0}, "seen is 0; allowed: a whole number of points from 1"),
        (
            {"target_params": 6_400},
            "target_params is 6400; the points hold 1000, 4000, 16000, 64000, 256000; did you mean 64000?",
        ),
        (
            {"target_params": 16_000, "training": "smaller"},
            "params 16000 cannot be sealed: at least 3 smaller sizes are needed to train on",
        ),
    ],
)
def test_refused_options(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as caught:
        run_forecasts(table(), **{"protocol": "early-size", "laws": SLOPES, "x": "samples", "loss": "log", **options})
    assert str(caught.value).startswith(says)


def test_too_few_sizes_are_refused() -> None:
    points = table()
    with pytest.raises(UserError, match="no size can be sealed: at least 3 other sizes are needed to train on"):
        run_forecasts(points[points["params"] <= 16_000], protocol="early-size", laws=SLOPES, x="samples", loss="log")


@pytest.mark.parametrize("x", ["compute", "samples"])
@pytest.mark.parametrize("training", ["others", "smaller"])
def test_bands_hold_most_points_of_the_published_sizes(published: pd.DataFrame, x: Any, training: Any) -> None:
    """Bands of 90 % of the saturating slope, over each size up to 32B sealed in turn: at least 80 % of the points."""
    points = published[published["params"] <= 3.3e10]
    laws = {"saturating_slope": LAWS["saturating_slope"]}
    made = run_forecasts(points, protocol="early-size", laws=laws, x=x, loss="linear", training=training)
    scores = [one.scores for one in made if one.role == "law" and one.scores is not None]
    assert len(scores) == (6 if training == "others" else 3)
    held = sum(one.coverage[0.9] * one.points for one in scores)
    assert held / sum(one.points for one in scores) >= 0.8
