"""Findings: each claim of a study as a declared test, with an effect, an interval and a verdict.

Which number is read off a run is in `runs`, what its error is in `estimates`, the claims in the modules named after
them, and how p-values become verdicts in `finding`.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from rlscale.errors import UserError
from rlscale.findings import asymptote_claims, control_claims, factor_claims, reuse_claims, size_claims
from rlscale.findings.control_claims import control_slopes
from rlscale.findings.crossovers import crossovers
from rlscale.findings.finding import Effect, Finding, settle
from rlscale.findings.published import published_reuse
from rlscale.findings.reuse_fit import ReuseFit, fit_reuse
from rlscale.findings.runs import gather_runs
from rlscale.findings.size_claims import reference_runs
from rlscale.findings.transfer_claims import transfer

__all__ = [
    "Effect",
    "Finding",
    "ReuseFit",
    "control_slopes",
    "findings",
    "fit_reuse",
    "published_reuse",
    "reuse_points",
]


def findings(
    curves: pd.DataFrame,
    *,
    x_first_step: int,
    max_params: float | None,
    scores: pd.DataFrame | None,
    reuse: pd.DataFrame | None,
    saturation: Mapping[str, Mapping[str, Any] | None] | None,
) -> list[Finding]:
    """Test every claim on a study.

    Args:
        curves: the study's curves: params, step, samples, test_loss, and whatever there is of compute_flops, run,
            base_seed, seed, excluded and the factors (variant, tau, group_size, reward_accuracy, families,
            skill_share, supervision). Rows of step 0 are the base score; runs that a gate excluded are left out.
        x_first_step: the law's first step; slopes are fitted from it on.
        max_params: sizes above this are left out, as they are from the law; None for none.
        scores: the scores of all suites, one row a run, step, suite and mode; None where there are none.
        reuse: points of a reuse experiment that is not part of the curves (see `published_reuse`); None where there is
            none, and the runs of the curves that differ in tau are used.
        saturation: by X ("compute", "samples"), the verdict of the comparison of laws: verdict, reason, p_values;
            None for a fit without intervals, which compares none.

    Returns:
        One finding a claim, always in the same order.

    Raises:
        UserError: a table or an option is not allowed.
    """
    if x_first_step < 1:
        raise UserError(f"x_first_step is {x_first_step!r}; allowed: 1 or more")
    runs = gather_runs(curves, first_step=x_first_step, max_params=max_params, source="curves")
    reused = runs
    if reuse is not None:
        reused = gather_runs(reuse, first_step=x_first_step, max_params=None, source="reuse points")
    alike = reference_runs(runs)
    return settle(
        [
            size_claims.efficiency(alike, "compute"),
            size_claims.efficiency(alike, "samples"),
            size_claims.power_law(alike, "compute"),
            size_claims.power_law(alike, "samples"),
            size_claims.saturation(saturation, "compute"),
            size_claims.saturation(saturation, "samples"),
            factor_claims.variants_alike(runs),
            reuse_claims.harmless(reused),
            reuse_claims.harmful(reused),
            reuse_claims.steps_over_uniqueness(reused),
            factor_claims.reward_slope(runs),
            factor_claims.reward_end_loss(runs),
            asymptote_claims.reward_asymptote(runs),
            size_claims.ceiling(alike),
            factor_claims.diversity(runs),
            control_claims.size_at_equal_base_loss(runs),
            control_claims.base_loss_at_equal_size(runs),
            control_claims.group_size_at_equal_compute(runs),
            *transfer(curves, scores, first_step=x_first_step, max_params=max_params),
            crossovers(alike),
        ]
    )


def reuse_points(curves: pd.DataFrame, *, first_step: int) -> pd.DataFrame | None:
    """Return the points of a study's runs that differ in reuse only, from ``first_step`` on; None where none do.

    Raises:
        UserError: a value of the table is not allowed.
    """
    runs = gather_runs(curves, first_step=first_step, max_params=None, source="curves")
    blocks = factor_claims.arms(runs, "tau")
    names = {run.name for block in blocks for group in block.values() for run in group}
    return curves[curves["run"].isin(names) & (curves["step"] >= first_step)] if names else None
