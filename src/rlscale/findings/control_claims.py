"""Controls: is it the size, or the base model that comes with it? Is it the group, or the compute that it costs?

A larger model starts from a better base model, and a larger group spends more rollouts a prompt. Each claim here holds
the one still and lets the other vary.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from rlscale.findings.estimates import Estimate, over_blocks, over_sizes
from rlscale.findings.factor_claims import Block, arms, line, of_block, trend, unit_of
from rlscale.findings.finding import Claim, Effect, Outcome, directional, size_name, span, untested
from rlscale.findings.runs import Reading, Run, gather_runs, loss_at, readings, slope
from rlscale.findings.size_claims import by_size, conditions, fully_supervised, names
from rlscale.uncertainty import LEVEL

MATCHED_SPREAD = 1 / 3
"""Base losses of different sizes are equal in practice where they spread over at most this share of what they do where
every base model got the whole supervised stage."""

_SIZES = 3  # fewest sizes of base models with matched losses
_LEVELS = 3  # fewest levels of supervision at one size
_SOURCE = "the control of Tan et al., key finding 1: their larger models are better base models as well"


def size_at_equal_base_loss(runs: Sequence[Run]) -> Outcome:
    """Test whether k(N) grows with log10 N among base models of equal loss.

    The runs are those of the level of supervision, other than full, that is there at the most sizes.
    """
    claim = Claim(
        "size_at_equal_base_loss",
        "Size matters beyond the base model: at equal base loss, the slope k(N) against samples grows with size.",
        _SOURCE,
    )
    matched, whole = matched_runs(runs)
    items = readings(matched, lambda run: slope(run, "samples"))
    estimate = over_sizes(items, lambda log10_size: log10_size, paired=True)
    if estimate is None or len(by_size(items)) < _SIZES:
        return untested(
            claim, f"No supervision other than full has runs and base losses at {_SIZES} sizes; it takes that many."
        )
    starts, others = _base_losses([item.run for item in items]), _base_losses(whole)
    listed = ", ".join(f"{loss:.3f} at {size_name(size)}" for size, loss in starts.items())
    level, spread = items[0].run.factors["supervision"], _range(starts)
    if others and spread > MATCHED_SPREAD * _range(others):
        return untested(
            claim,
            f"The base losses of supervision {level} spread over {spread:.3f} ({listed}), more than a third of the "
            f"{_range(others):.3f} of full supervision: they are not equal.{_adjusted(items)}",
        )
    low, high = estimate.bounds()
    effect = Effect(
        "change of k(N) per tenfold N at equal base loss", "log10 loss per log10 X", estimate.value, low, high
    )
    ends = " and ".join(_mean_slope(items, size) for size in (min(starts), max(starts)))
    evidence = (
        f"Among base models of supervision {level}, whose losses spread over {spread:.3f} ({listed}), the slope k "
        f"against samples is {ends} parameters: {estimate.value:+.3g} per tenfold N {span(effect)}"
    )
    evidence += _beside(estimate, whole, _range(others)) if others else ""
    return directional(claim, estimate, effect, sign=1, evidence=evidence, runs=names(items))


def base_loss_at_equal_size(runs: Sequence[Run]) -> Outcome:
    """Test whether k falls with the base loss among base models of one size and seed."""
    claim = Claim(
        "base_loss_at_equal_size",
        "The base model matters beyond size: at equal size, the slope k falls with the loss of the base model.",
        _SOURCE,
    )
    scored = [run for run in runs if run.base_loss is not None]
    effect = ("change of k per 0.1 of base loss", "log10 loss per log10 X")
    return trend(
        claim,
        scored,
        "supervision",
        lambda run: slope(run, "samples"),
        effect,
        per=10.0,
        sign=-1,
        place=lambda _, group: float(np.mean([run.base_loss for run in group if run.base_loss is not None])),
        least=_LEVELS,
    )


def group_size_at_equal_compute(runs: Sequence[Run]) -> Outcome:
    """Test whether the loss falls with the group size at the largest compute that the runs of a base model share."""
    claim = Claim(
        "group_size_at_equal_compute",
        "Larger groups pay for their rollouts: at equal compute, the loss falls with the group size G.",
        "Tan et al., on group sizes: larger ones get more from a prompt, and at a given compute the best one is finite",
    )
    scored = [run for run in runs if "compute_flops" in run.log10_x]
    blocks = [block for block in arms(scored, "group_size") if _shared(block, "compute_flops") is not None]
    if not blocks:
        return untested(claim, "The study has no base model with runs of two group sizes that share compute.")
    compute = of_block(blocks, lambda block: _shared(block, "compute_flops"))
    samples = of_block(blocks, lambda block: _shared(block, "samples"))

    def at_compute(run: Run, share: float = 1.0) -> Reading | None:
        ends = compute(run)
        return ends and loss_at(run, "compute_flops", ends[0] + share * (ends[1] - ends[0]))

    def at_samples(run: Run) -> Reading | None:
        ends = samples(run)
        return ends and loss_at(run, "samples", ends[1])

    same = over_blocks([line(block, at_samples, _doublings) for block in blocks], None, unit=unit_of(blocks))
    best = [_best(blocks, lambda run, share=share: at_compute(run, share)) for share in (0.0, 0.5, 1.0)]
    more = (
        f"; at equal samples it is {same.value:+.3g}; the lowest loss is that of G = {best[0]:g} where the shared "
        f"compute begins, {best[1]:g} half-way (in log) and {best[2]:g} where it ends"
    )
    effect = ("change of the loss per doubling of G at equal compute", "log10 loss")
    return trend(claim, scored, "group_size", at_compute, effect, sign=-1, place=_doublings, more=more)


def control_slopes(curves: pd.DataFrame, *, first_step: int) -> pd.DataFrame:
    """Return what the first two claims rest on, to be drawn: one row a run and panel.

    Args:
        curves: as for `rlscale.findings.findings`; runs that a gate excludes are in it, marked.
        first_step: the law's first step.

    Returns:
        Columns panel, run, params, base_seed, seed, supervision, base_loss, k (against samples) and excluded. The
        panel ``size`` has the matched and the fully supervised runs, ``base_loss`` those of the size with the most
        levels of supervision, three at least. A panel that the study has no runs for is not there.

    Raises:
        UserError: a value of the table is not allowed.
    """
    every = gather_runs(
        curves.drop(columns="excluded", errors="ignore"), first_step=first_step, max_params=None, source="curves"
    )
    scored = [run for run in every if run.base_loss is not None]
    matched, whole = matched_runs(scored)
    panels = {"size": (*matched, *whole) if len({run.params for run in matched}) >= _SIZES else ()}
    blocks = [block for block in arms(scored, "supervision") if len(block) >= _LEVELS]
    most = max((len(block) for block in blocks), default=0)
    widest = next((_runs(block)[0].params for block in blocks if len(block) == most), None)
    panels["base_loss"] = tuple(run for block in blocks for run in _runs(block) if run.params == widest)
    reasons = dict(zip(curves["run"], curves["excluded"], strict=True)) if "excluded" in curves else {}
    rows = [
        {
            "panel": panel,
            "run": item.run.name,
            **{name: getattr(item.run, name) for name in ("params", "base_seed", "seed", "base_loss")},
            "supervision": item.run.factors["supervision"],
            "k": item.value,
            "excluded": reasons.get(item.run.name, ""),
        }
        for panel, runs in panels.items()
        for item in readings(runs, lambda run: slope(run, "samples"))
    ]
    columns = ("panel", "run", "params", "base_seed", "seed", "base_loss", "supervision", "k", "excluded")
    return pd.DataFrame(rows, columns=columns)


def matched_runs(runs: Sequence[Run]) -> tuple[tuple[Run, ...], tuple[Run, ...]]:
    """Return the runs of base models matched in loss, and the fully supervised runs of the same sizes and factors.

    Matched are those of the supervision, other than full, at the most sizes; the closer losses break ties. Both are
    empty where there are no such runs with a base loss.
    """
    scored = [run for run in runs if run.base_loss is not None]
    levels = conditions([run for run in scored if not fully_supervised(run)])
    if not levels:
        return (), ()
    losses = [_base_losses(level) for level in levels]
    best = min(range(len(levels)), key=lambda index: (-len(losses[index]), _range(losses[index])))
    own = _other_factors(levels[best][0])
    alike = [run for run in scored if fully_supervised(run) and _other_factors(run) == own]
    return levels[best], tuple(run for run in alike if run.params in losses[best])


def _other_factors(run: Run) -> dict[str, Any]:
    return {name: value for name, value in run.factors.items() if name != "supervision"}


def _base_losses(runs: Sequence[Run]) -> dict[int, float]:
    """Return the mean base loss of each size, over its base models."""
    bases = {(run.params, run.base_seed): run.base_loss for run in runs if run.base_loss is not None}
    sizes = sorted({params for params, _ in bases})
    return {size: float(np.mean([loss for (params, _), loss in bases.items() if params == size])) for size in sizes}


def _range(losses: dict[int, float]) -> float:
    return max(losses.values()) - min(losses.values()) if losses else 0.0


def _mean_slope(items: Sequence[Reading], size: int) -> str:
    own = [item for item in items if item.run.params == size]
    values = np.array([item.value for item in own])
    mean = over_sizes(own, None)
    said = f"{values.mean():.3g}"
    if mean is not None and mean.between_runs:
        low, high = mean.bounds()
        said += f" ({low:.3g} to {high:.3g})"
    return f"{said} at {size_name(size)}"


def _adjusted(items: Sequence[Reading]) -> str:
    """Return the change of k per tenfold N with base loss as a covariate, a sentence; empty where it is undetermined.

    Least squares of k = a + b log10 N + c L_0, one point a run.
    """
    losses = np.array([np.nan if item.run.base_loss is None else item.run.base_loss for item in items])
    design = np.column_stack([np.ones(losses.size), np.log10([item.run.params for item in items]), losses])
    freedom = losses.size - design.shape[1]
    if freedom < 1 or np.isnan(losses).any() or np.linalg.matrix_rank(design) < design.shape[1]:
        return ""
    k = np.array([item.value for item in items])
    coefficients = np.linalg.lstsq(design, k)[0]
    rest = k - design @ coefficients
    variance = float(rest @ rest) / freedom * np.linalg.inv(design.T @ design)[1, 1]
    size = float(coefficients[1])
    error = float(np.sqrt(variance))
    low, high = Estimate(size, error, freedom, losses.size, "base models", "replicates", "").bounds()
    effect = Effect("change of k(N) per tenfold N", "log10 loss per log10 X", size, low, high)
    return (
        f" With base loss as a covariate, k changes by {size:+.3g} per tenfold N {span(effect)} and by "
        f"{coefficients[2] / 10:+.3g} per 0.1 of base loss."
    )


def _beside(matched: Estimate, whole: Sequence[Run], spread: float) -> str:
    """Return the same slope under full supervision, and how much of it is left at equal base loss."""
    estimate = over_sizes(
        readings(whole, lambda run: slope(run, "samples")), lambda log10_size: log10_size, paired=True
    )
    if estimate is None:
        return ""
    said = f"; fully supervised base models, whose losses spread over {spread:.3f}, have {estimate.value:+.3g}"
    least = estimate.bounds()[0]
    if least is None or least <= 0 or not matched.freedom:
        return said
    share = matched.value / estimate.value
    # As if the two were independent: base models of one seed are alike in both, which makes the true error smaller.
    error = float(np.hypot(matched.error, share * estimate.error)) / estimate.value
    freedom = min(matched.freedom, estimate.freedom)
    low, high = Estimate(share, error, freedom, matched.units, matched.unit, matched.basis, matched.note).bounds()
    return f"{said}, of which {share:.0%} is left at equal base loss ({LEVEL:.0%} interval {low:.0%} to {high:.0%})"


def _runs(block: Block) -> list[Run]:
    return [run for group in block.values() for run in group]


def _shared(block: Block, axis: str) -> tuple[float, float] | None:
    """Return the first and the last log10 X that all runs of a block share; None where there is no such range."""
    ranges = [run.log10_x[axis] for run in _runs(block)]
    low, high = max(float(own.min()) for own in ranges), min(float(own.max()) for own in ranges)
    return (low, high) if low < high else None


def _doublings(level: Any, _: Sequence[Run]) -> float:
    return float(np.log2(level))


def _best(blocks: Sequence[Block], read: Any) -> float:
    """Return the level, of those that all blocks have, with the lowest mean reading."""
    levels = sorted(set.intersection(*(set(block) for block in blocks)))
    means = [np.mean([item.value for block in blocks for item in readings(block[level], read)]) for level in levels]
    return float(levels[int(np.argmin(means))])
