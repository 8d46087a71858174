"""The numbers of a study that one compares between versions: the law's, its forecast errors, its size and its cost.

They stand in one small file, so that `dvc metrics diff` says what a change of the study came to.
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

LAW = "saturating_slope"
ESTIMATES = ("k_max", "n_0")


def study_metrics(fits: Mapping[str, Any], ranking: pd.DataFrame, curves: pd.DataFrame) -> dict[str, object]:
    """Return a study's main numbers as JSON-native values; what could not be computed is None.

    Args:
        fits: the fits by name (X and loss space), as ``fit.json`` has them.
        ranking: the tournament's ranking.
        curves: the study's curves.
    """
    return {
        "law": {name: _law(fit) for name, fit in fits.items()},
        "forecast_rmse_test_loss": {str(x): _errors(rows) for x, rows in ranking.groupby("x")},
        "study": _size(curves),
    }


def _law(fit: Mapping[str, Any]) -> dict[str, object]:
    intervals, saturation = fit["intervals"] or {}, fit["saturation"]
    found: dict[str, object] = {}
    for name in ESTIMATES:
        interval = intervals.get(name) or {}
        found[name] = {"estimate": fit[name]} | {end: interval.get(end) for end in ("low", "high")}
    held_out = saturation["held_out"] if saturation else {}
    return {
        **found,
        "interval_level": intervals.get("level"),
        "saturation": saturation and saturation["verdict"],
        "held_out_error": held_out.get(LAW),
        "r2_pooled": fit["r2_pooled"],
        "points": fit["points"],
    }


def _errors(ranking: pd.DataFrame) -> dict[str, float | None]:
    """Return the law's forecast error by protocol and what it was trained on; refits of the target are no forecasts."""
    rows = ranking[(ranking["law"] == LAW) & (ranking["protocol"] != "refit-level")]
    errors: dict[str, float | None] = {}
    for row in rows.to_dict("records"):
        trained_on = row["fraction_of_steps"] if pd.isna(row["training"]) else row["training"]
        error = float(row["rmse_test_loss"])
        errors[f"{row['protocol']}_{trained_on}"] = error if math.isfinite(error) else None
    return errors


def _size(curves: pd.DataFrame) -> dict[str, object]:
    """Return how many runs there are and what they cost; a published curve is a run."""
    runs = curves.groupby("run" if "run" in curves else ["variant", "params"])
    size: dict[str, object] = {"runs": int(runs.ngroups), "points": len(curves)}
    if "excluded" in curves:
        size["excluded_runs"] = int(runs["excluded"].first().ne("").sum())
    for name in ("compute_flops", "total_flops"):  # cumulative in each run
        if name in curves:
            size[name] = float(runs[name].max().sum())
    return size
