"""Simulated studies whose claims are true or false by construction, for the tests of findings."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

SIZES = (3_000, 12_000, 48_000, 190_000)
STEPS = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256, 512])
FIRST_STEP = 8
FACTOR_SIZE = SIZES[1]
"""The size whose runs differ in tau, reward accuracy or skill share."""


@dataclass
class Study:
    """Straight lines in log-log, one a run, of base models with slopes and levels of their own.

    Attributes:
        draw: source of all randomness.
        bases: base models a size.
        arm_bases: how many of them have runs of all factors.
        slope: k of the smallest size.
        rise: of k per tenfold N.
        drop: of the level, log10 loss, per tenfold N.
        bend: curvature, as a share of k: k falls or grows along the curve.
        r_star: passes that repeats are worth; None where they are worth new problems.
        taus: data reuse of the arms.
        accuracy: change of k from reward accuracy 0 to 1.
        share: change of k from skill share 0 to 1.
        instruct: slope of instruct over that of base; None for no such runs.
        slope_sd: of k between base models.
        level_sd: of the level between base models.
        run_sd: of both between runs of one base model.
        wander_sd: of correlated steps, in log10 loss.
    """

    draw: np.random.Generator
    bases: int = 3
    arm_bases: int = 1
    slope: float = 0.25
    rise: float = 0.0
    drop: float = 0.0
    bend: float = 0.0
    r_star: float | None = None
    taus: Sequence[int] = (1, 4, 16)
    accuracy: float = 0.0
    share: float = 0.0
    instruct: float | None = None
    slope_sd: float = 0.03
    level_sd: float = 0.03
    run_sd: float = 0.01
    wander_sd: float = 0.01
    rows: list[dict[str, Any]] = field(default_factory=list)

    def curves(self) -> pd.DataFrame:
        """Return the table that a study's curves have, a row a point, step 0 first."""
        errors = self.draw.normal(0, 1, (len(SIZES), self.bases, 2)) * [self.slope_sd, self.level_sd]
        for index, params in enumerate(SIZES):
            for base in range(self.bases):
                own = tuple(errors[index, base])
                self.run(params, base, own)
                if base < self.arm_bases and self.instruct is not None:
                    self.run(params, base, own, variant="instruct")
                if base < self.arm_bases and params == FACTOR_SIZE:
                    self.arms(base, own)
        columns = {name: np.concatenate([row[name] for row in self.rows]) for name in self.rows[0]}
        return pd.DataFrame(columns)

    def arms(self, base: int, own: tuple[float, ...]) -> None:
        """Add the runs of one base model that differ in a factor."""
        for tau in self.taus[1:]:
            self.run(FACTOR_SIZE, base, own, tau=tau)
        for accuracy in (0.9, 0.75, 0.6):
            self.run(FACTOR_SIZE, base, own, reward_accuracy=accuracy)
        for share in (0.5, 0.25):
            self.run(FACTOR_SIZE, base, own, skill_share=share)

    def run(self, params: int, base: int, own: tuple[float, ...], **factors: Any) -> None:
        """Add one run of a base model whose slope and level are off by ``own``."""
        chosen = {"variant": "base", "tau": 1, "reward_accuracy": 1.0, "skill_share": 1.0, **factors}
        decades = np.log10(params / SIZES[0])
        slope = self.slope + self.rise * decades + own[0] + self.draw.normal(0, self.run_sd)
        slope += self.accuracy * (chosen["reward_accuracy"] - 1) + self.share * (chosen["skill_share"] - 1)
        slope *= self.instruct if chosen["variant"] == "instruct" and self.instruct else 1
        samples = 128 * STEPS
        unique = np.minimum(samples, samples[-1] // chosen["tau"])
        effective = samples
        if self.r_star is not None:
            effective = unique * (1 - self.r_star * np.expm1(-(samples / unique - 1) / self.r_star))
        x = np.log10(effective / 128)
        loss = -0.1 - self.drop * decades + own[1] - slope * (x + self.bend * (x - 1.8) ** 2)
        loss += self.draw.normal(0, self.run_sd) + self.wander()
        names = "_".join(f"{name}{value}" for name, value in chosen.items())
        same = {"run": f"m{params}_{names}_b{base}", "params": params, "base_seed": base, "seed": 0, **chosen}
        self.rows.append(
            {name: np.full(STEPS.size + 1, value) for name, value in {**same, "excluded": ""}.items()}
            | {name: np.concatenate([[0], values]) for name, values in (("step", STEPS), ("samples", samples))}
            | {
                "unique_samples": np.concatenate([[0], unique]),
                "compute_flops": np.concatenate([[0.0], 30.0 * params * samples]),
                "test_loss": np.concatenate([[0.95], np.minimum(10.0**loss, 1.0)]),
            }
        )

    def wander(self) -> np.ndarray:
        """Return correlated deviations by step."""
        steps = self.draw.normal(0, self.wander_sd, STEPS.size)
        for index in range(1, STEPS.size):
            steps[index] = 0.6 * steps[index - 1] + 0.8 * steps[index]
        return steps


def simulate_study(seed: int = 0, **options: Any) -> pd.DataFrame:
    """Return the curves of a simulated study; the options are the attributes of `Study`."""
    return Study(np.random.default_rng(seed), **options).curves()
