"""What must hold of every forecast: sealed points and the order of rows change nothing, nor does the unit of X."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlscale.fitting.law_fits import LAWS
from rlscale.forecasts.forecast import Forecast, run_forecasts
from rlscale.forecasts.misfit_bands import misfit_band

SIZES = (1_000, 5_000, 20_000, 100_000)
LAW: Mapping[str, Any] = {name: LAWS[name] for name in ("saturating_slope", "kept_slope")}
LOSSES = st.sampled_from(["linear", "log"])
PROTOCOLS = st.sampled_from(["blind-size", "early-size", "early-time"])
few = settings(derandomize=True, max_examples=6, deadline=None)


def table(seed: int, noise: float) -> pd.DataFrame:
    """Return one or two curves a size with their own slopes, levels and lengths, and step 0."""
    generator = np.random.default_rng(seed)
    tables = []
    for size in SIZES:
        for base_seed in range(generator.integers(1, 3)):
            step = np.arange(0, generator.integers(12, 30))
            slope = 0.3 / (1 + 9e3 / size) + generator.normal(0, 0.02)
            loss = 10 ** (generator.uniform(-0.4, -0.05) - slope * np.log10(step + 1.0))
            loss = np.clip(loss * np.exp(generator.normal(0, noise, step.size)), 1e-6, 1)
            rows = {"params": size, "base_seed": base_seed, "step": step, "samples": 64 * step, "test_loss": loss}
            tables.append(pd.DataFrame(rows))
    return pd.concat(tables, ignore_index=True)


tables = st.builds(table, seed=st.integers(0, 10**6), noise=st.sampled_from([0.0, 0.01, 0.1]))


def made(points: pd.DataFrame, protocol: Any, loss: Any, **options: Any) -> list[Forecast]:
    return run_forecasts(points, protocol=protocol, laws=LAW, x="samples", loss=loss, **options)


def series(forecasts: list[Forecast]) -> list[tuple[dict[str, Any], str | None, Any, Any]]:
    """Return what was forecast, without what it was compared with."""
    return [
        (one.heading(), one.reason, one.to_json()["hidden"]["predicted_test_loss"], bands(one)) for one in forecasts
    ]


def bands(forecast: Forecast) -> Any:
    return forecast.to_json()["hidden"]["bands"]


@few
@given(points=tables, protocol=PROTOCOLS, loss=LOSSES, target=st.sampled_from(SIZES), seed=st.integers(0, 10**6))
def test_whatever_is_sealed_the_forecast_is_the_same(
    points: pd.DataFrame, protocol: Any, loss: Any, target: int, seed: int
) -> None:
    last = points.groupby(["params", "base_seed"])["step"].transform("max")
    sealed = points["step"] > (0.5 * last if protocol == "early-time" else 3 if protocol == "early-size" else 0)
    options: dict[str, Any] = {"fraction": 0.5} if protocol == "early-time" else {"target_params": target}
    if protocol != "early-time":
        sealed &= points["params"] == target
    noise = np.random.default_rng(seed).uniform(1e-6, 1, len(points))
    other = points.assign(test_loss=points["test_loss"].where(~sealed, noise))
    clean = made(points, protocol, loss, **options)
    assert series(made(other, protocol, loss, **options)) == series(clean)
    assert series(
        made(points.assign(test_loss=points["test_loss"].where(~sealed)), protocol, loss, **options)
    ) == series(clean)
    assert any(one.predicted is not None for one in clean)


@few
@given(points=tables, protocol=PROTOCOLS, loss=LOSSES, seed=st.integers(0, 10**6))
def test_the_order_of_rows_changes_no_bit(points: pd.DataFrame, protocol: Any, loss: Any, seed: int) -> None:
    shuffled = points.iloc[np.random.default_rng(seed).permutation(len(points))]
    ours = [one.to_json() for one in made(points, protocol, loss)]
    assert [one.to_json() for one in made(shuffled, protocol, loss)] == ours


@few
@given(points=tables, protocol=PROTOCOLS, loss=LOSSES, factor=st.floats(1e-6, 1e18))
def test_the_unit_of_x_changes_no_forecast(points: pd.DataFrame, protocol: Any, loss: Any, factor: float) -> None:
    scaled = made(points.assign(samples=points["samples"] * factor), protocol, loss)
    for ours, theirs in zip(made(points, protocol, loss), scaled, strict=True):
        assert (ours.law, ours.reason) == (theirs.law, theirs.reason)
        if ours.predicted is not None and theirs.predicted is not None:
            np.testing.assert_allclose(theirs.predicted, ours.predicted, rtol=1e-4)
        for share, (low, high) in (ours.bands or {}).items():
            assert theirs.bands is not None
            np.testing.assert_allclose(theirs.bands[share], (low, high), rtol=1e-3)


@few
@given(points=tables, protocol=PROTOCOLS, loss=LOSSES)
def test_bands_are_nested_and_hold_the_forecast(points: pd.DataFrame, protocol: Any, loss: Any) -> None:
    forecasts = made(points, protocol, loss)
    for one in forecasts:
        if one.bands is not None:
            order = [one.bands[share][0] for share in (0.9, 0.8, 0.5)] + [one.predicted]
            order += [one.bands[share][1] for share in (0.5, 0.8, 0.9)]
            stacked = np.stack([values for values in order if values is not None])
            assert stacked.shape == (7, one.observed.x.size)
            assert np.all(np.diff(stacked, axis=0) >= 0)
            assert stacked.max() <= 1.0
    assert (protocol == "blind-size") == all(one.bands is None for one in forecasts)


@few
@given(points=tables, protocol=PROTOCOLS, loss=LOSSES)
def test_duplicating_every_row_leaves_the_forecasts_of_the_same_seen_points(
    points: pd.DataFrame, protocol: Any, loss: Any
) -> None:
    quick: dict[str, Any] = {"band": misfit_band}
    twice = made(pd.concat([points, points]), protocol, loss, seen=6, **quick)
    for ours, theirs in zip(made(points, protocol, loss, **quick), twice, strict=True):
        assert theirs.seen.step.tolist() == np.repeat(ours.seen.step, 2).tolist()
        if ours.role == "law" and ours.predicted is not None:
            assert theirs.predicted is not None
            np.testing.assert_allclose(theirs.predicted[::2], ours.predicted, rtol=1e-6)
            assert ours.scores is not None
            assert theirs.scores is not None
            assert theirs.scores.rmse == pytest.approx(ours.scores.rmse, rel=1e-5)
