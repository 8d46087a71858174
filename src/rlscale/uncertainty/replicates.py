"""The replicates of a fit, kept compact: what a plan needs so that each of its numbers has an interval.

A replicate is k_max, n_0 and one level for each size: log10 of the loss at the size's ``pivot``, the mean log10 X of
its curves. There a level is hardly correlated with the slope, so few digits do. Where sizes have several runs, the
levels of a replicate scatter between them as those of the points do.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from rlscale.fitting.projection import SlopeFit
from rlscale.laws import Array
from rlscale.uncertainty.bootstrap import Draws


def keep_replicates(fit: SlopeFit, found: Draws, *, seed: int) -> dict[str, Any]:
    """Return the replicates as JSON-native values.

    Returns:
        ``k_max`` and ``n_0``: a number a replicate, in one string with spaces between (a list would take a line each);
        ``levels``: the same by size, "nan" where no positive level fits; ``pivot``: log10 X by size;
        ``level``: the fitted level there by size; ``level_freedom``: degrees of freedom behind the scatter of levels
        between runs, 0 where each size has one run and that scatter is not known.
    """
    curves = fit.space.curves
    own = fit.space.levels(fit.best.slopes)[0]
    by_run, freedom = _scatter_as_seen(fit, own, found, np.random.default_rng([seed, 1]))
    runs = curves.by_size(np.ones(curves.size.size))
    levels = curves.by_size(by_run) / runs
    sizes = [str(size) for size in curves.sizes.tolist()]
    fitted = curves.by_size(own) / runs
    pivots = curves.by_size(curves.mean_log10_x) / runs
    return {
        "k_max": _text(found.scale, ".5g"),
        "n_0": _text(fit.law.natural(found.shape), ".5g"),
        "levels": {size: _text(column, ".5f") for size, column in zip(sizes, levels.T, strict=True)},
        "pivot": dict(zip(sizes, pivots.tolist(), strict=True)),
        "level": dict(zip(sizes, fitted.tolist(), strict=True)),
        "level_freedom": freedom,
    }


def read_replicates(text: str) -> Array:
    """Return the numbers of one string.

    Raises:
        ValueError: it holds something else.
    """
    return np.array([float(word) for word in text.split()])


def _text(values: Iterable[float], form: str) -> str:
    return " ".join(format(float(value), form) for value in values)


def _scatter_as_seen(fit: SlopeFit, own: Array, found: Draws, generator: np.random.Generator) -> tuple[Array, int]:
    """Return the replicates' levels by run, (draws, curves), scattering as the fitted ones do, and the freedom of that.

    How levels scatter between runs of a size is seen in the points. Where replicates scatter less, normal numbers make
    up for it; then each replicate's deviations from the fit are scaled until its runs scatter as the points' runs do:
    the studentised bootstrap (Hall, The Bootstrap and Edgeworth Expansion, 1992, chapter 3). It takes in, once, how
    little a few runs say about their scatter. What all runs share, such as the problems, is not scaled.
    """
    curves = fit.space.curves
    runs = curves.by_size(np.ones(curves.size.size))
    freedom = int(curves.size.size - curves.sizes.size)
    if freedom == 0:
        return found.levels, 0
    # On a common X, so that runs which reach different X are not taken for different levels.
    shift = (curves.by_size(curves.mean_log10_x) / runs)[curves.size] - curves.mean_log10_x

    def scatter(levels: Array) -> Array:
        off = levels - (curves.by_size(levels) / runs)[..., curves.size]
        return np.asarray(np.nansum(off * off, axis=-1) / freedom)

    seen = float(scatter(own - fit.best.slopes[0][curves.size] * shift))
    off = found.levels - own
    beyond = max(seen - float(scatter(off).mean()), 0.0)
    off = off + np.sqrt(beyond) * generator.standard_normal(off.shape) * (runs[curves.size] > 1)
    shared = np.nanmean(off, axis=-1, keepdims=True)
    there = scatter(off)[:, None]
    scale = np.sqrt(np.divide(seen, there, out=np.ones_like(there), where=there > 0))
    return own + shared + scale * (off - shared), freedom
