"""The whole plan: every question of a request, answered from one fit, with its flags."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rlscale.errors import UserError
from rlscale.plan import flags as say
from rlscale.plan.budget import BudgetPlan, crossovers, frontier, plan_budget
from rlscale.plan.flags import Flag
from rlscale.plan.further import more_or_bigger
from rlscale.plan.hardware import Hardware
from rlscale.plan.lines import Lines
from rlscale.plan.numbers import REACH, Number
from rlscale.plan.request import Request
from rlscale.plan.supply import Supply
from rlscale.plan.target import TargetPlan, plan_target


@dataclass(frozen=True)
class Evidence:
    """What a plan rests on.

    Attributes:
        fit: JSON of the fit.
        lines: of the sizes that may be chosen.
        comparison: JSON of the tournament; None where there is none.
        floors: by law with an asymptote and by size, the loss that it tends to; None where points are not at hand.
        supply: of problems; None where they are unlimited.
    """

    fit: Mapping[str, Any]
    lines: Lines
    comparison: Mapping[str, Any] | None = None
    floors: Mapping[str, Mapping[str, float]] | None = None
    supply: Supply | None = None


def make_plan(evidence: Evidence, request: Request, hardware: Hardware) -> dict[str, Any]:
    """Answer a request.

    Returns:
        JSON-native values: ``fit``, ``hardware``, then ``target``, ``budget``, ``reuse`` and ``further`` (None where
        they were not asked), ``crossovers``, and ``flags``.

    Raises:
        UserError: a question has no answer: a target out of reach, a budget below every first fitted point, a size
            that is not there, or numbers that the points do not hold.
    """
    request.check()
    lines, supply = evidence.lines, evidence.supply
    if supply is not None and np.isnan(lines.flops_per_sample).any():
        raise UserError("--unique-problems: the points had no samples, so that reuse cannot be counted")
    options: dict[str, Any] = {"supply": supply, "inference_tokens": request.inference_tokens}
    options["overhead"] = hardware.overhead
    budget = None if request.budget is None else hardware.flops_of(*request.budget)
    flags: list[Flag] = []
    made: dict[str, Any] = {"target": None, "budget": None, "reuse": None, "further": None}
    if request.target is not None:
        target = _reachable(plan_target(lines, request.target, **options), evidence)
        flags += _target_flags(target, evidence)
        made["target"] = _target(target, hardware)
    if budget is not None:
        bought = plan_budget(lines, budget, **options)
        flags += _budget_flags(bought, lines, request.inference_tokens > 0)
        made["budget"] = _budget(bought, hardware) | {"frontier": [_brief(one) for one in frontier(lines, **options)]}
    if request.from_size is not None:
        extra = budget
        found = more_or_bigger(lines, request.from_size, spent=request.at_compute, extra=extra, supply=supply)
        own = lines.index(request.from_size)
        decades = float(np.log10(found.spent + found.extra)) - lines.last[own]
        flags += [*say.of_size(lines, found.params), *say.of_compute("going on", found.params, decades)]
        made["further"] = found.to_json()
    if supply is not None:
        stops = supply.stops()
        made["reuse"] = {"law": supply.law, "unique_problems": supply.unique}
        made["reuse"]["stops_paying_at_tau"] = None if stops is None else stops.to_json()
        flags += say.of_supply(supply)
    flags += say.of_fit(evidence.fit, evidence.comparison)
    return {
        "fit": {name: evidence.fit[name] for name in ("law", "x", "loss", "variant", "points")}
        | {name: evidence.fit["intervals"][name] for name in ("level", "draws", "seed")},
        "hardware": asdict(hardware),
        **made,
        "crossovers": [one.to_json() for one in crossovers(lines)],
        "flags": [asdict(flag) for flag in dict.fromkeys(flags)],
    }


def _reachable(plan: TargetPlan, evidence: Evidence) -> TargetPlan:
    """Return the plan, or refuse a target that no size reaches within what the evidence can carry."""
    near = [one for one in plan.sizes if one.decades_beyond <= say.MOST_DECADES]
    if near:
        return plan
    reasons = [flag.text for flag in say.of_asymptotes(plan.target, evidence.floors or {})]
    nearest = min(plan.sizes, key=lambda one: one.decades_beyond)
    if np.isfinite(nearest.decades_beyond):
        far = f"{nearest.params:.4g} parameters would take it, {nearest.decades_beyond:.1f} decades beyond its points"
    else:
        far = f"no size gets there with 1e{REACH:.0f} FLOPs"
    raise UserError(
        f"--target-loss {plan.target:g}: unreachable within {say.MOST_DECADES:g} decades of compute beyond the fitted "
        f"points ({far})" + "".join(f"; {reason}" for reason in reasons)
    )


def _target_flags(plan: TargetPlan, evidence: Evidence) -> list[Flag]:
    lines, flags = evidence.lines, []
    if plan.best is not None:
        best = plan.sizes[plan.best]
        flags += [*say.of_size(lines, best.params), *say.of_compute("the target", best.params, best.decades_beyond)]
        if best.compute.estimate is not None and best.compute.estimate <= 10 ** (lines.first[plan.best] + 1e-9):
            flags.append(Flag("first_point", "the first fitted point of that size is already below the target"))
        if best.compute.high is None:
            never = 1.0 - best.compute.finite
            flags.append(
                Flag("open", f"the interval is open above: {never:.0%} of the replicates never reach the target")
            )
    if evidence.floors is None:
        flags.append(Flag("asymptote", "no points at hand, so laws with an asymptote were not asked about the target"))
    return [*flags, *say.of_asymptotes(plan.target, evidence.floors or {})]


def _budget_flags(plan: BudgetPlan, lines: Lines, serves: bool) -> list[Flag]:
    if plan.best is None:
        least = f"{10 ** lines.first.min():.3g}"
        spent = " once serving is paid for" if serves else ""
        raise UserError(
            f"--budget: {plan.budget:.3g} FLOPs are too few{spent}: no size gets to its first fitted point (the least "
            f"is at {least} FLOPs)"
        )
    best = plan.sizes[plan.best]
    return [*say.of_size(lines, best.params), *say.of_compute("the budget", best.params, best.decades_beyond)]


def _target(plan: TargetPlan, hardware: Hardware) -> dict[str, Any]:
    sizes = [one.to_json() | _money(one.total, hardware) for one in plan.sizes]
    best = None if plan.best is None else sizes[plan.best]
    return {"target": plan.target, "least": plan.least.to_json(), "best": best, "sizes": sizes}


def _money(flops: Number, hardware: Hardware) -> dict[str, Any]:
    """Return GPU-hours, days and cost of compute; None where the hardware is not stated."""
    hours = hardware.hours_per_flop
    rates = {
        "gpu_hours": (hours, "GPU-hours"),
        "days": (None if hours is None else hours / hardware.gpus / 24.0, "days"),
        "cost": (None if hours is None or hardware.price is None else hours * hardware.price, "money"),
    }
    return {name: None if rate is None else _scaled(flops, rate, unit) for name, (rate, unit) in rates.items()}


def _scaled(value: Number, rate: float, unit: str) -> dict[str, Any]:
    ends = {name: getattr(value, name) for name in ("estimate", "low", "high")}
    return value.to_json() | {name: None if end is None else end * rate for name, end in ends.items()} | {"unit": unit}


def _budget(plan: BudgetPlan, hardware: Hardware) -> dict[str, Any]:
    sizes = [one.to_json() for one in plan.sizes]
    hours = hardware.hours_per_flop
    return {
        "flops": plan.budget,
        "gpu_hours": None if hours is None else plan.budget * hours,
        "cost": None if hours is None or hardware.price is None else plan.budget * hours * hardware.price,
        "least_loss": plan.least.to_json(),
        "best": None if plan.best is None else sizes[plan.best],
        "sizes": sizes,
    }


def _brief(plan: BudgetPlan) -> dict[str, Any]:
    """Return one row of the frontier."""
    best = None if plan.best is None else plan.sizes[plan.best].to_json()
    return {"flops": plan.budget, "best": best}
