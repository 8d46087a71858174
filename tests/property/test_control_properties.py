"""Properties of the controls among the findings: error rates under a null, and what must not matter."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.simulated_controls import Controls

from rlscale.findings.asymptote_claims import flattening, reward_asymptote
from rlscale.findings.control_claims import (
    base_loss_at_equal_size,
    group_size_at_equal_compute,
    size_at_equal_base_loss,
)
from rlscale.findings.finding import Outcome
from rlscale.findings.runs import gather_runs

SEEDS = st.integers(0, 10_000)
SLOPES = {1.0: 0.45, 0.9: 0.42, 0.75: 0.35}


def outcomes(curves: pd.DataFrame) -> list[Outcome]:
    runs = gather_runs(curves, first_step=8, max_params=None, source="curves")
    claims = (size_at_equal_base_loss, base_loss_at_equal_size, group_size_at_equal_compute, reward_asymptote)
    return [claim(runs) for claim in claims]


def nil_study(seed: int) -> pd.DataFrame:
    """Size, base model and groups make no difference at equal terms; wrong rewards lower k and nothing else."""
    controls = Controls(seed, bases=3).supervised().groups(1.0).rewards(dict.fromkeys(SLOPES, 0.0), SLOPES)
    return controls.curves()


def test_a_nil_effect_has_a_p_value_below_5_percent_in_5_percent_of_studies() -> None:
    """Over 30 studies and four claims each, at most what chance allows (4 standard deviations above 5 %)."""
    tested = [outcome for seed in range(30) for outcome in outcomes(nil_study(seed))]
    p_values = np.array([outcome.p for outcome in tested if outcome.p is not None])
    assert p_values.size == 120
    assert np.mean(p_values < 0.05) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / p_values.size)
    inside = [one.effect.low <= 0 <= one.effect.high for one in tested if one.effect]  # type: ignore[operator]
    assert np.mean(inside) > 0.9 - 4 * np.sqrt(0.9 * 0.1 / len(inside))


@settings(max_examples=5, deadline=None)
@given(SEEDS, st.floats(1e-6, 1e6))
def test_order_and_units_change_nothing(seed: int, factor: float) -> None:
    curves = nil_study(seed)
    moved = curves.sample(frac=1, random_state=seed).assign(
        samples=3 * curves["samples"], compute_flops=factor * curves["compute_flops"]
    )
    for before, after in zip(outcomes(curves), outcomes(moved), strict=True):
        assert before.p is not None
        assert before.effect is not None
        assert after.effect is not None
        assert after.p == pytest.approx(before.p, rel=1e-6)
        assert after.effect.estimate == pytest.approx(before.effect.estimate, rel=1e-6, abs=1e-9)
        assert sorted(after.runs) == sorted(before.runs)


@given(st.floats(0.05, 2.0), st.floats(0.05, 2.0), st.floats(0.0, 0.25), st.floats(0.01, 100.0))
def test_flattening_is_that_of_the_asymptote_alone(k: float, other: float, level: float, worth: float) -> None:
    log10_loss = np.linspace(-0.1, -0.5, 9)
    way = -np.log10(10**log10_loss - level)
    own, stretched = flattening(0.4)(way / k, log10_loss), flattening(0.4)(way / other + np.log10(worth), log10_loss)
    assert own == pytest.approx(stretched, abs=1e-6)
    assert own == pytest.approx(0.0, abs=1e-6) if level == 0 else own > -1e-6
