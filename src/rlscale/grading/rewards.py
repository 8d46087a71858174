"""From verdicts to rewards."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlscale.grading.pool import MathGrader

REWARD = {"correct": 1.0, "wrong": 0.0, "no_verdict": float("nan")}
"""NaN is no verdict: counted, and in no mean."""


def math_rewards(
    answers: Sequence[str], golds: Sequence[str], finished: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Return rewards [answers]: 1 where an answer equals its gold, 0 where not, NaN where the grader failed.

    Args:
        answers: what was sampled.
        golds: the right answers, one each.
        finished: whether each answer ended by itself [answers]; one that was cut off is graded 0. None: all of them.

    Raises:
        UserError: the grader does not start.
        ValueError: the lengths differ.
    """
    ended = np.ones(len(answers), dtype=bool) if finished is None else np.asarray(finished, dtype=bool)
    if ended.shape != (len(answers),):
        raise ValueError(f"finished has shape {ended.shape}, the answers ({len(answers)},)")
    with MathGrader() as grader:
        verdicts = [judgement.verdict for judgement in grader.grade(answers, golds)]
    return np.where(ended, [REWARD[verdict] for verdict in verdicts], 0.0)
