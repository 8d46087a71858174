"""What must hold of every fit: known parameters come back, and nothing that should not matter does."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlscale.fit import fit_points

LOSSES = st.sampled_from(["linear", "log"])
SIZES = (1e3, 3e3, 1e4, 3e4, 1e5, 3e5)
few = settings(derandomize=True, max_examples=25, deadline=None)


def table(k_max: float, n_0: float, seed: int, noise: float) -> pd.DataFrame:
    """Return two curves for each size with their own levels, lengths and noise."""
    generator = np.random.default_rng(seed)
    tables = []
    for size in SIZES:
        for base_seed in (0, 1):
            samples = 64 * np.arange(1, generator.integers(6, 30))
            level = generator.uniform(-0.4, -0.05) + 2 * k_max / (1 + n_0 / size)
            loss = 10 ** (level - k_max / (1 + n_0 / size) * np.log10(samples))
            loss = np.clip(loss * np.exp(generator.normal(0, noise, samples.size)), 1e-6, 1)
            columns = {"params": int(size), "base_seed": base_seed, "step": samples // 64, "samples": samples}
            tables.append(pd.DataFrame(columns | {"test_loss": loss}))
    return pd.concat(tables, ignore_index=True)


tables = st.builds(
    table,
    k_max=st.floats(0.02, 0.8),
    n_0=st.floats(np.log(1e3), np.log(3e5)).map(np.exp).map(float),
    seed=st.integers(0, 10**6),
    noise=st.sampled_from([0.01, 0.1]),
)


@few
@given(k_max=st.floats(0.02, 0.8), log10_n_0=st.floats(2.5, 6), seed=st.integers(0, 10**6), loss=LOSSES)
def test_known_parameters_come_back(k_max: float, log10_n_0: float, seed: int, loss: Any) -> None:
    points = table(k_max, 10**log10_n_0, seed, noise=0.0)
    # Clipping at a loss of 1 would bend a curve.
    points = points[points.groupby(["params", "base_seed"])["test_loss"].transform("max") < 1]
    fit = fit_points(points, x="samples", loss=loss)
    assert fit.k_max == pytest.approx(k_max, rel=1e-6)
    assert fit.n_0 == pytest.approx(10**log10_n_0, rel=1e-6)
    assert fit.sse < 1e-20
    for key, curve in fit.curves.items():
        own = points[(points["params"] == curve["params"]) & (points["base_seed"] == curve["base_seed"])]
        np.testing.assert_allclose(fit.predict(key, own["samples"]), own["test_loss"], rtol=1e-9)


@few
@given(points=tables, factor=st.floats(1e-6, 1e18), loss=LOSSES)
def test_scaling_x_shifts_the_levels_and_leaves_the_slopes(points: pd.DataFrame, factor: float, loss: Any) -> None:
    fit = fit_points(points, x="samples", loss=loss)
    scaled = fit_points(points.assign(samples=points["samples"] * factor), x="samples", loss=loss)
    assert list(scaled.k.values()) == pytest.approx(list(fit.k.values()), rel=1e-6)
    assert scaled.sse == pytest.approx(fit.sse, rel=1e-9)
    shift = np.log10(factor)
    for key, curve in fit.curves.items():
        slope = fit.k[str(curve["params"])]
        assert scaled.e[key] - slope * shift == pytest.approx(fit.e[key], abs=1e-5)


@few
@given(points=tables, seed=st.integers(0, 10**6), loss=LOSSES)
def test_the_order_of_rows_changes_no_bit(points: pd.DataFrame, seed: int, loss: Any) -> None:
    shuffled = points.iloc[np.random.default_rng(seed).permutation(len(points))]
    assert fit_points(shuffled, x="samples", loss=loss) == fit_points(points, x="samples", loss=loss)


@few
@given(points=tables, loss=LOSSES)
def test_duplicating_every_row_leaves_the_estimates(points: pd.DataFrame, loss: Any) -> None:
    fit = fit_points(points, x="samples", loss=loss)
    doubled = fit_points(pd.concat([points, points]), x="samples", loss=loss)
    assert list(doubled.k.values()) == pytest.approx(list(fit.k.values()), rel=1e-6)
    assert list(doubled.e.values()) == pytest.approx(list(fit.e.values()), abs=1e-6)
    assert doubled.sse == pytest.approx(2 * fit.sse, rel=1e-9)
    assert doubled.r2_pooled == pytest.approx(fit.r2_pooled, rel=1e-9)


@few
@given(points=tables, loss=LOSSES)
def test_no_point_of_a_dense_grid_fits_better(points: pd.DataFrame, loss: Any) -> None:
    """The best levels at each (k_max, n_0) of a grid over the bounds, computed here the plain way."""
    fit = fit_points(points, x="samples", loss=loss)
    log10_x = np.log10(points["samples"].to_numpy()) - 3
    observed = points["test_loss"].to_numpy()
    curve = points.groupby(["params", "base_seed"]).ngroup().to_numpy()
    indicator = (curve == np.arange(curve.max() + 1)[:, None]).astype(float)
    for n_0 in np.geomspace(*fit.bounds["n_0"], 40):
        share = 1 / (1 + n_0 / points["params"].to_numpy())
        for steepest in np.linspace(0, 1.2, 40):
            k = steepest * share / share.max()
            if loss == "linear":
                decay = 10 ** (-k * log10_x)
                level = (indicator @ (decay * observed)) / (indicator @ decay**2)
                residual = observed - level[curve] * decay
            else:
                rest = np.log10(observed) + k * log10_x
                residual = rest - ((indicator @ rest) / indicator.sum(axis=1))[curve]
            assert fit.sse <= np.sum(residual**2) * (1 + 1e-12)
