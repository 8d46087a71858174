"""The commands on points: fit with other laws and intervals, forecast, compare; findings of a study."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rlscale.fitting.law_fits import LAWS
from rlscale.simulation import Design, simulate_points

ROOT = Path(__file__).parents[2]
POINTS = "config/data/tan2025_base_curves.csv"
UP_TO_32B = ("--max-params", "3.3e10")


@pytest.fixture
def small(tmp_path: Path) -> str:
    """Return a file of points of five sizes and few steps."""
    sizes = [1_000, 4_000, 16_000, 64_000, 256_000]
    slopes = [0.3 / (1 + 1e4 / size) for size in sizes]
    design = Design(sizes, slopes, [0.95, 0.9, 0.85, 0.8, 0.75], [1, 2, 4, 8, 16, 32, 64], seeds=2, problems=4000)
    points = simulate_points(design, np.random.default_rng(1)).assign(variant="base")
    path = tmp_path / "points.csv"
    points.to_csv(path, index=False)
    return str(path)


@pytest.mark.parametrize("method", ["bootstrap", "profile"])
def test_intervals_are_printed_and_are_in_the_json(run: Any, method: str):
    argv = ("fit", POINTS, "--x", "compute", *UP_TO_32B, "--intervals", method, "--draws", "200", "--seed", "4")
    code, out, _ = run(*argv, "--json")
    found = json.loads(out)["intervals"]
    assert code == 0
    assert (found["method"], found["draws"], found["seed"], found["level"]) == (method, 200, 4, 0.9)
    for interval in (found["k_max"], found["n_0"], *found["k"].values()):
        assert set(interval) == {"estimate", "low", "high", "level"}
        assert interval["low"] < interval["estimate"] < interval["high"]
    assert json.loads(run(*argv, "--json")[1]) == json.loads(out)  # the same bits
    said = run(*argv)[1]
    assert f"90% intervals by {method}, 200 replicates, seed 4" in said
    assert "saturation: not identified" in said


@pytest.mark.parametrize("law", [law for law in LAWS if law not in ("base_level", "saturating_slope")])
def test_every_law_can_be_fitted(run: Any, law: str):
    code, out, _ = run("fit", POINTS, "--x", "samples", "--law", law, "--json")
    found = json.loads(out)
    assert (code, found["law"], found["x"], found["points"]) == (0, law, "samples", 732)
    assert found["r2_pooled"] > 0.9
    assert set(found["r2_within"]) == {str(size) for size in pd.read_csv(ROOT / POINTS)["params"].unique()}
    for parameter in found["parameters"].values():
        assert {"estimate", "unit", "lower", "upper", "bound_hit"} <= set(parameter)
    assert found["formula"] in run("fit", POINTS, "--x", "samples", "--law", law)[1].replace("\n", " ")


def test_a_forecast_names_its_protocol_and_a_refitted_level_is_not_one(run: Any, small: str):
    argv = ("forecast", small, "--x", "samples", "--law", "saturating_slope", "--target-params", "256000")
    found = json.loads(run(*argv, "--protocol", "early-size", "--json")[1])["forecasts"]
    assert {one["law"] for one in found} == {"saturating_slope", "last_value", "last_slope"}
    assert {one["target_params"] for one in found} == {256_000}
    assert all(256_000 not in one["training_params"] for one in found)
    said = run(*argv, "--protocol", "refit-level")[1]
    assert "not a forecast" in said
    assert "lie in the 90% band" in run(*argv, "--protocol", "early-size")[1]


def test_compare_ranks_every_law(run: Any, small: str):
    found = json.loads(run("compare", small, "--x", "samples", "--json")[1])
    assert {row["law"] for row in found["ranking"]} >= set(LAWS)
    assert {row["protocol"] for row in found["ranking"]} == {"blind-size", "early-size", "refit-level", "early-time"}
    assert {row["x"] for row in found["ranking"]} == {"samples"}
    assert all(row["rank"] is None for row in found["ranking"] if row["protocol"] == "refit-level")
    assert len(found["winners"]) == 1


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        (("fit", POINTS, "--x", "compute", "--law", "sigmod"), "error: --law sigmod: no such law"),
        (
            ("fit", POINTS, "--x", "compute", "--law", "sigmoid", "--intervals", "profile"),
            "error: --intervals profile: intervals are made for saturating_slope only",
        ),
        (("fit", POINTS, "--x", "compute", "--law", "base_level"), "error: base_level needs the loss at step 0"),
        (("fit", POINTS, "--x", "compute", "--weights", "se"), "error: points: weights from standard errors need"),
        (("forecast", POINTS, "--x", "compute", "--protocol", "early-size", "--target-params", "5"), "error: "),
        (("forecast", POINTS, "--x", "compute", "--protocol", "early-time", "--fraction", "1.5"), "error: "),
        (("findings", "paper-54"), "error: study paper-54 has no findings yet"),
        (("findings", "min"), 'error: no study "min"; did you mean mini?'),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(run: Any, argv: tuple[str, ...], error: str):
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert err.startswith(error)
    assert err.count("\n") == 1
