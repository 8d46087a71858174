"""Bootstrap of a slope law that respects how its points came about.

A replicate is the fitted law with noise drawn anew: each run's slope is off by the scatter between runs; the residuals
within a run keep their places but are turned up, down or over by one random number for each block of consecutive steps
(the dependent wild bootstrap: Shao, JASA 105, 2010); and where the rollouts are known, the problems are drawn anew, the
same for every run, since runs are scored on the same problems. How large the noise is, is itself not certain: each
replicate scales it by a draw from what the degrees of freedom allow, which is what makes intervals of few runs wide.
"""

from dataclasses import dataclass

import numpy as np

from rlscale.curve_points import Curves, Indices
from rlscale.fitting.loss_spaces import LN_10, LogSpace, LossSpace
from rlscale.fitting.projection import BestFit, Held, SlopeFit, held_box, refit_law
from rlscale.laws import Array
from rlscale.uncertainty.noise import Noise

_CHUNK = 4_000_000  # numbers in one array of a chunk of replicates


@dataclass(frozen=True)
class Draws:
    """Replicates of a fitted slope law.

    Attributes:
        scale: shape (draws,).
        shape: coordinate of the shape parameter, (draws,).
        slopes: slope by size, (draws, sizes).
        levels: log10 of the loss at each curve's mean log10 X, (draws, curves); NaN where none fits. A tilted
            run keeps its loss at its first X, since runs of a size start alike.
        run_sd: standard deviation between runs of each replicate, (draws,).
        excess: rise of the sum of squares where the scale (column 0) or the shape (column 1) is held at the fitted
            value, (draws, 2): the distribution that a profile is read against. Empty, (0, 2), unless asked for.
    """

    scale: Array
    shape: Array
    slopes: Array
    levels: Array
    run_sd: Array
    excess: Array


def bootstrap(
    fit: SlopeFit,
    noise: Noise,
    *,
    draws: int,
    seed: int,
    deviations: Array | None = None,
    with_excess: bool = False,
) -> Draws:
    """Draw replicates and refit each.

    Args:
        fit: the fitted law.
        noise: its noise.
        draws: replicates.
        seed: of the random numbers.
        deviations: by replicate and point, how the loss changes where the problems are drawn anew.
        with_excess: refit with the scale and with the shape held as well.
    """
    generator = np.random.default_rng(seed)
    run_sd = noise.run_sd_draws(draws, generator)
    parts = []
    curves = fit.space.curves
    size = max(1, _CHUNK // curves.loss.size)
    for first in range(0, draws, size):
        own = slice(first, min(first + size, draws))
        errors = noise.slope_errors(run_sd[own], generator)
        values = replicate_values(fit, noise, errors, generator)
        if deviations is not None:
            values += deviations[own] / (LN_10 * curves.loss if isinstance(fit.space, LogSpace) else 1.0)
        space = fit.space.replicates(values)
        found, excess = _refit(fit, space, len(values), with_excess)
        # Tilts are about a curve's mean; about its first point, the level at the mean moves with them.
        parts.append((found, excess, space.levels(found.slopes) + errors * curves.log10_x[curves.start]))
    best, excesses, levels = zip(*parts, strict=True)
    return Draws(
        scale=np.concatenate([part.scale for part in best]),
        shape=np.concatenate([part.shape for part in best]),
        slopes=np.concatenate([part.slopes for part in best]),
        levels=np.concatenate(levels),
        run_sd=run_sd,
        excess=np.concatenate(excesses),
    )


def replicate_values(fit: SlopeFit, noise: Noise, slope_errors: Array, generator: np.random.Generator) -> Array:
    """Return noisy values of the law (replicates, points), in the space of its residuals.

    Args:
        fit: the fitted law.
        noise: its noise.
        slope_errors: by replicate and run, how far its slope is off the law.
        generator: of the random numbers.
    """
    curves, draws = fit.space.curves, len(slope_errors)
    rest = fit.space.residuals(fit.best.slopes[0])
    fitted = rest.observed - rest.residual
    tilt = curves.spread(slope_errors)
    tilt *= curves.log10_x
    values = fitted - tilt if isinstance(fit.space, LogSpace) else fitted * np.exp(-LN_10 * tilt)
    signs = _block_signs(curves, noise.block, draws, generator)
    signs *= noise.residual
    return np.asarray(values + signs)


def _block_signs(curves: Curves, block: Indices, draws: int, generator: np.random.Generator) -> Array:
    """Return one standard normal number for each replicate and block, by point; blocks start anywhere."""
    position = np.arange(curves.loss.size) - curves.spread(curves.start)
    blocks = curves.counts // block + 2
    first = np.cumsum(blocks) - blocks
    offset = np.floor(generator.random((draws, block.size)) * block).astype(np.intp)
    index = (position + curves.spread(offset)) // curves.spread(block) + curves.spread(first)
    normal = generator.standard_normal((draws, int(blocks.sum())))
    return np.take_along_axis(normal, index, axis=1)


def _refit(fit: SlopeFit, space: LossSpace, count: int, with_excess: bool) -> tuple[BestFit, Array]:
    near, best, tables = fit.free.point[0], fit.best, np.arange(count)
    found = refit_law(fit.law, space, near, tables=tables)
    if not with_excess:
        return found, np.empty((0, 2))
    columns = []
    held: tuple[tuple[Held, Array], ...] = (("scale", best.scale), ("shape", best.shape))
    for which, value in held:
        box = held_box(fit.law, space, which, np.repeat(value, tables.size))
        columns.append(refit_law(fit.law, space, near, tables=tables, box=box).sse - found.sse)
    return found, np.maximum(np.stack(columns, axis=-1), 0.0)
