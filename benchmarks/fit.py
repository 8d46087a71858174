"""Time of the law's fit on the published points, beside scipy's least squares over all parameters.

Both minimise the same sum of squares of the same 629 points (sizes up to 32B), with one level per size. scipy starts
from 16 points of a grid, as one must who has not projected the levels out, and gets its arrays ready made; the time of
`fit_points` counts checking and sorting the table too, that of the search does not. Run: python benchmarks/fit.py
"""

import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from rlscale.curve_points import arrange
from rlscale.fit import Loss, Predictor, fit_points
from rlscale.laws import Array
from rlscale.laws.saturating_slope import SaturatingSlope
from rlscale.points import read_points
from rlscale.projection import LinearSpace, LogSpace, fit_law, free_slopes

POINTS = Path(__file__).parents[1] / "config" / "data" / "tan2025_base_curves.csv"
MAX_PARAMS = 3.3e10
REPEATS = 15


def scipy_multistart(points: pd.DataFrame, x: str, loss: str) -> float:
    """Return the least sum of squares that scipy finds from 16 starts over (k_max, ln n_0, levels)."""
    sizes, index = np.unique(points["params"].to_numpy(), return_inverse=True)
    log10_x = np.log10(points["compute_flops" if x == "compute" else "samples"].to_numpy(dtype=float))
    log10_x -= log10_x.mean()
    test_loss = points["test_loss"].to_numpy()
    log10_loss = np.log10(test_loss)

    def residuals(free: Array) -> Array:
        slope = free[0] / (1 + np.exp(free[1] - np.log(sizes)))
        fitted = free[2:][index] - slope[index] * log10_x
        return np.asarray(10**fitted - test_loss if loss == "linear" else fitted - log10_loss)

    level = np.bincount(index, log10_loss) / np.bincount(index)
    starts = itertools.product(np.geomspace(0.02, 1, 4), np.log(np.geomspace(sizes[0], sizes[-1] * 10, 4)))
    return min(
        2 * least_squares(residuals, [k_max, log_n_0, *level], xtol=1e-12, ftol=1e-12, gtol=1e-12).cost
        for k_max, log_n_0 in starts
    )


def median_ms(call: Callable[[], object], repeats: int) -> float:
    """Return the median time of ``call`` in milliseconds, after one call that does not count."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def compare(points: pd.DataFrame, x: Predictor, loss: Loss) -> str:
    """Return one row of the table."""
    used = points[points["params"] <= MAX_PARAMS]
    curves = arrange(used, x="compute_flops" if x == "compute" else x)

    def search() -> None:
        space = LinearSpace(curves) if loss == "linear" else LogSpace(curves)
        fit_law(SaturatingSlope(), curves, space, free_slopes(space).point)

    fit_ms = median_ms(lambda: fit_points(used, x=x, loss=loss), REPEATS)
    search_ms = median_ms(search, REPEATS)
    scipy_ms = median_ms(lambda: scipy_multistart(used, x, loss), 3)
    excess = fit_points(used, x=x, loss=loss).sse / scipy_multistart(used, x, loss) - 1
    ratios = f"{scipy_ms / fit_ms:6.1f} {scipy_ms / search_ms:9.1f}"
    return f"{x:8} {loss:7} {fit_ms:14.2f} {search_ms:10.2f} {scipy_ms:9.1f} {ratios} {excess:+14.1e}"


def main() -> None:
    """Print the table; the ratios are scipy's time over that of fit_points and over that of the search."""
    points = read_points(POINTS)
    print("X        loss    fit_points, ms search, ms scipy, ms  ratio  (search)  SSE ratio - 1")
    for x, loss in itertools.product(get_args(Predictor), get_args(Loss)):
        print(compare(points, x, loss))


if __name__ == "__main__":
    main()
