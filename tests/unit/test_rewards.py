"""Exact grading, and the noise of the factor reward accuracy."""

import numpy as np
import pandas as pd
import pytest

from rlscale.errors import UserError
from rlscale.rewards import flip, grade_exact


def test_an_answer_is_right_word_for_word_whatever_the_white_space() -> None:
    answers = ["3 5", " 3  5\n", "35", "3 5 5", "3", "", "5 3"]
    assert grade_exact(answers, ["3 5"] * 7).tolist() == [1, 1, 0, 0, 0, 0, 0]


def test_a_right_answer_that_was_cut_off_earns_nothing() -> None:
    assert grade_exact(["3 5", "3 5", "4 4"], ["3 5"] * 3, [True, False, True]).tolist() == [1, 0, 0]


def test_tables_columns_are_graded_by_position_not_by_index() -> None:
    table = pd.DataFrame({"answer": ["1", "2"], "truth": ["1", "3"]}, index=[7, 3])
    rewards = grade_exact(table["answer"], table["truth"])
    assert rewards.dtype == np.float64
    assert rewards.tolist() == [1, 0]


def test_no_answers_give_no_rewards() -> None:
    assert grade_exact([], []).shape == (0,)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="shorter"):
        grade_exact(["1", "2"], ["1"])
    with pytest.raises(ValueError, match="finished has shape"):
        grade_exact(["1", "2"], ["1", "2"], [True])


def test_flip_keeps_all_at_accuracy_one_and_none_at_zero() -> None:
    rewards = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    assert np.array_equal(flip(rewards, 1.0, np.random.default_rng(0)), rewards)
    assert np.array_equal(flip(rewards, 0.0, np.random.default_rng(0)), 1 - rewards)


def test_flip_turns_a_share_of_right_and_of_wrong_rewards_alike() -> None:
    rewards = np.repeat([1.0, 0.0], 20_000)
    kept = flip(rewards, 0.8, np.random.default_rng(1)) == rewards
    # The standard error of each share is sqrt(.8 · .2 / 20,000) = .0028.
    assert kept[:20_000].mean() == pytest.approx(0.8, abs=0.012)
    assert kept[20_000:].mean() == pytest.approx(0.8, abs=0.012)


def test_flip_draws_the_same_stream_at_every_accuracy() -> None:
    rewards = np.ones(1000)
    left, right = np.random.default_rng(5), np.random.default_rng(5)
    flipped_at_90, flipped_at_70 = flip(rewards, 0.9, left) == 0, flip(rewards, 0.7, right) == 0
    assert np.all(flipped_at_70[flipped_at_90])
    assert left.random() == right.random()


@pytest.mark.parametrize("accuracy", [-0.1, 1.01, float("nan")])
def test_an_accuracy_outside_0_to_1_is_refused(accuracy: float) -> None:
    with pytest.raises(UserError, match="reward_accuracy must lie in"):
        flip(np.ones(2), accuracy, np.random.default_rng(0))
