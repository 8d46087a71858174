"""Intervals of the saturating slope: what they say of the published points, and when they must not say more."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.json_checks import only_json

from rlscale.curve_points import arrange, select_points
from rlscale.errors import UserError
from rlscale.fit import fit_points
from rlscale.fitting.loss_spaces import loss_space
from rlscale.fitting.projection import SlopeFit, fit_slope_law
from rlscale.laws.saturating_slope import SaturatingSlope
from rlscale.points import read_points
from rlscale.simulation import Design, simulate_points
from rlscale.uncertainty.intervals import make_intervals
from rlscale.uncertainty.profile import excess_at
from rlscale.uncertainty.replicates import read_replicates

DATA = Path(__file__).parents[2] / "config" / "data"
SIZES = [1_000, 4_000, 16_000, 64_000]
SATURATING = Design(
    sizes=SIZES,
    slopes=[0.3 / (1 + 9e3 / size) for size in SIZES],
    first_loss=[0.85] * 4,
    steps=[1, 2, 4, 8, 16, 32, 64, 128],
    seeds=3,
    run_slope_sd=0.01,
    wander_sd=0.003,
)


def simulate(design: Design, seed: int = 0) -> pd.DataFrame:
    return simulate_points(design, np.random.default_rng(seed))


def slope_fit(points: pd.DataFrame, *, x: str = "samples", loss: Any = "log") -> SlopeFit:
    used = select_points(points, max_params=None, first_steps=None)
    return fit_slope_law(SaturatingSlope(), loss_space(arrange(used, x=x), loss))


def intervals(fit: SlopeFit, method: Any = "bootstrap", *, level: float = 0.9, seed: int = 0) -> dict[str, Any]:
    return make_intervals(fit, method, level=level, draws=200, seed=seed).to_json()


def ends(interval: dict[str, Any]) -> tuple[float, float]:
    """Return both ends, an open one as infinity."""
    low, high = interval["low"], interval["high"]
    return (-np.inf if low is None else low), (np.inf if high is None else high)


@pytest.fixture(scope="module")
def published() -> SlopeFit:
    """Tan et al., arXiv 2509.25300, base models up to 32B: compute, linear loss, the fit of Table 6."""
    points = read_points(DATA / "tan2025_base_curves.csv")
    return slope_fit(points[points["params"] <= 3.3e10], x="compute_flops", loss="linear")


def test_published_points_leave_k_max_and_n_0_wide_open(published: SlopeFit) -> None:
    """Six runs with a slope error of their own say K_max to a factor of three and N_0 to a factor of nine."""
    found = make_intervals(published, "profile", level=0.9, draws=1000, seed=0).to_json()
    assert found["k_max"]["estimate"] == pytest.approx(0.1518, abs=1e-4)
    assert found["n_0"]["estimate"] == pytest.approx(17.37e9, abs=0.02e9)
    assert ends(found["k_max"]) == pytest.approx((0.096, 0.318), rel=0.02)
    assert ends(found["n_0"]) == pytest.approx((6.6e9, 6.1e10), rel=0.05)
    assert (found["run_sd"], found["run_freedom"]) == (pytest.approx(0.0083, abs=1e-4), 4)
    for size, interval in found["k"].items():
        assert interval["low"] < interval["estimate"] < interval["high"], size
    assert any("each size has one run" in note for note in found["notes"])


def test_the_profile_and_the_quantiles_tell_alike_of_the_published_points(published: SlopeFit) -> None:
    by_profile, by_quantiles = (intervals(published, method) for method in ("profile", "bootstrap"))
    assert by_profile["k"] == by_quantiles["k"]
    assert by_quantiles["profile"] is None
    for name in ("k_max", "n_0"):
        assert np.log(ends(by_quantiles[name])) == pytest.approx(np.log(ends(by_profile[name])), abs=0.25)


@pytest.mark.parametrize("method", ["bootstrap", "profile"])
def test_the_seed_fixes_every_bit_and_moves_the_ends_a_little(method: str) -> None:
    fit = slope_fit(simulate(SATURATING))
    first = intervals(fit, method)
    assert intervals(slope_fit(simulate(SATURATING)), method) == first
    other = intervals(fit, method, seed=1)
    assert other["k"] != first["k"]
    for name in ("k_max", "n_0"):
        assert ends(other[name]) != ends(first[name])
        assert ends(other[name]) == pytest.approx(ends(first[name]), rel=0.1)


@pytest.mark.parametrize("method", ["bootstrap", "profile"])
def test_higher_levels_hold_lower_ones(method: str) -> None:
    fit = slope_fit(simulate(SATURATING))
    half, most, nearly = (intervals(fit, method, level=level) for level in (0.5, 0.8, 0.9))
    for inner, outer in ((half, most), (most, nearly)):
        pairs = [(inner[name], outer[name]) for name in ("k_max", "n_0")]
        for narrow, wide in (*pairs, *((inner["k"][size], outer["k"][size]) for size in inner["k"])):
            assert wide["low"] < narrow["low"] < narrow["estimate"] < narrow["high"] < wide["high"]


def test_the_profile_ends_where_it_crosses_its_threshold() -> None:
    fit = slope_fit(simulate(SATURATING), loss="linear")
    found = intervals(fit, "profile")
    curve = found["profile"]
    assert np.all(np.diff(curve["n_0"]) > 0)
    assert min(curve["excess"]) == pytest.approx(0.0, abs=1e-9)
    at_ends = excess_at(fit, "shape", np.log(ends(found["n_0"])))
    np.testing.assert_allclose(at_ends, curve["threshold"], rtol=0.01)
    inside = np.array(curve["n_0"])[np.array(curve["excess"]) < curve["threshold"]]
    assert found["n_0"]["low"] < inside.min() < inside.max() < found["n_0"]["high"]


@pytest.mark.parametrize("method", ["bootstrap", "profile"])
@pytest.mark.parametrize("loss", ["linear", "log"])
def test_sizes_far_below_n_0_leave_it_open_above(method: str, loss: str) -> None:
    proportional = replace(SATURATING, slopes=[0.3 * size / 64_000 for size in SIZES])
    found = intervals(slope_fit(simulate(proportional), loss=loss), method)
    assert found["n_0"]["high"] is None
    assert found["n_0"]["low"] > 64_000
    assert any("see no saturation" in note for note in found["notes"])
    assert found["k"]["64000"]["low"] < 0.3 < found["k"]["64000"]["high"]  # what is seen stays known


@pytest.mark.parametrize("method", ["bootstrap", "profile"])
def test_slopes_that_fall_with_size_leave_n_0_open_below(method: str) -> None:
    falling = replace(SATURATING, slopes=[0.3, 0.25, 0.2, 0.15])
    n_0 = intervals(slope_fit(simulate(falling)), method)["n_0"]
    assert (n_0["estimate"], n_0["low"]) == (1.0, None)
    assert n_0["high"] < 64_000


@pytest.mark.parametrize("method", ["bootstrap", "profile"])
def test_a_loss_that_does_not_fall_has_no_n_0_at_all(method: str) -> None:
    rising = replace(SATURATING, slopes=[-0.02] * 4, first_loss=[0.5] * 4)
    found = intervals(slope_fit(simulate(rising)), method)
    assert found["n_0"] == {"estimate": None, "low": None, "high": None, "level": 0.9}
    assert (found["k_max"]["estimate"], found["k_max"]["low"]) == (0.0, 0.0)


def test_curves_without_noise_have_intervals_without_width() -> None:
    exact = replace(SATURATING, problems=10**15, run_slope_sd=0.0, wander_sd=0.0)
    found = intervals(slope_fit(simulate(exact)))
    assert ends(found["k_max"]) == pytest.approx((0.3, 0.3), rel=1e-6)
    assert ends(found["n_0"]) == pytest.approx((9e3, 9e3), rel=1e-5)


def test_the_scatter_between_runs_is_found_and_widens_the_intervals() -> None:
    """Of the other noise next to nothing is left, so the scatter is known to what 28 runs allow."""
    many = replace(SATURATING, seeds=7, problems=10**9, wander_sd=0.0)
    calm, wild = (intervals(slope_fit(simulate(replace(many, run_slope_sd=sd)))) for sd in (0.005, 0.05))
    assert calm["run_sd"] == pytest.approx(0.005, rel=0.35)
    assert wild["run_sd"] == pytest.approx(0.05, rel=0.35)
    for size in calm["k"]:
        widths = [np.subtract(*ends(found["k"][size])) for found in (wild, calm)]
        assert 5 < widths[0] / widths[1] < 20


@pytest.mark.parametrize("between_runs", [0.0, 0.03])
def test_levels_in_replicates_scatter_as_those_of_the_runs_do(between_runs: float) -> None:
    """The mean of a size's runs is off by their scatter over the root of their number, whatever made it."""
    points = simulate(replace(SATURATING, seeds=5))
    off = np.random.default_rng(1).normal(0.0, between_runs, (len(SIZES), 5))
    run = points["params"].map(SIZES.index).to_numpy(), points["seed"].to_numpy()
    points["test_loss"] = np.minimum(points["test_loss"] * 10.0 ** off[run], 0.999)
    fit = fit_points(points, x="samples", loss="log", intervals="bootstrap", draws=400)
    assert fit.intervals is not None
    kept = fit.intervals["replicates"]
    levels = np.array([[fit.e[key] for key in fit.e if fit.curves[key]["params"] == size] for size in SIZES])
    seen = np.sqrt(levels.var(axis=1, ddof=1).mean() / 5)
    middle = [np.subtract(*np.quantile(read_replicates(text), (0.84, 0.16))) / 2 for text in kept["levels"].values()]
    assert kept["level_freedom"] == 16
    assert np.mean(middle) / seen == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize(
    ("sizes", "freedom", "says"),
    [
        (2, 0, "as many parameters as runs: how runs differ is unknown and not in the intervals"),
        (3, 1, "how runs differ rests on 1 degrees of freedom: the intervals are wide for that"),
    ],
)
def test_few_runs_are_said_to_be_few(sizes: int, freedom: int, says: str) -> None:
    few = replace(
        SATURATING,
        sizes=SIZES[:sizes],
        slopes=SATURATING.slopes[:sizes],
        first_loss=SATURATING.first_loss[:sizes],
        seeds=1,
    )
    found = intervals(slope_fit(simulate(few)))
    assert found["run_freedom"] == freedom
    assert found["notes"][:2] == [says, "each size has one run, so the law's own misfit counts as scatter between runs"]


def test_runs_of_two_points_show_no_noise_within_but_differ() -> None:
    """All that is known of the noise is how far the runs' slopes lie apart: 0.01 and what two evaluations add to it."""
    found = intervals(slope_fit(simulate(replace(SATURATING, steps=[1, 128]))))
    assert found["run_sd"] == pytest.approx(0.013, abs=0.004)
    for size, slope in zip(SIZES, SATURATING.slopes, strict=True):
        low, high = ends(found["k"][str(size)])
        assert low < slope < high
        assert 0.004 < high - low < 0.04


def test_huber_shrugs_off_an_outlier() -> None:
    points = simulate(SATURATING)
    spoilt = points.copy()
    spoilt.loc[spoilt.index[-1], "test_loss"] = 1.0  # the last step of a run of the largest size
    clean, plain, robust = (
        intervals(slope_fit(table, loss=loss)) for table, loss in ((points, "log"), (spoilt, "log"), (spoilt, "huber"))
    )
    moved, held = (abs(found["k"]["64000"]["estimate"] - clean["k"]["64000"]["estimate"]) for found in (plain, robust))
    assert moved > 0.01
    assert held < moved / 4
    width, clean_width = (np.subtract(*ends(found["k_max"])[::-1]) for found in (robust, clean))
    assert width < 1.5 * clean_width


def test_weights_by_standard_error_need_them_and_discount_what_is_uncertain() -> None:
    points = simulate(SATURATING)
    options: dict[str, Any] = {"x": "samples", "loss": "linear", "intervals": "bootstrap", "draws": 100}
    with pytest.raises(UserError, match="weights from standard errors need a positive test_loss_se at every point"):
        fit_points(points, weights="se", **options)
    even = fit_points(points.assign(test_loss_se=0.02), weights="se", **options)
    assert even.intervals == fit_points(points, **options).intervals
    unsure = points.assign(test_loss_se=np.where(points.index == points.index[-1], 1e3, 0.02))
    spoilt = unsure.copy()
    spoilt.loc[spoilt.index[-1], "test_loss"] = 1.0
    found, other = (fit_points(table, weights="se", **options) for table in (unsure, spoilt))
    assert found.intervals is not None
    assert other.intervals is not None
    for name in ("k_max", "n_0"):
        assert ends(other.intervals[name]) == pytest.approx(ends(found.intervals[name]), rel=1e-4)


def test_a_fit_carries_its_intervals_and_verdict_as_json() -> None:
    points = simulate(SATURATING)
    fit = fit_points(points, x="samples", loss="log", intervals="profile", level=0.8, draws=200, seed=3)
    assert fit.intervals == intervals(slope_fit(points), "profile", level=0.8, seed=3)
    assert (fit.intervals["method"], fit.intervals["level"], fit.intervals["seed"]) == ("profile", 0.8, 3)
    assert only_json(fit.to_json())
    assert json.loads(json.dumps(fit.to_json(), allow_nan=False)) == fit.to_json()
    assert list(fit.intervals["k"]) == [str(size) for size in SIZES]
    assert {name: interval["estimate"] for name, interval in fit.intervals["k"].items()} == fit.k
    assert fit.saturation is not None
    plain = fit_points(points, x="samples", loss="log")
    assert (plain.intervals, plain.saturation) == (None, None)
