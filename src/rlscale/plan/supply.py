"""What samples are worth where the problems are limited: reuse of U unique problems.

D samples of U problems are worth D_eff samples of ever new ones (`rlscale.laws.data_reuse`); tau = D / U. The law's
parameter has a profile interval and no replicates: they are drawn log-normally, each side as wide as its end says, and
an open end is taken to lie at the bound of the search.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import lambertw, ndtri

from rlscale.errors import UserError
from rlscale.laws import Array
from rlscale.laws.data_reuse import LAWS
from rlscale.plan.numbers import Number, number

_FALLBACK = "saturating_reuse"
_LAWS = {law.name: law for law in LAWS}
_LITTLE = 0.1  # worth of a further sample, over that of a new problem, from which on reuse no longer pays


@dataclass(frozen=True)
class Supply:
    """Samples and their worth.

    Attributes:
        law: name of the reuse law; "" where problems are unlimited.
        unique: U, problems; inf where they are unlimited.
        value: the law's parameter by row, shape (rows, 1).
        identified: whether the runs told this law from the others.
        reason: what the fit of reuse said.
    """

    law: str = ""
    unique: float = np.inf
    value: Array | float = 1.0
    identified: bool = True
    reason: str = ""

    def worth(self, samples: Array) -> Array:
        """Return D_eff of at most so many samples; it never falls, since one may stop earlier."""
        if not self.law:
            return samples
        used = np.maximum(np.minimum(samples, self._best()), 1e-300)
        inside = np.minimum(used, self.unique)
        effective = 10.0 ** _LAWS[self.law].log10_effective(np.asarray(self.unique), used, self.value)
        return np.where(used <= self.unique, inside, effective)

    def needed(self, effective: Array) -> Array:
        """Return the samples that are worth so many; inf where no number of them is."""
        if self.law in ("", "no_effect"):
            return effective
        ratio = np.maximum(effective / self.unique, 1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.law == _FALLBACK:
                left = 1.0 - (ratio - 1.0) / self.value
                repeats = np.where(left > 0, -self.value * np.log(np.maximum(left, 1e-300)), np.inf)
                tau = 1.0 + repeats
            else:
                rate = self.value * np.log(10.0)
                inside = -rate * ratio * np.exp(-rate)
                # Lambert's W has no real value below -1/e: so much is never reached. Its main branch is the first way.
                reached = (inside >= -np.exp(-1.0)) & (rate < 1.0)
                tau = np.where(reached, -lambertw(np.where(reached, inside, 0.0), 0).real / rate, np.inf)
                tau = np.where(ratio <= 1.0, 1.0, tau)
        return np.where(effective <= self.unique, effective, self.unique * tau)

    def stops(self) -> Number | None:
        """Return the tau from which on reuse no longer pays; None where the law knows none."""
        if self.law == _FALLBACK:
            return number((1.0 - np.asarray(self.value) * np.log(_LITTLE))[:, 0], "samples per unique problem")
        if self.law == "linear_penalty":
            return number(np.asarray(self._best())[:, 0] / self.unique, "samples per unique problem")
        return None

    def _best(self) -> Array:
        """Return the samples after which more would harm."""
        if self.law == "linear_penalty":
            return np.asarray(self.unique * np.maximum(1.0, 1.0 / (np.asarray(self.value) * np.log(10.0))))
        return np.full_like(np.asarray(self.value, dtype=np.float64), np.inf)


def read_supply(reuse: Mapping[str, Any] | None, unique: float, rows: int, *, seed: int = 0) -> Supply:
    """Return the supply of ``unique`` problems under a fitted law of reuse.

    Args:
        reuse: JSON of a `rlscale.findings.ReuseFit`; None where there is none.
        unique: U, problems.
        rows: the estimate and the replicates.
        seed: of the drawn parameters.

    Raises:
        UserError: there is no fit of reuse, or it is of another schema.
    """
    if not reuse:
        raise UserError(
            "--unique-problems needs a law of reuse, and no runs of this study or table differ in tau alone; give a "
            "study whose findings have one, or a findings.json by --findings"
        )
    try:
        identified = reuse["winner"] in reuse["laws"]
        name = reuse["winner"] if identified else _FALLBACK
        found = reuse["laws"][name]["parameters"]
        parameter = next(iter(found.values()), None)
        value: Array | float = 1.0
        if parameter is not None:
            value = _drawn(parameter, rows, seed)
        return Supply(name, float(unique), value, identified, str(reuse["reason"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"the fit of reuse is damaged or of another schema: {error!r}") from error


def _drawn(parameter: Mapping[str, Any], rows: int, seed: int) -> Array:
    """Return the estimate and draws of a positive parameter, each side as wide as its end."""
    estimate = float(parameter["estimate"])
    ends = [parameter["lower"] if parameter["low"] is None else parameter["low"]]
    ends.append(parameter["upper"] if parameter["high"] is None else parameter["high"])
    wide = np.abs(np.log(np.array(ends, dtype=np.float64) / estimate)) / ndtri((1 + float(parameter["level"])) / 2)
    normal = np.random.default_rng([seed, 3]).standard_normal(rows)
    normal[0] = 0.0
    drawn = estimate * np.exp(normal * np.where(normal < 0, wide[0], wide[1]))
    return np.asarray(np.clip(drawn, parameter["lower"], parameter["upper"]))[:, None]
