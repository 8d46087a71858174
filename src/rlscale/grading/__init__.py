"""Grades free-form mathematical answers: right, wrong, or no verdict, and why.

Answers come from models and are hostile until proven otherwise. Only child processes look at them, each with a deadline
an answer and a limit on its memory; one that hangs or bursts is replaced, and its answer gets no verdict.
"""

from rlscale.grading.judgement import Judgement, Verdict
from rlscale.grading.pool import MathGrader
from rlscale.grading.rewards import math_rewards

__all__ = ["Judgement", "MathGrader", "Verdict", "math_rewards"]
