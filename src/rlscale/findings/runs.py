"""The runs of a study, and the numbers that claims are tested on, read off one run each.

A reading is a least-squares statistic of the points of one run: its slope, the bend of its curve, its loss at some
step. Runs are what varies between repetitions, so a claim is tested on readings and their spread, never on points.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from rlscale.laws import Array
from rlscale.point_checks import CURVE_COLUMNS, check_points

FACTORS = ("variant", "tau", "group_size", "reward_accuracy", "families", "skill_share", "supervision")
"""What may tell runs of one size apart besides their seeds."""

Axis = Literal["step", "samples", "compute_flops"]
Statistic = Callable[[Array, Array], float]
"""A number from log10 X and log10 L of the points of a run."""

NEAR = float(np.log10(2.0))  # points within this of a place, in log10 X, tell the loss there: an octave either side
_FEWEST = 3  # different X that a slope needs
_GROUPS = 4  # fewest groups of steps for an error within the run


@dataclass(frozen=True, eq=False)
class Run:
    """One training run after step 0, its points in order of step.

    Attributes:
        name: its id, or its size where the table has no ids and a single run of each size.
        params: its model size N.
        base_seed: the seed of its base model, 0 where the table does not say.
        seed: the seed of its training, likewise.
        factors: values of the columns in ``FACTORS`` that the table has.
        log10_x: log10 of step, samples and (where the table has it) compute, by column.
        log10_loss: log10 of the test loss.
        base_loss: test loss of its base model, at step 0; None where the table has none.
        in_window: whether a point lies at or after the law's first step.
    """

    name: str
    params: int
    base_seed: int
    seed: int
    factors: Mapping[str, Any]
    log10_x: Mapping[str, Array]
    log10_loss: Array
    base_loss: float | None
    in_window: npt.NDArray[np.bool_]

    @property
    def last_step(self) -> float:
        """The last step, in log10."""
        return float(self.log10_x["step"][-1])


@dataclass(frozen=True, eq=False)
class Reading:
    """A statistic of one run.

    Attributes:
        run: where it comes from.
        log10_x: the points it is made of, in order of step.
        log10_loss: likewise.
        statistic: what is read off them.
    """

    run: Run
    log10_x: Array
    log10_loss: Array
    statistic: Statistic

    @cached_property
    def value(self) -> float:
        """The statistic of all points."""
        return self.statistic(self.log10_x, self.log10_loss)

    @cached_property
    def within(self) -> tuple[float, int]:
        """Variance from the steps of this run alone, and its degrees of freedom; (NaN, 0) with too few points.

        A jackknife over groups of neighbouring steps, which correlated steps do not fool as long as a group is longer
        than they are correlated (Künsch, Annals of Statistics 17, 1989); groups are as long as the cube root of n.
        """
        count = self.log10_x.size
        groups = count // max(1, int(np.ceil(np.cbrt(count) - 1e-9)))
        if groups < _GROUPS:
            return float("nan"), 0
        group = np.arange(count) * groups // count
        kept = [group != left_out for left_out in range(groups)]
        if any(_distinct(self.log10_x[keep]) < 2 for keep in kept):
            return float("nan"), 0
        values = np.array([self.statistic(self.log10_x[keep], self.log10_loss[keep]) for keep in kept])
        return float((groups - 1) * np.var(values)), groups - 1

    def of(self, statistic: Statistic) -> "Reading":
        """Return another statistic of the same points."""
        return Reading(self.run, self.log10_x, self.log10_loss, statistic)


def gather_runs(table: pd.DataFrame, *, first_step: int, max_params: float | None, source: str) -> tuple[Run, ...]:
    """Return the runs of a table that no gate excludes, in an order that its values alone decide.

    Args:
        table: points with params, step, samples, test_loss and whatever of compute_flops, run, base_seed, seed,
            excluded and the columns in ``FACTORS`` there is.
        first_step: the law's first step.
        max_params: leave out sizes above this; None for none.
        source: the name of the table in messages.

    Raises:
        UserError: a value of the table is not allowed.
    """
    axes = ["step", "samples", *(["compute_flops"] if "compute_flops" in table else [])]
    # Several variants are fine here, and one variant is what the check of a law's points insists on.
    plain = table.drop(columns="variant", errors="ignore").set_axis(pd.RangeIndex(1, len(table) + 1), axis=0)
    points = check_points(plain, source=source, columns=("params", *axes, "test_loss"))
    if "variant" in table:
        points["variant"] = table["variant"].astype(str).to_numpy()
    if "excluded" in points:
        points = points[points["excluded"].fillna("") == ""]
    if max_params is not None:
        points = points[points["params"] <= max_params]
    points = points.sort_values(["step", "samples", "test_loss"], kind="stable")
    names = [name for name in dict.fromkeys(("params", *FACTORS, *CURVE_COLUMNS)) if name in points]
    by_run = points.groupby(names, dropna=False)
    groups = [(dict(zip(names, key, strict=True)), rows) for key, rows in by_run if rows["step"].max() > 0]
    alone = len({label["params"] for label, _ in groups}) == len(groups)
    return tuple(_run(label, rows, axes, first_step, alone=alone) for label, rows in groups)


def _run(label: Mapping[str, Any], rows: pd.DataFrame, axes: Sequence[str], first_step: int, *, alone: bool) -> Run:
    whole = " ".join(f"{name}={value}" for name, value in label.items())
    before = rows.loc[rows["step"] == 0, "test_loss"]
    rows = rows[rows["step"] > 0]
    return Run(
        name=str(label.get("run", label["params"] if alone else whole)),
        params=int(label["params"]),
        base_seed=int(label.get("base_seed", 0)),
        seed=int(label.get("seed", 0)),
        factors={name: label[name] for name in FACTORS if name in label},
        log10_x={name: np.log10(rows[name].to_numpy(dtype=np.float64)) for name in axes},
        log10_loss=np.log10(rows["test_loss"].to_numpy(dtype=np.float64)),
        base_loss=None if before.empty else float(before.mean()),
        in_window=rows["step"].to_numpy() >= first_step,
    )


def slope(run: Run, axis: Axis) -> Reading | None:
    """Return the run's slope k against X from the law's first step on; None with fewer than three different X."""
    log10_x = run.log10_x[axis][run.in_window]
    if _distinct(log10_x) < _FEWEST:
        return None
    return Reading(run, log10_x, run.log10_loss[run.in_window], falling)


def loss_at(run: Run, axis: Axis, place: float) -> Reading | None:
    """Return log10 of the run's loss at log10 X = ``place``, from a line through the points within an octave of it.

    Where fewer than three different X are that near, the neighbouring points are joined by a straight line. None where
    the place lies outside the run.
    """
    log10_x = run.log10_x[axis]
    if not log10_x.min() - 1e-9 <= place <= log10_x.max() + 1e-9:
        return None
    near = np.abs(log10_x - place) <= NEAR + 1e-9
    if _distinct(log10_x[near]) >= _FEWEST:
        return Reading(run, log10_x[near], run.log10_loss[near], _level_at(place))
    order = np.argsort(log10_x, kind="stable")
    return Reading(run, log10_x[order], run.log10_loss[order], lambda u, y: float(np.interp(place, u, y)))


def readings(runs: Iterable[Run], read: Callable[[Run], Reading | None]) -> list[Reading]:
    """Return the readings of the runs that have one."""
    return [reading for run in runs if (reading := read(run)) is not None]


def falling(log10_x: Array, log10_loss: Array) -> float:
    """Return the slope k of least squares: how fast log10 L falls with log10 X."""
    centred = log10_x - log10_x.mean()
    return float(-(centred @ _change(log10_loss)) / (centred @ centred))


def bend(log10_x: Array, log10_loss: Array) -> float:
    """Return how much the local slope k grows from the first to the last X, by a parabola of least squares.

    Zero where X has fewer than three different values.
    """
    centred = log10_x - log10_x.mean()
    square = centred * centred
    square = square - square.mean()
    # What of the square a line does not already explain.
    rest = square - centred * (centred @ square) / (centred @ centred)
    size = float(rest @ rest)
    if size <= 1e-12 * float(square @ square):
        return 0.0
    return float(-2 * (rest @ _change(log10_loss)) / size * (log10_x.max() - log10_x.min()))


def _change(log10_loss: Array) -> Array:
    """Return the change since the first point: exactly zero where the loss stays the same, and so is its slope."""
    return np.asarray(log10_loss - log10_loss[0])


def _level_at(place: float) -> Statistic:
    def level(log10_x: Array, log10_loss: Array) -> float:
        return float(log10_loss.mean()) - falling(log10_x, log10_loss) * (place - float(log10_x.mean()))

    return level


def _distinct(values: Array) -> int:
    return int(np.unique(values).size)
