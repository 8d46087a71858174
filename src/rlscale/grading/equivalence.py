r"""Whether an answer equals the gold: extraction and equivalence by math-verify, in a process made for it.

A box (``\boxed{...}``) goes before anything else in the answer, as the prompts ask for one. An answer without a box and
without ``$``, ``\(`` or ``\[`` may be bare LaTeX: if it has no words it is read as if it stood in a box, and ``2k`` is
not 2.
"""

import re
from functools import lru_cache
from itertools import product
from typing import Any

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

from rlscale.grading.judgement import Judgement

LONGEST = 20_000
"""Characters of an answer that are read: its last ones, where the answer of a chain of thought stands."""

LONGEST_BARE = 200
"""Characters up to which an answer may be bare LaTeX; longer ones are prose."""

_GOLD = (LatexExtractionConfig(boxed_match_priority=0),)
_ANSWER = (LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig())
_DELIMITED = re.compile(r"\\boxed|(?<!\\)\$|\\\(|\\\[")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_TEXT = re.compile(r"\\(?:begin|end|text|mathrm|mbox)\s*\{[^{}]*\}")


def judge(answer: str, gold: str) -> Judgement:
    """Compare an answer with the gold, as math-verify does; may take for ever or all memory, which callers limit.

    Raises:
        MemoryError, RecursionError: the answer needs more than there is.
    """
    golds = _read_gold(gold)
    if not golds:
        return Judgement("no_verdict", "the gold cannot be read as mathematics")
    candidates = _read_answer(answer[-LONGEST:])
    failure = ""
    for one, other in product(golds, candidates):
        try:
            # The alarm of math-verify is left out: the process has a deadline as a whole.
            if verify(one, other, timeout_seconds=None, raise_on_error=True):
                return Judgement("correct", "equal to the gold")
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # noqa: BLE001 - sympy raises anything; math-verify counts it as unequal
            failure = f" (comparison failed: {type(error).__name__})"
    return Judgement("wrong", f"not equal to the gold{failure}" if candidates else "no answer found")


@lru_cache(maxsize=4096)
def _read_gold(gold: str) -> tuple[Any, ...]:
    return tuple(parse(f"\\boxed{{{gold}}}", _GOLD, parsing_timeout=None))


def _read_answer(answer: str) -> list[Any]:
    """Return what the answer may mean; empty where nothing is found."""

    def as_text() -> list[Any]:
        return list(parse(answer, _ANSWER, parsing_timeout=None))

    def as_box() -> list[Any]:
        return list(parse(f"\\boxed{{{answer}}}", _GOLD, parsing_timeout=None))

    if len(answer) > LONGEST_BARE or _DELIMITED.search(answer):
        return as_text()
    is_prose = _WORD.search(_TEXT.sub("", answer)) is not None
    return as_text() or as_box() if is_prose else as_box() or as_text()
