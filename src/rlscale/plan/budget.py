"""What a budget buys: the best size, its loss, the frontier over budgets, and where sizes change places.

A size takes part from the compute of its first fitted point on. A larger budget never buys a larger loss: a run may
stop where more would harm.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from rlscale.laws import Array
from rlscale.plan.lines import Lines
from rlscale.plan.numbers import Number, from_log10, least, least_number, number, share
from rlscale.plan.supply import Supply


@dataclass(frozen=True)
class BudgetAtSize:
    """What one size makes of the budget.

    Attributes:
        params: the size.
        fitted: whether it was fitted.
        loss: test loss at the end; None where the budget does not reach the size's first fitted point.
        compute: FLOPs of training that are left once serving is paid for.
        samples: of those; None where the points do not say.
        steps: of those; None where the points do not say.
        tau: samples over unique problems; None where problems are unlimited.
        share: share of the replicates in which this size has the least loss.
        decades_beyond: log10 of compute over that of the last fitted point, 0 within.
    """

    params: float
    fitted: bool
    loss: Number | None
    compute: float
    samples: float | None
    steps: float | None
    tau: float | None
    share: float
    decades_beyond: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-native values."""
        return asdict(self)


@dataclass(frozen=True)
class BudgetPlan:
    """The answer to a budget.

    Attributes:
        budget: in the law's FLOPs.
        best: index into ``sizes`` of the least loss; None where no size starts.
        least: loss of the best size of each replicate, whichever it is.
        sizes: by size, ascending.
    """

    budget: float
    best: int | None
    least: Number
    sizes: tuple[BudgetAtSize, ...]


@dataclass(frozen=True)
class Crossover:
    """Where the larger of two neighbouring sizes overtakes the smaller.

    Attributes:
        smaller: params.
        larger: params.
        compute: below it the smaller has the lower loss; inf where the smaller always has.
        share: share of the replicates in which they cross where both were fitted.
        seen: whether the estimate lies where both were fitted.
    """

    smaller: float
    larger: float
    compute: Number
    share: float
    seen: bool

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-native values."""
        return asdict(self)


def losses(lines: Lines, compute: Array, supply: Supply | None) -> Array:
    """Return the loss by row and size at a compute by size (or row and size), inf where a size has not started."""
    useful = compute
    if supply is not None:
        useful = supply.worth(compute / lines.flops_per_sample) * lines.flops_per_sample
    with np.errstate(divide="ignore", invalid="ignore"):
        loss = 10.0 ** lines.log10_loss(np.log10(np.maximum(useful, 1e-300)))
        started = np.log10(np.maximum(compute, 1e-300)) >= lines.first - 1e-9
    return np.where(started, loss, np.inf)


def plan_budget(
    lines: Lines, budget: float, *, supply: Supply | None = None, inference_tokens: float = 0.0, overhead: float = 1.0
) -> BudgetPlan:
    """Plan for a budget in the law's FLOPs; the arguments are those of `rlscale.plan.target.plan_target`."""
    left = np.maximum(budget - 2.0 * lines.params * inference_tokens / overhead, 0.0)
    loss = losses(lines, left, supply)
    best, which = least(loss)
    samples = left / lines.flops_per_sample
    steps = samples / lines.samples_per_step
    sizes = []
    for column, size in enumerate(lines.params.tolist()):
        started = bool(np.isfinite(loss[0, column]))
        used = float(samples[column])
        beyond = float(np.log10(left[column])) - lines.last[column] if started else 0.0
        sizes.append(
            BudgetAtSize(
                params=size,
                fitted=bool(lines.fitted[column]),
                loss=number(loss[:, column], "test loss") if started else None,
                compute=float(left[column]),
                samples=used if np.isfinite(used) else None,
                steps=float(steps[column]) if np.isfinite(steps[column]) else None,
                tau=None if supply is None else max(1.0, used / supply.unique),
                share=share(which, column),
                decades_beyond=max(0.0, float(beyond)),
            )
        )
    return BudgetPlan(budget, None if best < 0 else best, least_number(loss, "test loss"), tuple(sizes))


def frontier(
    lines: Lines, *, supply: Supply | None = None, inference_tokens: float = 0.0, overhead: float = 1.0
) -> list[BudgetPlan]:
    """Return plans for budgets half a decade apart, from the first fitted point to a decade beyond the last."""
    low, high = float(lines.first.min()), float(lines.last.max()) + 1.0
    budgets = 10.0 ** (np.arange(np.ceil(low * 2), np.floor(high * 2) + 1) / 2)
    options: dict[str, Any] = {"supply": supply, "inference_tokens": inference_tokens, "overhead": overhead}
    return [plan for budget in budgets.tolist() if (plan := plan_budget(lines, budget, **options)).best is not None]


def crossovers(lines: Lines) -> list[Crossover]:
    """Return where each size is overtaken by the next larger one, with problems unlimited."""
    found = []
    for small, large in pairwise(range(lines.params.size)):
        faster = lines.slope[:, large] - lines.slope[:, small]
        behind = lines.level[:, large] - lines.level[:, small]
        with np.errstate(divide="ignore", invalid="ignore"):
            where = np.where(faster > 0, behind / faster, np.where(behind < 0, -np.inf, np.inf))
        low, high = (max(lines.first[[small, large]]), min(lines.last[[small, large]]))
        inside = (where >= low) & (where <= high)
        # Below the first point of both, "the larger leads from the start" is all that can be said.
        compute = number(from_log10(np.maximum(where, low)), "FLOPs")
        pair = float(lines.params[small]), float(lines.params[large])
        found.append(Crossover(*pair, compute, float(inside[1:].mean()), bool(inside[0])))
    return found
