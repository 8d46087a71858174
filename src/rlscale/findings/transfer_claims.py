"""Claims about other suites than the one that the law is fitted on: does what a model learns carry over?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rlscale.errors import UserError
from rlscale.findings.estimates import over_sizes
from rlscale.findings.finding import Claim, Effect, Outcome, directional, span, untested
from rlscale.findings.runs import Run, gather_runs, readings, slope
from rlscale.findings.size_claims import names, reference_runs

_SCORE_COLUMNS = ("run", "step", "suite", "mode", "score", "problems")


def transfer(
    curves: pd.DataFrame, scores: pd.DataFrame | None, *, first_step: int, max_params: float | None
) -> list[Outcome]:
    """Test, for each suite but the law's own, whether its loss falls with samples.

    Args:
        curves: the study's curves; test_loss is 1 - score of the law's suite.
        scores: one row a run, step, suite and mode, with columns score and problems; None where a study has none.
        first_step: the law's first step.
        max_params: leave out sizes above this.

    Raises:
        UserError: a column of the scores is missing.
    """
    if scores is None:
        return [untested(_claim(None), "The study keeps no scores beside its test loss.")]
    missing = [column for column in _SCORE_COLUMNS if column not in scores]
    if missing:
        raise UserError(f"scores: missing column{'s' if len(missing) > 1 else ''} {', '.join(missing)}")
    own = _own_suite(curves, scores) if "run" in curves else None
    if own is None:
        return [untested(_claim(None), "No suite of the scores is the one that the test loss was measured on.")]
    suite, mode = own
    others = sorted(set(scores["suite"]) - {suite})
    if not others:
        return [untested(_claim(None), f"The study scores one suite only ({suite}).")]
    inside = reference_runs(gather_runs(curves, first_step=first_step, max_params=max_params, source="curves"))
    outcomes = []
    for other in others:
        chosen = scores[(scores["suite"] == other) & (scores["mode"] == mode)]
        table = curves.drop(columns="test_loss").merge(_losses(chosen), on=["run", "step"])
        if table.empty:
            outcomes.append(untested(_claim(other), f"The suite {other} has no {mode} scores of these runs."))
            continue
        outside = gather_runs(table, first_step=first_step, max_params=max_params, source=f"scores of {other}")
        outcomes.append(_transfer(other, inside, reference_runs(outside)))
    return outcomes


def _transfer(suite: str, inside: Sequence[Run], outside: Sequence[Run]) -> Outcome:
    claim = _claim(suite)
    items = readings(outside, lambda run: slope(run, "samples"))
    estimate = over_sizes(items, None)
    if estimate is None:
        return untested(claim, f"No run has three scores on {suite} from the law's first step on.")
    low, high = estimate.bounds()
    name = f"slope k of the loss on {suite}, mean over sizes"
    effect = Effect(name, "log10 loss per log10 X", estimate.value, low, high)
    own = over_sizes(readings(inside, lambda run: slope(run, "samples")), None)
    share = f", {estimate.value / own.value:.3f} of the slope on the law's own suite" if own and own.value > 0 else ""
    rises = sum(item.value < 0 for item in items)
    end = np.mean([10 ** run.log10_loss[-1] for run in outside])
    evidence = (
        f"The loss on {suite} falls with a mean slope of {estimate.value:.3g} {span(effect)}{share}; it rises in "
        f"{rises} of {len(items)} runs, and ends at {end:.3f} on average"
    )
    return directional(claim, estimate, effect, sign=1, evidence=evidence, runs=names(items))


def _claim(suite: str | None) -> Claim:
    return Claim(
        "transfer" if suite is None else f"transfer_{suite}",
        f"What is learned carries over: the loss on {suite or 'out-of-distribution suites'} falls too.",
        "no key finding of Tan et al.; their evaluation beyond the training domain",
    )


def _own_suite(curves: pd.DataFrame, scores: pd.DataFrame) -> tuple[str, str] | None:
    """Return the suite and the mode whose scores the test loss was made of."""
    both = scores.merge(curves[["run", "step", "test_loss"]], on=["run", "step"])
    off = (1.0 - both["score"] - both["test_loss"]).abs()
    worst = off.groupby([both["suite"], both["mode"]]).max()
    exact = worst[worst < 1e-9]
    return None if exact.empty else (str(exact.index[0][0]), str(exact.index[0][1]))


def _losses(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the test loss by run and step; all problems right counts as half a problem wrong, so that log10 exists."""
    loss = np.maximum(1.0 - scores["score"].to_numpy(), 0.5 / scores["problems"].to_numpy())
    return scores[["run", "step"]].assign(test_loss=loss)
