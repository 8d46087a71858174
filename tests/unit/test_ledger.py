"""FLOPs by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlscale.ledger import ForwardCost, planned_flops

COST = ForwardCost(params=1000, width=8, layers=3, vocabulary=20)
COUNT = st.integers(0, 10**6)


def test_planned_flops_are_six_times_parameters_times_tokens() -> None:
    assert planned_flops(params=1000, samples=10, group_size=8, tokens_per_rollout=4.5) == 6 * 1000 * 360
    assert planned_flops(params=500_000_000, samples=51_200, group_size=8, tokens_per_rollout=1000) == pytest.approx(
        6 * 5e8 * 51_200 * 8 * 1000
    )
    assert planned_flops(params=1000, samples=0, group_size=8, tokens_per_rollout=4.5) == 0.0


def test_a_forward_pass_by_hand() -> None:
    assert COST.forward(tokens=7, logit_rows=0, attended_pairs=0) == 2 * 1000 * 7
    assert COST.forward(tokens=0, logit_rows=5, attended_pairs=0) == 2 * 8 * 20 * 5
    # Each pair: a product of queries and keys and one of weights and values, 2·d FLOPs both, in 3 layers.
    assert COST.forward(tokens=0, logit_rows=0, attended_pairs=11) == 2 * 2 * 8 * 3 * 11


@given(st.tuples(COUNT, COUNT, COUNT), st.tuples(COUNT, COUNT, COUNT))
def test_the_cost_of_two_passes_is_the_sum_of_their_costs(one: tuple[int, int, int], two: tuple[int, int, int]) -> None:
    def cost(counts: tuple[int, ...]) -> float:
        tokens, logit_rows, attended_pairs = counts
        return COST.forward(tokens=tokens, logit_rows=logit_rows, attended_pairs=attended_pairs)

    assert cost(one) + cost(two) == cost(tuple(a + b for a, b in zip(one, two, strict=True)))
