"""Many small skills: chains of operators on a digit, sums with carries, small equations."""

import numpy as np
from numpy.typing import NDArray

from rlscale.task_spec import SkillsTask
from rlscale.tasks.families import (
    EquationFamily,
    Facts,
    SumFamily,
    chain_table,
    digit_facts,
    equation_table,
    sum_table,
)
from rlscale.tasks.procedural import ProceduralProblems, task_rng, task_split


class SkillsProblems(ProceduralProblems):
    """The problems of one `SkillsTask`: each operator is a permutation of the ten digits."""

    def __init__(self, spec: SkillsTask) -> None:
        def facts(name: str, right: NDArray[np.int64]) -> Facts:
            return digit_facts(task_rng(spec, "facts", name), right, spec.reliability)

        others = {
            "sum": SumFamily("sum", facts("sum", sum_table()), task_split(spec, "sum")),
            "equation": EquationFamily("equation", facts("equation", equation_table()), task_split(spec, "equation")),
        }
        chains = facts("chain", chain_table(task_rng(spec, "operators"), spec.operators))
        super().__init__(spec, chains, np.arange(10)[:, None], others)
