"""Properties of findings and of the reuse fit: error rates under a null, order, units, Holm's adjustment."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.simulated_study import FIRST_STEP, simulate_study

from rlscale.findings import Finding, factor_claims, findings, fit_reuse, size_claims
from rlscale.findings.estimates import Estimate
from rlscale.findings.finding import Outcome, holm
from rlscale.findings.runs import gather_runs

SEEDS = st.integers(0, 10_000)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=20)
NULLS = ("compute_efficiency", "data_efficiency", "reward_accuracy_slope", "base_ceiling", "diversity_slope")
"""Claims that are false, and whose opposites are false too, in a simulated study without options."""


def found(curves: pd.DataFrame) -> list[Finding]:
    return findings(curves, x_first_step=FIRST_STEP, max_params=None, scores=None, reuse=None, saturation=None)


def outcomes(seed: int, bases: int, arm_bases: int) -> list[Outcome]:
    """Return the tests of claims that are nil, of one simulated study."""
    curves = simulate_study(seed, bases=bases, arm_bases=arm_bases)
    runs = gather_runs(curves, first_step=FIRST_STEP, max_params=None, source="curves")
    alike = size_claims.reference_runs(runs)
    return [
        size_claims.efficiency(alike, "samples"),
        size_claims.ceiling(alike),
        factor_claims.reward_slope(runs),
        factor_claims.diversity(runs),
    ]


@pytest.mark.parametrize(("bases", "arm_bases"), [(1, 1), (3, 1), (3, 3)])
def test_a_nil_effect_has_a_p_value_below_5_percent_in_5_percent_of_studies(bases: int, arm_bases: int) -> None:
    """Over 30 studies and four claims each, at most what chance allows (4 standard deviations above 5 %)."""
    tested = [outcome for seed in range(30) for outcome in outcomes(seed, bases, arm_bases)]
    p_values = np.array([outcome.p for outcome in tested if outcome.p is not None])
    assert p_values.size >= 60
    assert np.mean(p_values < 0.05) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / p_values.size)
    inside = [one.effect.low <= 0 <= one.effect.high for one in tested if one.effect and one.p is not None]  # type: ignore[operator]
    assert np.mean(inside) > 0.9 - 4 * np.sqrt(0.9 * 0.1 / len(inside))


def test_a_whole_study_of_nil_effects_gets_no_verdict_in_95_percent() -> None:
    """Holm's adjustment: at most 5 % of studies call a nil claim either; more than 3 of 15 would have p = 0.5 %."""
    wrong = 0
    for seed in range(100, 115):
        result = {finding.id: finding.verdict for finding in found(simulate_study(seed))}
        wrong += any(result[name] in ("supported", "contradicted") for name in NULLS)
    assert wrong <= 3


@settings(max_examples=5)
@given(SEEDS)
def test_claims_that_hold_are_supported_and_their_opposites_contradicted(seed: int) -> None:
    true = {
        finding.id: finding.verdict for finding in found(simulate_study(seed, rise=0.2, drop=0.2, share=1.2, slope=1.2))
    }
    false = {finding.id: finding.verdict for finding in found(simulate_study(seed, rise=-0.2, drop=-0.9, slope=0.5))}
    for claim in ("compute_efficiency", "data_efficiency", "base_ceiling", "power_law_samples"):
        assert true[claim] == "supported"
    assert true["diversity_slope"] == "supported"
    for claim in ("compute_efficiency", "data_efficiency", "base_ceiling"):
        assert false[claim] == "contradicted"


@settings(max_examples=3)
@given(SEEDS)
def test_the_order_of_rows_and_the_names_of_runs_change_nothing(seed: int) -> None:
    curves = simulate_study(seed, arm_bases=2)
    shuffled = curves.sample(frac=1, random_state=seed % 1000)
    assert found(shuffled) == found(curves)
    names = {name: f"run{index}" for index, name in enumerate(sorted(curves["run"].unique(), reverse=True))}
    for before, after in zip(found(curves), found(curves.assign(run=curves["run"].map(names))), strict=True):
        assert (after.verdict, after.effect) == (before.verdict, before.effect)
        assert after.p == (None if before.p is None else pytest.approx(before.p))
        assert after.runs == tuple(sorted(names[name] for name in before.runs))


@settings(max_examples=4)
@given(SEEDS, st.floats(1e-6, 1e6))
def test_the_unit_of_compute_changes_no_verdict(seed: int, factor: float) -> None:
    curves = simulate_study(seed, rise=0.05)
    scaled = curves.assign(compute_flops=curves["compute_flops"] * factor)
    for before, after in zip(found(curves), found(scaled), strict=True):
        assert after.verdict == before.verdict
        if before.effect is not None and after.effect is not None:
            assert after.effect.estimate == pytest.approx(before.effect.estimate, rel=1e-6, abs=1e-9)


@given(P_VALUES)
def test_holm_is_monotone_and_never_below_the_p_value(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    order = np.argsort(p_values, kind="stable")
    assert all(np.diff(np.array(adjusted)[order]) >= 0)
    assert all(p <= high <= 1 for p, high in zip(p_values, adjusted, strict=True))
    assert adjusted[int(order[0])] == min(1.0, len(p_values) * min(p_values))
    # The definition: reject while p_(i) <= alpha / (m - i + 1).
    rejected = 0
    for rank, index in enumerate(order):
        if (len(p_values) - rank) * p_values[index] >= 0.05:
            break
        rejected += 1
    assert sum(high < 0.05 for high in adjusted) == rejected


@given(P_VALUES, st.randoms(use_true_random=False))
def test_holm_does_not_depend_on_the_order(p_values: list[float], random: object) -> None:
    shuffled = list(range(len(p_values)))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = holm([p_values[index] for index in shuffled])
    assert [again[shuffled.index(index)] for index in range(len(p_values))] == holm(p_values)


@given(st.floats(-1, 1), st.floats(0.01, 0.5), st.integers(1, 30), st.floats(0.05, 0.5))
def test_equivalence_and_its_opposite_are_never_both_shown(
    value: float, error: float, freedom: int, margin: float
) -> None:
    """The interval at 90 % lies within the margin exactly where the two one-sided tests are below 5 %."""
    estimate = Estimate(value, error, freedom, 3, "base models", "replicates", "")
    low, high = estimate.bounds()
    assert low is not None
    assert high is not None
    assert (estimate.within(margin) < 0.05) == (-margin < low and high < margin)
    assert estimate.within(margin) >= 0.05 or estimate.beyond(margin) >= 0.05
    if estimate.beyond(margin) < 0.05:
        assert abs(value) > margin
    assert estimate.below(margin) + estimate.above(margin) == pytest.approx(1.0)


@settings(max_examples=4)
@given(SEEDS, st.floats(2.0, 40.0))
def test_reuse_fit_keeps_its_parameters_under_order_and_units(seed: int, worth: float) -> None:
    """Twice the samples and the problems leave repeats and slopes as they are and move the level by k log10 2."""
    curves = simulate_study(seed, bases=1, slope=0.3, r_star=worth, taus=(1, 4, 16, 64), run_sd=0.005)
    plain = (curves["params"] == 12_000) & (curves["reward_accuracy"] == 1) & (curves["skill_share"] == 1)
    points = curves[plain & (curves["variant"] == "base") & (curves["step"] > 0)]
    fit = fit_reuse(points, loss="log")
    assert fit_reuse(points.sample(frac=1, random_state=seed % 1000), loss="log").to_json() == fit.to_json()
    twice = points.assign(samples=2 * points["samples"], unique_samples=2 * points["unique_samples"])
    own, other = fit.laws["saturating_reuse"], fit_reuse(twice, loss="log").laws["saturating_reuse"]
    assert other.k == pytest.approx(own.k, rel=1e-6)
    assert other.parameters["r_star"]["estimate"] == pytest.approx(own.parameters["r_star"]["estimate"], rel=1e-5)
    assert other.e["12000"] == pytest.approx(own.e["12000"] + own.k["12000"] * np.log10(2), rel=1e-6)
    assert own.parameters["r_star"]["estimate"] == pytest.approx(worth, rel=0.5)
    assert fit.winner != "no_effect"
    for law in fit.laws.values():
        assert law.sse >= own.sse * (1 - 1e-9) or law.law == "linear_penalty"
