"""Evaluators: a checkpoint in, raw answers out; what an answer is worth is decided later, by grading.

Rollouts are rows with the columns ``problem`` (place in the suite), ``mode``, ``sample``, ``answer``, ``finished`` and
``probability``. Modes: *sampled* answers at the study's temperature, the *greedy* answer, and, where one token sequence
is right, the *exact* probability of sampling it, which has no answer and no sampling noise.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd

from rlscale.errors import UserError


@dataclass(frozen=True)
class EvaluationSettings:
    """How a checkpoint is asked; the fields of a study's ``evaluation`` that shape its answers."""

    temperature: float
    samples: int
    greedy: bool
    exact: bool
    sampled_problems: int
    seed: int


class Evaluator(Protocol):
    """Answers suites of problems with the weights of one checkpoint."""

    def evaluate(self, checkpoint: Path, suite: pd.DataFrame, settings: EvaluationSettings) -> pd.DataFrame:
        """Return the rollouts of ``suite`` (columns problem, prompt, answer), one row each."""
        ...


def evaluator_named(name: str) -> Evaluator:
    """Return the evaluator that a study names.

    Raises:
        UserError: there is no evaluator of this name here.
    """
    if name == "local":
        from rlscale.evaluators.local import LocalEvaluator

        return LocalEvaluator()
    raise UserError(f"evaluator {name!r} cannot run yet: this version validates and plans its studies; local evaluates")
