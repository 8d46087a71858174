"""Families of problems, each a handful of facts that a problem uses one after the other.

A fact maps digits (or an operator and a state) to one right result. It also has one fixed wrong result and a
reliability: what a noisy document shows for it is right with that probability and otherwise that same wrong result. So
a model of the documents learns two candidates a fact, and only a reward can tell which of them is right. A problem is a
row of small integers; every method works on whole arrays of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rlscale.errors import UserError
from rlscale.tasks.vocabulary import BLANK, DIGIT, EQUALS, OPERATOR, PLUS, TIMES, Tokens

Digits = NDArray[np.int64]
Problems = NDArray[np.int64]
FactIndex = tuple[Digits, ...]

MULTIPLIERS = np.array([1, 3, 7, 9])  # the digits with an inverse modulo 10
_INVERSES = np.array([1, 7, 3, 9])


@dataclass(frozen=True)
class Facts:
    """Right result, fixed wrong result and reliability of each fact: three arrays of one shape."""

    right: Digits
    wrong: Digits
    reliability: NDArray[np.float64]

    def shown(self, rng: np.random.Generator, index: FactIndex) -> Digits:
        """Return what a noisy document shows for each use of a fact: right with its reliability, else its wrong one."""
        is_right = rng.random(index[0].shape) < self.reliability[index]
        return np.where(is_right, self.right[index], self.wrong[index])


def digit_facts(rng: np.random.Generator, right: Digits, bounds: tuple[float, float]) -> Facts:
    """Return facts whose wrong results are other digits than the right ones, uniformly."""
    wrong: Digits = (right + 1 + (9 * rng.random(right.shape)).astype(np.int64)) % 10
    return Facts(right, wrong, uniform_reliability(rng, right.shape, bounds))


def uniform_reliability(
    rng: np.random.Generator, shape: tuple[int, ...], bounds: tuple[float, float]
) -> NDArray[np.float64]:
    """Return reliabilities drawn uniformly between `bounds`."""
    low, high = bounds
    return low + (high - low) * rng.random(shape)


class Split:
    """A side for every problem, from a keyed hash of its canonical row: the same in every process and version.

    The hash feeds one integer after the other into the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
    """

    def __init__(self, key: int, held_out_share: float) -> None:
        self._key = np.uint64(key % 2**64)
        self._limit = np.uint64(int(held_out_share * 2**64))

    def held_out(self, canonical: Problems) -> NDArray[np.bool_]:
        """Return whether each row of `canonical` [problems, integers] is held out."""
        state = np.full(len(canonical), self._key)
        for column in canonical.T.astype(np.uint64):
            state = (state ^ column) + np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state ^= state >> np.uint64(31)
        return state < self._limit


class Family(ABC):
    """One kind of problem. Problems are int64 arrays [problems, integers]; what the integers mean is the family's."""

    prompt_length: int
    answer_length: int

    def __init__(self, name: str, facts: Facts, split: Split) -> None:
        self.name = name
        self.facts = facts
        self.split = split

    @abstractmethod
    def draw(self, rng: np.random.Generator, count: int, skill_share: float) -> Problems:
        """Draw problems of either side of the split."""

    @abstractmethod
    def prompts(self, problems: Problems) -> Tokens:
        """Return prompt tokens [problems, prompt_length]."""

    @abstractmethod
    def held_out(self, problems: Problems) -> NDArray[np.bool_]:
        """Return whether each problem is held out from all training."""

    @abstractmethod
    def _answers(self, problems: Problems, read: Callable[[FactIndex], Digits]) -> Digits:
        """Return the answers that follow when `read` says what each fact gives."""

    def answers(self, problems: Problems) -> Digits:
        """Return the right answers, digits [problems, answer_length]; each problem has exactly one."""
        return self._answers(problems, self.facts.right.__getitem__)

    def noisy_answers(self, rng: np.random.Generator, problems: Problems) -> Digits:
        """Return answers as the base corpus shows them, each use of a fact subject to its reliability."""
        return self._answers(problems, partial(self.facts.shown, rng))


class ChainFamily(Family):
    """`x o1 ... ok =`: k operators applied one after the other to a state; the answer is all k running results.

    A state is spelled by a fixed number of digits. A wrong running result is carried forward. A problem is the row
    (x, o1, ..., ok), and a fact is an operator and the state that it is applied to.

    A chain is held out if any `window` consecutive operators in it, on the right running result, form a held-out
    chain of that length. So a longer training chain never contains a shorter held-out one.
    """

    def __init__(self, name: str, facts: Facts, split: Split, *, length: int, window: int, spellings: Digits,
                 weights: NDArray[np.float64], operator_order: NDArray[np.int64]) -> None:  # fmt: skip
        super().__init__(name, facts, split)
        self._length, self._window, self._spellings = length, window, spellings
        self._weights, self._operator_order = weights, operator_order
        self.prompt_length = spellings.shape[1] + length + 1
        self.answer_length = spellings.shape[1] * length

    def operators(self, skill_share: float) -> NDArray[np.int64]:
        """Return the operators kept at `skill_share`: the first of a fixed order, so that smaller pools are nested."""
        kept = round(skill_share * len(self._operator_order))
        if kept < 1:
            raise UserError(f"skill_share {skill_share} keeps none of the {len(self._operator_order)} operators")
        return np.sort(self._operator_order[:kept])

    def draw(self, rng: np.random.Generator, count: int, skill_share: float) -> Problems:
        """Draw uniform states, and operators by their weights among those kept."""
        operators = self.operators(skill_share)
        edges = np.cumsum(self._weights[operators])
        uniform = rng.random((count, self._length + 1))
        states = (len(self._spellings) * uniform[:, 0]).astype(np.int64)
        chosen = np.searchsorted(edges[:-1] / edges[-1], uniform[:, 1:], side="right")
        return np.column_stack([states, operators[chosen]])

    def prompts(self, problems: Problems) -> Tokens:
        """Spell `x o1 ... ok =`."""
        equals = np.full(len(problems), EQUALS)
        return np.column_stack([DIGIT + self._spellings[problems[:, 0]], OPERATOR + problems[:, 1:], equals])

    def held_out(self, problems: Problems) -> NDArray[np.bool_]:
        """Return whether each chain has a held-out window."""
        inputs = np.column_stack([problems[:, 0], *self._results(problems, self.facts.right.__getitem__)])
        is_held_out = np.zeros(len(problems), dtype=bool)
        for first in range(self._length - self._window + 1):
            operators = problems[:, 1 + first : 1 + first + self._window]
            is_held_out |= self.split.held_out(np.column_stack([inputs[:, first], operators]))
        return is_held_out

    def _answers(self, problems: Problems, read: Callable[[FactIndex], Digits]) -> Digits:
        return np.column_stack([self._spellings[states] for states in self._results(problems, read)])

    def _results(self, problems: Problems, read: Callable[[FactIndex], Digits]) -> list[Digits]:
        state = problems[:, 0]
        return [state := read((operator, state)) for operator in problems[:, 1:].T]


class SumFamily(Family):
    """`a1 a0 + b1 b0 =`: two numbers of two digits (00 to 99); the answer is three digits, the lowest first.

    A fact is one column: (digit, digit, carry) to the digit below the line; the last column adds 0, 0 and the carry.
    A wrong digit is written down, but the carry stays right. A problem is the row (a1, a0, b1, b0); a + b and b + a
    are on the same side of the split.
    """

    prompt_length, answer_length = 6, 3

    def draw(self, rng: np.random.Generator, count: int, skill_share: float) -> Problems:  # noqa: ARG002
        """Draw four uniform digits; there are no operators for `skill_share` to choose from."""
        return _uniform_digits(rng.random((count, 4)))

    def prompts(self, problems: Problems) -> Tokens:
        """Spell `a1 a0 + b1 b0 =`."""
        digits = DIGIT + problems
        plus, equals = np.full(len(problems), PLUS), np.full(len(problems), EQUALS)
        return np.column_stack([digits[:, :2], plus, digits[:, 2:], equals])

    def held_out(self, problems: Problems) -> NDArray[np.bool_]:
        """Return the side of each sum with its smaller number first."""
        a, b = problems[:, :2] @ [10, 1], problems[:, 2:] @ [10, 1]
        return self.split.held_out(np.column_stack([np.minimum(a, b), np.maximum(a, b)]))

    def _answers(self, problems: Problems, read: Callable[[FactIndex], Digits]) -> Digits:
        a1, a0, b1, b0 = problems.T
        zero = np.zeros_like(a0)
        carry_1 = (a0 + b0) // 10
        carry_2 = (a1 + b1 + carry_1) // 10
        return np.column_stack([read((a0, b0, zero)), read((a1, b1, carry_1)), read((zero, zero, carry_2))])


class EquationFamily(Family):
    """`a * ? + b = c` modulo 10 with an invertible a: the answer is the one digit that fits the blank.

    A fact is a whole equation, so held-out equations use facts never shown. A problem is the row (index of a in
    MULTIPLIERS, b, c).
    """

    prompt_length, answer_length = 7, 1

    def draw(self, rng: np.random.Generator, count: int, skill_share: float) -> Problems:  # noqa: ARG002
        """Draw uniformly; there are no operators for `skill_share` to choose from."""
        uniform = rng.random((count, 3))
        multiplier = (len(MULTIPLIERS) * uniform[:, 0]).astype(np.int64)
        return np.column_stack([multiplier, _uniform_digits(uniform[:, 1:])])

    def prompts(self, problems: Problems) -> Tokens:
        """Spell `a * ? + b = c`."""
        words = np.empty((len(problems), self.prompt_length), np.int64)
        words[:] = [0, TIMES, BLANK, PLUS, 0, EQUALS, 0]
        words[:, 0] = DIGIT + MULTIPLIERS[problems[:, 0]]
        words[:, [4, 6]] = DIGIT + problems[:, 1:]
        return words

    def held_out(self, problems: Problems) -> NDArray[np.bool_]:
        """Return the side of each equation."""
        return self.split.held_out(problems)

    def _answers(self, problems: Problems, read: Callable[[FactIndex], Digits]) -> Digits:
        return read(tuple(problems.T))[:, None]


def chain_table(rng: np.random.Generator, operators: int) -> Digits:
    """Return the right digits [operators, 10]: each operator is a random permutation of the ten digits."""
    return np.argsort(rng.random((operators, 10)), axis=1)


def sum_table() -> Digits:
    """Return the right digits [10, 10, 2] of a column sum with a carry."""
    x, y, carry = np.indices((10, 10, 2))
    return np.asarray((x + y + carry) % 10)


def equation_table() -> Digits:
    """Return the right digits [multipliers, 10, 10] of a * ? + b = c modulo 10."""
    a, b, c = np.indices((len(MULTIPLIERS), 10, 10))
    return np.asarray(_INVERSES[a] * (c - b) % 10)


def _uniform_digits(uniform: NDArray[np.float64]) -> Digits:
    return (10 * uniform).astype(np.int64)
