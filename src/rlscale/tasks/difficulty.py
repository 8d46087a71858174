"""How hard problems from files are: the pass rate of another model, as their data set states it."""

import json
from collections.abc import Mapping

import pandas as pd


def pass_rates(problems: pd.DataFrame, key: str) -> "pd.Series[float]":
    """Return the pass rate of each problem (column extra), NaN where it has none under ``key`` of its extra_info."""
    found = (json.loads(extra).get("extra_info") for extra in problems["extra"])
    values = [info.get(key) if isinstance(info, Mapping) else None for info in found]
    return pd.Series(pd.to_numeric(pd.Series(values, dtype=object), errors="coerce"), dtype=float)


def easy_to_hard(problems: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return the problems by falling pass rate; equal ones keep their order, and those without a rate count as hard."""
    order = (-pass_rates(problems, key).fillna(0.0)).argsort(kind="stable")
    return problems.iloc[order].reset_index(drop=True)
