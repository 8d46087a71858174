"""Evaluators: a checkpoint in, raw answers out; what an answer is worth is decided later, by grading.

Rollouts are rows with the columns ``problem`` (place in the suite), ``mode``, ``sample``, ``answer``, ``finished``,
``probability`` and ``suite``. Modes: *sampled* answers at the study's temperature, the *greedy* answer, and, where one
token sequence is right, the *exact* probability of sampling it, which has no answer and no sampling noise.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd

from rlscale.errors import UserError, did_you_mean
from rlscale.placement import Placement


@dataclass(frozen=True)
class EvaluationSettings:
    """How a checkpoint is asked; the fields of a study's ``evaluation`` that shape its answers.

    ``max_new_tokens`` is the longest answer; None: the longest right answer of a suite, and its end.
    """

    temperature: float
    samples: int
    greedy: bool
    exact: bool
    sampled_problems: int
    seed: int
    max_new_tokens: int | None = None


class Evaluator(Protocol):
    """Answers suites of problems with the weights of one checkpoint."""

    def evaluate(self, checkpoint: Path, problems: pd.DataFrame, settings: EvaluationSettings) -> pd.DataFrame:
        """Return the rollouts of all suites (columns suite, problem, prompt, answer), one row each, suite by suite."""
        ...


def evaluator_named(name: str, placement: Placement | None = None) -> Evaluator:
    """Return the evaluator that a study names.

    Args:
        name: as in the study.
        placement: the GPUs, for evaluators that use them.

    Raises:
        UserError: there is no evaluator of this name, or it needs GPUs and none are placed.
    """
    if name == "local":
        from rlscale.evaluators.local import LocalEvaluator

        return LocalEvaluator()
    if name == "vllm":
        from rlscale.evaluators.vllm import VllmEvaluator

        if placement is None:
            raise UserError("evaluator vllm needs a placement, which the ladder does not state")
        return VllmEvaluator(placement)
    raise UserError(f"no evaluator {name!r}; there are local and vllm{did_you_mean(name, ('local', 'vllm'))}")
