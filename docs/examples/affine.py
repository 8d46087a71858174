"""Operators that follow a rule: each is x -> a x + b modulo 10, where those of `skills` are random tables.

A model may learn each fact by itself, or the rule behind the ten facts of an operator.
"""

import numpy as np

from rlscale.task_spec import AffineTask
from rlscale.tasks.families import MULTIPLIERS, digit_facts
from rlscale.tasks.procedural import ProceduralProblems, task_rng


class AffineProblems(ProceduralProblems):
    """The problems of one `AffineTask`: chains of one-to-one affine maps of a digit."""

    def __init__(self, spec: AffineTask) -> None:
        rules = task_rng(spec, "rules").permutation(len(MULTIPLIERS) * 10)[: spec.operators]
        multiplier, shift = MULTIPLIERS[rules // 10, None], rules[:, None] % 10
        right = (multiplier * np.arange(10) + shift) % 10  # [operators, digits]
        facts = digit_facts(task_rng(spec, "facts"), right, spec.reliability)
        super().__init__(spec, facts, spellings=np.arange(10)[:, None])
