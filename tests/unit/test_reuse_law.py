"""The laws of data reuse: the formula, recovery of known parameters, the published curves, refusals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import least_squares

from rlscale.errors import UserError
from rlscale.findings import ReuseFit, fit_reuse, published_reuse
from rlscale.laws.data_reuse import LinearPenalty, NoEffect, SaturatingReuse, repeats

DATA = Path(__file__).parents[2] / "config" / "data"
TAUS = (1, 4, 16, 64)
STEPS = np.array([4, 8, 16, 32, 64, 128, 256])


def reuse_points(law: Any, value: float, *, k: float = 0.2, level: float = 0.4, noise: float = 0.0) -> pd.DataFrame:
    """Return one run for each tau of TAUS whose log10 L is exactly the law's, up to noise."""
    generator = np.random.default_rng(3)
    tables = []
    for tau in TAUS:
        samples = 128.0 * STEPS
        unique = np.minimum(samples, samples[-1] / tau)
        log10_loss = level - k * law.log10_effective(unique, samples, value)
        log10_loss += generator.normal(0, noise, STEPS.size)
        table = {"run": f"t{tau}", "params": 5_000, "tau": tau, "step": STEPS, "samples": samples}
        tables.append(pd.DataFrame({**table, "unique_samples": unique, "test_loss": 10**log10_loss}))
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    return published_reuse(pd.read_csv(DATA / "tan2025_base_reuse.csv"))


def test_effective_data_by_hand() -> None:
    """Four passes over 100 problems (r = 3) with r* = 15.39, the value of arXiv 2305.16264 for language data."""
    law = SaturatingReuse()
    unique, samples = np.array([100.0]), np.array([400.0])
    assert repeats(unique, samples) == pytest.approx([3.0])
    assert 10 ** law.log10_effective(unique, samples, 15.39) == pytest.approx(
        [100 + 100 * 15.39 * (1 - np.exp(-3 / 15.39))]
    )
    assert 10 ** law.log10_effective(unique, samples, 1e9) == pytest.approx([400.0])  # as good as new problems
    assert 10 ** law.log10_effective(unique, samples, 1e-9) == pytest.approx([100.0])  # worth nothing
    assert 10 ** LinearPenalty().log10_effective(unique, samples, 0.1) == pytest.approx([400 * 10**-0.3])
    assert 10 ** NoEffect().log10_effective(unique, samples, 0.0) == pytest.approx([400.0])


@pytest.mark.parametrize("loss", ["linear", "log"])
@pytest.mark.parametrize(
    ("law", "name", "value"),
    [(SaturatingReuse(), "r_star", 12.0), (LinearPenalty(), "penalty", 0.02), (NoEffect(), None, 0.0)],
)
def test_known_parameters_are_found_and_the_law_behind_them_wins(loss: Any, law: Any, name: str, value: float) -> None:
    fit = fit_reuse(reuse_points(law, value), loss=loss)
    own = fit.laws[law.name]
    assert fit.winner == law.name
    assert own.k["5000"] == pytest.approx(0.2, rel=1e-5)
    assert own.e["5000"] == pytest.approx(0.4, rel=1e-5)
    if name:
        assert own.parameters[name]["estimate"] == pytest.approx(value, rel=1e-4)
        assert own.parameters[name]["bound_hit"] is None


def test_no_effect_is_where_the_rivals_end() -> None:
    laws = fit_reuse(reuse_points(NoEffect(), 0.0), loss="log").laws
    assert laws["saturating_reuse"].parameters["r_star"]["bound_hit"] == "upper"
    assert laws["saturating_reuse"].parameters["r_star"]["high"] is None
    assert laws["linear_penalty"].parameters["penalty"]["bound_hit"] == "lower"


def test_worthless_repeats_end_at_the_lower_bound_of_r_star() -> None:
    fit = fit_reuse(reuse_points(SaturatingReuse(), 1e-6), loss="log")
    found = fit.laws["saturating_reuse"].parameters["r_star"]
    assert (found["bound_hit"], found["low"], fit.winner) == ("lower", None, "saturating_reuse")


@pytest.mark.parametrize("loss", ["linear", "log"])
def test_agrees_with_a_general_optimiser(published: pd.DataFrame, loss: Any) -> None:
    unique, samples = (published[name].to_numpy(dtype=float) for name in ("unique_samples", "samples"))
    observed = published["test_loss"].to_numpy()

    def residuals(free: np.ndarray) -> np.ndarray:
        fitted = free[2] - free[1] * (SaturatingReuse().log10_effective(unique, samples, float(np.exp(free[0]))) - 4)
        return np.asarray(10**fitted - observed if loss == "linear" else fitted - np.log10(observed))

    other = least_squares(residuals, [2.0, 0.04, -0.15], xtol=1e-15, ftol=1e-15, gtol=1e-15)
    own = fit_reuse(published, loss=loss).laws["saturating_reuse"]
    assert own.sse <= 2 * other.cost * (1 + 1e-12)
    assert own.parameters["r_star"]["estimate"] == pytest.approx(np.exp(other.x[0]), rel=1e-4)
    assert own.k["7000000000"] == pytest.approx(other.x[1], rel=1e-4)


def test_published_reuse(published: pd.DataFrame) -> None:
    """Tan et al., 7B base: repeats lose their worth, but these curves do not say whether they saturate."""
    assert (len(published), published["run"].nunique()) == (538, 7)
    last = published.groupby("tau").last()
    # At tau = 100 one batch is seen a hundred times; at tau = 1 no problem twice.
    assert last["unique_samples"].to_dict() == {tau: 51_200 // tau for tau in (1, 2, 5, 20, 25, 50, 100)}
    assert last["samples"].to_dict()[1] == 51_200
    fit = fit_reuse(published, loss="log")
    r_star = fit.laws["saturating_reuse"].parameters["r_star"]
    assert r_star["estimate"] == pytest.approx(37.7, abs=0.1)
    assert r_star["low"] < 30 < 50 < r_star["high"]
    assert fit.winner == "not identified"
    assert "saturating_reuse leads linear_penalty by 0." in fit.reason
    assert fit.laws["no_effect"].sse > 1.2 * fit.laws["saturating_reuse"].sse
    assert fit.notes == ["one base model: how much the parameters vary between base models is not in their intervals"]


def test_json_holds_the_whole_fit(published: pd.DataFrame) -> None:
    fit = fit_reuse(published, loss="linear")
    found = json.loads(json.dumps(fit.to_json(), allow_nan=False))
    assert list(found) == list(ReuseFit.__annotations__)
    assert list(found["laws"]) == ["saturating_reuse", "no_effect", "linear_penalty"]
    assert found["laws"]["linear_penalty"]["degrees_of_freedom"] == 3
    assert 0.6 < found["laws"]["saturating_reuse"]["r2"] < 0.65


def test_each_base_model_has_its_level_and_each_size_its_slope() -> None:
    law = SaturatingReuse()
    points = pd.concat(
        [
            reuse_points(law, 9.0, k=0.2, level=0.4).assign(base_seed=0),
            reuse_points(law, 9.0, k=0.2, level=0.3).assign(base_seed=1),
            reuse_points(law, 9.0, k=0.3, level=0.5).assign(base_seed=0, params=20_000),
        ],
        ignore_index=True,
    )
    points["run"] = [f"m{n}_t{t}_b{b}" for n, t, b in zip(points.params, points.tau, points.base_seed, strict=True)]
    fit = fit_reuse(points, loss="log")
    own = fit.laws["saturating_reuse"]
    assert (fit.runs, own.degrees_of_freedom, fit.notes) == (12, 6, [])
    assert own.parameters["r_star"]["estimate"] == pytest.approx(9.0, rel=1e-4)
    assert own.k == pytest.approx({"5000": 0.2, "20000": 0.3}, rel=1e-5)
    assert list(own.e.values()) == pytest.approx([0.4, 0.3, 0.5], rel=1e-5)


def test_correlated_steps_count_as_few_samples() -> None:
    points = reuse_points(SaturatingReuse(), 9.0, noise=0.02)
    independent = fit_reuse(points, loss="log").effective_samples
    shifted = points.assign(test_loss=points["test_loss"] * points["tau"].map({1: 1.0, 4: 1.2, 16: 0.85, 64: 1.05}))
    dependent = fit_reuse(shifted, loss="log").effective_samples
    assert 4 <= dependent < 0.5 * independent
    assert independent <= len(points)


def test_every_interval_end_is_where_the_profile_crosses() -> None:
    """At an end of the interval the sum of squares is exp(2.706 / m) times the least: one chi-square at 90 %."""
    points = reuse_points(SaturatingReuse(), 9.0, noise=0.01)
    fit = fit_reuse(points, loss="log")
    own = fit.laws["saturating_reuse"]
    u, d = (points[name].to_numpy(dtype=float) for name in ("unique_samples", "samples"))
    for end in ("low", "high"):
        effective = SaturatingReuse().log10_effective(u, d, own.parameters["r_star"][end])
        residual = np.polyfit(effective, np.log10(points["test_loss"]), 1, full=True)[1][0]
        assert residual / own.sse == pytest.approx(np.exp(2.705543 / fit.effective_samples), rel=1e-5)


def test_duplicated_rows_leave_the_estimates() -> None:
    points = reuse_points(SaturatingReuse(), 9.0, noise=0.02)
    once, twice = fit_reuse(points, loss="linear"), fit_reuse(pd.concat([points, points]), loss="linear")
    for name, law in once.laws.items():
        assert twice.laws[name].k == pytest.approx(law.k, rel=1e-6)
        assert twice.laws[name].sse == pytest.approx(2 * law.sse, rel=1e-9)


@pytest.mark.parametrize(
    ("change", "loss", "says"),
    [
        ({}, "Log", "loss is 'Log'; allowed: linear, log; did you mean log?"),
        ({"unique_samples": 0}, "log", "reuse points: unique_samples is 0 after step 0; allowed: a positive number"),
        ({"test_loss": 1.5}, "log", "reuse points, row 1: test_loss is 1.5; allowed: above 0 and at most 1"),
    ],
)
def test_refusals(change: dict[str, Any], loss: Any, says: str) -> None:
    with pytest.raises(UserError) as caught:
        fit_reuse(reuse_points(SaturatingReuse(), 9.0).assign(**change), loss=loss)
    assert str(caught.value) == says


def test_refuses_tables_that_cannot_tell() -> None:
    points = reuse_points(SaturatingReuse(), 9.0)
    with pytest.raises(UserError, match="no run repeats a problem"):
        fit_reuse(points[points["tau"] == 1], loss="log")
    with pytest.raises(UserError, match="reuse points: missing columns tau, unique_samples"):
        fit_reuse(points.drop(columns=["tau", "unique_samples"]), loss="log")
    with pytest.raises(UserError, match="reuse points: missing column kind"):
        published_reuse(points)
    with pytest.raises(UserError, match="no row has kind scatter"):
        published_reuse(points.assign(kind="fitted_line"))
