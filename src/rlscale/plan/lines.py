"""The fitted lines of all sizes that a plan may choose, once for the estimate and once for each replicate.

    log10 L = -k(N) log10 C + E(N),        C in FLOPs

A law of samples becomes one of compute with the FLOPs of a sample. A size that was not fitted has a slope from k(N),
and a level from the lines of the fitted ones, E(N) = a + c · k(N) (the level of the law `smooth_level`), with the
scatter of the fitted levels around it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlscale.errors import UserError
from rlscale.laws import Array
from rlscale.plan.numbers import REACH
from rlscale.plan.schema import check_fit
from rlscale.uncertainty.replicates import read_replicates

LAW = "saturating_slope"
_NEEDED = ("x", "loss", "weights", "variant", "max_params", "first_steps", "points", "k_max", "n_0")
_FEWEST = 3  # sizes: two levels lie on a line whatever they are


@dataclass(frozen=True)
class Lines:
    """Lines by row (0 the estimate, the others replicates) and size, ascending in size.

    Attributes:
        params: sizes.
        slope: k, shape (rows, sizes).
        level: log10 of the loss at one FLOP, shape (rows, sizes).
        first: log10 of the compute of the first fitted point, by size; of the nearest size where it was not fitted.
        last: the same of the last fitted point.
        fitted: whether the size was fitted.
        flops_per_sample: by size, NaN where not known.
        samples_per_step: by size, NaN where not known.
    """

    params: Array
    slope: Array
    level: Array
    first: Array
    last: Array
    fitted: npt.NDArray[np.bool_]
    flops_per_sample: Array
    samples_per_step: Array

    def log10_loss(self, log10_compute: Array) -> Array:
        """Return log10 of the loss, at most 0; the argument broadcasts to (rows, sizes)."""
        return np.minimum(self.level - self.slope * log10_compute, 0.0)

    def log10_compute(self, log10_loss: float) -> Array:
        """Return log10 of the compute that a loss takes, inf where it is never reached, shape (rows, sizes).

        It is at least that of the first fitted point: a loss above that is had with it.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            needed = (self.level - log10_loss) / self.slope
        needed = np.where(self.slope > 0, needed, np.where(self.level <= log10_loss, -np.inf, np.inf))
        needed = np.maximum(needed, self.first)
        return np.where(needed > REACH, np.inf, needed)

    def index(self, params: float) -> int:
        """Return the column of a size.

        Raises:
            UserError: there is no such size.
        """
        near = np.flatnonzero(np.abs(self.params / params - 1.0) < 1e-6)
        if not near.size:
            raise UserError(f"no size {params:.4g}; the plan has {', '.join(f'{size:.4g}' for size in self.params)}")
        return int(near[0])


def read_lines(fit: Mapping[str, Any], *, sizes: Sequence[float] = (), seed: int = 0) -> Lines:
    """Return the lines of a fit's sizes, and of further ones.

    Args:
        fit: JSON of a `rlscale.fit.Fit` with intervals.
        sizes: further sizes, in parameters, whose level is modelled.
        seed: of the scatter of modelled levels.

    Raises:
        UserError: the fit is of another kind or has no replicates, or a size cannot be modelled.
    """
    if not isinstance(fit, Mapping) or fit.get("law") != LAW:
        raise UserError(f"plans are made from fits of {LAW} in the JSON of `rlscale fit`; this is something else")
    missing = [name for name in _NEEDED if name not in fit]
    if missing:
        raise UserError(f"the fit is damaged or of another schema: it has no {', '.join(missing)}")
    intervals = fit["intervals"] if isinstance(fit.get("intervals"), Mapping) else {}
    made = intervals.get("replicates")
    if not made or not fit.get("ranges"):
        raise UserError(
            "the fit holds no replicates, so nothing it says would have an interval: fit again with this version and "
            "--intervals bootstrap or profile"
        )
    check_fit(fit)
    native = _fitted_lines(fit, made)
    pivots = np.array([made["pivot"][f"{size:.0f}"] for size in native.params])
    scale, n_0 = _with_estimate(fit, made)
    if fit["x"] == "samples" and np.isnan(native.flops_per_sample).any():
        raise UserError("the fit is of samples and its points had no compute_flops, so nothing has a cost in FLOPs")
    added = sorted({float(size) for size in sizes} - set(native.params.tolist()))
    if added:
        slope = scale[:, None] / (1.0 + n_0[:, None] / np.array(added))
        options = {"pivot": float(pivots.mean()), "in_compute": fit["x"] == "compute"}
        native = _with_sizes(native, np.array(added), slope, seed=seed, **options)
    if fit["x"] == "compute":
        return native
    of_sample = np.log10(native.flops_per_sample)
    return Lines(
        native.params,
        native.slope,
        native.level + native.slope * of_sample,
        native.first + of_sample,
        native.last + of_sample,
        native.fitted,
        native.flops_per_sample,
        native.samples_per_step,
    )


def _with_estimate(fit: Mapping[str, Any], made: Mapping[str, Any]) -> tuple[Array, Array]:
    """Return k_max and n_0 by row, the estimate first."""
    scale = np.append(float(fit["k_max"]), read_replicates(made["k_max"]))
    return scale, np.append(float(fit["n_0"] or 0.0), read_replicates(made["n_0"]))


def _fitted_lines(fit: Mapping[str, Any], made: Mapping[str, Any]) -> Lines:
    """Return the lines of the fitted sizes, in the X of the fit."""
    names = sorted(made["levels"], key=float)
    params = np.array([float(name) for name in names])
    scale, n_0 = _with_estimate(fit, made)
    slope = scale[:, None] / (1.0 + n_0[:, None] / params)
    at_pivot = np.stack([np.append(made["level"][name], read_replicates(made["levels"][name])) for name in names], 1)
    level = at_pivot + slope * np.array([made["pivot"][name] for name in names])
    # A replicate without a level says nothing: it counts as one in which the size learns nothing.
    known = np.isfinite(level)
    ranges = [fit["ranges"][name] for name in names]
    rates = {
        rate: np.array([np.nan if own[rate] is None else own[rate] for own in ranges])
        for rate in ("flops_per_sample", "samples_per_step")
    }
    return Lines(
        params,
        np.where(known, slope, 0.0),
        np.where(known, level, 0.0),
        np.log10([own["first_x"] for own in ranges]),
        np.log10([own["last_x"] for own in ranges]),
        np.ones(params.size, dtype=np.bool_),
        **rates,
    )


def _with_sizes(lines: Lines, added: Array, slope: Array, *, pivot: float, in_compute: bool, seed: int) -> Lines:
    """Add sizes, of slopes (rows, added), whose level follows from those of the fitted ones.

    ``pivot`` is a log10 X amid the points.
    """
    if lines.params.size < _FEWEST:
        raise UserError(
            f"a level of a size that was not fitted needs {_FEWEST} fitted sizes; there are {lines.params.size}"
        )
    there = lines.level - lines.slope * pivot
    mean_slope, mean_level = (values.mean(axis=1, keepdims=True) for values in (lines.slope, there))
    off = lines.slope - mean_slope
    squares = np.sum(off * off, axis=1, keepdims=True)
    tilt = np.where(squares > 0, np.sum(off * there, axis=1, keepdims=True) / np.maximum(squares, 1e-300), 0.0)
    modelled = mean_level + tilt * (slope - mean_slope)
    freedom = lines.params.size - 2
    misfit = there[0] - mean_level[0] - tilt[0] * off[0]
    spread = np.sqrt(misfit @ misfit / freedom)
    leverage = 1.0 + 1.0 / lines.params.size + (slope - mean_slope) ** 2 / np.maximum(squares, 1e-300)
    scatter = np.random.default_rng([seed, 2]).standard_t(freedom, slope.shape) * spread * np.sqrt(leverage)
    scatter[0] = 0.0
    nearest = np.abs(np.log(lines.params[:, None] / added)).argmin(axis=0)
    per_sample = _power_of_size(lines, added)
    known = np.isfinite(per_sample) & np.isfinite(lines.flops_per_sample[nearest])
    ratio = np.where(known, per_sample / lines.flops_per_sample[nearest], added / lines.params[nearest])
    shift = np.log10(ratio) if in_compute else np.zeros(added.size)
    order = np.argsort(np.append(lines.params, added))

    def joined(old: Array, new: Array) -> Array:
        return np.concatenate([old, new], axis=-1)[..., order]

    return Lines(
        joined(lines.params, added),
        joined(lines.slope, slope),
        joined(lines.level, modelled + scatter + slope * pivot),
        joined(lines.first, lines.first[nearest] + shift),
        joined(lines.last, lines.last[nearest] + shift),
        np.append(lines.fitted, np.zeros(added.size, dtype=np.bool_))[order],
        joined(lines.flops_per_sample, per_sample),
        joined(lines.samples_per_step, lines.samples_per_step[nearest]),
    )


def _power_of_size(lines: Lines, added: Array) -> Array:
    """Return FLOPs of a sample by size, from a power law of the fitted sizes; NaN where they are not known."""
    if np.isnan(lines.flops_per_sample).any():
        return np.full(added.size, np.nan)
    line = np.polyfit(np.log10(lines.params), np.log10(lines.flops_per_sample), 1)
    return np.asarray(10.0 ** np.polyval(line, np.log10(added)))
