"""Claims about model size and about the shape of the curves, tested on the runs of one condition.

The condition is the combination of factors that the study has at the most sizes, usually all at their defaults. Base
models that got another share of the supervised stage are controls, and stand in only where there are no others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from rlscale.findings.estimates import Estimate, over_sizes
from rlscale.findings.finding import Claim, Effect, Outcome, Verdict, directional, equivalent, size_name, span, untested
from rlscale.findings.runs import FACTORS, Axis, Reading, Run, Statistic, bend, falling, loss_at, readings, slope
from rlscale.model_base import FULL_SUPERVISION

BEND_MARGIN = 0.5
"""A curve is a power law in practice where its local slope changes by less than this share of it across the window."""

X = Literal["compute", "samples"]
AXIS: Mapping[X, Axis] = {"compute": "compute_flops", "samples": "samples"}

_EFFICIENCY: Mapping[X, Claim] = {
    "compute": Claim(
        "compute_efficiency",
        "Larger models are more compute-efficient: the slope k(N) against compute grows with size.",
        "Tan et al., key finding 1 (learning efficiency on compute)",
    ),
    "samples": Claim(
        "data_efficiency",
        "Larger models are more data-efficient: the slope k(N) against samples grows with size.",
        "Tan et al., key finding 1 (learning efficiency on data)",
    ),
}
_VERDICTS: Mapping[str, Verdict] = {
    "saturating": "supported",
    "not saturating": "contradicted",
    "not identified": "inconclusive",
}


def reference_runs(runs: Sequence[Run]) -> tuple[Run, ...]:
    """Return the runs of the condition that covers the most sizes; the most runs, then the alphabet, break ties."""
    groups = conditions([run for run in runs if fully_supervised(run)] or runs)
    return groups[0] if groups else ()


def conditions(runs: Sequence[Run]) -> list[tuple[Run, ...]]:
    """Return the runs of each combination of factors; the one at the most sizes first, ties as `reference_runs`."""
    groups: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for run in runs:
        key = tuple((name, str(run.factors[name])) for name in FACTORS if name in run.factors)
        groups.setdefault(key, []).append(run)
    order = sorted(groups, key=lambda key: (-len({run.params for run in groups[key]}), -len(groups[key]), key))
    return [tuple(groups[key]) for key in order]


def fully_supervised(run: Run) -> bool:
    """Return whether the base model of a run got the whole supervised stage, as all do where a table says nothing."""
    return bool(run.factors.get("supervision", FULL_SUPERVISION) == FULL_SUPERVISION)


def efficiency(runs: Sequence[Run], x: X) -> Outcome:
    """Test whether k(N) grows with log10 N."""
    items = _slopes(runs, x)
    estimate = over_sizes(items, lambda log10_size: log10_size, paired=True)
    if estimate is None:
        return untested(_EFFICIENCY[x], _too_few(items, 2, x))
    low, high = estimate.bounds()
    effect = Effect("change of k(N) per tenfold N", "log10 loss per log10 X", estimate.value, low, high)
    means = by_size(items)
    smallest, largest = min(means), max(means)
    evidence = (
        f"The slope k against {x} is {means[smallest]:.3g} at {size_name(smallest)} and {means[largest]:.3g} at "
        f"{size_name(largest)} parameters: {estimate.value:+.3g} per tenfold N {span(effect)}"
    )
    return directional(_EFFICIENCY[x], estimate, effect, sign=1, evidence=evidence, runs=names(items))


def power_law(runs: Sequence[Run], x: X) -> Outcome:
    """Test whether the local slope stays within a margin of itself across the window, on average over the sizes."""
    claim = Claim(
        f"power_law_{x}",
        f"Test loss is a power law in {x}: the local slope stays the same across the window.",
        f"Tan et al., key finding 2 and equation 1, X = {x}",
    )
    items = _slopes(runs, x)
    if not items:
        return untested(claim, _too_few(items, 1, x))
    estimate = _relative_bend(items)
    if estimate is None:
        return untested(claim, f"The loss does not clearly fall with {x}, so there is no slope to compare.")
    means, bends = by_size(items), by_size([item.of(bend) for item in items])
    ratio = estimate.value
    low, high = estimate.bounds()
    effect = Effect("change of the local slope across the window", "share of the mean slope", ratio, low, high)
    shares = ", ".join(f"{bends[size] / means[size]:+.2f} at {size_name(size)}" for size in means if means[size] > 0)
    decades = float(np.mean([np.ptp(item.log10_x) for item in items]))
    evidence = (
        f"Over {decades:.1f} decades of {x} the local slope changes by {ratio:+.2f} of itself {span(effect)}, against "
        f"a margin of ±{BEND_MARGIN:g} ({shares} parameters)"
    )
    return equivalent(claim, estimate, effect, margin=BEND_MARGIN, evidence=evidence, runs=names(items))


def ceiling(runs: Sequence[Run]) -> Outcome:
    """Test whether the loss at the last step that all sizes reach falls with log10 N."""
    claim = Claim(
        "base_ceiling",
        "Base size sets the ceiling: at equal samples, the loss that a run ends at falls with size.",
        "Tan et al., key finding 1 (a lower loss from the same data)",
    )
    shared = min((float(run.log10_x["samples"][-1]) for run in runs), default=0.0)
    items = readings(runs, lambda run: loss_at(run, "samples", shared))
    estimate = over_sizes(items, lambda log10_size: log10_size, paired=True)
    if estimate is None:
        return untested(claim, _too_few(items, 2, "samples"))
    low, high = estimate.bounds()
    effect = Effect("change of the end loss per tenfold N", "log10 loss", estimate.value, low, high)
    ends = by_size(items)
    smallest, largest = min(ends), max(ends)
    evidence = (
        f"After {10**shared:,.0f} samples the loss is {10 ** ends[smallest]:.3f} at {size_name(smallest)} and "
        f"{10 ** ends[largest]:.3f} at {size_name(largest)} parameters: {estimate.value:+.3g} in log10 per tenfold N "
        f"{span(effect)}"
    )
    return directional(claim, estimate, effect, sign=-1, evidence=evidence, runs=names(items))


def saturation(verdicts: Mapping[str, Mapping[str, Any] | None] | None, x: X) -> Outcome:
    """Report the verdict that the comparison of laws reached; it is no test of its own and no part of Holm's family."""
    claim = Claim(
        f"slope_saturates_{x}",
        f"The slope k(N) against {x} saturates with size.",
        f"Tan et al., key finding 3 and equation 2, X = {x}",
    )
    found = (verdicts or {}).get(x)
    if found is None:
        return untested(claim, f"No comparison of saturating and non-saturating laws in {x} was given.")
    p_values = ", ".join(f"{law} p = {p:.3g}" for law, p in sorted(found.get("p_values", {}).items()))
    evidence = f"The comparison of laws says {found['verdict']}: {found['reason']}" + (
        f" ({p_values})" if p_values else ""
    )
    return Outcome(
        claim,
        evidence,
        verdict=_VERDICTS[found["verdict"]],
        would_decide="More sizes, above all far below and far above N_0, where saturation and its rivals differ most.",
    )


def names(items: Sequence[Reading]) -> list[str]:
    """Return the names of the runs that readings come from."""
    return [item.run.name for item in items]


def by_size(items: Sequence[Reading]) -> dict[int, float]:
    """Return the mean reading of each size, smallest first."""
    sizes = sorted({item.run.params for item in items})
    return {size: float(np.mean([item.value for item in items if item.run.params == size])) for size in sizes}


def _slopes(runs: Sequence[Run], x: X) -> list[Reading]:
    axis = AXIS[x]
    return readings([run for run in runs if axis in run.log10_x], lambda run: slope(run, axis))


def _relative_bend(items: Sequence[Reading]) -> Estimate | None:
    """Estimate the mean bend over the mean slope; None unless the slope is above zero at the level of intervals."""
    mean, bent = over_sizes(items, None), over_sizes([item.of(bend) for item in items], None)
    if mean is None or bent is None or mean.value <= 0 or (mean.bounds()[0] or 0.0) < 0:
        return None
    ratio = bent.value / mean.value
    # The error of a ratio of means is that of the mean of what the ratio leaves over, by linearisation.
    rest = over_sizes([item.of(_left_over(ratio, mean.value)) for item in items], None)
    return None if rest is None else replace(rest, value=ratio)


def _left_over(ratio: float, scale: float) -> Statistic:
    return lambda log10_x, log10_loss: (bend(log10_x, log10_loss) - ratio * falling(log10_x, log10_loss)) / scale


def _too_few(items: Sequence[Reading], needed: int, x: str) -> str:
    count = len({item.run.params for item in items})
    return (
        f"The study has {count} size{'' if count == 1 else 's'} whose runs have at least three points from the law's "
        f"first step on against {x}; {needed} {'is' if needed == 1 else 'are'} needed."
    )
