"""What grading one answer gives."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["correct", "wrong", "no_verdict"]


@dataclass(frozen=True)
class Judgement:
    """A verdict and its reason, in few words; ``no_verdict`` is a failure of the grader, not of the answer."""

    verdict: Verdict
    reason: str
