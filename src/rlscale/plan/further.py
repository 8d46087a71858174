"""From here: does more RL on this size buy more than the same compute on a bigger base?

The size that already learns goes on from the compute it has had; a bigger base starts afresh with the extra compute
alone, since what the smaller one has had is spent either way.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rlscale.errors import UserError
from rlscale.plan.budget import losses
from rlscale.plan.lines import Lines
from rlscale.plan.numbers import Number, number
from rlscale.plan.supply import Supply

_GRID = 241  # values of the extra compute among which the break-even is sought


@dataclass(frozen=True)
class Bigger:
    """A bigger base beside more RL on the size at hand.

    Attributes:
        params: its size.
        loss: after the extra compute; None where it is less than that of its first fitted point.
        gain_per_flop: fall of the loss below the present one, per FLOP of the extra compute.
        share: share of the replicates in which its loss is below that of going on.
        break_even: extra compute from which on it is; open where it is not within a decade beyond all points.
    """

    params: float
    loss: Number | None
    gain_per_flop: Number | None
    share: float
    break_even: Number


@dataclass(frozen=True)
class Further:
    """More RL against bigger bases.

    Attributes:
        params: the size at hand.
        spent: FLOPs that it has had.
        extra: FLOPs to spend.
        now: its loss now.
        loss: its loss after the extra compute.
        gain_per_flop: fall of its loss per FLOP of the extra compute.
        bigger: the larger sizes, ascending.
    """

    params: float
    spent: float
    extra: float
    now: Number
    loss: Number
    gain_per_flop: Number
    bigger: tuple[Bigger, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-native values."""
        return asdict(self)


def more_or_bigger(
    lines: Lines, params: float, *, spent: float | None, extra: float | None, supply: Supply | None = None
) -> Further:
    """Compare going on with each larger size.

    Args:
        lines: the sizes.
        params: the size at hand.
        spent: FLOPs that it has had; None for its last fitted point.
        extra: FLOPs to spend; None for as many again.
        supply: of problems; unlimited without.

    Raises:
        UserError: there is no such size or none that is larger, or it has had less than its first fitted point.
    """
    own = lines.index(params)
    if own == lines.params.size - 1:
        raise UserError(f"--from-size {params:.4g}: is the largest size; name a larger one by --size to compare with")
    spent = float(10.0 ** lines.last[own]) if spent is None else spent
    if np.log10(spent) < lines.first[own] - 1e-9:
        first = f"{10 ** lines.first[own]:.3g}"
        raise UserError(f"--at-compute {spent:.3g}: less than the first fitted point of that size, {first} FLOPs")
    extra = spent if extra is None else extra
    now = losses(lines, np.asarray(spent), supply)[:, own]
    after = losses(lines, np.asarray(spent + extra), supply)[:, own]
    other = losses(lines, np.asarray(extra), supply)
    bigger = []
    for column in range(own + 1, lines.params.size):
        started = np.isfinite(other[0, column])
        bigger.append(
            Bigger(
                params=float(lines.params[column]),
                loss=number(other[:, column], "test loss") if started else None,
                gain_per_flop=number((now - other[:, column]) / extra, "test loss per FLOP") if started else None,
                share=float(np.mean(other[1:, column] < after[1:])),
                break_even=_break_even(lines, own, column, spent, supply),
            )
        )
    gain = number((now - after) / extra, "test loss per FLOP")
    loss = number(after, "test loss")
    return Further(float(lines.params[own]), spent, extra, number(now, "test loss"), loss, gain, tuple(bigger))


def _break_even(lines: Lines, own: int, other: int, spent: float, supply: Supply | None) -> Number:
    """Return the least extra compute, on a grid, at which the bigger base is ahead."""
    extras = 10.0 ** np.linspace(lines.first[other], lines.last.max() + 1.0, _GRID)
    ahead = np.stack(
        [
            losses(lines, np.asarray(extra), supply)[:, other]
            < losses(lines, np.asarray(spent + extra), supply)[:, own]
            for extra in extras.tolist()
        ],
        axis=1,
    )
    return number(np.where(ahead.any(axis=1), extras[ahead.argmax(axis=1)], np.inf), "FLOPs")
