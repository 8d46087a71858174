"""Simulated runs of the controls: base models matched in loss, supervision levels, group sizes, wrong rewards."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tests.simulated_study import FACTOR_SIZE, SIZES

STEPS = np.unique(np.geomspace(1, 512, 22).astype(int))
LEVELS = {"quarter": 0.90, "half": 0.87, "double": 0.80}
"""Base loss of the levels of supervision that one size has."""

K = 0.4
"""Slope against samples of the smallest size, at a base loss of 0.85."""


class Controls:
    """Power laws, one a run, of base models whose slopes are off by errors of their own."""

    def __init__(self, seed: int, *, bases: int = 4, slope_sd: float = 0.02, wander_sd: float = 0.004) -> None:
        self.draw = np.random.default_rng(seed)
        self.bases = bases
        self.wander_sd = wander_sd
        self.own = self.draw.normal(0, slope_sd, (len(SIZES), bases))
        self.rows: list[dict[str, Any]] = []

    def supervised(
        self, *, rise: float = 0.0, by_base: float = 0.0, matched: bool = True, levels: Sequence[str] = tuple(LEVELS)
    ) -> "Controls":
        """Add fully supervised and matched runs of every size, and the levels of one.

        Args:
            rise: of k per tenfold N at equal base loss.
            by_base: of k per 0.1 of base loss less.
            matched: whether the base models that are called so have equal losses, but for small errors.
            levels: further levels of the one size.
        """
        for index, params in enumerate(SIZES):
            decades = float(np.log10(params / SIZES[0]))
            losses = {"full": 0.90 - 0.06 * decades, "matched": 0.85 if matched else 0.93 - 0.06 * decades}
            if params == FACTOR_SIZE:
                losses |= {level: LEVELS[level] for level in levels}
            for base in range(self.bases):
                for level, mean in losses.items():
                    loss = mean + self.draw.normal(0, 0.004)
                    k = K + rise * decades + by_base * 10 * (0.85 - loss) + self.own[index, base]
                    self.run(params, base, k, start=loss, supervision=level)
        return self

    def groups(self, gain: float, sizes: Sequence[int] = (2, 8, 32)) -> "Controls":
        """Add runs whose samples are worth G^``gain`` each, and cost G."""
        for base in range(self.bases):
            for group in sizes:
                k = K + self.own[1, base]
                self.run(FACTOR_SIZE, base, k, worth=(group / 8) ** gain, group_size=group)
        return self

    def rewards(
        self, floor: Mapping[float, float], k: Mapping[float, float] | None = None, worth: float = 1.0
    ) -> "Controls":
        """Add runs by reward accuracy: ``floor`` is where the loss tends to, ``k`` the slope towards it.

        A sample at accuracy a is worth ``worth``^(10 (1 - a)).
        """
        for base in range(self.bases):
            for accuracy, level in floor.items():
                slope = (k or {}).get(accuracy, K) + self.own[1, base]
                share = worth ** (10 * (1 - accuracy))
                self.run(FACTOR_SIZE, base, slope, floor=level, worth=share, reward_accuracy=accuracy)
        return self

    def run(
        self,
        params: int,
        base: int,
        k: float,
        *,
        start: float = 0.85,
        floor: float = 0.0,
        worth: float = 1.0,
        **factors: Any,
    ) -> None:
        """Add one run: L = floor + (start - floor) (1 + worth D / 256)^-k, with correlated errors."""
        chosen = {"supervision": "full", "group_size": 8, "reward_accuracy": 1.0, **factors}
        samples = 128 * STEPS
        loss = floor + (start - floor) * (1 + worth * samples / 256) ** -(k + self.draw.normal(0, 0.005))
        loss = np.minimum(loss * 10 ** self.wander(), 1.0)
        name = "_".join([f"m{params}", *(f"{key}{value}" for key, value in chosen.items()), f"b{base}"])
        if any(row["run"] == name for row in self.rows):
            return
        row = {"run": name, "params": params, "base_seed": base, "seed": 0, **chosen, "excluded": ""}
        for step, seen, value in zip([0, *STEPS], [0, *samples], [start, *loss], strict=True):
            flops = 30.0 * params * seen * chosen["group_size"]
            self.rows.append({**row, "step": step, "samples": seen, "compute_flops": flops, "test_loss": value})

    def wander(self) -> np.ndarray:
        """Return correlated deviations by step, in log10 loss."""
        steps = self.draw.normal(0, self.wander_sd, STEPS.size)
        for index in range(1, STEPS.size):
            steps[index] = 0.6 * steps[index - 1] + 0.8 * steps[index]
        return steps

    def curves(self) -> pd.DataFrame:
        """Return the table that a study's curves have, a row a point."""
        return pd.DataFrame(self.rows)
