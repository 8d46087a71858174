"""Which runs to train next: the order in which they shrink an interval most for what they cost.

Greedy: again and again the run with the largest fall of the logarithm of the interval's width per unit of cost that the
budget still allows. Cheap runs can so crowd out one that matters, and so the order by the fall alone is tried too, and
the batch that ends narrower is taken (Leskovec et al., KDD 2007).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rlscale.plan.belief import Belief

_EPSILON = 1e-9
GROUPS = 10
"""Groups of replicates that are left out in turn for the Monte-Carlo error."""


@dataclass(frozen=True)
class Candidate:
    """A kind of run that could be trained.

    Attributes:
        params: its size.
        fitted: whether the fit has runs of this size.
        end: log10 FLOPs at its end.
        cost: in the unit of the budget (FLOPs or GPU-hours).
        most: further runs of this kind at most.
        model: name of the size in the study's ladder; "" without a study.
    """

    params: float
    fitted: bool
    end: float
    cost: float
    most: int
    model: str = ""


@dataclass(frozen=True)
class Ranked:
    """A candidate and what one run of it would do by itself.

    Attributes:
        candidate: the run.
        width: expected width of the interval after it, in decades.
        shrinks: share by which the interval is expected to shrink.
        per_cost: that over the cost.
        error: Monte-Carlo standard error of ``shrinks``, from the finite number of replicates.
    """

    candidate: Candidate
    width: float
    shrinks: float
    per_cost: float
    error: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-native values."""
        own = asdict(self)
        return {**own.pop("candidate"), **own}


@dataclass(frozen=True)
class Chosen:
    """A run of the batch, in order.

    Attributes:
        candidate: the run.
        width: expected width after it and all before it, in decades.
        spent: cost up to and with it.
    """

    candidate: Candidate
    width: float
    spent: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-native values."""
        own = asdict(self)
        return {**own.pop("candidate"), **own}


def rank(make: Callable[[Any], Belief], candidates: Sequence[Candidate], draws: int) -> list[Ranked]:
    """Return the candidates by what they do per cost, best first.

    Args:
        make: returns the belief from some of the replicates.
        candidates: the runs.
        draws: replicates.
    """
    groups = np.arange(draws) % GROUPS
    beliefs = [make(slice(None)), *(make(np.flatnonzero(groups != group)) for group in range(GROUPS))]
    found = []
    for one in candidates:
        widths = [belief.after(belief.lines.index(one.params), one.end).width for belief in beliefs]
        shrinks = [1.0 - width / belief.width for width, belief in zip(widths, beliefs, strict=True)]
        # Delete-a-group jackknife.
        error = float(np.sqrt((GROUPS - 1) * np.var(shrinks[1:])))
        found.append(Ranked(one, widths[0], shrinks[0], shrinks[0] / one.cost, error))
    return sorted(found, key=lambda one: (-one.per_cost, one.candidate.params))


def choose(belief: Belief, candidates: Sequence[Candidate], budget: float, *, least: float = 0.0) -> list[Chosen]:
    """Return the batch that a budget buys, in the order of training.

    Args:
        belief: before the first.
        candidates: the runs.
        budget: in the unit of their costs.
        least: share by which a run must be expected to shrink the interval; others are not worth their trouble.
    """

    def per_cost(gain: float, cost: float) -> float:
        return gain / cost

    def alone(gain: float, _: float) -> float:
        return gain

    batches = [_greedy(belief, candidates, budget, worth, least) for worth in (per_cost, alone)]
    return min(batches, key=lambda batch: batch[-1].width if batch else np.inf)


def _greedy(
    belief: Belief,
    candidates: Sequence[Candidate],
    budget: float,
    worth: Callable[[float, float], float],
    least: float,
) -> list[Chosen]:
    batch: list[Chosen] = []
    left, spent = [one.most for one in candidates], 0.0
    while True:
        options = []
        for place, one in enumerate(candidates):
            if left[place] and spent + one.cost <= budget * (1 + _EPSILON):
                after = belief.after(belief.lines.index(one.params), one.end)
                gain = float(np.log(belief.width / after.width))
                if gain > least:
                    options.append((worth(gain, one.cost), -place, after))
        if not options:
            return batch
        _, place, belief = max(options, key=lambda option: option[:2])
        one = candidates[-place]
        left[-place] -= 1
        spent += one.cost
        batch.append(Chosen(one, belief.width, spent))
