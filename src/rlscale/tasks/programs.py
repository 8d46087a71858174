"""Small programs on short strings: each operator is a routine, and its misconception a twin with one other line.

A problem names a string and one routine after the other; the answer is every string on the way. The corpus shows what
the routine makes of its input or what the twin makes of it. Which of them, and how often, is a fact of the routine and
the first letters of the input, so that a base model half knows many facts that a reward can settle one by one.
"""

from collections.abc import Callable

import numpy as np

from rlscale.errors import UserError
from rlscale.task_spec import ProgramsTask
from rlscale.tasks.families import Digits, Facts, uniform_reliability
from rlscale.tasks.interpreter import Program, all_strings, random_line, run, string_numbers
from rlscale.tasks.procedural import ProceduralProblems, task_rng

TRIES_A_ROUTINE = 100


class ProgramProblems(ProceduralProblems):
    """The problems of one `ProgramsTask`.

    Attributes:
        routines: the program of each operator.
        twins: the wrong program of each operator, which differs from the right one in one line.
    """

    def __init__(self, spec: ProgramsTask) -> None:
        strings = all_strings(spec.letters, spec.string_length)

        def table(program: Program) -> Digits:
            return string_numbers(run(program, strings, spec.letters, spec.step_limit), spec.letters)

        self.routines, self.twins, right, wrong = _routines(spec, table)
        settled = (spec.operators, spec.letters**spec.fact_letters)
        reliability = uniform_reliability(task_rng(spec, "reliability"), settled, spec.reliability)
        reliability = np.repeat(reliability, len(strings) // settled[1], axis=1)
        super().__init__(spec, Facts(right, wrong, reliability), strings)


def _routines(
    spec: ProgramsTask, table: Callable[[Program], Digits]
) -> tuple[list[Program], list[Program], Digits, Digits]:
    """Draw a routine and its twin for each operator; return them and their tables [operators, strings].

    A routine changes at least half of the strings, reaches at least half of them, and equals no other
    routine as a function. It and its twin differ on at least half of the strings.
    """
    rng = task_rng(spec, "routines")
    strings = np.arange(spec.letters**spec.string_length)
    routines: list[Program] = []
    twins: list[Program] = []
    found: dict[bytes, tuple[Digits, Digits]] = {}
    for _ in range(TRIES_A_ROUTINE * spec.operators):
        if len(found) == spec.operators:
            break
        routine = tuple(random_line(rng, spec.letters, spec.string_length) for _ in range(spec.lines))
        changed = int(rng.integers(spec.lines))
        line = random_line(rng, spec.letters, spec.string_length)
        twin = (*routine[:changed], line, *routine[changed + 1 :])
        right, wrong = table(routine), table(twin)
        if (
            right.tobytes() not in found
            and np.mean(right != strings) >= 0.5
            and np.mean(right != wrong) >= 0.5
            and 2 * len(np.unique(right)) >= len(strings)
        ):
            found[right.tobytes()] = right, wrong
            routines.append(routine)
            twins.append(twin)
    if len(found) < spec.operators:
        raise UserError(
            f"only {len(found)} of {spec.operators} different routines were found: lower operators, or raise letters "
            f"({spec.letters}), string_length ({spec.string_length}) or lines ({spec.lines})"
        )
    rights, wrongs = zip(*found.values(), strict=True)
    return routines, twins, np.stack(rights), np.stack(wrongs)
