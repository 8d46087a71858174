"""What holds of every plan, whatever the lines."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.known_fit import known_fit

from rlscale.plan import Hardware, read_lines
from rlscale.plan.budget import plan_budget
from rlscale.plan.lines import Lines
from rlscale.plan.supply import Supply
from rlscale.plan.target import plan_target

LEVELS = st.floats(-0.3, 0.3)
LINES = st.builds(
    lambda small, large, scales: read_lines(
        known_fit(scales, small=1.7 + small, large=2.6 + large, levels=[0.0] * len(scales))
    ),
    LEVELS,
    LEVELS,
    st.lists(st.floats(0.05, 0.4), min_size=3, max_size=8),
)
BUDGETS = st.floats(18.0, 24.0).map(lambda decade: 10.0**decade)
SUPPLIES = (
    st.none()
    | st.builds(
        Supply,
        st.sampled_from(["saturating_reuse", "no_effect"]),
        st.floats(1e3, 1e7),
        st.floats(0.5, 100.0),
    )
    | st.builds(
        lambda unique, value: Supply("linear_penalty", unique, value), st.floats(1e3, 1e7), st.floats(1e-3, 0.3)
    )
)


@given(LINES, BUDGETS, st.floats(1.0, 100.0), SUPPLIES)
def test_a_larger_budget_never_buys_a_larger_loss(lines: Lines, budget: float, factor: float, supply: Supply | None):
    less, more = (plan_budget(lines, amount, supply=supply).least for amount in (budget, budget * factor))
    for name in ("estimate", "low", "high"):
        assert getattr(more, name) <= getattr(less, name) * (1 + 1e-9)


@given(LINES, st.floats(0.2, 0.9), st.floats(0.5, 1.0))
def test_a_lower_target_never_takes_less_compute(lines: Lines, target: float, factor: float):
    more, less = (plan_target(lines, loss).least for loss in (target * factor, target))
    for name in ("estimate", "low", "high"):
        ends = getattr(more, name), getattr(less, name)
        assert ends[0] is None or ends[0] >= ends[1] * (1 - 1e-9)


@given(LINES, BUDGETS)
def test_what_a_budget_buys_takes_that_budget(lines: Lines, budget: float):
    bought = plan_budget(lines, budget)
    loss = bought.least.estimate
    assert loss is not None
    if loss < 1.0:  # a loss of 1 is had for nothing
        needed = plan_target(lines, loss).least.estimate
        assert needed is not None
        np.testing.assert_allclose(needed, budget, rtol=1e-6)


@given(LINES, st.floats(0.2, 0.9), st.floats(0.0, 1e13))
def test_serving_only_adds(lines: Lines, target: float, tokens: float):
    without, with_tokens = (plan_target(lines, target, inference_tokens=count) for count in (0.0, tokens))
    for bare, served in zip(without.sizes, with_tokens.sizes, strict=True):
        assert served.compute == bare.compute
        assert served.total.estimate is None or served.total.estimate >= served.compute.estimate
    assert 0 <= sum(one.share for one in with_tokens.sizes) <= 1 + 1e-9


@given(st.floats(1e12, 1e16), st.floats(0.01, 1.0), st.floats(1.0, 4.0), st.floats(0.1, 10.0), st.floats(1.0, 1e6))
def test_money_and_hours_are_flops_in_other_units(
    peak: float, mfu: float, overhead: float, price: float, amount: float
):
    hardware = Hardware(peak, mfu, overhead, price=price)
    hours = hardware.hours_per_flop
    assert hours is not None
    np.testing.assert_allclose(hardware.flops_of(amount, "gpuh") * hours, amount)
    np.testing.assert_allclose(hardware.flops_of(amount, "usd") * hours * price, amount)
    assert hardware.flops_of(amount, "flops") == amount


@given(SUPPLIES, st.floats(1.0, 1e6))
def test_samples_needed_are_worth_what_was_asked(supply: Supply | None, effective: float):
    if supply is None:
        return
    samples = np.ravel(supply.needed(np.array([effective])))
    if np.isfinite(samples).all():
        np.testing.assert_allclose(np.ravel(supply.worth(samples)), effective, rtol=1e-6)
        assert (samples >= effective * (1 - 1e-9)).all()
