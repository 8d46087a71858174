"""What must hold of every law of the surface: known parameters come back, and nothing that should not matter does."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from rlscale.curve_points import Curves, arrange
from rlscale.fitting.marquardt import Bounds, solve_within
from rlscale.fitting.surface import SURFACE_LAWS, fit_surface
from rlscale.fitting.surface_fit import SurfaceFit
from rlscale.laws import Target

Array = npt.NDArray[np.float64]

LOSSES = st.sampled_from(["linear", "log"])
SIZES = (1e3, 4e3, 2e4, 1e5, 5e5)
SAMPLES = 64.0 * np.unique(np.geomspace(1, 400, 24).round())
few = settings(derandomize=True, max_examples=12, deadline=None)
fewer = settings(derandomize=True, max_examples=4, deadline=None)
every_law = pytest.mark.parametrize("name", sorted(SURFACE_LAWS))
Values = Mapping[str, float]


def curves(points: pd.DataFrame) -> Curves:
    return arrange(points, x="samples")


def points_of(loss: Any) -> pd.DataFrame:
    """Return two curves a size, each with its own loss at step 0, from loss(size, samples, loss at step 0)."""
    tables = []
    for index, size in enumerate(SIZES):
        for seed in (0, 1):
            base = 0.95 - 0.02 * index - 0.013 * seed * (1 + index % 2)
            values = loss(size, SAMPLES, base)
            columns = {"params": int(size), "seed": seed, "samples": SAMPLES, "test_loss": values, "base_loss": base}
            tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def noisy(seed: int, noise: float) -> pd.DataFrame:
    """Return curves that follow none of the laws exactly."""
    generator = np.random.default_rng(seed)
    k_max, n_0, turn = generator.uniform(0.1, 0.5), np.exp(generator.uniform(7, 12)), generator.uniform(1, 20)

    def loss(size: float, samples: Array, base: float) -> Array:
        fall = base * (1 + samples / 64 / turn) ** (-k_max / (1 + n_0 / size))
        return np.asarray(np.clip(fall * np.exp(generator.normal(0, noise, samples.size)), 1e-6, 1))

    return points_of(loss)


tables = st.builds(noisy, seed=st.integers(0, 10**6), noise=st.sampled_from([0.005, 0.05]))


def power(size: float, small: float, large: float) -> float:
    share = np.log(size / SIZES[0]) / np.log(SIZES[-1] / SIZES[0])
    return float(small ** (1 - share) * large**share)


def slope(size: float, p: Values) -> float:
    return p["k_max"] / (1 + p["n_0"] / size)


def estimates(fit: SurfaceFit) -> dict[str, Any]:
    return {name: parameter["estimate"] for name, parameter in fit.parameters.items()}


def recovers(name: str, loss: Any, points: pd.DataFrame, truth: Values) -> None:
    fit = fit_surface(SURFACE_LAWS[name], curves(points), loss)
    assert fit.sse < 1e-16
    assert fit.notes == [note for note in fit.notes if "step 0" in note]
    assert estimates(fit) == pytest.approx(dict(truth), rel=2e-3, abs=2e-5)


@few
@given(
    k_max=st.floats(0.05, 0.3),
    log10_n_0=st.floats(3.2, 5.5),
    c=st.floats(0.5, 2.0),
    b=st.floats(0.5, 2.0),
    loss=LOSSES,
)
def test_saturating_slopes_with_a_level(k_max: float, log10_n_0: float, c: float, b: float, loss: Any) -> None:
    truth = {"n_0": 10**log10_n_0, "c": c, "k_max": k_max, "a": -0.1}
    line = points_of(lambda n, x, _: 10 ** (-slope(n, truth) * (np.log10(x) - c) - 0.1))
    recovers("smooth_level", loss, line, truth)
    based = points_of(lambda n, x, base: base**b * 10 ** (-slope(n, truth) * (np.log10(x) - c) - 0.1))
    recovers("base_level", loss, based, truth | {"b": b})


@few
@given(b=st.floats(0.6, 2.0), c_mid=st.floats(np.log(300), np.log(8e3)), a=st.floats(0.4, 0.95), loss=LOSSES)
def test_sigmoids(b: float, c_mid: float, a: float, loss: Any) -> None:
    middle = float(np.exp(c_mid))
    curve = points_of(lambda _, x, base: base + (1 - a - base) / (1 + (middle / x) ** b))
    by_size = {"b": b, "c_mid": middle, "a": a}
    sizes = [int(size) for size in SIZES]
    recovers("sigmoid", loss, curve, {f"{key}[{size}]": by_size[key] for key in by_size for size in sizes})
    ends = {"c_mid_smallest": middle, "c_mid_largest": middle / 3, "a_smallest": a, "a_largest": 1 - (1 - a) / 2}

    def joint(n: float, x: Array, base: float) -> Array:
        end = power(n, 1 - ends["a_smallest"], 1 - ends["a_largest"])
        return base + (end - base) / (1 + (power(n, middle, middle / 3) / x) ** b)

    recovers("joint_sigmoid", loss, points_of(joint), ends | {"b": b})

    def free(n: float, x: Array, _: float) -> Array:
        return joint(n, x, power(n, 0.95, 0.8))

    start = {"r_0_smallest": 0.05, "r_0_largest": 0.2}
    recovers("joint_sigmoid", loss, points_of(free).drop(columns="base_loss"), ends | start | {"b": b})


@few
@given(alpha=st.floats(0.3, 1.2), beta=st.floats(0.3, 1.2), l_inf=st.floats(0.02, 0.2), loss=LOSSES)
def test_sums_of_terms(alpha: float, beta: float, l_inf: float, loss: Any) -> None:
    n_0, x_0 = 1e3 * 0.35 ** (1 / alpha), 64 * 0.4 ** (1 / beta)
    truth = {"alpha": alpha, "beta": beta, "l_inf": l_inf, "n_0": n_0, "x_0": x_0}
    recovers("additive", loss, points_of(lambda n, x, _: l_inf + (n_0 / n) ** alpha + (x_0 / x) ** beta), truth)
    ends = {"d_0_smallest": 3e3, "d_0_largest": 8e2, "lambda_smallest": 0.3, "lambda_largest": 0.45}

    def parts(n: float, x: Array, _: float) -> Array:
        learned = power(n, 0.3, 0.45) / (1 + (x / power(n, 3e3, 8e2)) ** (beta + 0.4))
        return np.asarray(l_inf + (n_0 / n) ** alpha + learned)

    exponents = {"alpha": alpha, "beta": beta + 0.4, "l_inf": l_inf, "n_0": n_0}
    recovers("decomposition", loss, points_of(parts), exponents | ends)


def forecasts(fit: SurfaceFit, samples: Array) -> Array:
    targets = [Target(int(size), 0.9) for size in SIZES]
    if fit.law != "sigmoid":
        targets += [Target(300, 0.96), Target(3_000_000, 0.8)]
    return np.stack([fit.predict(target, samples) for target in targets])


BEYOND = np.concatenate([[1e-6, 1.0], SAMPLES, [1e5, 1e12]])


@every_law
@fewer
@given(points=tables, loss=LOSSES)
def test_every_forecast_is_a_loss(points: pd.DataFrame, name: str, loss: Any) -> None:
    fit = fit_surface(SURFACE_LAWS[name], curves(points), loss)
    said = forecasts(fit, BEYOND)
    assert np.all((said > 0) & (said <= 1))
    # From another start than the fitted ones a sigmoid may end higher than it began.
    assert np.all(np.diff(said, axis=1) <= 1e-9) or "sigmoid" in name
    assert fit.r2_pooled is not None
    assert fit.r2_pooled > 0.2


@every_law
@fewer
@given(points=tables, factor=st.floats(-6, 18).map(lambda exponent: float(10**exponent)), loss=LOSSES)
def test_scaling_x_shifts_only_what_is_in_units_of_x(points: pd.DataFrame, factor: float, name: str, loss: Any) -> None:
    fit = fit_surface(SURFACE_LAWS[name], curves(points), loss)
    scaled = fit_surface(SURFACE_LAWS[name], curves(points.assign(samples=points["samples"] * factor)), loss)
    assert scaled.sse == pytest.approx(fit.sse, rel=1e-7)
    np.testing.assert_allclose(forecasts(scaled, BEYOND * factor), forecasts(fit, BEYOND), rtol=1e-4, atol=1e-6)
    for key, parameter in fit.parameters.items():
        estimate, moved = parameter["estimate"], scaled.parameters[key]["estimate"]
        assert scaled.parameters[key]["bound_hit"] == parameter["bound_hit"]
        if estimate is None:
            assert moved is None
        elif parameter["unit"] == "X":
            assert np.log10(moved / estimate) == pytest.approx(np.log10(factor), abs=1e-2) if estimate else moved == 0
        elif parameter["unit"] == "log10 X":
            assert moved - estimate == pytest.approx(np.log10(factor), abs=1e-2)
        else:
            assert moved == pytest.approx(estimate, rel=1e-2, abs=1e-3)


@every_law
@fewer
@given(points=tables, seed=st.integers(0, 10**6), loss=LOSSES)
def test_the_order_of_rows_changes_no_bit(points: pd.DataFrame, seed: int, name: str, loss: Any) -> None:
    shuffled = points.iloc[np.random.default_rng(seed).permutation(len(points))]
    fit, again = (fit_surface(SURFACE_LAWS[name], curves(table), loss) for table in (points, shuffled))
    assert again == fit
    assert np.array_equal(forecasts(again, BEYOND), forecasts(fit, BEYOND))


@every_law
@fewer
@given(points=tables, loss=LOSSES)
def test_duplicating_every_row_leaves_the_estimates(points: pd.DataFrame, name: str, loss: Any) -> None:
    fit = fit_surface(SURFACE_LAWS[name], curves(points), loss)
    doubled = fit_surface(SURFACE_LAWS[name], curves(pd.concat([points, points])), loss)
    assert doubled.sse == pytest.approx(2 * fit.sse, rel=1e-7)
    assert doubled.r2_pooled == pytest.approx(fit.r2_pooled, rel=1e-6)
    np.testing.assert_allclose(forecasts(doubled, SAMPLES), forecasts(fit, SAMPLES), rtol=1e-4, atol=1e-6)


@few
@given(points=tables, name=st.sampled_from(["base_level", "smooth_level"]))
def test_no_level_law_of_a_grid_fits_better(points: pd.DataFrame, name: str) -> None:
    """Log loss is linear in all but n_0 (k_max, k_max · c, a and b): plain regression on a dense grid of n_0."""
    fit = fit_surface(SURFACE_LAWS[name], curves(points), "log")
    found = estimates(fit)
    if fit.parameters["c"]["bound_hit"] or found["k_max"] == 0:
        return
    y, x, n = (np.log10(points[column].to_numpy(np.float64)) for column in ("test_loss", "samples", "params"))
    extra = [np.log10(points["base_loss"].to_numpy())] if name == "base_level" else []
    for log10_n_0 in np.linspace(0, 8.6, 120):
        share = 1 / (1 + 10 ** (log10_n_0 - n))
        columns = np.stack([share * (x - 2), share, np.ones_like(x), *extra], axis=1)
        best = columns @ np.linalg.lstsq(columns, y)[0]
        assert fit.sse <= np.sum((y - best) ** 2) * (1 + 1e-9)


@given(seed=st.integers(0, 10**6), d=st.integers(1, 6), ridge=st.sampled_from([0.0, 1e-8, 1.0]))
def test_the_step_within_bounds_is_that_of_bounded_least_squares(seed: int, d: int, ridge: float) -> None:
    """Three problems at once, some coordinates at a bound, against scipy's bounded-variable least squares."""
    generator = np.random.default_rng(seed)
    matrix, target = generator.normal(size=(3, d + 3, d)), generator.normal(size=(3, d + 3))
    matrix[:, :, -1] += ridge * matrix[:, :, 0]
    choices = generator.integers(0, 3, (2, 3, d))
    lower = np.where(choices[0] == 0, 0.0, -generator.uniform(0, 1, (3, d)))
    upper = np.where(choices[1] == 0, np.inf, generator.uniform(1e-3, 1, (3, d)))
    lower[:, 1:2] = upper[:, 1:2] = 0.0  # a coordinate that is given
    squares, products = np.einsum("rpi,rpj->rij", matrix, matrix), np.einsum("rpi,rp->ri", matrix, target)
    step = solve_within(squares, products, np.zeros(3), Bounds(lower, upper))
    for row in range(3):
        assert np.all((step[row] >= lower[row]) & (step[row] <= upper[row]))
        loose = lower[row] < upper[row]
        within = (lower[row][loose], upper[row][loose])
        other = lsq_linear(matrix[row][:, loose], target[row], within, method="bvls", tol=1e-14)
        reached = np.sum((matrix[row] @ step[row] - target[row]) ** 2)
        assert reached <= 2 * other.cost * (1 + 1e-8) + 1e-12
