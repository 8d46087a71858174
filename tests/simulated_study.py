"""Simulated studies whose claims are true or false by construction, for the tests of findings."""

from typing import Any

import numpy as np
import pandas as pd

SIZES = (3_000, 12_000, 48_000, 190_000)
STEPS = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256, 512])
FIRST_STEP = 8
FACTOR_SIZE = SIZES[1]
"""The size whose runs differ in tau, reward accuracy or skill share."""


def simulate_study(seed: int = 0, **options: Any) -> pd.DataFrame:
    """Return curves as a study's table has them; see `_Study` for the options."""
    return _Study(np.random.default_rng(seed), **options).curves()


class _Study:
    """Straight lines in log-log, one a run, of base models with slopes and levels of their own.

    Options: ``bases`` base models a size, of which ``arm_bases`` have runs of all factors; ``slope`` k of the smallest
    size and ``rise`` of k, ``drop`` of the level per tenfold N; ``bend`` of the curves; ``r_star`` (None: reuse costs
    nothing); ``accuracy`` and ``share``, the change of k from 0 to 1; ``instruct``, its slope over that of base (None:
    no such runs); ``slope_sd`` and ``level_sd`` between base models, ``run_sd`` between runs of one base model, and
    ``wander_sd`` of correlated steps.
    """

    def __init__(self, generator: np.random.Generator, **options: Any) -> None:
        self.draw = generator
        self.set: dict[str, Any] = {
            **{"bases": 3, "arm_bases": 1, "slope": 0.25, "rise": 0.0, "drop": 0.0, "bend": 0.0, "r_star": None},
            **{"accuracy": 0.0, "share": 0.0, "instruct": None, "taus": (1, 4, 16)},
            **{"slope_sd": 0.03, "level_sd": 0.03, "run_sd": 0.01, "wander_sd": 0.01},
            **options,
        }
        normal = {
            name: generator.normal(0, self.set[f"{name}_sd"], (4, self.set["bases"])) for name in ("slope", "level")
        }
        self.bases = {
            (n, b): (normal["slope"][i, b], normal["level"][i, b])
            for i, n in enumerate(SIZES)
            for b in range(self.set["bases"])
        }

    def curves(self) -> pd.DataFrame:
        runs = [self.run(n, b) for n, b in self.bases]
        for b in range(self.set["arm_bases"]):
            runs += [self.run(FACTOR_SIZE, b, tau=tau) for tau in self.set["taus"][1:]]
            runs += [self.run(FACTOR_SIZE, b, reward_accuracy=accuracy) for accuracy in (0.9, 0.75, 0.6)]
            runs += [self.run(FACTOR_SIZE, b, skill_share=share) for share in (0.5, 0.25)]
            if self.set["instruct"] is not None:
                runs += [self.run(n, b, variant="instruct") for n in SIZES]
        return pd.concat(runs, ignore_index=True)

    def run(self, params: int, base: int, **factors: Any) -> pd.DataFrame:
        chosen = {"variant": "base", "tau": 1, "reward_accuracy": 1.0, "skill_share": 1.0, **factors}
        slope_error, level_error = self.bases[params, base]
        decades = np.log10(params / SIZES[0])
        slope = self.set["slope"] + self.set["rise"] * decades + slope_error + self.draw.normal(0, self.set["run_sd"])
        slope += self.set["accuracy"] * (chosen["reward_accuracy"] - 1) + self.set["share"] * (
            chosen["skill_share"] - 1
        )
        slope *= self.set["instruct"] if chosen["variant"] == "instruct" else 1
        samples = 128 * STEPS
        unique = np.minimum(samples, samples[-1] // chosen["tau"])
        worth = self.set["r_star"]
        effective = samples if worth is None else unique * (1 - worth * np.expm1(-(samples / unique - 1) / worth))
        x = np.log10(effective / 128)
        loss = -0.1 - self.set["drop"] * decades + level_error - slope * x - self.set["bend"] * slope * (x - 1.8) ** 2
        loss += self.draw.normal(0, self.set["run_sd"]) + self.wander()
        names = "_".join(f"{name}{value}" for name, value in chosen.items())
        after = pd.DataFrame(
            {
                **{"run": f"m{params}_{names}_b{base}", "params": params, "base_seed": base, "seed": 0, **chosen},
                **{"step": STEPS, "samples": samples, "unique_samples": unique},
                **{"compute_flops": 30.0 * params * samples, "test_loss": np.minimum(10.0**loss, 1.0), "excluded": ""},
            }
        )
        before = after.head(1).assign(step=0, samples=0, unique_samples=0, compute_flops=0.0, test_loss=0.95)
        return pd.concat([before, after], ignore_index=True)

    def wander(self) -> np.ndarray:
        steps = self.draw.normal(0, 1, STEPS.size)
        for index in range(1, STEPS.size):
            steps[index] = 0.6 * steps[index - 1] + 0.8 * steps[index]
        return np.asarray(self.set["wander_sd"] * steps)
