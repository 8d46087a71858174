"""Decisions from a fitted law and its replicates: the compute that a target takes, what a budget buys.

Pure: a fit comes in as the JSON of `rlscale.fit.Fit`, decisions go out as dataclasses and JSON-native values.
"""

from rlscale.plan.hardware import Hardware, find_gpu
from rlscale.plan.lines import Lines, read_lines
from rlscale.plan.numbers import Number
from rlscale.plan.request import Request
from rlscale.plan.supply import Supply, read_supply
from rlscale.plan.whole import Evidence, make_plan

__all__ = [
    "Evidence",
    "Hardware",
    "Lines",
    "Number",
    "Request",
    "Supply",
    "find_gpu",
    "make_plan",
    "read_lines",
    "read_supply",
]
