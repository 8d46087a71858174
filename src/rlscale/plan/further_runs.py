"""The whole answer of `rlscale next`: candidates and their costs, their ranking, the batch, and what to doubt."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from rlscale.errors import UserError, did_you_mean
from rlscale.plan import flags as say
from rlscale.plan.belief import Belief, Goal, believe
from rlscale.plan.choose import Candidate, Chosen, Ranked, choose, rank
from rlscale.plan.flags import Flag
from rlscale.plan.hardware import Hardware
from rlscale.plan.lines import read_lines
from rlscale.plan.numbers import Number, from_log10, number
from rlscale.uncertainty.replicates import read_replicates

GOALS = ("loss", "n_0", "k_max")
_UNITS = {"loss": "test loss", "n_0": "parameters", "k_max": "log10 loss per log10 FLOP"}
LEAST = 0.005
"""Share by which a run of the batch is expected to shrink the interval at least."""
_NEAR = 0.02  # relative: a goal this near to a size is that size (3.3e5 for 329,088)
_FEW = 3  # degrees of freedom below which how runs differ is hardly known


@dataclass(frozen=True)
class NextRequest:
    """What is asked.

    Attributes:
        goal: whose interval is to shrink, of `GOALS`; None for loss where its size and compute are given.
        goal_size: of loss: parameters.
        goal_compute: of loss: FLOPs.
        budget: amount and unit (``flops``, ``gpuh`` or ``usd``).
        sizes: further sizes that could be trained, in parameters.
        steps: length of the candidates in optimiser steps; None for that of the fitted runs.
        most: further runs of a size at most.
    """

    goal: str | None
    goal_size: float | None
    goal_compute: float | None
    budget: tuple[float, str]
    sizes: tuple[float, ...] = ()
    steps: int | None = None
    most: int = 4

    def checked_goal(self) -> Goal:
        """Return the goal.

        Raises:
            UserError: it is missing or nonsense, or another value is not allowed.
        """
        name = self.goal or ("loss" if self.goal_size is not None or self.goal_compute is not None else None)
        if name is None:
            raise UserError("no goal: give --goal-size and --goal-compute, or --goal n_0, or --goal k_max")
        if name not in GOALS:
            raise UserError(f"--goal {name}: allowed: {', '.join(GOALS)}{did_you_mean(name, GOALS)}")
        given = {"--goal-size": self.goal_size, "--goal-compute": self.goal_compute}
        for option, value in given.items():
            if name != "loss" and value is not None:
                raise UserError(f"{option} belongs to the goal loss, not to {name}")
            if name == "loss" and value is None:
                raise UserError(f"{option} is missing: the goal loss is that of a size at a compute")
            if value is not None and not (isfinite(value) and 1 <= value < 1e40):
                raise UserError(f"{option} is {value!r}; allowed: a number from 1 on")
        if wrong := [size for size in self.sizes if not 1 <= size < 1e18]:
            raise UserError(f"--size is {wrong[0]!r}; allowed: a number of parameters, 1 or more")
        return Goal(name, self.goal_size, self.goal_compute)


@dataclass(frozen=True)
class NextRuns:
    """The answer.

    Attributes:
        goal: whose interval is to shrink.
        now: it, with its interval.
        width: expected width of that interval before any further run, in decades.
        budget: FLOPs of the law.
        ranking: by expected shrinkage per cost.
        batch: what the budget buys, in order.
        flags: what to doubt.
    """

    goal: Goal
    now: Number
    width: float
    budget: float
    ranking: list[Ranked]
    batch: list[Chosen]
    flags: list[Flag]

    def to_json(self, hardware: Hardware) -> dict[str, Any]:
        """Return JSON-native values; costs are FLOPs of the law, and GPU-hours where the hardware is stated."""
        hours = hardware.hours_per_flop

        def priced(row: dict[str, Any], flops: str) -> dict[str, Any]:
            return row | {"gpu_hours": None if hours is None else row[flops] * hours}

        ranking = [
            priced(row, "cost") | {"per_gpu_hour": None if hours is None else row["per_cost"] / hours}
            for row in (one.to_json() for one in self.ranking)
        ]
        return {
            "goal": asdict(self.goal) | {"now": self.now.to_json(), "width_decades": self.width},
            "hardware": asdict(hardware),
            "budget": priced({"flops": self.budget}, "flops"),
            "ranking": ranking,
            "batch": [priced(one.to_json(), "spent") for one in self.batch],
            "flags": [asdict(flag) for flag in self.flags],
        }


def next_runs(
    fit: Mapping[str, Any],
    request: NextRequest,
    hardware: Hardware,
    *,
    models: Mapping[float, str] | None = None,
    seed: int = 0,
) -> NextRuns:
    """Rank the runs that could be trained next, and choose a batch.

    Args:
        fit: JSON of a fit with replicates.
        request: what is asked.
        hardware: what the budget is counted in.
        models: sizes of the study's ladder and their names; None without a study, where any size may be trained.
        seed: of the scatter of modelled levels in the present interval.

    Raises:
        UserError: the fit or the request will not do, or the budget buys no run.
    """
    trained = {*request.sizes, *(models or {})}
    goal = _snapped(request.checked_goal(), [*trained, *map(float, fit.get("ranges") or {})])
    lines = read_lines(fit, sizes=[*trained, *([goal.params] if goal.params else [])], seed=seed)
    budget = hardware.flops_of(*request.budget)
    fitted = set(lines.params[lines.fitted].tolist())
    allowed = set(models) if models else trained | fitted
    kinds = []
    for column, size in enumerate(lines.params.tolist()):
        if size in allowed:
            end = _end(
                request.steps, float(lines.last[column]), lines.flops_per_sample[column], lines.samples_per_step[column]
            )
            if end <= lines.first[column]:
                raise UserError(f"--steps {request.steps}: ends before the first fitted point of {size:.4g} parameters")
            named = (models or {}).get(size, "")
            kinds.append(Candidate(size, size in fitted, end, 10.0**end, request.most, named))
    cheapest = min(kinds, key=lambda one: one.cost)
    if cheapest.cost > budget * (1 + 1e-9):
        raise UserError(
            f"--budget: {budget:.3g} FLOPs buy no run; the cheapest, {cheapest.params:.4g} parameters, takes "
            f"{cheapest.cost:.3g}"
        )

    def make(chosen: npt.NDArray[np.intp] | slice) -> Belief:
        return believe(fit, lines, goal, chosen)

    ranking = rank(make, kinds, len(lines.slope) - 1)
    belief = make(slice(None))
    now = _now(fit, lines, goal)
    batch = choose(belief, kinds, budget, least=LEAST)
    flags = [*_flags(fit, goal, lines), *_open(now)]
    if not batch:
        flags.append(Flag("nothing", f"no affordable run is expected to shrink the interval by more than {LEAST:.1%}"))
    return NextRuns(goal, now, belief.width, budget, ranking, batch, flags)


def _snapped(goal: Goal, sizes: Sequence[float]) -> Goal:
    """Return the goal with the size that it means, where one is near."""
    if goal.params is None or not sizes:
        return goal
    nearest = min(sizes, key=lambda size: abs(np.log(size / goal.params)))  # type: ignore[operator]
    return replace(goal, params=nearest) if abs(nearest / goal.params - 1) <= _NEAR else goal


def _end(steps: int | None, last: float, per_sample: float, per_step: float) -> float:
    """Return log10 FLOPs at the end of a run."""
    if steps is None:
        return last
    if not np.isfinite(per_sample * per_step):
        raise UserError("--steps: the points of the fit had no samples, so the FLOPs of a step are not known")
    return float(np.log10(steps * per_sample * per_step))


def _now(fit: Mapping[str, Any], lines: Any, goal: Goal) -> Number:
    if goal.name == "loss":
        values = 10.0 ** lines.log10_loss(np.asarray(np.log10(goal.compute or 0.0)))[:, lines.index(goal.params)]
    else:
        drawn = read_replicates(fit["intervals"]["replicates"][goal.name])
        values = from_log10(np.log10(np.maximum(np.append(float(fit[goal.name] or 0.0), drawn), 1e-30)))
    return number(values, _UNITS[goal.name])


def _open(now: Number) -> Iterator[Flag]:
    if now.high is None:
        yield Flag("open", "the interval is open above, and its width means little")


def _flags(fit: Mapping[str, Any], goal: Goal, lines: Any) -> Iterator[Flag]:
    if goal.params is not None and goal.compute is not None:
        decades = float(np.log10(goal.compute)) - float(lines.last[lines.index(goal.params)])
        yield from say.of_size(lines, goal.params)
        yield from say.of_compute("the goal", goal.params, decades)
    freedom = int(fit["intervals"]["run_freedom"])
    if freedom < _FEW:
        yield Flag(
            "freedom",
            f"how runs differ rests on {freedom} degrees of freedom: a further run may widen the interval, since it "
            "shows a scatter that was not known",
        )
    if not fit["intervals"]["replicates"]["level_freedom"]:
        yield Flag("levels", "each size has one run: how levels differ between runs of a size is not known")
    if goal.name != "loss" and (fit.get("saturation") or {}).get("verdict") not in (None, "saturating"):
        yield Flag(
            "saturation", f"{goal.name} is not identified by these points: its width in decades is a rough guide"
        )


def counts(batch: Sequence[Chosen]) -> dict[str, int]:
    """Return how many runs of each model of a ladder a batch has."""
    names = [one.candidate.model for one in batch]
    return {name: names.count(name) for name in dict.fromkeys(names)}
