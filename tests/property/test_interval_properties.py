"""What must hold of every interval: nothing that should not matter does, and levels nest."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlscale.curve_points import arrange
from rlscale.fitting.loss_spaces import loss_space
from rlscale.fitting.projection import fit_slope_law
from rlscale.laws.saturating_slope import SaturatingSlope
from rlscale.simulation import Design, simulate_points
from rlscale.uncertainty.intervals import make_intervals

SIZES = [1_000, 5_000, 25_000, 125_000]
few = settings(max_examples=10)


def table(k_max: float, n_0: float, run_slope_sd: float, seeds: int, seed: int) -> pd.DataFrame:
    """Return simulated points of saturating slopes."""
    design = Design(
        sizes=SIZES,
        slopes=[k_max / (1 + n_0 / size) for size in SIZES],
        first_loss=[0.9, 0.85, 0.8, 0.75],
        steps=[1, 2, 4, 8, 16, 32, 64],
        seeds=seeds,
        run_slope_sd=run_slope_sd,
        wander_sd=0.005,
    )
    return simulate_points(design, np.random.default_rng(seed))


tables = st.builds(
    table,
    k_max=st.floats(0.05, 0.5),
    n_0=st.floats(np.log(1e3), np.log(1e5)).map(np.exp).map(float),
    run_slope_sd=st.sampled_from([0.0, 0.02]),
    seeds=st.integers(1, 3),
    seed=st.integers(0, 10**6),
)
losses = st.sampled_from(["linear", "log", "huber"])
methods = st.sampled_from(["bootstrap", "profile"])


def intervals(points: pd.DataFrame, loss: Any, method: Any, level: float = 0.9, x: str = "samples") -> dict[str, Any]:
    fit = fit_slope_law(SaturatingSlope(), loss_space(arrange(points, x=x), loss))
    return make_intervals(fit, method, level=level, draws=60, seed=0).to_json()


def numbers(found: dict[str, Any], *names: str) -> list[float]:
    """Return estimates and ends, an open end as infinity."""
    kept = [found[name] for name in names] or list(found["k"].values())
    return [np.inf if interval[at] is None else interval[at] for interval in kept for at in ("estimate", "low", "high")]


@few
@given(points=tables, loss=losses, method=methods, seed=st.integers(0, 10**6))
def test_the_order_of_rows_changes_no_bit(points: pd.DataFrame, loss: Any, method: Any, seed: int) -> None:
    shuffled = points.iloc[np.random.default_rng(seed).permutation(len(points))]
    assert intervals(shuffled, loss, method) == intervals(points, loss, method)


@few
@given(points=tables, loss=losses, factor=st.floats(1e-6, 1e18))
def test_scaling_x_moves_no_interval(points: pd.DataFrame, loss: Any, factor: float) -> None:
    scaled = intervals(points.assign(samples=points["samples"] * factor), loss, "bootstrap")
    found = intervals(points, loss, "bootstrap")
    assert numbers(scaled) == pytest.approx(numbers(found), rel=1e-6, abs=1e-9)
    assert scaled["run_sd"] == pytest.approx(found["run_sd"], rel=1e-6, abs=1e-9)


@few
@given(points=tables, loss=losses)
def test_compute_at_a_fixed_cost_a_sample_has_the_intervals_of_samples(points: pd.DataFrame, loss: Any) -> None:
    """6·N FLOPs a sample is another unit of X in each curve, which its level takes up."""
    by_compute, by_samples = (intervals(points, loss, "bootstrap", x=column) for column in ("compute_flops", "samples"))
    assert numbers(by_compute) == pytest.approx(numbers(by_samples), rel=1e-6, abs=1e-9)


@few
@given(points=tables, loss=losses, factor=st.sampled_from([2, 1000, 10**6]))
def test_scaling_sizes_scales_n_0_and_leaves_the_slopes(points: pd.DataFrame, loss: Any, factor: int) -> None:
    bigger = intervals(points.assign(params=points["params"] * factor), loss, "bootstrap")
    found = intervals(points, loss, "bootstrap")
    assert numbers(bigger) == pytest.approx(numbers(found), rel=1e-5, abs=1e-9)
    expected = [factor * value for value in numbers(found, "n_0")]
    assert numbers(bigger, "n_0") == pytest.approx(expected, rel=1e-3)


@few
@given(points=tables, loss=losses, method=methods)
def test_levels_nest_and_profiles_hold_the_estimate(points: pd.DataFrame, loss: Any, method: Any) -> None:
    half, most = (intervals(points, loss, method, level) for level in (0.5, 0.9))
    for name, inner in (("k_max", half["k_max"]), ("n_0", half["n_0"]), *half["k"].items()):
        outer = most["k"][name] if name in most["k"] else most[name]
        for end, sign in (("low", 1), ("high", -1)):
            if outer[end] is not None:  # an open end holds everything
                assert sign * outer[end] <= sign * inner[end]
    for found in (half, most):
        estimate = found["k_max"]["estimate"]
        if method == "profile":
            assert found["k_max"]["low"] <= estimate
            assert found["k_max"]["high"] is None or estimate <= found["k_max"]["high"]
