"""From a target loss to the least compute, and what each size would need.

Each size's line is turned around, D_eff into samples, and what serving the model costs is added: 2·N FLOPs a token
(forward only), so that a smaller model trained for longer can be the cheaper one. The least over sizes is taken anew in
every replicate, so that the interval of the least knows that the best size is not known for sure either.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rlscale.laws import Array
from rlscale.plan.lines import Lines
from rlscale.plan.numbers import Number, from_log10, least, least_number, number, share
from rlscale.plan.supply import Supply


@dataclass(frozen=True)
class TargetAtSize:
    """What one size needs to reach the target.

    Attributes:
        params: the size.
        fitted: whether it was fitted.
        compute: of training, in the law's FLOPs.
        total: with serving, in the law's FLOPs.
        samples: None where the points do not say.
        steps: None where the points do not say.
        tau: samples over unique problems; None where problems are unlimited.
        share: share of the replicates in which this size is the cheapest.
        decades_beyond: log10 of compute over that of the last fitted point, 0 within; inf where never reached.
    """

    params: float
    fitted: bool
    compute: Number
    total: Number
    samples: Number | None
    steps: Number | None
    tau: Number | None
    share: float
    decades_beyond: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-native values."""
        numbers = {name: getattr(self, name) for name in ("compute", "total", "samples", "steps", "tau")}
        beyond = self.decades_beyond if np.isfinite(self.decades_beyond) else None
        rest = {"params": self.params, "fitted": self.fitted, "share": self.share, "decades_beyond": beyond}
        return rest | {name: None if found is None else found.to_json() for name, found in numbers.items()}


@dataclass(frozen=True)
class TargetPlan:
    """The answer to a target.

    Attributes:
        target: test loss.
        best: index into ``sizes`` of the cheapest; None where no size reaches the target.
        least: total of the cheapest size of each replicate, whichever it is.
        sizes: by size, ascending.
    """

    target: float
    best: int | None
    least: Number
    sizes: tuple[TargetAtSize, ...]


def plan_target(
    lines: Lines, target: float, *, supply: Supply | None = None, inference_tokens: float = 0.0, overhead: float = 1.0
) -> TargetPlan:
    """Plan for a target loss.

    Args:
        lines: the sizes.
        target: test loss, between 0 and 1.
        supply: of problems; unlimited without.
        inference_tokens: tokens to serve.
        overhead: FLOPs of the whole job over the law's compute; served FLOPs are divided by it.
    """
    compute = from_log10(lines.log10_compute(float(np.log10(target))))
    per_sample = lines.flops_per_sample
    tau = None
    if supply is not None:
        samples = supply.needed(compute / per_sample)
        compute, tau = samples * per_sample, np.maximum(samples / supply.unique, 1.0)
    total = compute + 2.0 * lines.params * inference_tokens / overhead
    best, which = least(total)
    sizes = []
    for column, size in enumerate(lines.params.tolist()):
        own = compute[:, column]
        sizes.append(
            TargetAtSize(
                params=size,
                fitted=bool(lines.fitted[column]),
                compute=number(own, "FLOPs"),
                total=number(total[:, column], "FLOPs"),
                samples=_over(own, per_sample[column], "samples"),
                steps=_over(own, per_sample[column] * lines.samples_per_step[column], "steps"),
                tau=None if tau is None else number(tau[:, column], "samples per unique problem"),
                share=share(which, column),
                decades_beyond=_beyond(own[0], lines.last[column]),
            )
        )
    return TargetPlan(target, None if best < 0 else best, least_number(total, "FLOPs"), tuple(sizes))


def _over(compute: Array, rate: float, unit: str) -> Number | None:
    return number(compute / rate, unit) if np.isfinite(rate) else None


def _beyond(compute: float, last: float) -> float:
    return max(0.0, float(np.log10(compute)) - last) if np.isfinite(compute) else np.inf
