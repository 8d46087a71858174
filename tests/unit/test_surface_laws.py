"""The laws of the whole surface: published points, a second reading of each formula, small and degenerate tables."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.optimize import least_squares
from tests.json_checks import only_json

from rlscale.curve_points import Curves, arrange, select_points
from rlscale.errors import UserError
from rlscale.fitting.surface import SURFACE_LAWS, fit_surface
from rlscale.fitting.surface_fit import SurfaceFit
from rlscale.laws import Target
from rlscale.points import read_points

DATA = Path(__file__).parents[2] / "config" / "data"
SIZES = (1_000, 4_000, 16_000, 64_000, 256_000)
ACROSS = sorted(name for name, law in SURFACE_LAWS.items() if not law.by_size)
Array = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    points = read_points(DATA / "tan2025_base_curves.csv")
    return points[points["params"] <= 3.3e10]


def table(loss: Callable[[int, Array], Any], *, sizes: Any = SIZES, steps: int = 20, base: bool = True) -> pd.DataFrame:
    """Return a curve for each size, with a step 0 whose loss falls a little with size."""
    step = np.arange(1.0, steps + 1)
    tables = []
    for size in sizes:
        curve = pd.DataFrame({"params": size, "step": step, "samples": 64 * step, "test_loss": loss(size, 64 * step)})
        first = {"params": size, "step": 0, "samples": 0, "test_loss": 0.95 - 0.02 * np.log10(size)}
        tables += [pd.DataFrame([first]), curve] if base else [curve]
    return pd.concat(tables, ignore_index=True)


def curves(points: pd.DataFrame, x: str = "samples") -> Curves:
    return arrange(select_points(points, max_params=None, first_steps=None), x=x)


def noisy(seed: int = 3) -> pd.DataFrame:
    """Return curves that every law can follow in part."""
    generator = np.random.default_rng(seed)

    def loss(size: int, samples: Array) -> Array:
        fall = 0.85 * (samples / 64) ** (-0.35 / (1 + 2e4 / size))
        return np.clip(fall * np.exp(generator.normal(0, 0.02, samples.size)), 1e-6, 1)

    return table(loss)


def estimates(fit: SurfaceFit) -> dict[str, float]:
    return {name: parameter["estimate"] for name, parameter in fit.parameters.items()}


def power(n: Array, small: float, large: float) -> Array:
    """Return a power law of n through its values at the smallest and the largest n."""
    share = np.log(n / n.min()) / np.log(n.max() / n.min())
    return np.asarray(small ** (1 - share) * large**share)


# The formulas as the documentation has them, in natural units: N, X, the loss at step 0 and the estimates by name.
def smooth_level(n: Array, x: Array, _: Array, p: dict[str, float]) -> Array:
    return np.asarray(10 ** (-p["k_max"] / (1 + p["n_0"] / n) * (np.log10(x) - p["c"]) + p["a"]))


def base_level(n: Array, x: Array, base: Array, p: dict[str, float]) -> Array:
    return smooth_level(n, x, base, p) * base ** p["b"]


def joint_sigmoid(n: Array, x: Array, base: Array, p: dict[str, float]) -> Array:
    start = base if "r_0_smallest" not in p else power(n, 1 - p["r_0_smallest"], 1 - p["r_0_largest"])
    end = power(n, 1 - p["a_smallest"], 1 - p["a_largest"])
    return start + (end - start) / (1 + (power(n, p["c_mid_smallest"], p["c_mid_largest"]) / x) ** p["b"])


def additive(n: Array, x: Array, _: Array, p: dict[str, float]) -> Array:
    return np.asarray(p["l_inf"] + (p["n_0"] / n) ** p["alpha"] + (p["x_0"] / x) ** p["beta"])


def decomposition(n: Array, x: Array, _: Array, p: dict[str, float]) -> Array:
    learned = power(n, p["lambda_smallest"], p["lambda_largest"])
    half = power(n, p["d_0_smallest"], p["d_0_largest"])
    return p["l_inf"] + (p["n_0"] / n) ** p["alpha"] + learned / (1 + (x / half) ** p["beta"])


FORMULAS: dict[str, Callable[[Array, Array, Array, dict[str, float]], Array]] = {
    function.__name__: function for function in (base_level, smooth_level, joint_sigmoid, additive, decomposition)
}


@pytest.mark.parametrize("loss", ["linear", "log"])
@pytest.mark.parametrize("name", ACROSS)
def test_no_general_optimiser_gets_lower_from_there(name: str, loss: Any) -> None:
    """The formula in natural units gives the same sum of squares, and scipy finds nothing lower near it."""
    used = curves(noisy())
    fit = fit_surface(SURFACE_LAWS[name], used, loss)
    n, base = np.repeat(used.params, used.counts), np.repeat(used.base_loss, used.counts)
    x = 10 ** (used.log10_x + np.repeat(used.mean_log10_x, used.counts))
    best, scales = estimates(fit), fit.parameters
    free = [key for key, value in best.items() if value is not None and scales[key]["bound_hit"] is None]
    fixed = {key: 1.0 if value is None else value for key, value in best.items()}

    def residuals(moved: Array) -> Array:
        values = fixed | {key: fixed[key] * np.exp(shift) for key, shift in zip(free, moved, strict=True)}
        modelled = FORMULAS[name](n, x, base, values)
        return modelled - used.loss if loss == "linear" else np.log10(np.maximum(modelled, 1e-12)) - np.log10(used.loss)

    at_fit = residuals(np.zeros(len(free)))
    assert np.sum(at_fit**2) == pytest.approx(fit.sse, rel=1e-6)
    other = least_squares(residuals, np.zeros(len(free)), x_scale="jac", xtol=1e-12, ftol=1e-12, gtol=1e-12)
    assert 2 * other.cost >= fit.sse * (1 - 1e-6)
    assert len(free) >= 4


@pytest.mark.parametrize("loss", ["linear", "log"])
def test_sigmoid_by_size_is_the_published_formula(loss: Any) -> None:
    used = curves(noisy().query("step > 0"))
    fit = fit_surface(SURFACE_LAWS["sigmoid"], used, loss)
    assert fit.degrees_of_freedom == 4 * len(SIZES)
    x = 64.0 * np.arange(1, 21)
    for size in SIZES:
        b, c_mid, r_0, a = (estimates(fit)[f"{name}[{size}]"] for name in ("b", "c_mid", "r_0", "a"))
        rewards = r_0 + (a - r_0) / (1 + (c_mid / x) ** b)
        np.testing.assert_allclose(fit.predict(Target(size), x), 1 - rewards, atol=1e-9)


def test_sigmoid_starts_at_the_score_of_step_0_where_it_is_known() -> None:
    points = noisy()
    fit = fit_surface(SURFACE_LAWS["sigmoid"], curves(points), "linear")
    assert fit.degrees_of_freedom == 3 * len(SIZES)
    assert "r_0[1000]" not in fit.parameters
    assert any("step 0" in note for note in fit.notes)
    base = float(points.query("params == 4000 and step == 0")["test_loss"].iloc[0])
    assert fit.predict(Target(4_000), [1e-30]) == pytest.approx(base, abs=0.02)
    assert fit.predict(Target(4_000, base_loss=0.7), [1e-30]) == pytest.approx(0.7, abs=0.02)
    partly = points[(points["step"] > 0) | (points["params"] != 4_000)]
    mixed = fit_surface(SURFACE_LAWS["sigmoid"], curves(partly), "linear")
    assert mixed.degrees_of_freedom == 3 * len(SIZES) + 1
    assert "r_0[4000]" in mixed.parameters


# What the laws' choices rest on: published base sizes up to 32B, each left out in turn; RMSE of the loss over the six.
@pytest.mark.parametrize(
    ("name", "x", "loss", "rmse"),
    [
        ("smooth_level", "compute_flops", "log", 0.0241),
        ("smooth_level", "samples", "linear", 0.0238),
        ("joint_sigmoid", "compute_flops", "linear", 0.0318),
        ("decomposition", "samples", "log", 0.0334),
        ("additive", "samples", "linear", 0.0614),
    ],
)
def test_each_published_size_forecast_from_the_others(
    published: pd.DataFrame, name: str, x: str, loss: Any, rmse: float
) -> None:
    errors = []
    for size, left_out in published.groupby("params"):
        fit = fit_surface(SURFACE_LAWS[name], curves(published[published["params"] != size], x), loss)
        forecast = fit.predict(Target(int(str(size))), left_out[x].to_numpy())
        errors.append(np.mean((forecast - left_out["test_loss"].to_numpy()) ** 2))
    assert np.sqrt(np.mean(errors)) == pytest.approx(rmse, abs=0.0005)


def test_published_points(published: pd.DataFrame) -> None:
    """The lines of all sizes meet near the first step's compute, at a loss near 1."""
    fit = fit_surface(SURFACE_LAWS["smooth_level"], curves(published, "compute_flops"), "log")
    found = estimates(fit)
    assert found["n_0"] == pytest.approx(7.877e9, rel=1e-3)
    assert found["k_max"] == pytest.approx(0.10715, rel=1e-3)
    assert found["c"] == pytest.approx(16.298, abs=2e-3)
    assert found["a"] == pytest.approx(-0.0043, abs=1e-4)
    assert (fit.points, fit.degrees_of_freedom, fit.notes) == (629, 4, [])
    assert fit.r2_pooled == pytest.approx(0.9898, abs=1e-4)
    assert list(fit.r2_within) == sorted((str(size) for size in published["params"].unique()), key=int)


@pytest.mark.parametrize("name", SURFACE_LAWS)
def test_json_has_native_types_and_every_start(name: str) -> None:
    fit = fit_surface(SURFACE_LAWS[name], curves(noisy()), "log")
    made = fit.to_json()
    assert only_json(made)
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    for key in (
        "law",
        "formula",
        "loss",
        "parameters",
        "degrees_of_freedom",
        "points",
        "sse",
        "r2_pooled",
        "r2_within",
    ):
        assert key in made
    for parameter in made["parameters"].values():
        assert list(parameter) == ["estimate", "unit", "lower", "upper", "bound_hit"]
        low, high, value = (parameter[key] for key in ("lower", "upper", "estimate"))
        assert value is None or ((low is None or low <= value) and (high is None or value <= high))
    assert len(made["parameters"]) == made["degrees_of_freedom"]
    assert {key for start in made["starts"] for key in start["start"]} == set(made["parameters"])
    # Each fitted part has starts of its own; the best of each, as far as it was led on a few points, is near the end.
    led: dict[tuple[str, ...], list[float]] = {}
    for start in made["starts"]:
        led.setdefault(tuple(start["start"]), []).append(start["sse"])
    assert all(len(sums) >= 3 for sums in led.values())
    assert made["sse"] * (1 - 1e-9) <= sum(map(min, led.values())) <= made["sse"] * 1.05


@pytest.mark.parametrize("name", ACROSS)
def test_an_unseen_size_has_a_loss_that_falls(name: str) -> None:
    fit = fit_surface(SURFACE_LAWS[name], curves(noisy()), "log")
    target = Target(1_000_000, base_loss=0.83)
    assert fit.levelled(target)
    x = np.geomspace(64, 1e5, 30)
    loss = fit.predict(target, x)
    assert np.all(np.diff(loss) <= 1e-12)
    assert 0 < loss[-1] < loss[0] <= 1
    assert fit.predict(target, x.reshape(5, 6)).shape == (5, 6)


def test_what_a_law_cannot_say_is_refused() -> None:
    points = noisy()
    sigmoid = fit_surface(SURFACE_LAWS["sigmoid"], curves(points), "log")
    unseen = Target(16_001, 0.8)
    assert not sigmoid.levelled(unseen)
    with pytest.raises(
        UserError, match=r"sigmoid is fitted size by size and has no params 16001 .*did you mean 16000\?"
    ):
        sigmoid.predict(unseen, [64.0])
    base = fit_surface(SURFACE_LAWS["base_level"], curves(points), "log")
    assert base.levelled(Target(16_000))
    assert base.levelled(Target(5_000, curve="16000"))
    assert not base.levelled(Target(5_000))
    with pytest.raises(UserError, match="base_level needs the loss at step 0 of params 5000, which is not known"):
        base.predict(Target(5_000), [64.0])
    for wrong in (0.0, 1.2, float("nan")):
        with pytest.raises(UserError, match=r"loss at step 0 of params 5000 is .*; allowed: above 0 and at most 1"):
            base.predict(Target(5_000, wrong), [64.0])
    with pytest.raises(UserError, match="params is 0; allowed: a positive whole number"):
        base.predict(Target(0, 0.5), [64.0])
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UserError, match=r"asked for the loss at X = .*; allowed: a positive number"):
            base.predict(Target(16_000), [64.0, wrong])


@pytest.mark.parametrize(
    ("name", "points", "says"),
    [
        ("base_level", noisy().query("params != 4000 or step > 0"), "step 0 of every curve; 4000 has none"),
        (
            "base_level",
            noisy().assign(test_loss=lambda t: t["test_loss"].where(t["step"] > 0, 0.9)),
            "base models that differ in the loss at step 0; all have 0.9",
        ),
        ("base_level", noisy().query("params < 16000"), "base_level needs at least 3 sizes; the points have 2"),
        ("additive", noisy().query("params < 16000"), "additive needs at least 3 sizes; the points have 2"),
        ("decomposition", noisy().query("params < 16000"), "decomposition needs at least 3 sizes; the points have 2"),
        ("decomposition", noisy().query("step < 4"), "decomposition needs at least 4 different X; the points have 3"),
        ("joint_sigmoid", noisy().query("step < 4"), "joint_sigmoid needs at least 4 different X; the points have 3"),
        ("sigmoid", noisy().query("step < 3"), "sigmoid needs at least 3 different X; params 1000 has 2"),
        ("sigmoid", noisy().query("0 < step < 4"), r"sigmoid needs points at 4 or more .*; params 1000 has 3"),
    ],
)
def test_too_few_points_are_refused(name: str, points: pd.DataFrame, says: str) -> None:
    with pytest.raises(UserError, match=says):
        fit_surface(SURFACE_LAWS[name], curves(points), "linear")


@pytest.mark.parametrize("loss", ["linear", "log"])
@pytest.mark.parametrize("value", [0.5, 1.0])
@pytest.mark.parametrize("name", SURFACE_LAWS)
def test_losses_that_are_all_equal_are_met_exactly(name: str, value: float, loss: Any) -> None:
    fit = fit_surface(SURFACE_LAWS[name], curves(table(lambda _, x: np.full(x.size, value))), loss)
    assert fit.sse < 1e-20
    assert fit.r2_pooled is None
    assert only_json(fit.to_json())
    forecast = fit.predict(Target(4_000, 0.9), [64.0, 1280.0])
    assert forecast == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("loss", ["linear", "log"])
@pytest.mark.parametrize("name", ["base_level", "smooth_level", "additive", "decomposition"])
def test_laws_of_falling_loss_are_flat_on_curves_that_rise(name: str, loss: Any) -> None:
    fit = fit_surface(SURFACE_LAWS[name], curves(table(lambda _, x: 0.2 * (x / 64) ** 0.1)), loss)
    forecast = fit.predict(Target(4_000, 0.9), [64.0, 1280.0])
    assert forecast[0] == pytest.approx(forecast[1], rel=1e-6)
    assert 0.2 < forecast[0] < 0.27
    assert any("without effect" in note for note in fit.notes)
    slope = {"additive": "x_0", "decomposition": "lambda_largest"}.get(name, "k_max")
    assert fit.parameters[slope]["bound_hit"] == "lower"
    assert estimates(fit)[slope] == 0.0


@pytest.mark.parametrize("loss", ["linear", "log"])
def test_a_sigmoid_may_rise(loss: Any) -> None:
    points = table(lambda _, x: 0.3 - 0.1 / (1 + (x / 400) ** 1.5), base=False)
    for name in ("sigmoid", "joint_sigmoid"):
        fit = fit_surface(SURFACE_LAWS[name], curves(points), loss)
        assert fit.sse < 1e-18
        np.testing.assert_allclose(fit.predict(Target(1_000), [1e-9, 400.0]), [0.2, 0.25], atol=1e-6)


def test_a_bound_that_binds_is_reported() -> None:
    """Slopes in proportion to size: no saturation is seen, and n_0 ends at a thousand times the largest size."""
    points = table(lambda size, x: 0.9 * (x / 64) ** (-0.3 * size / 256_000))
    fit = fit_surface(SURFACE_LAWS["smooth_level"], curves(points), "log")
    assert {name: value["bound_hit"] for name, value in fit.parameters.items() if value["bound_hit"]} == {
        "n_0": "upper"
    }
    assert estimates(fit)["n_0"] == fit.parameters["n_0"]["upper"] == pytest.approx(256e6)


def test_two_sizes_are_enough_for_a_meeting_point() -> None:
    points = table(lambda size, x: 0.9 * (x / 64) ** (-0.4 / (1 + 5e3 / size)), sizes=SIZES[:2])
    fit = fit_surface(SURFACE_LAWS["smooth_level"], curves(points), "log")
    assert estimates(fit) == pytest.approx(
        {"n_0": 5e3, "c": np.log10(64), "k_max": 0.4, "a": np.log10(0.9)}, rel=1e-5, abs=1e-6
    )


@pytest.mark.parametrize("name", SURFACE_LAWS)
def test_a_weight_of_two_is_a_point_twice(name: str) -> None:
    points = noisy()
    chosen = (points["params"] == 16_000) & (points["step"] > 0)
    once, twice = curves(points), curves(pd.concat([points, points[chosen]]))
    doubled = replace(once, weight=np.where(np.repeat(once.params, once.counts) == 16_000, 2.0, 1.0))
    weighted = fit_surface(SURFACE_LAWS[name], doubled, "linear")
    repeated = fit_surface(SURFACE_LAWS[name], twice, "linear")
    assert weighted.sse == pytest.approx(repeated.sse, rel=1e-9)
    assert weighted.r2_pooled == pytest.approx(repeated.r2_pooled, rel=1e-9)
    x = np.geomspace(64, 1e4, 9)
    np.testing.assert_allclose(
        weighted.predict(Target(16_000), x), repeated.predict(Target(16_000), x), rtol=1e-6, atol=1e-9
    )


def test_points_without_weight_do_not_count() -> None:
    points = noisy()
    used = curves(points)
    index = np.arange(used.loss.size)
    spoilt = replace(used, loss=np.where(index % 7 == 0, 0.01, used.loss), weight=np.where(index % 7 == 0, 0.0, 1.0))
    other = replace(spoilt, loss=np.where(index % 7 == 0, 1.0, used.loss))
    for name, law in SURFACE_LAWS.items():
        left, right = fit_surface(law, spoilt, "log"), fit_surface(law, other, "log")
        assert left.parameters == right.parameters, name
        assert left.sse == right.sse


def test_several_curves_a_size_share_the_law_and_keep_their_own_start() -> None:
    tables = [noisy(seed).assign(seed=seed) for seed in (1, 2, 3)]
    for seed, part in enumerate(tables):
        part.loc[part["step"] == 0, "test_loss"] -= 0.01 * seed
    fit = fit_surface(SURFACE_LAWS["sigmoid"], curves(pd.concat(tables)), "linear")
    assert fit.points == 300
    first, last = (fit.predict(Target(1_000, curve=f"params=1000 seed={seed}"), [1e-30])[0] for seed in (1, 3))
    assert first - last == pytest.approx(0.02, rel=0.05)
    mean = fit.predict(Target(1_000), [1e-30])[0]
    assert mean == pytest.approx((first + last) / 2, abs=1e-9)
