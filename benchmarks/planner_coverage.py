"""Do planned 90 % intervals hold the compute that a target truly takes, and is the chosen size nearly the best?

Designs, targets, budgets and seeds stand in the script, fixed before any result was seen; every simulation counts. How
intervals are made was mended after results of the first two designs, and tried on other seeds; the third design was
fixed after that, before any result of its own. The truth is the law that the points are simulated from: the least
compute over sizes at which the mean run of a size reaches the target. A choice is good where its true loss is within
5 % of the least true loss that the budget buys.

Run: python -m benchmarks.planner_coverage      (400 simulations a design; writes planner_coverage.md beside this file)
     python -m benchmarks.planner_coverage N    (N simulations a design; prints the tables only)
"""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from benchmarks.designs import MINI, PUBLISHED, first_sizes, saturating

from rlscale.fit import fit_points
from rlscale.laws import Array
from rlscale.plan.budget import plan_budget
from rlscale.plan.lines import read_lines
from rlscale.plan.target import plan_target
from rlscale.simulation import Design, simulate_points

TABLE = Path(__file__).with_name("planner_coverage.md")
SEED, SIMULATIONS, DRAWS = 20261122, 400, 400


@dataclass(frozen=True)
class Case:
    """A design, the targets and the budgets (FLOPs) that are planned for, and the space of the fit."""

    design: Design
    targets: tuple[float, ...]
    budgets: tuple[float, ...]
    loss: str


_BETWEEN_SIZES = [int(size * 1e6) for size in (100, 300, 1000, 3000, 10000)]
CASES = {
    "published sizes, three runs each": Case(
        first_sizes(PUBLISHED, 6), targets=(0.75, 0.6, 0.5, 0.42), budgets=(3e14, 3e15, 3e16), loss="linear"
    ),
    "mini sizes, five runs each": Case(
        replace(MINI, seeds=5, problems=2000, run_slope_sd=0.03),
        targets=(0.6, 0.3, 0.15, 0.08),
        budgets=(1e9, 1e10, 1e11),
        loss="log",
    ),
    "five sizes in between, four runs each": Case(
        Design(
            sizes=_BETWEEN_SIZES,
            slopes=saturating(_BETWEEN_SIZES, 0.25, 8e8),
            first_loss=[0.93, 0.9, 0.86, 0.81, 0.77],
            steps=[10, 14, 20, 28, 40, 57, 80, 113, 160, 226, 320],
            seeds=4,
            problems=1000,
            run_slope_sd=0.012,
            wander_sd=0.004,
        ),
        targets=(0.7, 0.6, 0.4, 0.25),
        budgets=(3e13, 3e14, 3e15),
        loss="log",
    ),
}


def true_log10_compute(design: Design, loss: float) -> Array:
    """Return log10 FLOPs at which each size truly reaches a loss, at least those of its first point."""
    first = np.log10(np.asarray(design.first_loss))
    decades = np.maximum((first - np.log10(loss)) / np.asarray(design.slopes), 0.0)
    return decades + _first_compute(design)


def true_loss(design: Design, compute: float) -> Array:
    """Return the true loss of each size at a compute, inf before its first point."""
    decades = np.log10(compute) - _first_compute(design)
    loss = np.asarray(design.first_loss) * 10.0 ** (-np.asarray(design.slopes) * np.maximum(decades, 0.0))
    return np.where(decades >= 0, loss, np.inf)


def _first_compute(design: Design) -> Array:
    return np.log10(6.0 * np.asarray(design.sizes, dtype=np.float64) * design.prompts_per_step * design.steps[0])


def simulate(case: Case, seed: list[int]) -> tuple[list[int], list[bool]]:
    """Return, for one simulation, -1, 0 or 1 by target (truth below, in, above the interval) and good choices."""
    points = simulate_points(case.design, np.random.default_rng(seed))
    fit = fit_points(points, x="compute", loss=case.loss, intervals="bootstrap", draws=DRAWS)  # type: ignore[arg-type]
    lines = read_lines(fit.to_json())
    sides = []
    for target in case.targets:
        truth = 10.0 ** float(true_log10_compute(case.design, target).min())
        least = plan_target(lines, target).least
        low, high = (np.inf if end is None else end for end in (least.low, least.high))
        sides.append(-1 if truth < low * (1 - 1e-9) else int(truth > high * (1 + 1e-9)))
    good = []
    for budget in case.budgets:
        losses, best = true_loss(case.design, budget), plan_budget(lines, budget).best
        good.append(best is not None and bool(losses[best] <= 1.05 * losses.min()))
    return sides, good


def tables(count: int) -> str:
    """Return the results of ``count`` simulations of each case, in Markdown."""
    parts = []
    for index, (name, case) in enumerate(CASES.items()):
        found = [simulate(case, [SEED, index, number]) for number in range(count)]
        sides, good = (np.array(column) for column in zip(*found, strict=True))
        parts.append(f"\n## {name.capitalize()} ({case.loss} loss, {count} simulations)\n")
        parts.append("| target loss | true compute in the interval | below it | above it |\n| --- | --- | --- | --- |")
        for column, target in enumerate(case.targets):
            inside, below, above = (np.mean(sides[:, column] == side) for side in (0, -1, 1))
            parts.append(f"| {target} | {inside:.1%} | {below:.1%} | {above:.1%} |")
        parts.append("\n| budget [FLOPs] | chosen size within 5 % of the best loss |\n| --- | --- |")
        parts += [f"| {budget:.0e} | {np.mean(good[:, column]):.1%} |" for column, budget in enumerate(case.budgets)]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Run the simulations and write or print their tables."""
    started = time.perf_counter()
    count = int(sys.argv[1]) if len(sys.argv) > 1 else SIMULATIONS
    text = tables(count)
    print(text)
    print(f"{time.perf_counter() - started:.0f} s")
    if len(sys.argv) == 1:
        head = (
            f"# Does the planner's interval hold the truth?\n\n`python -m benchmarks.planner_coverage`, seed {SEED}, "
            f"{DRAWS} replicates, all simulations counted. {(__doc__ or '').split(chr(10) * 2)[1]}\n"
        )
        TABLE.write_text(head + text, encoding="utf-8")


if __name__ == "__main__":
    main()
