"""Scores, curves, gates and the points of the law, on tables made by hand."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rlscale.curves import drawn_losses, exclusion, law_points, problem_table, run_curve, score_table
from rlscale.identity import RUN_ATTRIBUTES

RUN: dict[str, Any] = {
    "run": "q3k_base_b0_s0",
    "variant": "base",
    "model": "q3k",
    "params": 3012,
    "tau": 4,
    "group_size": 8,
    "reward_accuracy": 0.9,
    "families": ["chain", "sum"],
    "skill_share": 0.5,
    "supervision": "full",
    "base_seed": 0,
    "seed": 1,
    "blocks": ["law", "reuse"],
}
STEPS = pd.DataFrame(
    {
        "step": [1, 2, 3],
        "samples": [16, 32, 48],
        "unique_samples": [16, 30, 40],
        "compute_flops": [100.0, 110.0, 90.0],
        "flops_rollout": [10.0, 11.0, 12.0],
        "flops_old_logprob": [0.0, 1.0, 2.0],
        "flops_reference_logprob": [3.0, 3.0, 3.0],
        "flops_update": [30.0, 33.0, 36.0],
        "reward_mean": [0.25, 0.5, 0.75],
        "truncated_share": [0.5, 0.25, 0.125],
    }
)
NO_GATES = {"max_truncated": 1.0, "max_final_loss_rise": None}


def scores(values: Mapping[int, float], suite: str = "heldout", mode: str = "exact") -> pd.DataFrame:
    """Return a score for each step, with a standard error of a tenth of it."""
    table = pd.DataFrame({"step": list(values), "score": list(values.values())})
    return table.assign(suite=suite, mode=mode, score_se=table["score"] / 10)


def curve(table: pd.DataFrame, **gates: Any) -> pd.DataFrame:
    return run_curve(RUN, STEPS, table, suite="heldout", mode="exact", gates=NO_GATES | gates)


# --- the curve of a run


def test_a_curve_adds_up_what_lies_between_its_steps() -> None:
    table = curve(scores({3: 0.8, 0: 0.4, 2: 0.6}))
    assert table["step"].tolist() == [0, 2, 3]
    assert table["samples"].tolist() == [0, 32, 48]
    assert table["unique_samples"].tolist() == [0, 30, 40]
    assert table["compute_flops"].tolist() == [0.0, 210.0, 300.0]
    assert table["total_flops"].tolist() == [0.0, 43.0 + 48.0, 43.0 + 48.0 + 53.0]
    assert table["test_loss"].tolist() == pytest.approx([0.6, 0.4, 0.2])
    assert table["test_loss_se"].tolist() == pytest.approx([0.04, 0.06, 0.08])
    assert table["reward_mean"].tolist() == pytest.approx([np.nan, 0.5, 0.75], nan_ok=True)
    assert table["truncated_share"].tolist() == pytest.approx([np.nan, 0.25, 0.125], nan_ok=True)
    assert table["excluded"].tolist() == ["", "", ""]


def test_every_row_says_which_run_it_is() -> None:
    table = curve(scores({0: 0.4, 1: 0.5}))
    assert (table["run"] == RUN["run"]).all()
    for name in RUN_ATTRIBUTES:
        expected = {"families": "chain,sum", "blocks": "law,reuse"}.get(name, RUN[name])
        assert table[name].tolist() == [expected, expected]


def test_step_and_samples_are_whole_and_flops_are_not() -> None:
    kinds = curve(scores({0: 0.4, 1: 0.5})).dtypes.astype("str").to_dict()
    assert {kinds[name] for name in ("step", "samples", "unique_samples")} == {"int64"}
    assert {kinds[name] for name in ("compute_flops", "total_flops", "test_loss")} == {"float64"}


def test_other_suites_and_kinds_of_score_are_not_mixed_in() -> None:
    mixed = pd.concat(
        [scores({0: 0.1, 2: 0.2}, "long"), scores({0: 0.3, 2: 0.4}), scores({0: 0.5, 2: 0.6}, mode="greedy")]
    )
    assert curve(mixed)["test_loss"].tolist() == pytest.approx([0.7, 0.6])


def test_a_step_that_was_scored_twice_is_an_error() -> None:
    with pytest.raises(pd.errors.MergeError):
        curve(pd.concat([scores({2: 0.2}), scores({2: 0.3})]))


# --- gates


def test_no_gate_excludes_nothing() -> None:
    assert exclusion(curve(scores({0: 0.9, 2: 0.9, 3: 0.0})), NO_GATES) == ""


@pytest.mark.parametrize(("limit", "reason"), [(0.12, "truncated share 0.12 > 0.12"), (0.125, ""), (0.2, "")])
def test_too_many_truncated_rollouts_at_the_last_step_exclude_a_run(limit: float, reason: str) -> None:
    table = curve(scores({0: 0.4, 2: 0.6, 3: 0.8}), max_truncated=limit)
    assert set(table["excluded"]) == {reason}


@pytest.mark.parametrize(("limit", "excluded"), [(0.25, True), (0.35, False), (None, False)])
def test_a_loss_that_ends_far_above_its_lowest_excludes_a_run(limit: float | None, excluded: bool) -> None:
    table = curve(scores({0: 0.2, 2: 0.7, 3: 0.4}), max_final_loss_rise=limit)
    reason = "collapsed: last loss 0.300 above its lowest, more than 0.25" if excluded else ""
    assert set(table["excluded"]) == {reason}


# --- the points of the law


def test_the_points_of_the_law_are_the_kept_runs_of_its_block_from_its_first_step_and_their_base_score() -> None:
    table = pd.DataFrame(
        {
            "run": list("aaabbbcccddd"),
            "step": [0, 1, 4] * 4,
            "blocks": ["law"] * 3 + ["reuse"] * 3 + ["reuse,law"] * 3 + ["law"] * 3,
            "excluded": [""] * 9 + ["collapsed"] * 3,
        }
    )
    late = law_points(table, block="law", first_step=4)
    assert list(zip(late["run"], late["step"], strict=True)) == [("a", 0), ("a", 4), ("c", 0), ("c", 4)]
    assert law_points(table, block="law", first_step=0)["run"].tolist() == list("aaaccc")
    assert set(law_points(table, block="reuse", first_step=5)["step"]) == {0}
    assert law_points(table.assign(blocks="law2"), block="law", first_step=0).empty  # names are compared whole


def test_published_points_have_no_blocks() -> None:
    table = pd.DataFrame({"step": [0, 10, 20], "test_loss": [0.9, 0.8, 0.7]})
    assert law_points(table, block=None, first_step=10)["test_loss"].tolist() == [0.9, 0.8, 0.7]


# --- scores


def rollouts(
    rewards: Mapping[int, list[float]], step: int = 0, suite: str = "s", mode: str = "sampled"
) -> pd.DataFrame:
    rows = [(problem, reward) for problem, values in rewards.items() for reward in values]
    return pd.DataFrame(rows, columns=["problem", "reward"]).assign(step=step, suite=suite, mode=mode)


def test_a_score_is_a_mean_over_problems_with_its_standard_error() -> None:
    table = score_table(rollouts({0: [1, 1, 0, 0], 1: [1, 1, 1, 1], 2: [0, 0, 0, 0], 3: [1, 0, 0, 0]}))
    means = np.array([0.5, 1.0, 0.0, 0.25])
    assert len(table) == 1
    row = table.iloc[0]
    assert row["score"] == pytest.approx(means.mean())
    assert row["score_se"] == pytest.approx(means.std(ddof=1) / 2)
    assert (row["problems"], row["samples"], row["no_verdict"]) == (4, 16, 0)


def test_problems_count_alike_however_often_they_were_sampled() -> None:
    table = score_table(rollouts({0: [1.0], 1: [0.0] * 9}))
    assert table["score"].tolist() == [0.5]
    assert table["score_se"].tolist() == [pytest.approx(0.5)]  # deviation √½ over √2 problems


def test_no_verdict_is_counted_and_in_no_mean() -> None:
    table = score_table(rollouts({0: [1, np.nan], 1: [0, 0], 2: [np.nan, np.nan]}))
    row = table.iloc[0]
    assert row["score"] == pytest.approx(0.5)  # of the problems 0 (mean 1) and 1 (mean 0)
    assert row["score_se"] == pytest.approx(0.5)
    assert (row["problems"], row["samples"], row["no_verdict"]) == (2, 6, 3)


def test_steps_suites_and_kinds_are_scored_apart() -> None:
    table = score_table(
        pd.concat(
            [
                rollouts({0: [1], 1: [1]}),
                rollouts({0: [0], 1: [1]}, step=5),
                rollouts({0: [0], 1: [0]}, suite="t"),
                rollouts({0: [0.25], 1: [0.75]}, mode="exact"),
            ]
        ).astype({"suite": "category", "mode": "category"})
    )
    found = {(row.step, row.suite, row.mode): row.score for row in table.itertuples()}
    assert found == {
        (0, "s", "sampled"): 1.0,
        (5, "s", "sampled"): 0.5,
        (0, "t", "sampled"): 0.0,
        (0, "s", "exact"): 0.5,
    }


# --- problems drawn anew


def test_the_score_of_a_problem_is_the_mean_of_its_rewards() -> None:
    table = problem_table(rollouts({0: [1.0, 0.0, np.nan], 1: [1.0], 2: [np.nan]}, step=4))
    assert table.drop(columns="score").drop_duplicates().shape == (3, 4)
    assert table.set_index("problem")["score"].to_dict() == pytest.approx({0: 0.5, 1: 1.0, 2: np.nan}, nan_ok=True)


def test_drawn_problems_are_the_same_for_every_run_and_scatter_as_the_standard_error_says() -> None:
    generator = np.random.default_rng(1)
    scores = {run: generator.random((2, 400)) for run in ("a", "b")}
    tables = {
        run: pd.DataFrame(
            {"step": np.repeat([1, 2], 400), "suite": "s", "mode": "exact", "problem": np.tile(np.arange(400), 2)}
        ).assign(score=values.ravel())
        for run, values in scores.items()
    }
    drawn = drawn_losses(tables, suite="s", mode="exact", draws=600, seed=3)
    losses = drawn.set_index(["run", "step"])
    assert losses.shape == (4, 600)
    for run, values in scores.items():
        for row, step in enumerate((1, 2)):
            error = values[row].std() / np.sqrt(400)
            assert losses.loc[(run, step)].mean() == pytest.approx(1 - values[row].mean(), abs=5 * error / np.sqrt(600))
            assert losses.loc[(run, step)].std() == pytest.approx(error, rel=0.15)
    alike = drawn_losses(dict.fromkeys("ab", tables["a"]), suite="s", mode="exact", draws=20, seed=3).set_index("run")
    assert alike.loc["a"].equals(alike.loc["b"].set_axis(alike.loc["a"].index))
