"""A study's main numbers: what they are made of, and what stands where there is none."""

import json
from typing import Any

import pandas as pd

from rlscale.metrics import study_metrics

INTERVALS = {"level": 0.9, "k_max": {"low": 0.1, "high": 0.3, "estimate": 0.2}, "n_0": {"low": None, "high": 9e9}}
SATURATION = {"verdict": "not identified", "held_out": {"saturating_slope": 0.02, "log_slope": 0.03}}
FIT: dict[str, Any] = {"k_max": 0.2, "n_0": 1e9, "r2_pooled": 0.99, "points": 12}
RANKING = pd.DataFrame(
    {
        "x": "compute",
        "protocol": ["blind-size", "blind-size", "early-time", "early-time", "refit-level"],
        "training": ["smaller", "smaller", None, None, "smaller"],
        "fraction_of_steps": [None, None, 0.3, 0.5, None],
        "law": ["log_slope", *["saturating_slope"] * 4],
        "rmse_test_loss": [0.01, 0.02, 0.03, None, 0.001],
    }
)
CURVES = pd.DataFrame(
    {
        "run": ["a", "a", "b", "b"],
        "compute_flops": [0.0, 10.0, 0.0, 30.0],
        "total_flops": [0.0, 1.0, 0.0, 3.0],
        "excluded": ["", "", "collapsed", "collapsed"],
    }
)


def test_numbers_with_intervals_errors_and_costs() -> None:
    found = study_metrics({"compute_linear": FIT | {"intervals": INTERVALS, "saturation": SATURATION}}, RANKING, CURVES)
    assert found == {
        "law": {
            "compute_linear": {
                "k_max": {"estimate": 0.2, "low": 0.1, "high": 0.3},
                "n_0": {"estimate": 1e9, "low": None, "high": 9e9},
                "interval_level": 0.9,
                "saturation": "not identified",
                "held_out_error": 0.02,
                "r2_pooled": 0.99,
                "points": 12,
            }
        },
        "forecast_rmse_test_loss": {
            "compute": {"blind-size_smaller": 0.02, "early-time_0.3": 0.03, "early-time_0.5": None}
        },
        "study": {"runs": 2, "points": 4, "excluded_runs": 1, "compute_flops": 40.0, "total_flops": 4.0},
    }
    json.dumps(found, allow_nan=False)


def test_a_fit_without_intervals_says_so() -> None:
    found = study_metrics({"compute_linear": FIT | {"intervals": None, "saturation": None}}, RANKING, CURVES)
    law = found["law"]["compute_linear"]  # type: ignore[index]
    assert law["k_max"] == {"estimate": 0.2, "low": None, "high": None}
    assert law["saturation"] is law["held_out_error"] is law["interval_level"] is None


def test_published_curves_are_counted_as_runs() -> None:
    curves = pd.DataFrame({"variant": "base", "params": [1, 1, 2, 2], "compute_flops": [1.0, 5.0, 2.0, 7.0]})
    assert study_metrics({}, RANKING, curves)["study"] == {"runs": 2, "points": 4, "compute_flops": 12.0}
