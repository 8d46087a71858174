"""The replicates of a fit, kept compact: what a plan needs so that each of its numbers has an interval.

A replicate is k_max, n_0 and one level for each size: log10 of the loss at the size's ``pivot``, the mean log10 X of
its curves. There a level is hardly correlated with the slope, so few digits do. Where sizes have several runs, the
levels also get the scatter between runs of a size that the replicates do not have by themselves.
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
    scatter, freedom = _scatter(fit, own, found, np.random.default_rng([seed, 1]))
    runs = curves.by_size(np.ones(curves.size.size))
    levels = curves.by_size(found.levels + scatter) / runs
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


def _scatter(fit: SlopeFit, own: Array, found: Draws, generator: np.random.Generator) -> tuple[Array, int]:
    """Return the scatter to add to levels, (draws, curves), and the degrees of freedom behind it.

    The variance of levels around their size's mean, less what the replicates' own levels vary by, is excess; how large
    it is, is drawn from what the degrees of freedom allow.
    """
    curves = fit.space.curves
    runs = curves.by_size(np.ones(curves.size.size))
    freedom = int(curves.size.size - curves.sizes.size)
    if freedom == 0:
        return np.zeros_like(found.levels), 0
    # On a common X, so that runs which reach different X are not taken for different levels.
    shift = (curves.by_size(curves.mean_log10_x) / runs)[curves.size] - curves.mean_log10_x
    common = own - fit.best.slopes[0][curves.size] * shift
    off = common - (curves.by_size(common) / runs)[curves.size]
    several = runs[curves.size] > 1
    explained = float(np.nanmean(np.nanvar(found.levels, axis=0)[several]))
    total = float(off @ off) / generator.chisquare(freedom, len(found.levels))
    excess = np.sqrt(np.maximum(total - explained, 0.0))
    return np.asarray(excess[:, None] * generator.standard_normal(found.levels.shape) * several), freedom
