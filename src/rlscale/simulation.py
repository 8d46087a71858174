"""Simulated curves with known parameters: what intervals, verdicts and forecasts are tried on.

A run follows the line of its size in log-log, tilted by a slope error of its own (another base model or seed); its
training wanders around that line, the more correlated the closer the steps; and each evaluation counts right answers to
a finite number of problems. The noise that the study's points show is of this kind and size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rlscale.laws import Array


@dataclass(frozen=True)
class Design:
    """A simulated study.

    Attributes:
        sizes: params of each size.
        slopes: true slope k of each size, per decade of samples.
        first_loss: true test loss of each size at the first step.
        steps: evaluated steps, ascending.
        seeds: runs a size.
        problems: test problems, each answered once.
        run_slope_sd: standard deviation of the runs' slopes around their size's.
        wander_sd: standard deviation of the training's wandering, in log10 loss.
        wander_correlation: correlation of the wandering of neighbouring optimiser steps.
        prompts_per_step: samples of one step.
    """

    sizes: Sequence[int]
    slopes: Sequence[float]
    first_loss: Sequence[float]
    steps: Sequence[int]
    seeds: int = 3
    problems: int = 500
    run_slope_sd: float = 0.0
    wander_sd: float = 0.0
    wander_correlation: float = 0.9
    prompts_per_step: int = 512


def simulate_points(design: Design, generator: np.random.Generator) -> pd.DataFrame:
    """Return a table of points: params, seed, step, samples, compute_flops (6·N a sample) and test_loss.

    A count of no wrong or of no right answer stands for half a one, since the logarithm of the loss must exist.
    """
    step = np.asarray(design.steps, dtype=np.float64)
    sizes = np.repeat(np.asarray(design.sizes, dtype=np.int64), design.seeds)
    runs = sizes.size
    slope_error = design.run_slope_sd * generator.standard_normal(runs)
    slope = np.repeat(np.asarray(design.slopes, dtype=np.float64), design.seeds) + slope_error
    level = np.repeat(np.log10(np.asarray(design.first_loss, dtype=np.float64)), design.seeds)
    log10_loss = level[:, None] - slope[:, None] * np.log10(step / step[0]) + _wander(design, step, runs, generator)
    loss = np.clip(10.0**log10_loss, 1e-6, 1.0 - 1e-6)
    wrong = np.clip(generator.binomial(design.problems, loss), 0.5, design.problems - 0.5)
    samples = np.tile((design.prompts_per_step * step).astype(np.int64), runs)
    params = np.repeat(sizes, step.size)
    return pd.DataFrame(
        {
            "params": params,
            "seed": np.repeat(np.tile(np.arange(design.seeds), len(design.sizes)), step.size),
            "step": np.tile(step.astype(np.int64), runs),
            "samples": samples,
            "compute_flops": 6.0 * params * samples,
            "test_loss": (wrong / design.problems).ravel(),
        }
    )


def _wander(design: Design, step: Array, runs: int, generator: np.random.Generator) -> Array:
    """Return a stationary first-order autoregression at the evaluated steps, shape (runs, steps)."""
    normal = generator.standard_normal((runs, step.size))
    kept = design.wander_correlation ** np.diff(step)
    wander = np.empty_like(normal)
    wander[:, 0] = normal[:, 0]
    for index, share in enumerate(kept, start=1):
        wander[:, index] = share * wander[:, index - 1] + np.sqrt(1.0 - share**2) * normal[:, index]
    return np.asarray(design.wander_sd * wander)
