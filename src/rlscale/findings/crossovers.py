"""Crossovers: does a smaller model lead at equal compute, from where to where, and how sure is that?

Neighbouring sizes are compared where both have points. A bigger model spends more compute a step, so at the first
compute that both have reached the smaller one has taken more steps; the larger overtakes it later, or never.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rlscale.findings.estimates import Estimate, over_sizes
from rlscale.findings.finding import Claim, Effect, Outcome, size_name, span, untested
from rlscale.findings.runs import Run, loss_at, readings
from rlscale.laws import Array

_GRID = 41  # values of compute at which the means of two sizes are compared
_CLAIM = Claim(
    "crossovers",
    "The curves cross: at small compute a smaller model is ahead of a larger one.",
    "Tan et al., on equal compute: larger models trained for fewer steps outperform smaller ones",
)


@dataclass(frozen=True)
class _Pair:
    """Two neighbouring sizes; the estimate is log10 of the loss of the larger over that of the smaller, at ``low``."""

    smaller: int
    larger: int
    low: float
    high: float
    estimate: Estimate
    overtakes: float | None
    runs: tuple[str, ...]

    @property
    def story(self) -> str:
        who = f"{size_name(self.smaller)} against {size_name(self.larger)}: "
        if self.estimate.value <= 0:
            return f"{who}behind from {10**self.low:.2g} FLOPs on"
        end = self.high if self.overtakes is None else self.overtakes
        until = "to the end of both" if self.overtakes is None else f"to {10**end:.2g}"
        return f"{who}ahead from {10**self.low:.2g} {until} FLOPs ({end - self.low:.2f} decades)"

    @property
    def clarity(self) -> tuple[float, float]:
        """How clearly the smaller is ahead: by p-value, and without one by the ratio."""
        return (-self.estimate.above(0.0) if self.estimate.freedom else -1.0, self.estimate.value)


def crossovers(runs: Sequence[Run]) -> Outcome:
    """Test whether some smaller model has the lower loss where a pair's shared compute begins."""
    sizes = sorted({run.params for run in runs if "compute_flops" in run.log10_x and run.in_window.any()})
    if len(sizes) < 2:
        return untested(_CLAIM, "The study has fewer than two sizes with compute.")
    pairs = [found for smaller, larger in pairwise(sizes) if (found := _compare(runs, smaller, larger)) is not None]
    if not pairs:
        return untested(_CLAIM, "No two neighbouring sizes share a range of compute.")
    known = [pair for pair in pairs if pair.estimate.between_runs] or pairs
    best = max(known, key=lambda pair: pair.clarity)
    low, high = (None if end is None else float(10**end) for end in best.estimate.bounds(tests=len(known)))
    effect = Effect(
        f"loss of {size_name(best.larger)} over loss of {size_name(best.smaller)} at {10**best.low:.3g} FLOPs",
        "ratio",
        float(10**best.estimate.value),
        low,
        high,
    )
    evidence = (
        f"The clearest of {len(known)} neighbouring pairs has a ratio of {effect.estimate:.3f} {span(effect)}, for all "
        f"pairs at once ({'; '.join(pair.story for pair in pairs)}); {best.estimate.note}."
    )
    tested = best.estimate.between_runs
    ahead = len(known) * 2 * best.estimate.above(0.0) if tested else 1.0
    behind = max(pair.estimate.below(0.0) for pair in known) if tested else 1.0
    return Outcome(
        _CLAIM,
        evidence,
        effect,
        best.estimate,
        p_for=min(1.0, ahead),
        p_against=behind,
        distance=abs(best.estimate.value),
        runs=tuple(name for pair in pairs for name in pair.runs),
    )


def _compare(runs: Sequence[Run], smaller: int, larger: int) -> _Pair | None:
    chosen = [run for run in runs if run.params in (smaller, larger) and run.in_window.any()]
    spans = [run.log10_x["compute_flops"][run.in_window] for run in chosen]
    low, high = max(float(span.min()) for span in spans), min(float(span.max()) for span in spans)
    if low >= high:
        return None
    border = (np.log10(smaller) + np.log10(larger)) / 2
    items = readings(chosen, lambda run: loss_at(run, "compute_flops", low))
    estimate = over_sizes(items, lambda log10_size: (log10_size > border).astype(np.float64))
    if estimate is None:
        return None
    grid = np.linspace(low, high, _GRID)
    lead = _mean_loss(chosen, larger, grid) - _mean_loss(chosen, smaller, grid)
    names = tuple(item.run.name for item in items)
    return _Pair(smaller, larger, low, high, estimate, _first_loss(lead, grid), names)


def _first_loss(lead: Array, grid: Array) -> float | None:
    """Return where a lead is first lost, between two places of the grid; None where it never is."""
    lost = np.flatnonzero(lead[1:] <= 0)
    if not lost.size:
        return None
    before, after = lead[lost[0]], lead[lost[0] + 1]
    share = before / (before - after) if before > after else 0.0
    return float(grid[lost[0]] + share * (grid[1] - grid[0]))


def _mean_loss(runs: Sequence[Run], params: int, grid: Array) -> Array:
    losses = [
        [item.value for place in grid.tolist() if (item := loss_at(run, "compute_flops", place)) is not None]
        for run in runs
        if run.params == params
    ]
    return np.asarray(np.mean(losses, axis=0))
