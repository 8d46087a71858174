"""A machine for small programs on short strings, run on many strings at once.

A program is a few lines, run from the first to the last. A line is a guard and an action: *always* acts once, *if* acts
once where the string begins with the guard's letter, *until* acts again and again until the string begins with it.
Every action costs one step. A run that has used its steps halts with the string as it stands, so each program is a
function: defined for every string, with exactly one result.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Strings = NDArray[np.int64]
Guard = Literal["always", "if", "until"]
Action = Literal["rotate", "reverse", "swap", "copy", "put", "raise", "replace"]

GUARDS: tuple[Guard, ...] = get_args(Guard)
ACTIONS: tuple[Action, ...] = get_args(Action)


@dataclass(frozen=True)
class Line:
    """One line of a program.

    Attributes:
        guard: when the action happens; see the module.
        letter: the letter that `if` and `until` look for in the first place.
        action: what happens.
        place: the place that the action works on.
        other: the place that `swap` swaps with and that `copy` reads.
        written: the letter that `put` writes, and that `replace` writes instead of `letter`.
    """

    guard: Guard
    letter: int
    action: Action
    place: int
    other: int
    written: int


Program = tuple[Line, ...]


def all_strings(letters: int, length: int) -> Strings:
    """Return every string [letters^length, length] of the letters 0 to letters - 1, in the order of their numbers."""
    return np.indices((letters,) * length).reshape(length, -1).T


def string_numbers(strings: Strings, letters: int) -> NDArray[np.int64]:
    """Return the place of each string [strings, length] in `all_strings`."""
    return strings @ letters ** np.arange(strings.shape[1])[::-1]


def run(program: Program, strings: Strings, letters: int, step_limit: int) -> Strings:
    """Return what `program` makes of each string [strings, length], in at most `step_limit` actions each."""
    strings = strings.copy()
    steps = np.full(len(strings), step_limit)

    def act(line: Line, where: NDArray[np.bool_]) -> bool:
        where = where & (steps > 0)
        strings[where] = _acted(line, strings[where], letters)
        steps[where] -= 1
        return bool(where.any())

    for line in program:
        if line.guard == "always":
            act(line, np.ones(len(strings), dtype=bool))
        elif line.guard == "if":
            act(line, strings[:, 0] == line.letter)
        else:
            while act(line, strings[:, 0] != line.letter):
                pass
    return strings


def random_line(rng: np.random.Generator, letters: int, length: int) -> Line:
    """Return a line whose every part is drawn uniformly; `other` is another place than `place`."""
    place, step = rng.integers(length), rng.integers(1, length)
    return Line(
        guard=GUARDS[rng.integers(len(GUARDS))],
        letter=int(rng.integers(letters)),
        action=ACTIONS[rng.integers(len(ACTIONS))],
        place=int(place),
        other=int((place + step) % length),
        written=int(rng.integers(letters)),
    )


def _acted(line: Line, strings: Strings, letters: int) -> Strings:
    place, other = line.place, line.other
    result = strings.copy()
    if line.action == "rotate":
        return np.roll(strings, -1, axis=1)
    if line.action == "reverse":
        return strings[:, ::-1]
    if line.action == "swap":
        result[:, [place, other]] = strings[:, [other, place]]
    elif line.action == "copy":
        result[:, place] = strings[:, other]
    elif line.action == "put":
        result[:, place] = line.written
    elif line.action == "raise":
        result[:, place] = (strings[:, place] + 1) % letters
    else:
        result[strings == line.letter] = line.written
    return result
