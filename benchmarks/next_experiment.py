"""Does the order of `rlscale next` shrink an interval faster than a random order, or than the largest runs first?

A campaign starts from a small simulated study: the four smallest of six sizes, two runs each. Then one run after
another is trained until a budget of three of the largest runs is spent; after each the law is fitted again and the
width of the 90 % interval is noted. Three orders draw on the same runs, four more of each size: `next` (chosen anew
from each fit), random (one order a campaign), and largest first. There are two goals, on a law of samples: the loss
that a size beyond all of them has at its last step, and N_0. Designs, budget and seeds stand in the script and were
fixed before the seeds of the campaigns were run; every campaign counts.

Run: python benchmarks/next_experiment.py      (100 campaigns; writes the tables and the figure of the docs)
     python benchmarks/next_experiment.py N    (N campaigns of other seeds; prints the tables only)
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from rlscale.figures.style import colours, finish, new_figure, styled
from rlscale.fit import fit_points
from rlscale.laws import Array
from rlscale.plan.belief import Goal, believe
from rlscale.plan.choose import Candidate, choose
from rlscale.plan.lines import read_lines
from rlscale.plan.numbers import number
from rlscale.simulation import Design, simulate_points
from rlscale.uncertainty.replicates import read_replicates
from rlscale.uncertainty.saturation import Saturation

HERE = Path(__file__)
FIGURE = HERE.parents[1] / "docs" / "figures" / "next_experiment.svg"
SEED, TRIAL_SEED, CAMPAIGNS, DRAWS = 20261123, 7, 100, 200
SIZES = [3012, 5296, 11784, 32440, 82624, 185376]
FIRST_LOSS = [0.86, 0.81, 0.78, 0.74, 0.72, 0.70]
STEPS = [8, 14, 25, 45, 80, 150, 270, 500]
K_MAX, N_0 = 0.45, 1e4
PROMPTS, RUNS, STARTED, AT_START = 128, 4, 4, 2
TARGET, TARGET_FIRST_LOSS = 329088, 0.69
LARGEST = 6.0 * SIZES[-1] * PROMPTS * STEPS[-1]
BUDGET = 3.0  # of the largest runs
COSTS = (0.25, 0.5, 1.0, 2.0, 3.0)
ORDERS = ("next", "random", "largest first")
GRID = np.linspace(0.0, BUDGET, 161)


@dataclass(frozen=True)
class Trace:
    """What one order did in one campaign: spent (largest runs), width (decades) and whether the truth was inside."""

    spent: Array
    width: Array
    inside: Array

    def at(self, cost: Array, values: str = "width") -> Array:
        """Return the values of the last fit at costs."""
        return np.asarray(getattr(self, values)[np.searchsorted(self.spent, cost + 1e-9, side="right") - 1])


def slope(size: float) -> float:
    """Return the true slope."""
    return K_MAX / (1.0 + N_0 / size)


FORECAST = Goal("loss", TARGET, 6.0 * TARGET * PROMPTS * STEPS[-1])
TRUTH = {
    FORECAST: float(np.log10(TARGET_FIRST_LOSS) - slope(TARGET) * np.log10(STEPS[-1] / STEPS[0])),
    Goal("n_0"): float(np.log10(N_0)),
}
"""By goal, in decades."""
UNIT = {"loss": "decades of the loss", "n_0": "decades of N_0"}


def values_of(goal: Goal, fit: dict[str, Any], seed: int) -> Array:
    """Return the goal by row (0 the estimate), in decades."""
    if goal.name == "n_0":
        found = np.append(float(fit["n_0"]), read_replicates(fit["intervals"]["replicates"]["n_0"]))
        return np.asarray(np.log10(np.maximum(found, 1e-30)))
    lines = read_lines(fit, sizes=[TARGET], seed=seed)
    return np.asarray(lines.log10_loss(np.asarray(np.log10(goal.compute or 0.0)))[:, lines.index(TARGET)])


def simulated(seed: list[int]) -> pd.DataFrame:
    """Return all runs that a campaign could train."""
    design = Design(
        sizes=SIZES,
        slopes=[slope(size) for size in SIZES],
        first_loss=FIRST_LOSS,
        steps=STEPS,
        seeds=AT_START + RUNS,
        problems=2000,
        run_slope_sd=0.03,
        wander_sd=0.003,
        prompts_per_step=PROMPTS,
    )
    return simulate_points(design, np.random.default_rng(seed))


def refit(points: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Return the fit as `rlscale fit --x samples --loss log --intervals bootstrap` makes it.

    The verdict on saturation takes nine tenths of that command's time, and nothing here asks for it.
    """
    with mock.patch("rlscale.fit.judge_saturation", return_value=Saturation("not asked", "", {}, {}, {})):
        return fit_points(points, x="samples", loss="log", intervals="bootstrap", draws=DRAWS, seed=seed).to_json()


Order = Callable[[dict[str, Any], list[int], float], int | None]


def by_next(goal: Goal) -> Order:
    """Return the order that takes the first run of the batch that `rlscale next` chooses."""

    def order(fit: dict[str, Any], left: list[int], budget: float) -> int | None:
        lines = read_lines(fit, sizes=[*SIZES, TARGET])
        costs = [size / SIZES[-1] for size in SIZES]
        kinds = [
            Candidate(size, size in lines.params[lines.fitted], float(np.log10(LARGEST * cost)), cost, count)
            for size, cost, count in zip(SIZES, costs, left, strict=True)
            if count
        ]
        batch = choose(believe(fit, lines, goal), kinds, budget)
        return SIZES.index(int(batch[0].candidate.params)) if batch else None

    return order


def at_random(generator: np.random.Generator) -> Order:
    """Return the order that takes any run that is left and affordable."""

    def order(_: dict[str, Any], left: list[int], budget: float) -> int | None:
        runs = np.repeat(np.arange(len(SIZES)), left)
        runs = runs[[SIZES[run] / SIZES[-1] <= budget + 1e-9 for run in runs]]
        return int(generator.choice(runs)) if runs.size else None

    return order


def largest_first(_: dict[str, Any], left: list[int], budget: float) -> int | None:
    """Return the largest size that is left and affordable."""
    found = [i for i, size in enumerate(SIZES) if left[i] and size / SIZES[-1] <= budget + 1e-9]
    return max(found, default=None)


def campaign(seed: list[int], goal: Goal) -> dict[str, Trace]:
    """Run one campaign by every order."""
    points = simulated(seed)
    generator = np.random.default_rng([*seed, 1])
    orders = {"next": by_next(goal), "random": at_random(generator), "largest first": largest_first}
    start = None
    paths = {}
    for name, order in orders.items():
        trained = [AT_START if place < STARTED else 0 for place in range(len(SIZES))]
        left, spent, rows = [RUNS] * len(SIZES), 0.0, []
        while True:
            kept = points["seed"] < points["params"].map(dict(zip(SIZES, trained, strict=True)))
            fit = start if start and not rows else refit(points[kept], seed[-1])
            start = start or fit
            found = number(values_of(goal, fit, seed[-1]), "decades")
            low, high = float(found.low or 0.0), float(found.high or 0.0)
            rows.append((spent, high - low, low <= TRUTH[goal] <= high))
            run = order(fit, left, BUDGET - spent)
            if run is None:
                break
            left[run] -= 1
            trained[run] += 1
            spent += SIZES[run] / SIZES[-1]
        paths[name] = Trace(*(np.array(column) for column in zip(*rows, strict=True)))
    return paths


def interval(values: Array, statistic: Callable[..., Array]) -> tuple[float, float, float]:
    """Return a statistic over campaigns and its 90 % bootstrap interval."""
    drawn = np.random.default_rng(0).integers(0, values.size, (4000, values.size))
    low, high = np.quantile(statistic(values[drawn], axis=1), (0.05, 0.95))
    return float(statistic(values)), float(low), float(high)


def _won(ratio: Array) -> float:
    return float(np.mean((ratio < 1 - 1e-9) + 0.5 * (np.abs(ratio - 1) <= 1e-9)))


def tables(found: list[dict[str, Trace]]) -> str:
    """Return the comparison in Markdown."""
    at = np.array(COSTS)
    lines = ["## Width of the interval, in decades (median over campaigns)\n"]
    lines.append("| spent [largest runs] | " + " | ".join(f"{cost:g}" for cost in (0, *COSTS)) + " |")
    lines.append("| --- |" + " --- |" * (1 + len(COSTS)))
    every = np.array([0.0, *COSTS])
    for name in ORDERS:
        widths = np.median([one[name].at(every) for one in found], axis=0)
        lines.append(f"| {name} | " + " | ".join(f"{width:.3f}" for width in widths) + " |")
    for rival in ORDERS[1:]:
        ratios = np.array([one["next"].at(at) / one[rival].at(at) for one in found])
        mean = np.array([np.exp(np.mean(np.log(one["next"].at(GRID[1:]) / one[rival].at(GRID[1:])))) for one in found])
        lines.append(f"\n## Width under `next` over that under {rival}, at equal cost\n")
        lines.append("| spent | median ratio [90 % interval] | share of campaigns narrower (ties half) |")
        lines.append("| --- | --- | --- |")
        for label, column in [*((f"{c:g}", ratios[:, i]) for i, c in enumerate(COSTS)), ("mean over 0 to 3", mean)]:
            middle, low, high = interval(column, np.median)
            lines.append(f"| {label} | {middle:.3f} [{low:.3f}, {high:.3f}] | {_won(column):.0%} |")
    lines.append("\n## Truth inside the interval\n")
    lines.append("| spent | " + " | ".join(f"{cost:g}" for cost in (0, *COSTS)) + " |")
    lines.append("| --- |" + " --- |" * (1 + len(COSTS)))
    for name in ORDERS:
        inside = np.mean([one[name].at(every, "inside") for one in found], axis=0)
        lines.append(f"| {name} | " + " | ".join(f"{share:.0%}" for share in inside) + " |")
    runs = {name: np.mean([one[name].spent.size - 1 for one in found]) for name in ORDERS}
    lines.append("\nRuns trained, mean: " + ", ".join(f"{name} {count:.1f}" for name, count in runs.items()) + ".")
    return "\n".join(lines) + "\n"


@styled
def draw(found: dict[Goal, list[dict[str, Trace]]]) -> None:
    """Draw widths and paired ratios against cost, a row for each goal."""
    figure = new_figure(6.0)
    for goal, (left, right) in zip(found, figure.subplots(len(found), 2), strict=True):
        for name, colour in zip(ORDERS, colours(3), strict=True):
            _band(left, np.array([one[name].at(GRID) for one in found[goal]]), name, colour)
            if name != "next":
                ratio = np.array([one["next"].at(GRID) / one[name].at(GRID) for one in found[goal]])
                _band(right, ratio, f"over {name}", colour)
        right.axhline(1.0, color="0.45", linewidth=0.8)
        left.set(ylabel=f"90 % interval ({UNIT[goal.name]})", yscale="log")
        right.set(ylabel="Ratio of widths, next over other")
        for axes in (left, right):
            axes.set_xlabel("Spent (runs of the largest size)")
            axes.legend()
    notes = [f"Medians of {CAMPAIGNS} simulated campaigns a goal, bands hold half of them. Below 1: next is narrower."]
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    finish(figure, notes).savefig(FIGURE, metadata={"Date": None})


def _band(axes: Any, values: Array, label: str, colour: Any) -> None:
    middle, low, high = (np.quantile(values, share, axis=0) for share in (0.5, 0.25, 0.75))
    axes.plot(GRID, middle, color=colour, label=label, drawstyle="steps-post")
    axes.fill_between(GRID, low, high, color=colour, alpha=0.15, step="post", linewidth=0)


def campaigns(goal: Goal, seed: int, count: int, *, keep: bool) -> list[dict[str, Trace]]:
    """Run campaigns; with ``keep``, those that a killed run has left, a line each, are not run again."""
    kept = HERE.with_suffix(f".{goal.name}.jsonl")
    lines = kept.read_text(encoding="utf-8").splitlines() if keep and kept.is_file() else []
    found = [{name: Trace(*map(np.array, rows)) for name, rows in json.loads(line).items()} for line in lines]
    for index in range(len(found), count):
        found.append(campaign([seed, index], goal))
        if keep:
            rows = {name: [column.tolist() for column in vars(one).values()] for name, one in found[-1].items()}
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows) + "\n")
    return found


def main() -> None:
    """Run the campaigns and write or print their tables."""
    started = time.perf_counter()
    trial = len(sys.argv) > 1
    seed, count = (TRIAL_SEED, int(sys.argv[1])) if trial else (SEED, CAMPAIGNS)
    found = {goal: campaigns(goal, seed, count, keep=not trial) for goal in TRUTH}
    text = "\n".join(f"# Goal: {UNIT[goal.name]}\n\n{tables(traces)}" for goal, traces in found.items())
    print(text)
    if not trial:
        about = " ".join((__doc__ or "").split("\n\nRun:", maxsplit=1)[0].split())
        head = f"`python benchmarks/next_experiment.py`, {CAMPAIGNS} campaigns a goal, seed {SEED}, {DRAWS} replicates."
        HERE.with_suffix(".md").write_text(f"{head} {about}\n\n{text}", encoding="utf-8")
        draw(found)
        for goal in TRUTH:
            HERE.with_suffix(f".{goal.name}.jsonl").unlink()
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
