"""What is told of a fitted slope law: its parameters, free slopes, R² and straightness, and what limits them."""

from typing import Any

import numpy as np
import pandas as pd

from rlscale.curve_points import Curves
from rlscale.fitting.goodness import NOT_SETTLED, by_size, goodness
from rlscale.fitting.projection import SlopeFit
from rlscale.fitting.slope_fits import slope_parameters
from rlscale.fitting.straightness import straightness


def describe_slopes(fit: SlopeFit) -> dict[str, Any]:
    """Return the fields of `rlscale.fit.Fit` that follow from the fit alone."""
    straight = straightness(fit.space.curves).to_json()
    return {**_parameters(fit), **_free_fit(fit), **_goodness(fit), **straight}


def _parameters(fit: SlopeFit) -> dict[str, Any]:
    """Return the law's parameters, their bounds and which bind, the slopes and the levels."""
    curves, best = fit.space.curves, fit.best
    named = slope_parameters(fit)
    flat = best.scale[0] == 0.0
    hits = {name: found["bound_hit"] for name, found in named.items() if found["bound_hit"]}
    if flat:
        hits.pop("n_0", None)
    slopes = best.slopes[0]
    level = fit.space.residuals(slopes).level + slopes[curves.size] * curves.mean_log10_x
    labels = [dict(label, points=int(count)) for label, count in zip(curves.labels, curves.counts, strict=True)]
    return {
        "k_max": named["k_max"]["estimate"],
        "n_0": None if flat else named["n_0"]["estimate"],
        "bounds": {name: [found["lower"], found["upper"]] for name, found in named.items()},
        "bounds_hit": hits,
        "e": dict(zip(curves.keys, level.tolist(), strict=True)),
        "k": by_size(curves, slopes),
        "curves": dict(zip(curves.keys, labels, strict=True)),
    }


def _free_fit(fit: SlopeFit) -> dict[str, Any]:
    """Return the free slopes and their standard errors."""
    curves, slopes = fit.space.curves, fit.free.point[0]
    residual = fit.space.residuals(slopes).residual
    squares = curves.by_size(curves.by_curve(curves.weight * residual * residual))
    points = curves.by_size(curves.counts.astype(np.float64))
    freedom = points - curves.by_size(np.ones(curves.size.size)) - 1
    variance = squares / np.where(freedom > 0, freedom, np.nan)
    curvature = fit.space.squares(slopes[None], np.zeros(1, dtype=np.intp)).curvature[0]
    return {"k_free": by_size(curves, slopes), "k_free_se": by_size(curves, np.sqrt(variance / (curvature / 2)))}


def _goodness(fit: SlopeFit) -> dict[str, Any]:
    rest = fit.space.residuals(fit.best.slopes[0])
    return goodness(fit.space.curves, rest.residual, rest.observed).to_json()


def slope_notes(points: pd.DataFrame, fit: SlopeFit) -> list[str]:
    """Return what a reader of a fit must know before trusting a number of it.

    Args:
        points: the rows that were fitted.
        fit: of them.
    """
    notes = []
    curves, best = fit.space.curves, fit.best
    hit = slope_parameters(fit)["n_0"]["bound_hit"]
    if best.scale[0] == 0.0:
        notes.append(
            "no slope fits better than k = 0 (the loss does not fall with X): k_max is 0 and n_0 has no effect"
        )
    elif hit == "upper":
        notes.append("the slope grows in proportion to size: only k_max / n_0 is determined, saturation is not seen")
    elif hit == "lower":
        notes.append("the slope does not grow with size: n_0 is at its lower bound")
    if curves.sizes.size == 2:
        notes.append("two sizes determine k_max and n_0 exactly: nothing in the data tests the law")
    if len(curves.labels) > 1 and points.duplicated([*curves.labels[0], "step"]).any():
        notes.append("some curve has several rows of one step: what tells these apart is not a column of a curve")
    if not (best.converged[0] and fit.free.converged[0]):
        notes.append(NOT_SETTLED)
    return notes


def fitted_ranges(points: pd.DataFrame, curves: Curves) -> dict[str, dict[str, float | None]]:
    """Return the fitted X, and what a sample and a step come to, by size.

    Args:
        points: the rows that were fitted, with step, samples and compute_flops where they are known.
        curves: their arrangement.
    """
    ends = curves.rows[curves.start + curves.counts - 1]
    last = points.iloc[ends]
    columns = [last.get(name, pd.Series(np.nan, last.index)) for name in ("step", "samples", "compute_flops")]
    step, samples, flops = (pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64) for column in columns)
    x = curves.log10_x + curves.spread(curves.mean_log10_x)
    found = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = {"flops_per_sample": flops / samples, "samples_per_step": samples / step}
    for index, size in enumerate(curves.sizes.tolist()):
        own = curves.size == index
        inside = x[curves.spread(own)]
        means = {name: float(np.mean(rate[own])) for name, rate in rates.items()}
        known = {name: mean if np.isfinite(mean) and mean > 0 else None for name, mean in means.items()}
        found[str(size)] = {"first_x": float(10 ** inside.min()), "last_x": float(10 ** inside.max()), **known}
    return found
