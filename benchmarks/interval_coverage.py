"""Do 90 % intervals cover the truth in 90 % of simulated studies, and is the verdict on saturation right?

Designs and seeds stand below, fixed before any result was seen; every simulation counts, identified or not. A profile
covers where the truth is not worse than its threshold, which needs no search for ends. The forecast: the largest size
is sealed but for the first points of one run, and the band at that run's last step is to hold the observed loss.

Run: python -m benchmarks.interval_coverage     (an hour; writes coverage.md beside this file)
     python -m benchmarks.interval_coverage N   (at most N simulations each; prints the tables only)
"""

import itertools
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from benchmarks import designs
from benchmarks.designs import PUBLISHED_SIZES, first_sizes, saturating

from rlscale.curve_points import arrange, select_points
from rlscale.fitting.loss_spaces import loss_space
from rlscale.fitting.projection import SlopeFit, fit_slope_law
from rlscale.fitting.slope_fits import fit_slopes
from rlscale.forecasts.forecast import forecast_split
from rlscale.forecasts.protocols import Sealed, Series, Setting, Split
from rlscale.forecasts.slope_bands import forecast_band
from rlscale.laws import Array, Target
from rlscale.laws.saturating_slope import SaturatingSlope
from rlscale.simulation import Design, simulate_points
from rlscale.uncertainty.bootstrap import bootstrap
from rlscale.uncertainty.intervals import make_intervals
from rlscale.uncertainty.noise import measure_noise
from rlscale.uncertainty.profile import excess_at
from rlscale.uncertainty.saturation import judge_saturation

Loss = Literal["linear", "log"]

TABLE = Path(__file__).with_name("coverage.md")
SEED = 20250928
LEVEL, DRAWS, VERDICT_DRAWS, SEEN, PROCESSES = 0.9, 500, 400, 3, 2
LAW = SaturatingSlope()


@dataclass(frozen=True)
class Truth:
    """A design whose slopes saturate.

    Attributes:
        design: the simulated study.
        k_max: true limit of the slope.
        n_0: true size of half of it.
        proportional_sd: standard deviation of a run's slope over its size's, beside the design's own scatter.
    """

    design: Design
    k_max: float
    n_0: float
    proportional_sd: float = 0.0


def linear_in_log(sizes: Sequence[float], smallest: float, largest: float) -> list[float]:
    """Return slopes linear in log N between those of the first and the last size."""
    return [float(k) for k in np.interp(np.log(sizes), np.log([sizes[0], sizes[-1]]), [smallest, largest])]


def power_of_size(sizes: Sequence[float], smallest: float, largest: float) -> list[float]:
    """Return slopes that are a power of N between those of the first and the last size."""
    return [float(k) for k in np.exp(linear_in_log(sizes, np.log(smallest), np.log(largest)))]


TENFOLD_SIZES = [int(size) for size in np.geomspace(1.7e9, 1.7e11, 7).round()]

PUBLISHED = Truth(designs.PUBLISHED, k_max=0.15, n_0=17e9)
MINI = Truth(designs.MINI, k_max=0.45, n_0=1e4)
MAIN = {"published-like": PUBLISHED, "mini-like": MINI}
STRESS = {
    "one run a size": replace(PUBLISHED, design=replace(PUBLISHED.design, seeds=1)),
    "no scatter between runs": replace(PUBLISHED, design=replace(PUBLISHED.design, run_slope_sd=0.0)),
    "scatter in proportion to k": replace(
        PUBLISHED, design=replace(PUBLISHED.design, run_slope_sd=0.0), proportional_sd=0.1
    ),
    "0.5 B to 7 B only": replace(PUBLISHED, design=first_sizes(PUBLISHED.design, 4)),
}
TENFOLD = Design(
    sizes=TENFOLD_SIZES,
    slopes=saturating(TENFOLD_SIZES, 0.15, 17e9),
    first_loss=[0.9, 0.87, 0.84, 0.8, 0.77, 0.73, 0.69],
    steps=range(1, 106),
    seeds=3,
    problems=500,
    run_slope_sd=0.004,
    wander_sd=0.003,
    wander_correlation=0.9,
)
TO_JUDGE = {
    "linear in log N, .004 to .12, published sizes": replace(
        PUBLISHED.design, slopes=linear_in_log(PUBLISHED_SIZES, 0.004, 0.12)
    ),
    "linear in log N, .014 to .136, tenfold sizes": replace(TENFOLD, slopes=linear_in_log(TENFOLD_SIZES, 0.014, 0.136)),
    "saturating, tenfold sizes": TENFOLD,
}
TO_JUDGE_BESIDE = {
    "a power of N, .014 to .136, tenfold sizes": replace(TENFOLD, slopes=power_of_size(TENFOLD_SIZES, 0.014, 0.136)),
    "saturating, published-like": PUBLISHED.design,
}
LOSSES: tuple[Loss, Loss] = ("linear", "log")
COVERAGE = ((MAIN, {"linear": 1000, "log": 1000}), (STRESS, {"linear": 100, "log": 300}))
VERDICTS = ((TO_JUDGE, {"linear": 20, "log": 1000}), (TO_JUDGE_BESIDE, {"linear": 10, "log": 200}))
"""Designs with how many simulations of each are made, by the space of the residuals."""

REPORT = """# Coverage of the intervals and shares of the verdicts

Made by `python -m benchmarks.interval_coverage` on {made}. Numbers are percent of all simulations of a row,
± their Monte-Carlo standard error; simulation i draws from `numpy.random.default_rng([{seed}, i])`.
Designs and seeds were fixed before any result was seen; the forecast's band was mended once after that (`LOG.md`).

## 90 % intervals

{draws} replicates. "bootstrap" reads quantiles, "profile" inverts a test; k(N) is the mean over sizes, and in brackets
the size with the least. The forecast: the largest size is sealed but for the first {seen} points of one run; does the
90 % band hold the observed loss at that run's last step? An open interval of N_0 has an end that the data do not
show: N_0 is not identified there. It counts as covering if the end that it has does. The law is the saturating slope,
X samples.

{designs}

The other designs are stress: "published-like", but for what their name says (in proportion to k: with standard
deviation 0.1 k, where the intervals suppose the same scatter at every size).

| design | residuals | simulations | K_max bootstrap | K_max profile | N_0 bootstrap | N_0 profile \
| k(N) (least) | forecast | open, bootstrap | open, profile |
| {rule} |
{coverage}

## Verdict on saturation

{verdict_draws} simulations of each law within a verdict. "Published sizes" and "published-like" are the first design
above, with other slopes where the name says so. "Tenfold sizes" span the true N_0 tenfold either way: {tenfold}

| truth | residuals | simulations | saturating | not saturating | not identified |
| --- | --- | --- | --- | --- | --- |
{verdicts}
"""


class Outcome(NamedTuple):
    """What one simulated study says; each field but the slopes' is 0 or 1.

    Attributes:
        k_max_bootstrap: the quantiles hold k_max.
        k_max_profile: the profile holds it.
        n_0_bootstrap: the quantiles hold n_0.
        n_0_profile: the profile holds it.
        open_bootstrap: the quantiles of n_0 have an open end.
        open_profile: the profile of n_0 has one.
        forecast: the band holds the last loss of the sealed run.
        k: by size, the interval holds the slope.
    """

    k_max_bootstrap: bool
    k_max_profile: bool
    n_0_bootstrap: bool
    n_0_profile: bool
    open_bootstrap: bool
    open_profile: bool
    forecast: bool
    k: tuple[bool, ...]


def simulate(truth: Truth, index: int) -> pd.DataFrame:
    """Return the points of one simulation."""
    generator = np.random.default_rng([SEED, index])
    design = truth.design
    if not truth.proportional_sd:
        return simulate_points(design, generator)
    slopes = np.repeat(design.slopes, design.seeds)
    slopes *= 1 + truth.proportional_sd * generator.standard_normal(slopes.size)
    each = replace(
        design,
        sizes=np.repeat(design.sizes, design.seeds).tolist(),
        slopes=slopes.tolist(),
        first_loss=np.repeat(design.first_loss, design.seeds).tolist(),
        seeds=1,
    )
    seed = np.repeat(np.tile(np.arange(design.seeds), len(design.sizes)), len(design.steps))
    return simulate_points(each, generator).assign(seed=seed)


def try_intervals(truth: Truth, loss: Loss, index: int) -> Outcome:
    """Simulate a study, make its intervals and say which hold the truth."""
    points = simulate(truth, index)
    fit = fit_slope_law(LAW, loss_space(arrange(points, x="samples"), loss))
    found = bootstrap(fit, measure_noise(fit), draws=DRAWS, seed=index, with_excess=True)
    tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    bounds = LAW.parameters(truth.design.sizes)[1]
    k_max, n_0 = np.quantile(found.scale, tails), np.quantile(LAW.natural(found.shape), tails)
    n_0 = np.where([n_0[0] <= bounds.lower * 1.001, n_0[1] >= bounds.upper * 0.999], [-np.inf, np.inf], n_0)
    k_max[1] = np.inf if np.isinf(n_0[1]) else k_max[1]
    k_low, k_high = np.quantile(found.slopes, tails, axis=0)
    if index == 0:
        check_ends(fit, k_max, n_0)
    limits = np.quantile(found.excess, LEVEL, axis=0)
    of_k_max = excess_at(fit, "scale", np.array([truth.k_max]))[0] <= limits[0]
    of_n_0, *is_open = excess_at(fit, "shape", np.log([truth.n_0, bounds.lower, bounds.upper])) <= limits[1]
    return Outcome(
        k_max_bootstrap=bool(k_max[0] <= truth.k_max <= k_max[1]),
        k_max_profile=bool(of_k_max or (is_open[1] and truth.k_max > fit.best.scale[0])),
        n_0_bootstrap=bool(n_0[0] <= truth.n_0 <= n_0[1]),
        n_0_profile=bool(of_n_0),
        open_bootstrap=bool(np.isinf(n_0).any()),
        open_profile=any(is_open),
        forecast=try_forecast(points, loss),
        k=tuple(((k_low <= truth.design.slopes) & (truth.design.slopes <= k_high)).tolist()),
    )


def check_ends(fit: SlopeFit, k_max: Array, n_0: Array) -> None:
    """Assert that the quantiles here are those of `make_intervals`, which would draw the replicates again."""
    made = make_intervals(fit, "bootstrap", level=LEVEL, draws=DRAWS, seed=0)
    for interval, ends in ((made.k_max, k_max), (made.n_0, n_0)):
        assert [interval.low, interval.high] == [end if np.isfinite(end) else None for end in ends]


def try_forecast(points: pd.DataFrame, loss: Loss) -> bool:
    """Seal the largest size but for the first points of a run; say whether the band holds that run's last loss."""
    largest = int(points["params"].max())
    run = points[(points["params"] == largest) & (points["seed"] == 0)]
    hidden = Series(*(run[column].to_numpy(dtype=np.float64) for column in ("step", "samples", "test_loss")))
    sealed = Sealed(str(largest), Target(largest), Series(np.empty(0), np.empty(0), np.empty(0)), hidden)
    by_law, *_ = forecast_split(
        Split(points[points["params"] != largest], (sealed,)),
        [Setting("early-size", "samples", loss, "others", None)],
        laws={"saturating_slope": partial(fit_slopes, "saturating_slope")},
        seen=SEEN,
        band=forecast_band,
    )
    if by_law.bands is None:
        raise RuntimeError(f"no forecast of params {largest}: {by_law.reason}")
    low, high = by_law.bands[LEVEL]
    return bool(low[-1] <= by_law.observed.loss[-1] <= high[-1])


def try_verdict(design: Design, loss: Loss, index: int) -> str:
    """Simulate a study and judge it."""
    points = simulate_points(design, np.random.default_rng([SEED, index]))
    curves = arrange(select_points(points, max_params=None, first_steps=None), x="samples")
    return judge_saturation(loss_space(curves, loss), draws=VERDICT_DRAWS, seed=index).verdict


def share(hits: Iterable[bool]) -> str:
    """Return a share in percent with its Monte-Carlo standard error."""
    values = np.array(list(hits), dtype=float)
    return f"{100 * values.mean():.1f} ± {100 * np.sqrt(values.mean() * (1 - values.mean()) / values.size):.1f}"


def interval_row(name: str, loss: Loss, outcomes: Sequence[Outcome]) -> str:
    """Return one row of the table of coverage."""
    columns = [share(column) for column in list(zip(*outcomes, strict=True))[:-1]]
    by_size = np.array([outcome.k for outcome in outcomes])
    means, least = 100 * by_size.mean(), 100 * by_size.mean(axis=0).min()
    cells = [name, loss, str(len(outcomes)), *columns[:4], f"{means:.1f} ({least:.1f})", columns[6], *columns[4:6]]
    return f"| {' | '.join(cells)} |"


def verdict_row(name: str, loss: Loss, verdicts: Sequence[str]) -> str:
    """Return one row of the table of verdicts."""
    shares = [
        share(found == verdict for found in verdicts) for verdict in ("saturating", "not saturating", "not identified")
    ]
    return f"| {' | '.join([name, loss, str(len(verdicts)), *shares])} |"


def run_all(most: int) -> tuple[list[str], list[str]]:
    """Return the rows of both tables with at most so many simulations each, printing each row as it is made."""
    coverage, verdicts = [], []
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        for truths, counts in COVERAGE:
            for (name, truth), loss in itertools.product(truths.items(), LOSSES):
                outcomes = pool.map(partial(try_intervals, truth, loss), range(min(counts[loss], most)), 5)
                coverage.append(interval_row(name, loss, outcomes))
                print(coverage[-1], flush=True)
        for designs, counts in VERDICTS:
            for (name, design), loss in itertools.product(designs.items(), LOSSES):
                found = pool.map(partial(try_verdict, design, loss), range(min(counts[loss], most)), 5)
                verdicts.append(verdict_row(name, loss, found))
                print(verdicts[-1], flush=True)
    return coverage, verdicts


def main() -> None:
    """Print the tables, and write them where every simulation was made."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else sys.maxsize
    start = time.perf_counter()
    coverage, verdicts = run_all(most)
    minutes = (time.perf_counter() - start) / 60
    if most == sys.maxsize:
        TABLE.write_text(report(coverage, verdicts, minutes))
    print(f"{minutes:.1f} minutes")


def report(coverage: Sequence[str], verdicts: Sequence[str], minutes: float) -> str:
    """Return the tables with all that is needed to make them again."""
    return REPORT.format(
        made=f"{time.strftime('%Y-%m-%d')}, {minutes:.0f} minutes, {PROCESSES} processes on {machine()}",
        seed=SEED,
        rule=" | ".join(["---"] * 11),
        draws=DRAWS,
        verdict_draws=VERDICT_DRAWS,
        seen=SEEN,
        designs="\n".join(f"- **{name}**: {describe(truth.design)}" for name, truth in MAIN.items()),
        tenfold=describe(TENFOLD),
        coverage="\n".join(coverage),
        verdicts="\n".join(verdicts),
    )


def describe(design: Design) -> str:
    """Return a design in words."""
    slopes, losses = (", ".join(f"{value:.3g}" for value in values) for values in (design.slopes, design.first_loss))
    return (
        f"sizes {', '.join(f'{size:.3g}' for size in design.sizes)}; k {slopes}; loss at the first step {losses}; "
        f"{len(design.steps)} steps from {design.steps[0]} to {design.steps[-1]}; {design.seeds} runs a size; "
        f"{design.problems} problems; sd of a run's slope {design.run_slope_sd:g}; "
        f"sd of the wandering {design.wander_sd:g} with correlation {design.wander_correlation:g} a step."
    )


def machine() -> str:
    """Return the processor and the number of cores in words."""
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return f"{os.cpu_count()} cores, {names[0] if names else platform.processor()}"


if __name__ == "__main__":
    main()
