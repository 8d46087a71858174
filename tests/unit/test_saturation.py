"""The verdict on saturation: right where the data are clear, and "not identified" where they are not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rlscale.curve_points import arrange, select_points
from rlscale.fitting.loss_spaces import loss_space
from rlscale.points import read_points
from rlscale.simulation import Design, simulate_points
from rlscale.uncertainty.saturation import Saturation, judge_saturation

DATA = Path(__file__).parents[2] / "config" / "data"
SIZES = [int(size) for size in np.geomspace(1.7e9, 1.7e11, 7).round()]
LOG10_SIZES = np.log10(SIZES)
SHARE = (LOG10_SIZES - LOG10_SIZES[0]) / 2  # of the two decades that the sizes span
SATURATING = [0.15 / (1 + 17e9 / size) for size in SIZES]
LINEAR_IN_LOG = (0.014 + SHARE * 0.122).tolist()
POWER = (0.014 * (0.136 / 0.014) ** SHARE).tolist()
NOISY = Design(
    sizes=SIZES,
    slopes=SATURATING,
    first_loss=[0.9, 0.87, 0.84, 0.8, 0.77, 0.73, 0.69],
    steps=range(1, 106, 8),
    seeds=3,
    run_slope_sd=0.004,
    wander_sd=0.003,
)
CLEAR = replace(NOISY, problems=10**5, run_slope_sd=0.001, wander_sd=0.0)


def judge(points: pd.DataFrame, *, x: str = "samples", loss: Any = "log", seed: int = 0) -> Saturation:
    used = select_points(points, max_params=None, first_steps=None)
    return judge_saturation(loss_space(arrange(used, x=x), loss), draws=200, seed=seed)


def simulate(design: Design, seed: int = 0) -> pd.DataFrame:
    return simulate_points(design, np.random.default_rng(seed))


@pytest.mark.parametrize("loss", ["linear", "log", "huber"])
@pytest.mark.parametrize(
    ("slopes", "verdict", "best"),
    [
        (SATURATING, "saturating", "saturating_slope"),
        (LINEAR_IN_LOG, "not saturating", "log_slope"),
        (POWER, "not saturating", "power_slope"),
    ],
)
def test_clear_data_are_judged_right(slopes: list[float], verdict: str, best: str, loss: str) -> None:
    found = judge(simulate(replace(CLEAR, slopes=slopes)), loss=loss)
    assert found.verdict == verdict
    assert min(found.held_out, key=lambda law: found.held_out[law]) == best
    assert min(found.sse, key=lambda law: found.sse[law]) == best


def test_the_reason_names_the_numbers_of_the_verdict() -> None:
    found = judge(simulate(CLEAR))
    rivals = ("log_slope", "power_slope")
    nearest = min(rivals, key=lambda law: found.held_out[law])
    assert max(found.p_values[law] for law in rivals) < 0.05
    assert (
        f"{found.held_out['saturating_slope']:.4f} against {found.held_out[nearest]:.4f} of {nearest}" in found.reason
    )
    assert (
        "no rival gives such a lead by chance (largest p = 0.005" in found.reason
    )  # 1 of 201, none of 200 simulations


def test_a_slope_without_limit_is_hardly_ever_called_saturating() -> None:
    """Of noise as large as published runs'; the benchmark counts a thousand of these."""
    logarithmic = replace(NOISY, slopes=LINEAR_IN_LOG)
    verdicts = [judge(simulate(logarithmic, seed)).verdict for seed in range(8)]
    assert verdicts.count("saturating") <= 1


def test_sizes_below_n_0_do_not_identify_saturation() -> None:
    """Up to a fifth of N_0, saturation, a power and a line in log N look alike."""
    low = [int(size) for size in np.geomspace(1e8, 3.4e9, 7).round()]
    below = replace(NOISY, sizes=low, slopes=[0.15 / (1 + 17e9 / size) for size in low])
    verdicts = [judge(simulate(below, seed)).verdict for seed in range(5)]
    assert verdicts.count("not identified") >= 4


def test_three_sizes_are_too_few() -> None:
    three = replace(CLEAR, sizes=SIZES[::3], slopes=SATURATING[::3], first_loss=[0.9, 0.8, 0.7])
    found = judge(simulate(three))
    assert found.verdict == "not identified"
    assert found.reason == "3 sizes cannot tell laws of two parameters apart; at least 4 are needed"
    assert (found.held_out, found.p_values, found.sse) == ({}, {}, {})


def test_published_points_do_not_identify_saturation() -> None:
    """Tan et al., arXiv 2509.25300, base models up to 32B: a power of N fits the six curves better than saturation."""
    points = read_points(DATA / "tan2025_base_curves.csv")
    points = points[points["params"] <= 3.3e10]
    found = judge(points, x="compute_flops", loss="linear")
    assert found.verdict == "not identified"
    assert found.sse == pytest.approx(
        {"saturating_slope": 0.0901, "log_slope": 0.1237, "power_slope": 0.0864}, abs=1e-4
    )
    expected = {"saturating_slope": 0.0126, "log_slope": 0.0162, "power_slope": 0.0129}
    assert found.held_out == pytest.approx(expected, abs=1e-4)
    assert found.p_values["power_slope"] == pytest.approx(0.46, abs=0.1)
    assert found.p_values["log_slope"] == pytest.approx(0.10, abs=0.06)
    assert "a rival gives the data's lead by chance" in found.reason


def test_the_seed_and_the_points_fix_every_bit() -> None:
    points = simulate(NOISY)
    found = judge(points)
    shuffled = points.iloc[np.random.default_rng(1).permutation(len(points))]
    assert judge(shuffled) == found
    assert judge(points, seed=1).p_values != found.p_values
    assert judge(points, seed=1).held_out == found.held_out
    assert json.loads(json.dumps(found.to_json(), allow_nan=False)) == found.to_json()
