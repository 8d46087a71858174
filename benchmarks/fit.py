"""CPU time of the law's fit on the published points, beside scipy's least squares and CMA-ES over all parameters.

All three minimise the same sum of squares of the same points over k_max, n_0 and one level E a size. The peers get
ready-made arrays, log10 X centred (uncentred, levels and slopes are nearly one direction) and a whole population in one
call; the time of `fit_points` counts checking and sorting the table, that of "search" does not. scipy starts from 16
points of a grid. CMA-ES (PyPI `cma`) has the settings of Tan et al. (arXiv 2509.25300): popsize 20, the best of 5
trials, at most 1,600 iterations; the first trial starts at k_max 0.1, n_0 1e10 and the mean log10 L of each size, the
others anywhere in a box scaled to [0, 1], sigma 0.3. It runs as their code does, with the package's rules for stopping
early, and once more with all 1,600 iterations. All on one core. Run: OMP_NUM_THREADS=1 python benchmarks/fit.py
"""

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import cma
import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from rlscale.curve_points import X_COLUMN, Curves, Indices, Predictor, arrange, select_points
from rlscale.fit import fit_points
from rlscale.fitting.loss_spaces import LN_10, Loss, loss_space
from rlscale.fitting.projection import fit_slope_law
from rlscale.laws import Array
from rlscale.laws.saturating_slope import SaturatingSlope
from rlscale.points import read_points
from rlscale.uncertainty.bootstrap import bootstrap
from rlscale.uncertainty.noise import measure_noise

POINTS = Path(__file__).parents[1] / "config" / "data" / "tan2025_base_curves.csv"
UP_TO_32B = 3.3e10
REPEATS, SCIPY_REPEATS, BOOTSTRAP_REPEATS = 15, 3, 5
POPULATION, TRIALS, ITERATIONS, SIGMA = 20, 5, 1600, 0.3
TARGET_RATIO, TARGET_SECONDS, REFITS = 300, 2.0, 1000
PLAIN_LOSSES: tuple[Loss, Loss] = ("linear", "log")


@dataclass(frozen=True)
class Task:
    """What every peer minimises.

    Attributes:
        loss: space of the residuals.
        size: index of the size by point.
        log10_x: log10 X less its mean, by point.
        test_loss: by point.
        lower: bounds of k_max, ln n_0 and the levels at the mean of log10 X.
        upper: likewise.
        start: a plain first guess.
        sizes: params of each size.
    """

    loss: Loss
    size: Indices
    log10_x: Array
    test_loss: Array
    lower: Array
    upper: Array
    start: Array
    sizes: Array

    def residuals(self, free: Array) -> Array:
        """Return residuals (..., points) at parameters (..., 2 + sizes)."""
        slope = free[..., :1] / (1 + np.exp(free[..., 1:2] - np.log(self.sizes)))
        fitted = free[..., 2:][..., self.size] - slope[..., self.size] * self.log10_x
        if self.loss == "log":
            return np.asarray(fitted - np.log10(self.test_loss))
        return np.asarray(np.exp(LN_10 * fitted) - self.test_loss)


def make_task(points: pd.DataFrame, x: Predictor, loss: Loss) -> Task:
    """Return the arrays of the peers."""
    sizes, size = np.unique(points["params"].to_numpy(dtype=float), return_inverse=True)
    log10_x = np.log10(points[X_COLUMN[x]].to_numpy(dtype=float))
    test_loss = points["test_loss"].to_numpy()
    level = np.bincount(size, np.log10(test_loss)) / np.bincount(size)
    return Task(
        loss=loss,
        size=size,
        log10_x=log10_x - log10_x.mean(),
        test_loss=test_loss,
        lower=np.array([0.0, np.log(sizes[0] / 1e3), *np.full(sizes.size, -1.5)]),
        upper=np.array([1.0, np.log(sizes[-1] * 1e3), *np.full(sizes.size, 0.5)]),
        start=np.array([0.1, np.log(1e10), *level]),
        sizes=sizes,
    )


def scipy_multistart(task: Task) -> float:
    """Return the least sum of squares that scipy finds from 16 starts."""
    n_0 = np.log(np.geomspace(task.sizes[0], task.sizes[-1] * 10, 4))
    return float(
        min(
            2 * least_squares(task.residuals, [*start, *task.start[2:]], xtol=1e-12, ftol=1e-12, gtol=1e-12).cost
            for start in itertools.product(np.geomspace(0.02, 1, 4), n_0)
        )
    )


def cma_es(task: Task, *, stops_early: bool) -> tuple[float, int]:
    """Return the least sum of squares of the trials and the iterations of all of them."""
    width = task.upper - task.lower
    best, iterations = np.inf, 0
    for trial in range(TRIALS):
        anywhere = np.random.default_rng(trial).uniform(size=width.size)
        start = anywhere if trial else (task.start - task.lower) / width
        options = {"popsize": POPULATION, "bounds": [0, 1], "seed": trial + 1, "verbose": -9}
        search = cma.CMAEvolutionStrategy(start, SIGMA, options)
        while search.countiter < ITERATIONS and not (stops_early and search.stop()):
            population = search.ask()
            residuals = task.residuals(task.lower + np.asarray(population) * width)
            search.tell(population, np.einsum("ij,ij->i", residuals, residuals).tolist())
        best, iterations = min(best, float(search.best.f)), iterations + search.countiter
    return best, iterations


def median_seconds(call: Callable[[], object], repeats: int) -> float:
    """Return the median CPU time of ``call``, after one call that does not count."""
    call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return statistics.median(times)


def compare(points: pd.DataFrame, x: Predictor, loss: Loss) -> str:
    """Return rows of the table: fit_points and its search, then each peer with ratios to fit_points."""
    task, curves = make_task(points, x, loss), curves_of(points, x)
    fit_seconds = median_seconds(lambda: fit_points(points, x=x, loss=loss), REPEATS)
    search_seconds = median_seconds(lambda: fit_slope_law(SaturatingSlope(), loss_space(curves, loss)), REPEATS)
    sse = fit_points(points, x=x, loss=loss).sse
    head = f"{len(points)} points, {x}, {loss}"
    rows = [f"{head:26} fit_points {1e3 * fit_seconds:.1f} ms, of which the search {1e3 * search_seconds:.1f} ms"]

    def row(name: str, seconds: float, least: float) -> None:
        ratios = f"{seconds / fit_seconds:7.0f}x {seconds / search_seconds:7.0f}x {sse / least - 1:+10.1e}"
        rows.append(f"  {name:44} {seconds:8.2f} s {ratios}")

    row(
        "scipy least_squares, 16 starts",
        median_seconds(lambda: scipy_multistart(task), SCIPY_REPEATS),
        scipy_multistart(task),
    )
    for stops_early in (True, False):
        start = time.process_time()
        least, iterations = cma_es(task, stops_early=stops_early)
        how = "stopping early" if stops_early else "never stopping"
        row(f"CMA-ES, {how}, {iterations} iterations", time.process_time() - start, least)
    return "\n".join(rows)


def curves_of(points: pd.DataFrame, x: Predictor) -> Curves:
    """Return the arranged points."""
    return arrange(select_points(points, max_params=None, first_steps=None), x=X_COLUMN[x])


def bootstrap_seconds(points: pd.DataFrame, x: Predictor, loss: Loss) -> float:
    """Return the time of the refits of one bootstrap."""
    fit = fit_slope_law(SaturatingSlope(), loss_space(curves_of(points, x), loss))
    noise = measure_noise(fit)
    return median_seconds(lambda: bootstrap(fit, noise, draws=REFITS, seed=0), BOOTSTRAP_REPEATS)


def main() -> None:
    """Print the tables."""
    points = read_points(POINTS)
    print("peer: CPU seconds, ratio to fit_points, ratio to its search, SSE of fit_points / SSE of the peer - 1")
    for used in (points, points[points["params"] <= UP_TO_32B]):
        for x, loss in itertools.product(get_args(Predictor), PLAIN_LOSSES):
            print(compare(used, x, loss), flush=True)
    print(f"target: CMA-ES at least {TARGET_RATIO}x, SSE no higher")
    print(f"\n{REFITS} bootstrap refits of {len(points)} points, CPU seconds")
    for x, loss in itertools.product(get_args(Predictor), get_args(Loss)):
        print(f"{x:8} {loss:7} {bootstrap_seconds(points, x, loss):6.2f}")
    print(f"target: linear in less than {TARGET_SECONDS:g} s")


if __name__ == "__main__":
    main()
