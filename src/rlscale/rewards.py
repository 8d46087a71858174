"""Rewards: 1 for a right answer, 0 for a wrong one; and the noise that the factor "reward accuracy" puts on them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from rlscale.errors import UserError

Rewards = NDArray[np.float64]


def grade_exact(
    answers: Sequence[str] | pd.Series, truths: Sequence[str] | pd.Series, finished: ArrayLike | None = None
) -> Rewards:
    """Return rewards [answers]: 1.0 where an answer equals its truth word for word, else 0.0.

    Args:
        answers: what was sampled; white space around and between words does not count.
        truths: the right answers, one each.
        finished: whether each answer ended by itself [answers]; one that was cut off is graded 0, even if the words so
            far are right. None: all of them did.

    Raises:
        ValueError: the lengths differ.
    """
    pairs = zip(answers, truths, strict=True)
    rewards = np.array([answer.split() == truth.split() for answer, truth in pairs], dtype=np.float64)
    if finished is None:
        return rewards
    is_finished = np.asarray(finished, dtype=bool)
    if is_finished.shape != rewards.shape:
        raise ValueError(f"finished has shape {is_finished.shape}, the answers {rewards.shape}")
    return np.where(is_finished, rewards, 0.0)


def flip(rewards: Rewards, accuracy: float, rng: np.random.Generator) -> Rewards:
    """Return rewards of the same shape, each kept with probability `accuracy` and else turned into 1 − reward.

    At accuracy 1 the rewards are unchanged. The generator advances by one draw a reward at every accuracy, so that
    runs which differ in accuracy alone see the same stream.

    Raises:
        UserError: the accuracy is outside [0, 1].
    """
    if not 0.0 <= accuracy <= 1.0:
        raise UserError(f"reward_accuracy must lie in [0, 1], got {accuracy}")
    is_flipped = rng.random(rewards.shape) >= accuracy
    return np.where(is_flipped, 1.0 - rewards, rewards)
