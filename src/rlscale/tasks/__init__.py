"""Sources of problems with verifiable answers: made from a seed, or read from files."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import pandas as pd

from rlscale.task_spec import ParquetTask, ProceduralTask, ProgramsTask, SkillsTask
from rlscale.tasks.parquet import ParquetProblems
from rlscale.tasks.procedural import ProceduralProblems
from rlscale.tasks.programs import ProgramProblems
from rlscale.tasks.skills import SkillsProblems

__all__ = [
    "SOURCES",
    "ParquetProblems",
    "Problems",
    "ProceduralProblems",
    "ProgramProblems",
    "SkillsProblems",
    "load_task",
    "make_problems",
]


class Problems(Protocol):
    """What every source offers: tables with the columns `problem` (id), `family`, `prompt` and `answer`.

    No problem of a suite is ever in a training table.
    """

    def train(self, families: Sequence[str], skill_share: float, seed: int, n: int) -> pd.DataFrame:
        """Return `n` training problems; fewer are the first of more."""
        ...

    def suite(self, name: str, n: int, seed: int) -> pd.DataFrame:
        """Return at most `n` problems of an evaluation suite; fewer are the first of more."""
        ...


SOURCES: dict[type[ProceduralTask], Callable[[Any], ProceduralProblems]] = {
    SkillsTask: SkillsProblems,
    ProgramsTask: ProgramProblems,
}
"""What makes the problems of each kind of task, all from its seed; a further kind is a line here."""


def load_task(spec: ProceduralTask | ParquetTask) -> Problems:
    """Return the source of problems that a study's task describes.

    Raises:
        UserError: a parquet file is missing or not in verl's layout, or there are too few different programs.
    """
    return ParquetProblems(spec) if isinstance(spec, ParquetTask) else make_problems(spec)


def make_problems(spec: ProceduralTask) -> ProceduralProblems:
    """Return the problems of a task that makes them from its seed, with the corpus of the base models.

    Raises:
        UserError: there are too few different programs.
    """
    return SOURCES[type(spec)](spec)
