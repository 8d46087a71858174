"""Which problems a step consumes, for all sizes of steps and pools."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rlscale.trainers.order import problems_of_step, unique_so_far

SIZE = st.integers(1, 40)
SEED = st.integers(0, 2**63 - 1)
UNIQUE = st.none() | SIZE


def consumed(steps: int, prompts: int, unique: int | None, seed: int) -> np.ndarray:
    """Return the places of all problems that steps 1 to ``steps`` consume."""
    each = [problems_of_step(step, prompts=prompts, unique=unique, seed=seed) for step in range(1, steps + 1)]
    assert all(places.shape == (prompts,) for places in each)
    return np.concatenate(each)


@settings(max_examples=60)
@given(prompts=SIZE, unique=SIZE, seed=SEED)
def test_each_epoch_goes_through_the_whole_reused_pool_once(prompts: int, unique: int, seed: int) -> None:
    epochs = 3
    places = consumed(-(-epochs * unique // prompts), prompts, unique, seed)[: epochs * unique]
    for epoch in places.reshape(epochs, unique):
        assert sorted(epoch) == list(range(unique))


@settings(max_examples=60)
@given(steps=SIZE, prompts=SIZE, seed=SEED)
def test_fresh_data_goes_through_the_pool_in_its_order(steps: int, prompts: int, seed: int) -> None:
    assert consumed(steps, prompts, None, seed).tolist() == list(range(steps * prompts))


@settings(max_examples=60)
@given(steps=SIZE, prompts=SIZE, other=SIZE, unique=SIZE, seed=SEED)
def test_how_problems_are_cut_into_steps_does_not_change_their_order(
    steps: int, prompts: int, other: int, unique: int, seed: int
) -> None:
    one, two = consumed(steps, prompts, unique, seed), consumed(steps, other, unique, seed)
    shorter = min(len(one), len(two))
    assert np.array_equal(one[:shorter], two[:shorter])


@given(step=SIZE, prompts=SIZE, unique=UNIQUE, seed=SEED)
def test_a_step_does_not_depend_on_those_before_it(step: int, prompts: int, unique: int | None, seed: int) -> None:
    alone = problems_of_step(step, prompts=prompts, unique=unique, seed=seed)
    assert np.array_equal(alone, consumed(step, prompts, unique, seed)[-prompts:])


@given(seed=SEED)
def test_epochs_and_seeds_have_their_own_orders(seed: int) -> None:
    epochs = consumed(3, 64, 64, seed).reshape(3, 64)
    other = consumed(3, 64, 64, (seed + 1) % 2**63).reshape(3, 64)
    assert len({tuple(order) for order in (*epochs, *other)}) == 6


@settings(max_examples=60)
@given(
    steps=st.integers(1, 15),
    prompts=st.integers(1, 15),
    unique=UNIQUE,
    seed=SEED,
    repeats=st.integers(1, 5),
)
def test_unique_samples_are_those_of_a_naive_count(
    steps: int, prompts: int, unique: int | None, seed: int, repeats: int
) -> None:
    """Every id stands ``repeats`` times in the pool."""
    size = max(unique or 0, steps * prompts)
    problems = np.array([f"p{place // repeats}" for place in range(size)])
    counts = unique_so_far(problems, steps, prompts=prompts, unique=unique, seed=seed)
    places = consumed(steps, prompts, unique, seed)
    naive = [len({problems[place] for place in places[: step * prompts]}) for step in range(1, steps + 1)]
    assert counts.tolist() == naive


@settings(max_examples=60)
@given(longer=st.integers(1, 10), steps=st.integers(1, 10), unique=UNIQUE, seed=SEED)
def test_more_steps_and_a_longer_pool_only_add_to_the_counts(
    longer: int, steps: int, unique: int | None, seed: int
) -> None:
    size = max(unique or 0, (steps + longer) * 4)
    problems = np.array([f"p{place % 23}" for place in range(size)])
    shorter = problems[: max(unique or 0, steps * 4)]
    few = unique_so_far(shorter, steps, prompts=4, unique=unique, seed=seed)
    many = unique_so_far(problems, steps + longer, prompts=4, unique=unique, seed=seed)
    assert many[:steps].tolist() == few.tolist()
    assert (np.diff(many) >= 0).all()
