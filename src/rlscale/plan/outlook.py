"""Where a run that trains will end, from its curve so far and from comparable runs that have ended.

Before a run ends only its rewards are known. Each finished run says how far its test loss at the end lay below its
training loss at that step, which holds the slope, the gap between training and test, and that curves are not quite
straight. Runs of the same size are asked first; where there are none, the law's slope carries this over from others.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rlscale.laws import Array
from rlscale.plan.lines import Lines
from rlscale.plan.numbers import Number
from rlscale.uncertainty import LEVEL

_WINDOW = 0.75  # of the steps so far; later ones are averaged
_LEAST_LOSS = 1e-4  # rewards that are all right count as this
_DRAWS = 4000
_FEWEST = 4  # runs that the law is carried over from: two are spent on gap and slope
_SEED = 0


@dataclass(frozen=True)
class Ended:
    """A run that has ended.

    Attributes:
        kind: all that tells it from others but size and seeds.
        params: its size.
        rewards: mean reward by step, from the first.
        end_loss: test loss after the last step.
    """

    kind: str
    params: float
    rewards: Array
    end_loss: float


@dataclass(frozen=True)
class Outlook:
    """Where a run will end.

    Attributes:
        run_id: its name.
        params: its size.
        step: steps that its curve has.
        last_step: of the run.
        end: test loss after the last step; None where too few runs have ended.
        basis: what the forecast rests on.
        best_elsewhere: least test loss of any other size at the compute of the run's end; None where none is known.
        worth: probability that the run ends below that; None where either is not known.
        flops_left: of the law; None where not known.
    """

    run_id: str
    params: float
    step: int
    last_step: int
    end: Number | None
    basis: str
    best_elsewhere: Number | None
    worth: float | None
    flops_left: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-native values."""
        return asdict(self)


def training_loss(rewards: Array, step: int) -> float:
    """Return log10 of the training loss, 1 - reward, over the last quarter of the steps so far."""
    late = rewards[int(_WINDOW * step) : step]
    return float(np.log10(max(1.0 - float(np.mean(late)), _LEAST_LOSS)))


def forecast_end(
    kind: str,
    params: float,
    rewards: Array,
    *,
    last_step: int,
    ended: Sequence[Ended],
    slopes: Callable[[Array], Array] | None,
) -> tuple[Array | None, str]:
    """Return draws of log10 of the test loss at the end (the first is the estimate), and what they rest on.

    Args:
        kind: of the run.
        params: its size.
        rewards: its mean reward by step so far.
        last_step: its last step.
        ended: runs that have ended, of the same length; those of other kinds say only how runs scatter.
        slopes: returns k by replicate (the first is the estimate) and size; None where no law is known.
    """
    step, now = rewards.size, training_loss(rewards, rewards.size)
    falls = np.array([np.log10(one.end_loss) - training_loss(one.rewards, step) for one in ended])
    alike = np.array([one.kind == kind for one in ended], dtype=np.bool_)
    sizes = np.array([one.params for one in ended])
    own = alike & (sizes == params)
    off, freedom = _around_groups([(one.kind, one.params) for one in ended], falls)
    normal = np.random.default_rng(_SEED)
    if own.any() and freedom >= 2:
        spread = np.sqrt(off @ off / freedom * (1.0 + 1.0 / own.sum()))
        drawn = falls[own].mean() + spread * normal.standard_t(freedom, _DRAWS)
        return now + np.append(falls[own].mean(), drawn), f"{own.sum()} of this size"
    others = int(alike.sum())
    if slopes is None or others < _FEWEST:
        return None, "too few have ended"
    decades = np.log10(last_step / step)
    k = slopes(np.append(sizes[alike], params))
    rest = falls[alike] + k[0, :-1] * decades
    spread = np.sqrt(np.sum((rest - rest.mean()) ** 2) / (others - 2) * (1.0 + 1.0 / others))
    which = normal.integers(1, len(k), _DRAWS)
    drawn = rest.mean() - k[which, -1] * decades + spread * normal.standard_t(others - 2, _DRAWS)
    return now + np.append(rest.mean() - k[0, -1] * decades, drawn), f"{others} of other sizes, law"


def slopes_of(lines: Lines) -> Callable[[Array], Array]:
    """Return k by replicate (the first is the estimate) at any sizes."""
    # 1 / k is a straight line over 1 / N: two fitted sizes give k at every other.
    with np.errstate(divide="ignore"):
        inverse = 1.0 / np.maximum(lines.slope[:, [0, -1]], 1e-9)
    at = 1.0 / lines.params[[0, -1]]
    tilt = (inverse[:, 0] - inverse[:, 1]) / (at[0] - at[1])

    def slopes(sizes: Array) -> Array:
        return np.asarray(1.0 / (inverse[:, 1:] + tilt[:, None] * (1.0 / sizes - at[1])))

    return slopes


def best_elsewhere(lines: Lines, params: float, log10_compute: float) -> Array | None:
    """Return log10 of the least loss of the other sizes at a compute, by replicate; None where none has started."""
    others = (np.abs(lines.params / params - 1.0) > 1e-6) & (lines.first <= log10_compute)
    if not others.any():
        return None
    return np.asarray(lines.log10_loss(np.asarray(log10_compute))[:, others].min(axis=1))


def as_loss(log10_loss: Array) -> Number:
    """Return a number from draws of log10 of the loss."""
    low, high = np.quantile(log10_loss[1:], ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    estimate, low, high = (float(min(10.0**value, 1.0)) for value in (log10_loss[0], low, high))
    return Number(estimate, low, high, "test loss", LEVEL, 1.0)


def worth_finishing(end: Array, others: Array) -> float:
    """Return the share of draws in which the end lies below the least loss of other sizes, both as log10."""
    generator = np.random.default_rng([_SEED, 1])
    rival = generator.choice(others[1:], end.size - 1)
    return float(np.mean(end[1:] < rival))


def _around_groups(groups: Sequence[tuple[str, float]], falls: Array) -> tuple[Array, int]:
    """Return how far each fall is from the mean of its kind and size, and the degrees of freedom that are left."""
    off = falls.copy()
    for group in set(groups):
        members = np.array([other == group for other in groups])
        off[members] -= falls[members].mean()
    return off, len(groups) - len(set(groups))
