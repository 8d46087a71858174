"""Does the slope saturate with size, or does it only look so? Saturation against laws that never saturate.

The rivals, a slope linear in log N and a power of N, have as many parameters, so no law is favoured. Two things are
asked, in this order: which law gives the slope of a size that it was not fitted on, and whether the difference in fit
is more than the noise gives where a rival is true. The latter is a Cox test by simulation (Cox 1961; Wahrendorf, Becher
and Brown 1987) with the noise of runs and blocks of steps, so that correlated steps do not count as news.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlscale.curve_points import keep_curves
from rlscale.fitting.loss_spaces import LossSpace
from rlscale.fitting.projection import SlopeFit, fit_slope_law, refit_law
from rlscale.fitting.slope_fits import slope_laws
from rlscale.laws import Array, SlopeLaw
from rlscale.uncertainty.bootstrap import replicate_values
from rlscale.uncertainty.noise import measure_noise

SIGNIFICANCE = 0.05
_FEWEST = 4  # sizes: three leave one degree of freedom, and no size can be held out


@dataclass(frozen=True)
class Saturation:
    """A verdict on saturation.

    Attributes:
        verdict: "saturating", "not saturating" or "not identified".
        reason: the evidence in one sentence.
        held_out: by law, root mean square error of the loss of each size in turn at the slope that the law, fitted on
            the other sizes, gives it (with the size's own best level).
        p_values: by rival, how often simulations of that rival favour saturation as much as the data do; under
            "saturating_slope", how often simulations of saturation favour the best rival as much.
        sse: sum of squared residuals by law.
    """

    verdict: str
    reason: str
    held_out: dict[str, float]
    p_values: dict[str, float]
    sse: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON-native values."""
        return dict(vars(self))


def judge_saturation(space: LossSpace, *, draws: int = 400, seed: int = 0) -> Saturation:
    """Judge whether the slope saturates.

    Args:
        space: the points, in the space of their residuals.
        draws: simulations of each law.
        seed: of the random numbers.
    """
    curves = space.curves
    if curves.sizes.size < _FEWEST:
        few = f"{curves.sizes.size} sizes cannot tell laws of two parameters apart; at least {_FEWEST} are needed"
        return Saturation("not identified", few, {}, {}, {})
    laws = slope_laws(curves)
    fits = {name: fit_slope_law(law, space) for name, law in laws.items()}
    sse = {name: float(fit.best.sse[0]) for name, fit in fits.items()}
    held_out = {name: _held_out_error(law, space) for name, law in laws.items()}
    own, *rivals = laws
    p_values = {}
    for index, name in enumerate(laws):
        simulated = _simulated_sse(fits[name], fits, draws, np.random.default_rng([seed, index]))
        if name == own:
            lead = np.min([simulated[rival] for rival in rivals], axis=0) - simulated[own]
            p_values[name] = _share(lead <= min(sse[rival] for rival in rivals) - sse[own])
        else:
            p_values[name] = _share(simulated[name] - simulated[own] >= sse[name] - sse[own])
    verdict, reason = _verdict(own, rivals, held_out, p_values)
    return Saturation(verdict, reason, held_out, p_values, sse)


def _verdict(own: str, rivals: list[str], held_out: dict[str, float], p_values: dict[str, float]) -> tuple[str, str]:
    best = min(rivals, key=lambda rival: held_out[rival])
    errors = f"held-out error {held_out[own]:.4f} against {held_out[best]:.4f} of {best}"
    worst = max(rivals, key=lambda rival: p_values[rival])
    if held_out[own] < held_out[best] and p_values[worst] < SIGNIFICANCE:
        return (
            "saturating",
            f"{errors}; no rival gives such a lead by chance (largest p = {p_values[worst]:.3f}, {worst})",
        )
    if held_out[own] > held_out[best] and p_values[own] < SIGNIFICANCE:
        return "not saturating", f"{errors}; saturation does not give such a lag by chance (p = {p_values[own]:.3f})"
    chance = f"a rival gives the data's lead by chance with p = {p_values[worst]:.3f} ({worst})"
    lag = f"saturation gives the data's lag by chance with p = {p_values[own]:.3f}"
    return "not identified", f"{errors}; {chance if held_out[own] < held_out[best] else lag}"


def _held_out_error(law: SlopeLaw, space: LossSpace) -> float:
    """Hold out each size: the others alone are fitted, and the law's slope is tried on the size."""
    squares, curves = 0.0, space.curves
    for index in range(curves.sizes.size):
        rest, held = (space.of(keep_curves(curves, kept)) for kept in (curves.size != index, curves.size == index))
        best = fit_slope_law(law, rest).best
        slope = best.scale[:1] * law.shape(held.curves.sizes.astype(np.float64), best.shape[:1])[0]
        squares += float(held.squares(slope[None], np.zeros(1, dtype=np.intp)).value.sum())
    return float(np.sqrt(squares / curves.weight.sum()))


def _simulated_sse(
    truth: SlopeFit, fits: dict[str, SlopeFit], draws: int, generator: np.random.Generator
) -> dict[str, Array]:
    """Return the sums of squares of every law on simulations of one of them."""
    noise = measure_noise(truth)
    errors = noise.slope_errors(noise.run_sd_draws(draws, generator), generator)
    values = replicate_values(truth, noise, errors, generator)
    space, tables = truth.space.replicates(values), np.arange(draws)
    near = truth.best.slopes[0]
    return {name: refit_law(fit.law, space, near, tables=tables).sse for name, fit in fits.items()}


def _share(hits: npt.NDArray[np.bool_]) -> float:
    """Return the share of hits, the data themselves counted as one."""
    return float((1 + np.count_nonzero(hits)) / (1 + hits.size))
