"""Small programs on short strings: each operator is a routine, and its misconception a twin with one other line.

A problem names a string and one routine after the other; the answer is every string on the way. The corpus shows what
the routine makes of its input or what the twin makes of it. Which of them, and how often, is a fact of the routine and
the first letters of the input, so that a base model half knows many facts that a reward can settle one by one.
"""

from dataclasses import dataclass

import numpy as np

from rlscale.errors import UserError
from rlscale.task_spec import ProgramsTask
from rlscale.tasks.families import Digits, Facts, uniform_reliability
from rlscale.tasks.interpreter import Program, all_strings, random_line, run, string_numbers
from rlscale.tasks.procedural import ProceduralProblems, task_rng

TRIES_A_ROUTINE = 100


@dataclass(frozen=True)
class Routine:
    """A program, its wrong twin, and the number of the string that either makes of each string, [strings]."""

    program: Program
    twin: Program
    right: Digits
    wrong: Digits

    @property
    def fit(self) -> bool:
        """Whether it changes and reaches at least half of the strings, and differs from its twin on half of them."""
        count = len(self.right)
        changed, mistaken = self.right != np.arange(count), self.right != self.wrong
        return bool(min(changed.sum(), mistaken.sum(), len(np.unique(self.right))) >= count / 2)


class ProgramProblems(ProceduralProblems):
    """The problems of one `ProgramsTask`; `routines` are what its operators stand for."""

    def __init__(self, spec: ProgramsTask) -> None:
        self.routines = _routines(spec)
        right, wrong = map(np.stack, zip(*[(one.right, one.wrong) for one in self.routines], strict=True))
        facts = (spec.operators, spec.letters**spec.fact_letters)
        reliability = uniform_reliability(task_rng(spec, "reliability"), facts, spec.reliability)
        # Strings are numbered by their first letters first: those of one fact lie next to one another.
        reliability = np.repeat(reliability, right.shape[1] // facts[1], axis=1)
        super().__init__(spec, Facts(right, wrong, reliability), all_strings(spec.letters, spec.string_length))


def _routines(spec: ProgramsTask) -> list[Routine]:
    """Draw a fit routine for each operator, no two of them the same function."""
    rng = task_rng(spec, "routines")
    found: dict[bytes, Routine] = {}
    for _ in range(TRIES_A_ROUTINE * spec.operators):
        routine = _drawn(rng, spec)
        if routine.fit:
            found.setdefault(routine.right.tobytes(), routine)
        if len(found) == spec.operators:
            return list(found.values())
    raise UserError(
        f"only {len(found)} of {spec.operators} different routines were found: lower operators, or raise letters "
        f"({spec.letters}), string_length ({spec.string_length}) or lines ({spec.lines})"
    )


def _drawn(rng: np.random.Generator, spec: ProgramsTask) -> Routine:
    strings = all_strings(spec.letters, spec.string_length)
    program = tuple(random_line(rng, spec.letters, spec.string_length) for _ in range(spec.lines))
    changed = int(rng.integers(spec.lines))
    line = random_line(rng, spec.letters, spec.string_length)
    twin = (*program[:changed], line, *program[changed + 1 :])
    right, wrong = (
        string_numbers(run(one, strings, spec.letters, spec.step_limit), spec.letters) for one in (program, twin)
    )
    return Routine(program, twin, right, wrong)
