"""Simulated studies: the same seed gives the same bytes, and the noise has the moments that the design asks for."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rlscale.fit import fit_points
from rlscale.simulation import Design, simulate_points

EXACT = 10**12  # problems: so many that an evaluation has no noise
SMALL = Design(sizes=[1_000, 8_000], slopes=[0.1, 0.3], first_loss=[0.9, 0.7], steps=[2, 4, 8, 20], seeds=2)


def simulate(design: Design, seed: int = 0) -> pd.DataFrame:
    return simulate_points(design, np.random.default_rng(seed))


def test_the_seed_fixes_every_byte() -> None:
    noisy = replace(SMALL, run_slope_sd=0.01, wander_sd=0.01)
    pd.testing.assert_frame_equal(simulate(noisy), simulate(noisy), check_exact=True)
    assert not simulate(noisy)["test_loss"].equals(simulate(noisy, seed=1)["test_loss"])


def test_columns_are_those_of_a_table_of_points() -> None:
    points = simulate(SMALL)
    assert points.groupby(["params", "seed"])["step"].apply(list).tolist() == [[2, 4, 8, 20]] * 4
    assert points["samples"].tolist() == [1024, 2048, 4096, 10240] * 4
    np.testing.assert_array_equal(points["compute_flops"], 6.0 * points["params"] * points["samples"])
    assert len(fit_points(points, x="compute", loss="log").e) == 4


def test_without_noise_the_lines_are_the_designs() -> None:
    points = simulate(replace(SMALL, problems=EXACT))
    for size, slope, first in zip(SMALL.sizes, SMALL.slopes, SMALL.first_loss, strict=True):
        own = points[points["params"] == size]
        np.testing.assert_allclose(own["test_loss"], first * (own["step"] / 2) ** -slope, rtol=1e-5)


def test_an_evaluation_has_binomial_standard_error() -> None:
    design = replace(SMALL, problems=400, seeds=1000)
    points = simulate(design)
    for _, own in points.groupby(["params", "step"]):
        index = design.sizes.index(own["params"].iloc[0])
        loss = design.first_loss[index] * (own["step"].iloc[0] / 2) ** -design.slopes[index]
        error = np.sqrt(loss * (1 - loss) / 400)
        assert abs(own["test_loss"].mean() - loss) < 4 * error / np.sqrt(1000)
        assert own["test_loss"].std() == pytest.approx(error, rel=0.1)  # four standard errors of a deviation
        np.testing.assert_allclose(own["test_loss"] * 400, (own["test_loss"] * 400).round(), rtol=1e-12)


def test_runs_tilt_around_the_slope_of_their_size() -> None:
    points = simulate(replace(SMALL, problems=EXACT, seeds=1000, run_slope_sd=0.02))
    ends = points.pivot_table(index=["params", "seed"], columns="step", values="test_loss")
    slopes = -np.log10(ends[20] / ends[2])  # over one decade of steps
    for size, slope in zip(SMALL.sizes, SMALL.slopes, strict=True):
        assert slopes[size].mean() == pytest.approx(slope, abs=4 * 0.02 / np.sqrt(1000))
        assert slopes[size].std() == pytest.approx(0.02, rel=0.1)


def test_training_wanders_with_the_correlation_of_the_steps_between() -> None:
    design = replace(SMALL, problems=EXACT, slopes=[0, 0], seeds=2000, wander_sd=0.01, wander_correlation=0.9)
    points = simulate(design)
    wander = points.pivot_table(index=["params", "seed"], columns="step", values="test_loss").apply(np.log10)
    wander -= wander.groupby("params").transform("mean")
    np.testing.assert_allclose(wander.std(), 0.01, rtol=0.06)
    for early, late in ((2, 4), (4, 8), (2, 8), (8, 20)):
        assert np.corrcoef(wander[early], wander[late])[0, 1] == pytest.approx(0.9 ** (late - early), abs=0.06)


def test_slopes_are_recovered_on_average() -> None:
    design = replace(SMALL, steps=range(1, 40, 3), seeds=3, run_slope_sd=0.02, wander_sd=0.003)
    found = np.array(
        [list(fit_points(simulate(design, s), x="samples", loss="log").k_free.values()) for s in range(60)]
    )
    error = found.std(axis=0) / np.sqrt(60)
    np.testing.assert_array_less(np.abs(found.mean(axis=0) - design.slopes), 4 * error)


@pytest.mark.parametrize(("first_loss", "count"), [(1e-9, 0.5), (1 - 1e-9, 19.5)])
def test_no_wrong_or_no_right_answer_counts_as_half_a_one(first_loss: float, count: float) -> None:
    points = simulate(replace(SMALL, problems=20, slopes=[0, 0], first_loss=[first_loss] * 2))
    assert set(points["test_loss"]) == {count / 20}
