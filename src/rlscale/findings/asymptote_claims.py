"""Do wrong rewards slow a run down, or do they stop it short? The level that the loss tends to, from curves that end.

A run that learns more slowly is earlier on its way at its last step, so neither the last loss nor the bend of a curve
over equal samples tells a lower slope from a higher asymptote. Between the same two *losses* they differ: a lower slope
stretches the way evenly, while under an asymptote L_inf each further step down in log L takes ever more samples,
d log D / d log L = -1 / (k (1 - L_inf / L)). That flattening does not depend on k, and neither does its error.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from rlscale.findings.factor_claims import QUALITY, Block, arms, of_block, trend
from rlscale.findings.finding import Claim, Outcome, untested
from rlscale.findings.runs import Reading, Run, Statistic, bend, falling, readings
from rlscale.laws import Array

LEAST_FALL = 0.2
"""Levels are compared over a fall of the loss, in log10, of at least this: a factor of 1.6."""

_POINTS = 4  # of a run between the two losses
_STEEPEST = 4.0  # k of a power law towards an asymptote


def reward_asymptote(runs: Sequence[Run]) -> Outcome:
    """Test whether curves flatten more, between the same two losses, the less accurate the reward is.

    The two losses are those that all levels of a base model pass from the law's first step on. Where they lie too
    close, the least accurate levels are left out: nothing is known of where they tend to.
    """
    claim = Claim(
        "reward_accuracy_asymptote",
        "Wrong rewards raise the level that the loss tends to: between the same two losses, a run flattens more.",
        QUALITY,
    )
    blocks = arms(runs, "reward_accuracy")
    shared = [block for block in blocks if _shared_fall(block) is not None]
    if not shared:
        return untested(
            claim,
            f"No two reward accuracies have runs that pass the same fall of the loss by a factor of "
            f"{10**LEAST_FALL:.1f} with {_POINTS} points, so where they tend to cannot be told."
            if blocks
            else "The study has no base model with runs of two values of reward_accuracy.",
        )
    ends = of_block(shared, _shared_fall)

    def read(run: Run) -> Reading | None:
        return _between(run, ends(run))

    items = [item for block in shared for group in block.values() for item in readings(group, read)]
    more = _further(items, sorted({level for block in blocks for level in block}))
    effect = ("change of the flattening per 0.1 of reward accuracy", "share of the mean of d log10 D / d log10 L")
    return trend(claim, runs, "reward_accuracy", read, effect, per=10.0, sign=-1, more=more)


def flattening(fall: float) -> Statistic:
    """Return how much more samples a decade of loss takes at the end of a fall of the loss than where it begins.

    The statistic is a share of the mean: zero for a power law, whatever its slope, above zero for one that tends to an
    asymptote. ``fall`` is in log10 loss.
    """

    def statistic(log10_x: Array, log10_loss: Array) -> float:
        seen = float(np.ptp(log10_loss))
        return -bend(log10_loss, log10_x) / falling(log10_loss, log10_x) * fall / seen

    return statistic


def asymptote(log10_x: Array, log10_loss: Array) -> tuple[float, float]:
    """Return L_inf and k of L = L_inf + A D^-k by least squares on relative residuals, with 0 <= L_inf and 0 < A.

    For each k the rest is linear, so the search is in k alone: a coarse grid, then the best cell of it.
    """
    loss = 10**log10_loss
    centred = log10_x - log10_x.mean()

    def solve(k: float) -> tuple[float, float]:
        power = 10 ** (-k * centred)
        columns = np.stack([1 / loss, power / loss], axis=1)
        level, scale = np.linalg.lstsq(columns, np.ones_like(loss), rcond=None)[0]
        if level < 0 or scale <= 0:
            level, scale = 0.0, float((columns[:, 1].sum()) / (columns[:, 1] @ columns[:, 1]))
        rest = 1 - columns @ np.array([level, scale])
        return float(rest @ rest), float(level)

    grid = np.linspace(0.01, _STEEPEST, 200)
    best = int(np.argmin([solve(k)[0] for k in grid]))
    cell = (grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)])
    k = float(minimize_scalar(lambda k: solve(k)[0], bounds=cell, method="bounded", options={"xatol": 1e-6}).x)
    return solve(k)[1], k


def _further(items: Sequence[Reading], levels: Sequence[Any]) -> str:
    """Return what the runs that were compared say besides, by level, and which levels were not."""
    by_level = {level: [item for item in items if item.run.factors["reward_accuracy"] == level] for level in levels}
    slopes, fitted = [], []
    for level, own in by_level.items():
        if own:
            slopes.append(f"{np.mean([item.of(_slope_between).value for item in own]):.3g} at {level:g}")
            ends = [asymptote(*_window(item.run))[0] for item in own]
            fitted.append(f"{np.mean(ends):.3f} at {level:g}")
    left_out = [f"{level:g}" for level, own in by_level.items() if not own]
    said = f"; between these losses the slope k is {', '.join(slopes)}; L_inf of L = L_inf + A / D^k, at least 0 and "
    said += f"fitted to all points, is {', '.join(fitted)}"
    return said + (f"; too short a fall to compare: {', '.join(left_out)}" if left_out else "")


def _slope_between(log10_x: Array, log10_loss: Array) -> float:
    return 1 / falling(log10_loss, log10_x)


def _window(run: Run) -> tuple[Array, Array]:
    return run.log10_x["samples"][run.in_window], run.log10_loss[run.in_window]


def _shared_fall(block: Block) -> tuple[float, float] | None:
    """Return the lowest and the highest log10 loss that all levels of a block pass.

    Levels are left out from the least accurate on until the fall is long enough; None where fewer than two are left.
    """
    levels = sorted(block)
    for least in range(len(levels) - 1):
        kept = [run for level in levels[least:] for run in block[level] if run.in_window.any()]
        losses = [run.log10_loss[run.in_window] for run in kept]
        ends = max(float(loss.min()) for loss in losses), min(float(loss[0]) for loss in losses)
        if ends[1] - ends[0] >= LEAST_FALL and all(_between(run, ends) for run in kept):
            return ends
    return None


def _between(run: Run, ends: tuple[float, float] | None) -> Reading | None:
    """Return the flattening of a run between two losses; None where it does not pass both with enough points."""
    log10_x, log10_loss = _window(run)
    if ends is None or not log10_loss.size or log10_loss.min() > ends[0] or log10_loss.max() < ends[1]:
        return None
    inside = (log10_loss >= ends[0]) & (log10_loss <= ends[1])
    if np.unique(log10_loss[inside]).size < _POINTS or falling(log10_loss[inside], log10_x[inside]) <= 0:
        return None
    return Reading(run, log10_x[inside], log10_loss[inside], flattening(ends[1] - ends[0]))
