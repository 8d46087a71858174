"""Which problems a step consumes: a pure function of the step, so that a resumed run needs no position.

Fresh data (τ = 1) goes through the pool once, in its order. With reuse the first ``unique`` problems are gone through
again and again: in a new seeded order each epoch, or, where the pool is a curriculum, in its order.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlscale.canonical import derived_seed

Indices = NDArray[np.int64]


def order_seed(identity: Mapping[str, Any]) -> int | None:
    """Return the seed of a run's epochs; None where its task is a curriculum, whose order is kept."""
    return None if identity["task"].get("curriculum") else derived_seed("order", identity["seed"])


def problems_of_step(step: int, *, prompts: int, unique: int | None, seed: int | None) -> Indices:
    """Return the places in the pool [prompts] of the problems of ``step`` = 1, 2, ….

    Args:
        step: optimiser step, from 1.
        prompts: problems a step.
        unique: number of different problems that are reused; None: every problem is fresh.
        seed: moves the order of the epochs; None: every epoch has the pool's order.
    """
    positions = np.arange((step - 1) * prompts, step * prompts)
    if unique is None:
        return positions
    epochs = positions // unique
    places = positions % unique
    if seed is None:
        return places
    for epoch in np.unique(epochs):
        here = epochs == epoch
        places[here] = _order(unique, int(epoch), seed)[places[here]]
    return places


def problems_of_run(last_step: int, *, prompts: int, unique: int | None, seed: int | None) -> Indices:
    """Return the places in the pool [last_step × prompts] of all problems up to ``last_step``, in order.

    Args:
        last_step: last step, from 1.
        prompts: problems a step.
        unique: as in :func:`problems_of_step`.
        seed: as in :func:`problems_of_step`.
    """
    steps = range(1, last_step + 1)
    return np.concatenate([problems_of_step(s, prompts=prompts, unique=unique, seed=seed) for s in steps])


def unique_so_far(
    problems: NDArray[np.str_], last_step: int, *, prompts: int, unique: int | None, seed: int | None
) -> Indices:
    """Return the number of different problems consumed up to each step [last_step].

    Args:
        problems: ids of the pool's problems; a problem that the pool draws twice counts once.
        last_step: steps to count for.
        prompts: problems a step.
        unique: as in :func:`problems_of_step`.
        seed: as in :func:`problems_of_step`.
    """
    consumed = problems_of_run(last_step, prompts=prompts, unique=unique, seed=seed)
    _, first_seen = np.unique(problems[consumed], return_index=True)
    new = np.bincount(first_seen // prompts, minlength=last_step)
    return new.cumsum()


def _order(unique: int, epoch: int, seed: int) -> Indices:
    return np.random.Generator(np.random.PCG64(derived_seed("epoch", seed, epoch))).permutation(unique)
