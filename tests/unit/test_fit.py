"""The fit of the saturating slope: published numbers, exact small cases, degenerate tables, refusals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import least_squares
from tests.json_checks import only_json

from rlscale.errors import UserError
from rlscale.fit import Fit, fit_points
from rlscale.points import read_points

DATA = Path(__file__).parents[2] / "config" / "data"
SIZES = (1_000, 4_000, 16_000, 64_000)


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    return read_points(DATA / "tan2025_base_curves.csv")


def curves(slopes: dict[int, float], *, steps: int = 20, level: float = 0.5, noise: float = 0.0) -> pd.DataFrame:
    """Return one curve per size with the given slope against samples."""
    generator = np.random.default_rng(5)
    step = np.arange(1, steps + 1)
    tables = []
    for size, slope in slopes.items():
        loss = 10 ** (level - 0.7 - slope * np.log10(step)) * np.exp(generator.normal(0, noise, steps))
        tables.append({"params": size, "step": step, "samples": 64 * step, "test_loss": loss})
    return pd.concat([pd.DataFrame(table) for table in tables], ignore_index=True)


def saturating(k_max: float, n_0: float, **options: Any) -> pd.DataFrame:
    return curves({size: k_max / (1 + n_0 / size) for size in SIZES}, **options)


# Tan et al., arXiv 2509.25300, Table 6 (base): "inter" is fitted on sizes up to 32B, "intra" on the first 25 steps.
@pytest.mark.parametrize(
    ("x", "options", "k_max", "n_0", "r2", "tolerance"),
    [
        ("compute", {"max_params": 3.3e10}, 0.1518, 17.37e9, 0.9944, (0.0003, 0.10e9)),
        ("samples", {"max_params": 3.3e10}, 0.1631, 16.95e9, 0.9947, (0.0003, 0.10e9)),
        ("compute", {"first_steps": 25}, 0.1349, 13.09e9, 0.9955, (0.0005, 0.10e9)),
        ("samples", {"first_steps": 25}, 0.1348, 11.52e9, 0.9953, (0.0005, 0.10e9)),
    ],
)
def test_published_table_6(
    published: pd.DataFrame, x: Any, options: Any, k_max: float, n_0: float, r2: float, tolerance: tuple[float, float]
) -> None:
    fit = fit_points(published, x=x, loss="linear", **options)
    assert fit.k_max == pytest.approx(k_max, abs=tolerance[0])
    assert fit.n_0 == pytest.approx(n_0, abs=tolerance[1])
    assert fit.r2_pooled == pytest.approx(r2, abs=0.0002)
    assert fit.bounds_hit == {}
    assert fit.notes == []


@pytest.mark.parametrize(("x", "axis"), [("compute", "C"), ("samples", "D")])
def test_published_lines(published: pd.DataFrame, x: Any, axis: str) -> None:
    """The lines drawn in the paper's figures: slopes to 0.2 %, and the loss they predict to 0.001."""
    lines = pd.read_csv(DATA / "tan2025_base_lines.csv").query(f"axis == '{axis}' and fit == 'inter'")
    fit = fit_points(published, x=x, loss="linear", max_params=3.3e10)
    for line in lines.to_dict("records"):
        size = str(line["params"])
        assert fit.slope(line["params"]) == pytest.approx(line["k"], rel=0.002)  # 72B too: the slope is a forecast
        if size in fit.k:
            ends = np.array([line["x_start"], line["x_end"]])
            drawn = 10 ** (line["E"] - line["k"] * np.log10(ends))
            np.testing.assert_allclose(fit.predict(size, ends), drawn, atol=0.001)


@pytest.mark.parametrize("loss", ["linear", "log"])
def test_agrees_with_a_general_optimiser_over_all_parameters(published: pd.DataFrame, loss: Any) -> None:
    fit = fit_points(published, x="compute", loss=loss, max_params=3.3e10)
    used = published[published["params"] <= 3.3e10]
    sizes, index = np.unique(used["params"], return_inverse=True)
    log10_x = np.log10(used["compute_flops"].to_numpy()) - 18
    observed = used["test_loss"].to_numpy()

    def residuals(free: np.ndarray) -> np.ndarray:
        slope = free[0] / (1 + np.exp(free[1] - np.log(sizes)))
        fitted = free[2:][index] - slope[index] * log10_x
        return 10**fitted - observed if loss == "linear" else fitted - np.log10(observed)

    start = np.array([0.1, np.log(1e10), *np.full(len(sizes), -0.3)])
    other = least_squares(residuals, start, xtol=1e-15, ftol=1e-15, gtol=1e-15)
    assert fit.sse <= 2 * other.cost * (1 + 1e-12)
    assert fit.k_max == pytest.approx(other.x[0], rel=1e-5)
    assert fit.n_0 == pytest.approx(np.exp(other.x[1]), rel=1e-5)
    np.testing.assert_allclose(list(fit.e.values()), other.x[2:] + 18 * np.array(list(fit.k.values())), atol=1e-5)


def test_json_holds_the_whole_fit_in_native_types(published: pd.DataFrame) -> None:
    fit = fit_points(published, x="compute", loss="linear", max_params=3.3e10)
    text = json.dumps(fit.to_json(), allow_nan=False)
    assert only_json(fit.to_json())
    assert Fit(**json.loads(text)) == fit
    assert list(fit.k) == ["500000000", "1500000000", "3000000000", "7000000000", "14000000000", "32000000000"]
    assert list(fit.e) == list(fit.k_free_se) == list(fit.r2_within) == list(fit.k_local) == list(fit.k)
    assert (fit.points, fit.max_params, fit.first_steps, fit.variant) == (629, 3.3e10, None, "base")


def test_local_slopes_show_what_r2_forgives() -> None:
    """A line has one slope; a parabola whose slope doubles from end to end has an R² of .99, and shows in thirds."""
    log10_x = np.linspace(0, 1.8, 13)
    straight, bent = -0.3 * log10_x, -0.3 * (log10_x + log10_x**2 / 3.6)
    made = [
        {"params": size, "run": f"{size}_{base}", "samples": 10**log10_x, "step": range(1, 14), "test_loss": 10**y}
        for size, y in ((1_000, straight), (8_000, bent))
        for base in (0, 1)
    ]
    fit = fit_points(pd.concat(map(pd.DataFrame, made)), x="samples", loss="linear")
    assert fit.k_local["1000"] == pytest.approx([0.3] * 3, abs=1e-9)
    # A parabola's slope over an interval is its slope in the middle: 1/6, 3/6 and 5/6 of the way.
    assert fit.k_local["8000"] == pytest.approx([0.35, 0.45, 0.55], abs=1e-9)
    assert fit.r2_line["1000"] == pytest.approx(1, abs=1e-12)
    assert fit.r2_line["8000"] == pytest.approx(np.corrcoef(log10_x, bent)[0, 1] ** 2, abs=1e-12)
    assert 0.99 < fit.r2_line["8000"] < 0.995  # type: ignore[operator]


def test_short_and_flat_curves_have_no_straightness() -> None:
    short = curves({1_000: 0.1, 8_000: 0.2}, steps=2)
    fit = fit_points(short, x="samples", loss="log")
    assert fit.r2_line == {"1000": None, "8000": None}
    assert fit.k_local == {"1000": [None] * 3, "8000": [None] * 3}
    flat = fit_points(curves({1_000: 0.0, 8_000: 0.2}), x="samples", loss="log")
    assert flat.r2_line["1000"] is None
    assert flat.k_local["1000"] == [0, 0, 0]


def test_free_slopes_and_errors_are_those_of_linear_regression() -> None:
    """In log space with one curve per size the free slope is textbook regression of log10 L on log10 X."""
    points = saturating(0.3, 9e3, noise=0.05)
    fit = fit_points(points, x="samples", loss="log")
    for size, group in points.groupby("params"):
        u, y = np.log10(group["samples"]), np.log10(group["test_loss"])
        coefficients, covariance = np.polyfit(u, y, 1, cov=True)
        assert fit.k_free[str(size)] == pytest.approx(-coefficients[0], rel=1e-9)
        assert fit.k_free_se[str(size)] == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-9)


def test_r2_is_around_the_pooled_mean_and_within_around_each_curves_mean() -> None:
    points = saturating(0.3, 9e3, noise=0.05)
    fit = fit_points(points, x="samples", loss="linear")
    fitted = np.concatenate([fit.predict(size, group["samples"]) for size, group in points.groupby("params")])
    squares = (points["test_loss"] - fitted) ** 2
    assert fit.sse == pytest.approx(squares.sum(), rel=1e-9)
    assert fit.r2_pooled == pytest.approx(1 - fit.sse / np.sum((points["test_loss"] - points["test_loss"].mean()) ** 2))
    for size, group in points.groupby("params"):
        around = np.sum((group["test_loss"] - group["test_loss"].mean()) ** 2)
        assert fit.r2_within[str(size)] == pytest.approx(1 - squares[group.index].sum() / around)


@pytest.mark.parametrize("loss", ["linear", "log"])
def test_several_seeds_share_the_slope_and_keep_their_levels(loss: Any) -> None:
    tables = [saturating(0.3, 9e3, level=level).assign(base_seed=seed) for seed, level in enumerate((0.3, 0.5, 0.6))]
    points = pd.concat(tables, ignore_index=True)
    fit = fit_points(points, x="samples", loss=loss)
    assert fit.k_max == pytest.approx(0.3, rel=1e-6)
    assert fit.n_0 == pytest.approx(9e3, rel=1e-6)
    assert list(fit.k) == [str(size) for size in SIZES]
    assert len(fit.e) == 12
    slope = fit.k["4000"]
    assert fit.e["params=4000 base_seed=1"] == pytest.approx(0.5 - 0.7 + slope * np.log10(64))
    assert fit.curves["params=4000 base_seed=1"] == {"params": 4000, "base_seed": 1, "points": 20}
    per_size = fit.predict(4000, [640.0])
    assert per_size == pytest.approx(10 ** (np.mean([0.3, 0.5, 0.6]) - 0.7 - slope * np.log10(10)))
    named = fit_points(
        points.assign(run=[f"m{n}_b{b}" for n, b in zip(points.params, points.base_seed, strict=True)]),
        x="samples",
        loss=loss,
    )
    assert named.e["m4000_b1"] == pytest.approx(fit.e["params=4000 base_seed=1"])


def test_a_seed_column_with_one_curve_per_size_keeps_sizes_as_keys() -> None:
    fit = fit_points(saturating(0.3, 9e3).assign(base_seed=0, seed=3, run="r"), x="samples", loss="log")
    assert list(fit.e) == [str(size) for size in SIZES]


def test_step_0_is_never_fitted_and_the_selection_is_kept_on_the_fit() -> None:
    points = saturating(0.3, 9e3, noise=0.05)
    base = pd.DataFrame({"params": SIZES, "step": 0, "samples": 0, "test_loss": 0.001})
    fit = fit_points(pd.concat([base, points]), x="samples", loss="linear", max_params=16_000, first_steps=10)
    few = points[(points["params"] <= 16_000) & (points["step"] <= 10)]
    alone = fit_points(few, x="samples", loss="linear")
    assert fit.to_json() == alone.to_json() | {"max_params": 16_000.0, "first_steps": 10}
    assert fit.points == 30


def test_two_sizes_are_solved_exactly_and_said_to_test_nothing() -> None:
    fit = fit_points(curves({1_000: 0.05, 8_000: 0.16}), x="samples", loss="log")
    assert list(fit.k.values()) == pytest.approx([0.05, 0.16], rel=1e-9)
    assert fit.notes == ["two sizes determine k_max and n_0 exactly: nothing in the data tests the law"]


@pytest.mark.parametrize("loss", ["linear", "log"])
def test_a_slope_in_proportion_to_size_ends_at_the_upper_bound(loss: Any) -> None:
    fit = fit_points(curves({1_000: 0.004, 4_000: 0.017, 64_000: 0.3}), x="samples", loss=loss)
    assert fit.bounds_hit == {"n_0": "upper"}
    assert fit.n_0 == fit.bounds["n_0"][1] == 64e6
    assert fit.k["64000"] == pytest.approx(0.3, rel=0.01)
    assert "saturation is not seen" in fit.notes[0]


@pytest.mark.parametrize("loss", ["linear", "log"])
def test_a_slope_that_falls_with_size_ends_at_the_lower_bound(loss: Any) -> None:
    fit = fit_points(curves({1_000: 0.3, 4_000: 0.2, 64_000: 0.1}), x="samples", loss=loss)
    assert fit.bounds_hit == {"n_0": "lower"}
    assert fit.n_0 == fit.bounds["n_0"][0] == 1.0
    assert fit.notes == ["the slope does not grow with size: n_0 is at its lower bound"]


@pytest.mark.parametrize("loss", ["linear", "log"])
@pytest.mark.parametrize("slope", [0.0, -0.05])
def test_no_falling_loss_means_k_max_0_and_no_n_0(loss: Any, slope: float) -> None:
    fit = fit_points(curves(dict.fromkeys(SIZES, slope), level=0.3), x="samples", loss=loss)
    assert (fit.k_max, fit.n_0, fit.bounds_hit) == (0.0, None, {"k_max": "lower"})
    assert set(fit.k.values()) == {0.0}
    assert fit.k_free["4000"] == pytest.approx(slope, abs=1e-12)
    assert only_json(fit.to_json())
    assert fit.notes[0].startswith("no slope fits better than k = 0")
    assert (fit.r2_pooled is None) == (slope == 0.0)


def test_a_loss_of_exactly_1_is_a_point_like_any_other() -> None:
    fit = fit_points(curves(dict.fromkeys(SIZES, 0.0), level=0.7), x="samples", loss="log")
    assert (fit.k_max, fit.sse, set(fit.e.values())) == (0.0, 0.0, {0.0})
    points = saturating(0.3, 9e3, level=0.7)
    assert points["test_loss"].max() == 1.0
    assert fit_points(points, x="samples", loss="linear").k_max == pytest.approx(0.3, rel=1e-6)


def test_one_rising_curve_among_falling_ones_is_kept() -> None:
    fit = fit_points(curves({1_000: -0.02, 4_000: 0.1, 64_000: 0.3}), x="samples", loss="linear")
    assert fit.k_free["1000"] == pytest.approx(-0.02, rel=1e-6)
    assert 0 < fit.k["1000"] < fit.k["4000"] < fit.k["64000"]


def test_two_points_a_size_have_a_slope_without_an_error() -> None:
    fit = fit_points(saturating(0.3, 9e3, steps=2), x="samples", loss="log")
    assert set(fit.k_free_se.values()) == {None}
    assert fit.k_max == pytest.approx(0.3, rel=1e-6)


def test_compute_that_steps_back_is_fitted_where_it_stands() -> None:
    points = saturating(0.3, 9e3).rename(columns={"samples": "compute_flops"})
    points.loc[points["step"] == 19, "step"] = 30
    assert fit_points(points, x="compute", loss="log").k_max == pytest.approx(0.3, rel=1e-6)


def test_repeated_steps_in_one_curve_are_pointed_out() -> None:
    points = saturating(0.3, 9e3)
    notes = fit_points(pd.concat([points, points]), x="samples", loss="log").notes
    assert notes == ["some curve has several rows of one step: what tells these apart is not a column of a curve"]


def test_a_million_points_in_any_order() -> None:
    generator = np.random.default_rng(1)
    params = generator.choice(SIZES, 1_000_000)
    samples = 10 ** generator.uniform(2, 6, params.size)
    test_loss = 10 ** (
        -0.3 - 0.2 / (1 + 9e3 / params) * (np.log10(samples) - 2) + generator.normal(0, 0.02, params.size)
    )
    points = pd.DataFrame({"params": params, "step": 1, "samples": samples, "test_loss": test_loss})
    fit = fit_points(points, x="samples", loss="linear")
    assert fit.k_max == pytest.approx(0.2, rel=0.002)
    assert fit.n_0 == pytest.approx(9e3, rel=0.01)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"x": "compue"}, "x is 'compue'; allowed: compute, samples; did you mean compute?"),
        ({"loss": "Log"}, "loss is 'Log'; allowed: linear, log, huber; did you mean log?"),
        ({"max_params": 0}, "max_params is 0; allowed: a positive number"),
        ({"first_steps": -1}, "first_steps is -1; allowed: a positive number"),
        ({"intervals": "profil"}, "intervals is 'profil'; allowed: none, bootstrap, profile; did you mean profile?"),
        ({"draws": 0}, "draws is 0; allowed: a positive number"),
        ({"level": 1.5}, "level is 1.5; allowed: a number between 0 and 1"),
        ({"x": "compute"}, "points: missing column compute_flops"),
        (
            {"max_params": 2e3},
            "points with params <= 2000.0: holds only one size (params 1000); a law across sizes needs at least two",
        ),
        ({"max_params": 10}, "points with params <= 10: holds no size; a law across sizes needs at least two"),
        (
            {"first_steps": 1},
            "points with step <= 1: params 1000 has 1 usable points (after step 0); at least 2 are needed",
        ),
    ],
)
def test_refused_options(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as caught:
        fit_points(saturating(0.3, 9e3), **{"x": "samples", "loss": "log", **options})
    assert str(caught.value) == says


def test_refused_tables() -> None:
    def refusal(points: pd.DataFrame) -> str:
        with pytest.raises(UserError) as caught:
            fit_points(points, x="samples", loss="log")
        return str(caught.value)

    points = saturating(0.3, 9e3)
    still = points.assign(samples=np.where(points["params"] == 4_000, 64, points["samples"]))
    assert refusal(still) == "points: no curve of params 4000 has two different values of samples, so it has no slope"
    broken = points.copy()
    broken.loc[2, "test_loss"] = np.nan
    assert refusal(broken) == "points, row 3: test_loss is missing (NaN); allowed: a number"
    two = points.assign(variant=["base", "instruct"] * 40)
    assert refusal(two) == "points: holds several variants (base, instruct); name the one to use"
    assert refusal(points.iloc[:0]) == "points: holds no rows; at least two points of two sizes are needed"


def test_predicting_a_curve_that_was_not_fitted_is_refused() -> None:
    fit = fit_points(saturating(0.3, 9e3), x="samples", loss="log")
    with pytest.raises(UserError, match=r"the fit has no curve '6400' \(it has .*\); did you mean 64000\?"):
        fit.predict(6400, [64.0])
