"""Claims about what else but size makes a difference: runs that differ in one factor and share their base model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from rlscale.findings.estimates import Contrast, Estimate, Spread, over_blocks, over_levels, spread
from rlscale.findings.finding import Claim, Effect, Outcome, directional, equivalent, span, untested
from rlscale.findings.runs import Reading, Run, loss_at, readings, slope
from rlscale.findings.size_claims import names, reference_runs
from rlscale.laws import Array

VARIANT_MARGIN = 0.2
"""Base and instruct learn alike where their slopes differ by less than this share."""

T = TypeVar("T")
Block = Mapping[Any, Sequence[Run]]
"""The runs of one base model by level of the factor that they differ in."""

Read = Callable[[Run], Reading | None]
Place = Callable[[Any, Sequence[Run]], float]
"""Where the runs of a level of a factor lie on an abscissa."""

QUALITY = "no statement of Tan et al.; the field asks it of noisy verifiers and reward models"
_COUNTS = {2: "two", 3: "three"}


def at_level(level: Any, _: Sequence[Run]) -> float:
    """Return the level itself."""
    return float(level)


def arms(runs: Sequence[Run], factor: str) -> list[Block]:
    """Return blocks of runs that differ in one factor and share base model and all other factors.

    A block needs two levels. Where the other factors take several values, the combination with the most runs is used.
    Where a single base model has runs of several training seeds, each seed makes a block.
    """
    found: dict[tuple[str, ...], dict[tuple[int, int], list[Run]]] = {}
    for run in runs:
        if factor in run.factors:
            others = tuple(f"{name}={value}" for name, value in run.factors.items() if name != factor)
            found.setdefault(others, {}).setdefault((run.params, run.base_seed), []).append(run)
    usable: dict[tuple[str, ...], list[list[Run]]] = {}
    for others, bases in found.items():
        blocks = [group for group in bases.values() if len({run.factors[factor] for run in group}) > 1]
        if blocks:
            usable[others] = blocks
    if not usable:
        return []
    chosen = min(usable, key=lambda others: (-sum(len(group) for group in usable[others]), others))
    return [_by_level(group, factor) for group in _by_seed(usable[chosen], factor)]


def _by_seed(blocks: list[list[Run]], factor: str) -> list[list[Run]]:
    if len(blocks) > 1:
        return blocks
    seeds = sorted({run.seed for run in blocks[0]})
    split = [[run for run in blocks[0] if run.seed == seed] for seed in seeds]
    paired = [group for group in split if len({run.factors[factor] for run in group}) > 1]
    return paired if len(paired) > 1 else blocks


def _by_level(group: Sequence[Run], factor: str) -> Block:
    return {level: [run for run in group if run.factors[factor] == level] for level in levels_of(group, factor)}


def levels_of(group: Sequence[Run], factor: str) -> list[Any]:
    """Return the levels of a factor among runs, ascending."""
    return sorted({run.factors[factor] for run in group})


def term(runs: Sequence[Run], read: Read, weight: float) -> list[tuple[float, Reading]] | None:
    """Return the mean reading of runs of one arm as part of a contrast; None where a run lacks the reading."""
    items = readings(runs, read)
    return [(weight / len(items), item) for item in items] if len(items) == len(runs) else None


def unit_of(blocks: Sequence[Block]) -> str:
    """Return what a block is: a base model, or a training seed of the only one."""
    bases = {(run.params, run.base_seed) for block in blocks for group in block.values() for run in group}
    return "base models" if len(bases) == len(blocks) else "training seeds"


def borrow(runs: Sequence[Run], read: Read) -> Spread | None:
    """Return the spread of a reading between base models of the sizes that the study repeats."""
    return spread(readings(reference_runs(runs), read))


def of_block(blocks: Sequence[Block], value: Callable[[Block], T]) -> Callable[[Run], T | None]:
    """Return a function from a run to a value of its block: of the only one for runs of none, which lend a spread."""
    values = [value(block) for block in blocks]
    by_run = {
        run.name: own for block, own in zip(blocks, values, strict=True) for group in block.values() for run in group
    }
    return lambda run: by_run.get(run.name, values[0] if len(values) == 1 else None)


def contrast_of(block: Block, weights: Mapping[Any, float], read: Read) -> Contrast | None:
    """Return the weighted sum of the levels' mean readings; None where a level or a reading is missing."""
    parts = [term(block[level], read, weight) if level in block else None for level, weight in weights.items()]
    return None if any(part is None for part in parts) else [item for part in parts if part for item in part]


def reward_slope(runs: Sequence[Run]) -> Outcome:
    """Test whether k grows with the accuracy of the reward."""
    claim = Claim("reward_accuracy_slope", "More accurate rewards teach faster: k grows with their accuracy.", QUALITY)
    effect = ("change of k per 0.1 of reward accuracy", "log10 loss per log10 X")
    return trend(claim, runs, "reward_accuracy", lambda run: slope(run, "samples"), effect, per=10.0, sign=1)


def reward_end_loss(runs: Sequence[Run]) -> Outcome:
    """Test whether the loss at the last shared step falls with the accuracy of the reward."""
    claim = Claim(
        "reward_accuracy_end_loss",
        "More accurate rewards reach a lower loss in the same number of steps.",
        QUALITY,
    )
    effect = ("change of the end loss per 0.1 of reward accuracy", "log10 loss")
    end = last_shared_step(arms(runs, "reward_accuracy"))
    return trend(claim, runs, "reward_accuracy", lambda run: loss_at(run, "step", end), effect, per=10.0, sign=-1)


def diversity(runs: Sequence[Run]) -> Outcome:
    """Test whether k grows with the share of the skills that training problems use."""
    claim = Claim(
        "diversity_slope",
        "Diverse problems steepen the slope: k grows with the share of the skills trained on.",
        "no statement of Tan et al., who train on one curriculum; the field asks it of narrow problem sets",
    )
    effect = ("change of k from no skill to all skills trained on", "log10 loss per log10 X")
    return trend(claim, runs, "skill_share", lambda run: slope(run, "samples"), effect, per=1.0, sign=1)


def variants_alike(runs: Sequence[Run]) -> Outcome:
    """Test whether instruct models have the slope of their base models, within a margin."""
    claim = Claim(
        "variants_alike",
        "Base and instruct models learn alike: their slopes k against samples are the same.",
        "Tan et al., key finding 2 (robust across base and instruct)",
    )
    blocks = [block for block in arms(runs, "variant") if {"base", "instruct"} <= set(block)]

    def read(run: Run) -> Reading | None:
        return slope(run, "samples")

    kept = [block for block in blocks if contrast_of(block, {"base": 1.0, "instruct": 1.0}, read) is not None]
    if not kept:
        return untested(claim, "The study has no base model with runs of both variants and a slope for each.")
    means = {
        variant: float(np.mean([np.mean([item.value for item in readings(block[variant], read)]) for block in kept]))
        for variant in ("base", "instruct")
    }
    if means["base"] <= 0:
        return untested(
            claim, f"The base models do not learn (mean k {means['base']:.3g}): there is no slope to compare."
        )
    ratio = means["instruct"] / means["base"]
    # As for any ratio of means: the error is that of what the ratio leaves over.
    weights = {"instruct": 1 / means["base"], "base": -ratio / means["base"]}
    contrasts = [contrast for block in kept if (contrast := contrast_of(block, weights, read)) is not None]
    rest = over_blocks(contrasts, borrow(runs, read), unit=unit_of(kept))
    low, high = replace(rest, value=ratio).bounds()
    effect = Effect("slope of instruct over slope of base", "ratio", ratio, low, high)
    evidence = (
        f"Mean k is {means['instruct']:.3g} for instruct and {means['base']:.3g} for base, a ratio of {ratio:.3g} "
        f"{span(effect)}, against a margin of ±{VARIANT_MARGIN:g} around 1"
    )
    used = [item.run.name for contrast in contrasts for _, item in contrast]
    estimate = replace(rest, value=ratio - 1)
    return equivalent(claim, estimate, effect, margin=VARIANT_MARGIN, evidence=evidence, runs=used)


def last_shared_step(blocks: Sequence[Block]) -> float:
    """Return the last step that all runs of the blocks reach, in log10."""
    return min((run.last_step for block in blocks for group in block.values() for run in group), default=0.0)


def trend(
    claim: Claim,
    runs: Sequence[Run],
    factor: str,
    read: Read,
    effect: tuple[str, str],
    *,
    sign: int,
    per: float = 1.0,
    place: Place = at_level,
    least: int = 2,
    more: str = "",
) -> Outcome:
    """Test the slope of a reading in the level of a factor, fitted within each base model.

    Args:
        claim: what is tested.
        runs: all runs of the study; those that differ in the factor alone are used.
        factor: the factor.
        read: what is read off a run; a level with a run that lacks it is left out.
        effect: name and unit of the slope.
        sign: that the claim gives the slope.
        per: the slope is that per 1 / ``per`` of the place.
        place: where the runs of a level lie on the abscissa.
        least: fewest levels of a base model.
        more: further evidence.
    """
    blocks = [
        {level: group for level, group in block.items() if term(group, read, 1.0)} for block in arms(runs, factor)
    ]
    blocks = [block for block in blocks if len(block) >= least and np.ptp(_places(block, place)) > 0]
    if not blocks:
        return untested(claim, f"The study has no base model with runs of {_COUNTS[least]} values of {factor}.")
    contrasts = [line(block, read, place, per) for block in blocks]
    estimate = over_blocks(contrasts, borrow(runs, read), unit=unit_of(blocks))
    if not estimate.between_runs and len(blocks[0]) >= 4:
        estimate = _scatter(blocks[0], read, place, per)
    low, high = estimate.bounds()
    shown = Effect(*effect, estimate.value, low, high)
    by_level = ", ".join(f"{value:.3g} at {said}" for said, value in _by_level_means(blocks, read, place))
    evidence = f"The {shown.name} is {estimate.value:+.3g} {span(shown)} (by {factor}: {by_level}){more}"
    used = [item for contrast in contrasts for _, item in contrast]
    return directional(claim, estimate, shown, sign=sign, evidence=evidence, runs=names(used))


def _by_level_means(blocks: Sequence[Block], read: Read, place: Place) -> list[tuple[str, float]]:
    """Return the mean reading of each level, in order of place; a level in words is followed by its mean place."""
    values: dict[Any, list[float]] = {}
    places: dict[Any, list[float]] = {}
    for block in blocks:
        for level, group in block.items():
            values.setdefault(level, []).extend(item.value for item in readings(group, read))
            places.setdefault(level, []).append(place(level, group))
    order = sorted(values, key=lambda level: float(np.mean(places[level])))
    return [(_said(level, float(np.mean(places[level]))), float(np.mean(values[level]))) for level in order]


def _said(level: Any, place: float) -> str:
    return f"{place:.3f} ({level})" if isinstance(level, str) else f"{level:g}"


def _places(block: Block, place: Place) -> Array:
    return np.array([place(level, group) for level, group in block.items()])


def line(block: Block, read: Read, place: Place, per: float = 1.0) -> Contrast:
    """Return the slope of a reading in the place of a level, per 1 / ``per``, as a weighted sum of readings."""
    places = _places(block, place)
    centred = places - places.mean()
    weights = (centred / (centred @ centred) / per).tolist()
    items = [readings(group, read) for group in block.values()]
    return [(weight / len(own), item) for weight, own in zip(weights, items, strict=True) for item in own]


def _scatter(block: Block, read: Read, place: Place, per: float) -> Estimate:
    pairs = [(place(level, group) * per, item) for level, group in block.items() for item in readings(group, read)]
    return over_levels(np.array([at for at, _ in pairs]), [item for _, item in pairs])
