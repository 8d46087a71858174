"""Claims about data reuse: runs on fewer problems, each seen tau times as often, at equal steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np

from rlscale.findings.estimates import Contrast, Estimate, over_blocks
from rlscale.findings.factor_claims import Block, arms, borrow, contrast_of, last_shared_step, term, unit_of
from rlscale.findings.finding import ALPHA, Claim, Effect, Outcome, directional, size_name, span, untested
from rlscale.findings.runs import Reading, Run, loss_at

HARM_MARGIN = float(np.log10(1.05))
"""Reuse is harmless where it raises the loss by less than 5 %; in log10 loss."""

_SOURCE = "Tan et al., key finding 4 (repeated reuse is effective in data-constrained regimes)"
_NONE = "The study has no base model with runs of two values of tau."
Read = Callable[[Run], Reading | None]


def harmless(runs: Sequence[Run]) -> Outcome:
    """Find tau*, the largest tau up to which the loss is at most 5 % above that of the least reuse.

    The values of tau are tested upwards, each at 5 % one-sided, up to the first that fails: a fixed sequence, which
    needs no correction among them. The claim's p-value is that of the least reuse tested, the first.
    """
    claim = Claim("reuse_harmless", "Reusing problems up to tau* times leaves the loss as it is.", _SOURCE)
    blocks = arms(runs, "tau")
    least, others, read = _levels(blocks)
    if not others:
        return untested(claim, _NONE)
    tests = {tau: _against(runs, blocks, least, tau, read) for tau in others}
    passed = list(takewhile(lambda tau: tests[tau][0].freedom and tests[tau][0].below(HARM_MARGIN) < ALPHA, others))
    shown = passed[-1] if passed else others[0]
    estimate, contrasts = tests[shown]
    effect = _ratio(estimate, shown, least)
    ratios = ", ".join(
        f"{10**found.value:.3f} at {tau:g}{_sizes(own, ratio=True)}" for tau, (found, own) in tests.items()
    )
    star = f"Tau* is {shown:g}" if passed else f"No tau is shown to be harmless, not even {shown:g}"
    evidence = (
        f"{star}: there the loss after {10 ** last_shared_step(blocks):,.0f} steps is {effect.estimate:.3f} times that "
        f"of tau = {least:g} {span(effect)}, harmless below 1.05 (ratio by tau: {ratios}); {estimate.note}."
    )
    start = tests[others[0]][0]
    return Outcome(
        claim,
        evidence,
        effect,
        start,
        p_for=start.below(HARM_MARGIN) if start.freedom else 1.0,
        p_against=start.above(HARM_MARGIN) if start.freedom else 1.0,
        distance=abs(start.value - HARM_MARGIN),
        runs=tuple(item.run.name for contrast in contrasts for _, item in contrast),
    )


def harmful(runs: Sequence[Run]) -> Outcome:
    """Test whether the most reuse that the study has raises the loss."""
    claim = Claim("reuse_harmful", "Beyond some tau, reuse is harmful: at equal steps the loss is higher.", _SOURCE)
    blocks = arms(runs, "tau")
    least, others, read = _levels(blocks)
    if not others:
        return untested(claim, _NONE)
    most = others[-1]
    estimate, contrasts = _against(runs, blocks, least, most, read)
    effect = _ratio(estimate, most, least)
    evidence = (
        f"At tau = {most:g} the loss after {10 ** last_shared_step(blocks):,.0f} steps is {effect.estimate:.3f} times "
        f"that of tau = {least:g} {span(effect)}{_sizes(contrasts, ratio=True)}"
    )
    used = [item.run.name for contrast in contrasts for _, item in contrast]
    return directional(claim, estimate, effect, sign=1, evidence=evidence, runs=used)


def steps_over_uniqueness(runs: Sequence[Run]) -> Outcome:
    """Test whether more steps on the same problems lower the loss more than as many times more problems do.

    For each tau, three losses: of tau at the last step, of no reuse at the same step (equal steps, tau times as many
    problems), and of no reuse at 1 / tau of that step (the same number of problems, a tau-th of the steps).
    """
    claim = Claim(
        "steps_over_uniqueness",
        "Steps matter more than uniqueness: tau times the steps lower the loss more than tau times the problems.",
        "Tan et al., key finding 4 (steps, not the uniqueness of samples, govern the result)",
    )
    blocks = arms(runs, "tau")
    least, others, end = _levels(blocks)
    if not others:
        return untested(claim, _NONE)
    last = last_shared_step(blocks)
    by_block = [[gain for tau in others if (gain := _gain(block, least, tau, end, last))] for block in blocks]
    contrasts = [
        [(weight / len(gains), item) for gain in gains for weight, item in gain.contrast] for gains in by_block if gains
    ]
    if not contrasts:
        why = f"No run of tau = {least:g} was scored as early as its last step divided by another tau of the study."
        return untested(claim, why)
    estimate = over_blocks(contrasts, borrow(runs, end), unit=unit_of(blocks))
    low, high = estimate.bounds()
    effect = Effect(
        "gain from tau times the steps less gain from tau times the problems",
        "log10 loss per decade",
        estimate.value,
        low,
        high,
    )
    pairs: dict[Any, list[tuple[float, float]]] = {}
    for gain in (gain for gains in by_block for gain in gains):
        pairs.setdefault(gain.tau, []).append(gain.pair)
    means = {tau: np.mean(pairs[tau], axis=0) for tau in sorted(pairs)}
    by_tau = ", ".join(f"{steps:+.3f} and {unique:+.3f} at tau {tau:g}" for tau, (steps, unique) in means.items())
    evidence = (
        f"The loss falls by {estimate.value:+.3g} in log10 per decade more from steps than from problems "
        f"{span(effect)} (from steps and from problems, per decade: {by_tau}){_sizes(contrasts)}"
    )
    used = [item.run.name for contrast in contrasts for _, item in contrast]
    return directional(claim, estimate, effect, sign=1, evidence=evidence, runs=used)


def _levels(blocks: Sequence[Block]) -> tuple[Any, list[Any], Read]:
    """Return the least tau, the others that share a block with it, and the loss at the last shared step."""
    least = min((tau for block in blocks for tau in block), default=1)
    last = last_shared_step(blocks)

    def read(run: Run) -> Reading | None:
        return loss_at(run, "step", last)

    others = {tau for block in blocks for tau in block if contrast_of(block, {tau: 1.0, least: -1.0}, read)}
    return least, sorted(others - {least}), read


def _against(
    runs: Sequence[Run], blocks: Sequence[Block], least: Any, tau: Any, read: Read
) -> tuple[Estimate, list[Contrast]]:
    """Estimate log10 of the loss at ``tau`` over that at the least tau."""
    contrasts = [found for block in blocks if (found := contrast_of(block, {tau: 1.0, least: -1.0}, read)) is not None]
    return over_blocks(contrasts, borrow(runs, read), unit=unit_of(blocks)), contrasts


def _ratio(estimate: Estimate, tau: Any, least: Any) -> Effect:
    low, high = (None if end is None else float(10**end) for end in estimate.bounds())
    return Effect(f"loss at tau = {tau:g} over loss at tau = {least:g}", "ratio", float(10**estimate.value), low, high)


def _sizes(contrasts: Sequence[Contrast], *, ratio: bool = False) -> str:
    """Return the mean of the contrasts of each size, as a ratio of losses or as it is; nothing for a single size."""
    by_size: dict[int, list[float]] = {}
    for contrast in contrasts:
        value = sum(weight * item.value for weight, item in contrast)
        by_size.setdefault(contrast[0][1].run.params, []).append(value)
    if len(by_size) < 2:
        return ""
    means = {size: float(np.mean(by_size[size])) for size in sorted(by_size)}
    said = [f"{10**mean:.3f}" if ratio else f"{mean:+.3g}" for mean in means.values()]
    return f" ({', '.join(f'{mean} for {size_name(size)}' for mean, size in zip(said, means, strict=True))})"


@dataclass(frozen=True)
class _Gain:
    """What one tau shows: the gains from steps and from problems, per decade of tau, and their difference."""

    tau: Any
    pair: tuple[float, float]
    contrast: Contrast


def _gain(block: Block, least: Any, tau: Any, end: Read, last: float) -> _Gain | None:
    if tau not in block or least not in block:
        return None
    decades = float(np.log10(tau / least))
    few_steps = term(block[least], lambda run: loss_at(run, "step", last - decades), 1 / decades)
    reused, unique = term(block[tau], end, 1 / decades), term(block[least], end, 1 / decades)
    if few_steps is None or reused is None or unique is None:
        return None
    low, middle, high = (sum(weight * item.value for weight, item in part) for part in (few_steps, reused, unique))
    contrast = [*few_steps, *((-2 * weight, item) for weight, item in reused), *unique]
    return _Gain(tau, (low - middle, middle - high), contrast)
