"""Simulated studies that benchmarks share: sizes, losses and steps as in the published study and the miniature."""

from collections.abc import Sequence
from dataclasses import replace

from rlscale.simulation import Design


def saturating(sizes: Sequence[float], k_max: float, n_0: float) -> list[float]:
    """Return k(N) = k_max / (1 + n_0 / N)."""
    return [k_max / (1 + n_0 / size) for size in sizes]


PUBLISHED_SIZES = [int(size * 1e9) for size in (0.5, 1.5, 3, 7, 14, 32, 72)]
MINI_SIZES = [3012, 5296, 11784, 32440, 82624, 185376]

PUBLISHED = Design(
    sizes=PUBLISHED_SIZES,
    slopes=saturating(PUBLISHED_SIZES, 0.15, 17e9),
    first_loss=[0.978, 0.975, 0.908, 0.871, 0.824, 0.765, 0.693],
    steps=range(1, 106, 4),
    seeds=3,
    problems=500,
    run_slope_sd=0.004,
    wander_sd=0.003,
    wander_correlation=0.9,
)
MINI = Design(
    sizes=MINI_SIZES,
    slopes=saturating(MINI_SIZES, 0.45, 1e4),
    first_loss=[0.86, 0.81, 0.78, 0.74, 0.74, 0.69],
    steps=[8, 11, 16, 23, 32, 45, 63, 89, 126, 178, 251, 354, 500],
    seeds=3,
    problems=500,
    run_slope_sd=0.04,
    wander_sd=0.003,
    wander_correlation=0.9,
)


def first_sizes(design: Design, count: int) -> Design:
    """Return the design with its smallest sizes only."""
    return replace(
        design,
        sizes=design.sizes[:count],
        slopes=design.slopes[:count],
        first_loss=design.first_loss[:count],
    )
