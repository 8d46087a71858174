"""Curves: from scores and steps of runs to one tidy table for the study.

A row is a run at an evaluated step. Step 0 is the base model: no samples, no compute. Runs that a declared gate
excludes stay in the table, with the reason; nothing is dropped, smoothed or filled in.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from rlscale.identity import RUN_ATTRIBUTES

FLOPS = ("flops_rollout", "flops_old_logprob", "flops_reference_logprob", "flops_update")


def run_curve(
    run: Mapping[str, Any],
    steps: pd.DataFrame,
    scores: pd.DataFrame,
    *,
    suite: str,
    mode: str,
    gates: Mapping[str, Any],
) -> pd.DataFrame:
    """Return the curve of one run, a row per evaluated step.

    Args:
        run: its id and coordinates (keys ``run`` and ``RUN_ATTRIBUTES``).
        steps: the trainer's table, a row per optimiser step from 1.
        scores: graded scores, with columns step, suite, mode, score, score_se.
        suite: the suite that test loss is measured on.
        mode: the kind of score that test loss is made of.
        gates: ``max_truncated`` and ``max_final_loss_rise`` of the study.

    Returns:
        Columns run, the attributes, step, samples, unique_samples, compute_flops (cumulative 6·N·T), total_flops
        (cumulative ledger), test_loss, test_loss_se, reward_mean, truncated_share, excluded ("" where kept).
    """
    own = scores[(scores["suite"] == suite) & (scores["mode"] == mode)].sort_values("step")
    cumulative = pd.DataFrame(
        {
            "step": steps["step"],
            "samples": steps["samples"],
            "unique_samples": steps["unique_samples"],
            "compute_flops": steps["compute_flops"].cumsum(),
            "total_flops": steps[list(FLOPS)].sum(axis=1).cumsum(),
            "reward_mean": steps["reward_mean"],
            "truncated_share": steps["truncated_share"],
        }
    )
    start = pd.DataFrame([dict.fromkeys(cumulative.columns, 0) | {"reward_mean": np.nan, "truncated_share": np.nan}])
    merged = own[["step", "score", "score_se"]].merge(pd.concat([start, cumulative]), on="step", validate="1:1")
    curve = pd.DataFrame({"run": run["run"]}, index=merged.index)
    for name in RUN_ATTRIBUTES:
        value = run[name]
        curve[name] = ",".join(value) if isinstance(value, list | tuple) else value
    curve["step"] = merged["step"]
    for name in ("samples", "unique_samples"):
        curve[name] = merged[name].astype("int64")
    for name in ("compute_flops", "total_flops"):
        curve[name] = merged[name].astype("float64")
    curve["test_loss"] = 1.0 - merged["score"]
    curve["test_loss_se"] = merged["score_se"]
    curve["reward_mean"], curve["truncated_share"] = merged["reward_mean"], merged["truncated_share"]
    curve["excluded"] = exclusion(curve, gates)
    return curve


def exclusion(curve: pd.DataFrame, gates: Mapping[str, Any]) -> str:
    """Return why the study's gates exclude a run's curve, or an empty string."""
    truncated = curve["truncated_share"].iloc[-1]
    if truncated > gates["max_truncated"]:
        return f"truncated share {truncated:.2f} > {gates['max_truncated']:g}"
    rise = curve["test_loss"].iloc[-1] - curve["test_loss"].min()
    limit = gates["max_final_loss_rise"]
    if limit is not None and rise > limit:
        return f"collapsed: last loss {rise:.3f} above its lowest, more than {limit:g}"
    return ""


def law_points(curves: pd.DataFrame, *, block: str | None, first_step: int) -> pd.DataFrame:
    """Return the rows that the law is fitted on: kept runs of one block, from ``first_step`` on, and their base score.

    Published points have neither blocks nor gates: for them ``block`` is None.
    """
    rows = (curves["step"] >= first_step) | (curves["step"] == 0)
    if block is not None:
        in_block = curves["blocks"].str.split(",").map(lambda blocks: block in blocks)
        rows &= in_block & (curves["excluded"] == "")
    return curves[rows].reset_index(drop=True)


def score_table(rollouts: pd.DataFrame) -> pd.DataFrame:
    """Return scores from graded rollouts (columns step, suite, mode, problem, reward).

    A score is the mean over problems of a problem's mean reward; its standard error is over problems, since problems,
    not samples, are what was drawn. A reward of NaN is *no verdict*: counted, and in no mean.
    """
    keys = ["step", "suite", "mode", "problem"]
    by_problem = rollouts.groupby(keys, observed=True)["reward"].agg(["mean", "size", "count"])
    groups = by_problem.groupby(["step", "suite", "mode"], observed=True)
    table = pd.DataFrame(
        {
            "score": groups["mean"].mean(),
            "score_se": groups["mean"].sem(),
            "problems": groups["mean"].count(),
            "samples": groups["size"].sum(),
            "no_verdict": groups["size"].sum() - groups["count"].sum(),
        }
    ).reset_index()
    return table.astype({"step": "int64", "suite": "str", "mode": "str"})


def problem_table(rollouts: pd.DataFrame) -> pd.DataFrame:
    """Return the mean reward of every problem (columns step, suite, mode, problem, score) from graded rollouts."""
    keys = ["step", "suite", "mode", "problem"]
    table = rollouts.groupby(keys, observed=True)["reward"].mean().rename("score").reset_index()
    return table.astype({"score": "float64"})


def drawn_losses(
    problem_scores: Mapping[str, pd.DataFrame], *, suite: str, mode: str, draws: int, seed: int
) -> pd.DataFrame:
    """Return test losses on problems drawn anew, with replacement, the same for every run and step.

    Args:
        problem_scores: by run, its `problem_table`. A problem without a score anywhere is not drawn.
        suite: the suite that test loss is measured on.
        mode: the kind of score that test loss is made of.
        draws: how often the problems are drawn.
        seed: of the random numbers.

    Returns:
        Columns run, step and ``0``, ``1``, ... for the drawings.
    """
    wide = pd.concat(
        {
            run: table[(table["suite"] == suite) & (table["mode"] == mode)].pivot_table(
                index="step", columns="problem", values="score"
            )
            for run, table in problem_scores.items()
        },
        names=["run"],
    ).dropna(axis="columns")
    problems = wide.shape[1]
    counts = np.random.default_rng(seed).multinomial(problems, np.full(problems, 1 / problems), size=draws)
    # einsum, not a matrix product: the same bits whatever the threads.
    losses = 1.0 - np.einsum("rp,dp->rd", wide.to_numpy(), counts / problems)
    drawn = pd.DataFrame(losses, index=wide.index, columns=[str(index) for index in range(draws)])
    return drawn.reset_index()
