"""Effects with the right error: what would scatter if the study were repeated.

The unit is the base model, or the training seed where a study has one base model only. Runs of different sizes start
from different base models; arms of a factor start from the same ones and are paired. Where a comparison has one run an
arm, another error stands in and is named: the scatter of sizes (or levels) around a line, the spread between base
models of the study's replicated sizes, and last the steps within the runs, which know nothing of other runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import stdtr, stdtrit

from rlscale.findings.runs import Reading
from rlscale.laws import Array
from rlscale.uncertainty import LEVEL

_MANY = 1000  # repetitions beyond which more of them is no advice
_ROUNDING = 1e-9  # errors below this, in log10 loss, are rounding

Basis = Literal["replicates", "scatter", "borrowed", "within"]
Contrast = Sequence[tuple[float, Reading]]
"""A weighted sum of readings."""


@dataclass(frozen=True)
class Estimate:
    """An effect and what its error is made of.

    Attributes:
        value: the effect.
        error: its standard error; NaN where there is none.
        freedom: degrees of freedom of the error; 0 where there is none.
        units: how many units (see ``unit``) went into it, by arm.
        unit: what is counted, for example "base models a size".
        basis: replicates, or what stands in for them.
        note: what the error is made of, in words.
    """

    value: float
    error: float
    freedom: int
    units: int
    unit: str
    basis: Basis
    note: str

    @property
    def between_runs(self) -> bool:
        """Whether the error holds the variation between runs, so that a verdict may rest on it."""
        return self.basis != "within"

    def bounds(self, tests: int = 1) -> tuple[float | None, float | None]:
        """Return the t interval at ``LEVEL``, for ``tests`` effects at once (Bonferroni); None without an error."""
        if self.freedom < 1:
            return None, None
        reach = float(stdtrit(self.freedom, 1 - (1 - LEVEL) / (2 * tests))) * self.error
        return self.value - reach, self.value + reach

    def below(self, limit: float) -> float:
        """Return the p-value against "the effect is at least ``limit``"."""
        return float(stdtr(self.freedom, self._distance(limit)))

    def above(self, limit: float) -> float:
        """Return the p-value against "the effect is at most ``limit``"."""
        return float(stdtr(self.freedom, -self._distance(limit)))

    def within(self, margin: float) -> float:
        """Return the p-value of two one-sided tests for "the effect lies within ± ``margin``"."""
        return max(self.below(margin), self.above(-margin))

    def beyond(self, margin: float) -> float:
        """Return the p-value against "the effect lies within ± ``margin``", exact at the margin."""
        away = replace(self, value=abs(self.value))
        return min(1.0, away.above(margin) + away.above(-margin))

    def needed(self, distance: float, alpha: float) -> int | None:
        """Return how many units would tell the effect from a boundary at ``distance``, two-sided; None for over 1,000.

        The error shrinks with the root of the number, and the t quantile with its degrees of freedom.
        """
        number = np.arange(self.units + 1, _MANY + 1, dtype=np.float64)
        if self.basis == "scatter":
            freedom = self.freedom + number - self.units
        elif self.basis == "replicates" and self.units > 1:
            freedom = self.freedom * (number - 1) / (self.units - 1)
        else:
            freedom = number - 1
        reach = stdtrit(freedom, 1 - alpha / 2) * self.error * np.sqrt(self.units / number)
        enough = number[reach < distance]
        return int(enough[0]) if enough.size else None

    def _distance(self, limit: float) -> float:
        return (self.value - limit) / max(self.error, _ROUNDING)


@dataclass(frozen=True)
class Spread:
    """How far readings of one kind scatter between units (base models) of a size, pooled over sizes."""

    sd: float
    freedom: int
    sizes: int
    unit: str


@dataclass(frozen=True)
class _Cells:
    """Readings by size and unit: training seeds of one base model are averaged where there are several base models."""

    params: Array
    unit: Array
    value: Array
    readings: tuple[Sequence[Reading], ...]
    word: str

    @property
    def sizes(self) -> Array:
        return np.unique(self.params)

    @property
    def means(self) -> Array:
        return np.array([self.value[self.params == size].mean() for size in self.sizes])

    @property
    def freedom(self) -> int:
        return int(self.value.size - self.sizes.size)


def _cells(items: Sequence[Reading]) -> _Cells:
    by_base: dict[int, set[int]] = {}
    for item in items:
        by_base.setdefault(item.run.params, set()).add(item.run.base_seed)
    several = any(len(seeds) > 1 for seeds in by_base.values())
    grouped: dict[tuple[int, int], list[Reading]] = {}
    for item in items:
        unit = item.run.base_seed if several else item.run.seed
        grouped.setdefault((item.run.params, unit), []).append(item)
    keys = sorted(grouped)
    return _Cells(
        params=np.array([key[0] for key in keys], dtype=np.float64),
        unit=np.array([key[1] for key in keys], dtype=np.float64),
        value=np.array([np.mean([item.value for item in grouped[key]]) for key in keys]),
        readings=tuple(grouped[key] for key in keys),
        word="base models" if several else "training seeds",
    )


def spread(items: Sequence[Reading]) -> Spread | None:
    """Return the spread between units of one size; None where fewer than two degrees of freedom tell it."""
    cells = _cells(items) if items else None
    if cells is None or cells.freedom < 2:
        return None
    off = cells.value - cells.means[np.searchsorted(cells.sizes, cells.params)]
    repeated = sum(int((cells.params == size).sum() > 1) for size in cells.sizes)
    return Spread(float(np.sqrt(off @ off / cells.freedom)), cells.freedom, repeated, cells.word)


def over_sizes(
    items: Sequence[Reading], of_size: Callable[[Array], Array] | None, *, paired: bool = False
) -> Estimate | None:
    """Estimate the mean over the sizes, or the slope of a line through them.

    With two or more degrees of freedom among base models of a size, the error is theirs. Else the scatter of the sizes
    around the mean or the line is the error: it holds the variation between runs, and the misfit of the line. Base
    models of different sizes are taken as independent even where they share a base_seed, unless ``paired``: a mean
    cannot be rid of what they share.

    Args:
        items: one reading a run.
        of_size: the abscissa of the line from log10 of the sizes; None for the mean.
        paired: take out what base models of one base_seed share across sizes (a randomised block design).

    Returns:
        None with fewer sizes than parameters.
    """
    if not items:
        return None
    cells = _cells(items)
    sizes, means = cells.sizes, cells.means
    columns = [np.ones_like(sizes)] if of_size is None else [np.ones_like(sizes), of_size(np.log10(sizes))]
    if sizes.size < len(columns):
        return None
    design = np.stack(columns, axis=1)
    weights = np.linalg.pinv(design)[-1]
    counts = np.array([int((cells.params == size).sum()) for size in sizes])
    if cells.freedom >= 2:
        value, error, freedom = _replicated(cells, weights, paired=paired)
        each = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
        note = f"error from the spread of {each} {cells.word} a size ({freedom} df)"
        return Estimate(value, error, freedom, int(counts.min()), f"{cells.word} a size", "replicates", note)
    value = float(weights @ means)
    if sizes.size > len(columns):
        return _scattered(value, design, means, "sizes")
    # Without two degrees of freedom a size may still have two units; they are averaged, and so are their steps' errors.
    shares = weights[np.searchsorted(sizes, cells.params)] / counts[np.searchsorted(sizes, cells.params)]
    terms = [
        (share / len(own), item) for share, own in zip(shares.tolist(), cells.readings, strict=True) for item in own
    ]
    return _within(value, terms)


def over_levels(levels: Array, items: Sequence[Reading]) -> Estimate:
    """Estimate the slope of a line through single runs at four or more levels, from their scatter around it."""
    design = np.stack([np.ones_like(levels), levels], axis=1)
    values = np.array([item.value for item in items])
    return _scattered(float(np.linalg.pinv(design)[-1] @ values), design, values, "levels")


def over_blocks(contrasts: Sequence[Contrast], borrowed: Spread | None, *, unit: str) -> Estimate:
    """Estimate the mean of one contrast a block, where a block is one base model in all arms (a paired t test).

    Args:
        contrasts: one a block, all of the same meaning.
        borrowed: the spread that stands in where there is one block. It is taken as if the arms had different base
            models, which overstates the error: what arms of one base model share cancels from their difference.
        unit: what a block is, for example "base models".
    """
    values = np.array([sum(weight * item.value for weight, item in contrast) for contrast in contrasts])
    value, count = float(values.mean()), values.size
    if count > 1:
        error = float(values.std(ddof=1) / np.sqrt(count))
        note = f"error from {count} {unit}, each in all arms ({count - 1} df)"
        return Estimate(value, error, count - 1, count, f"{unit} an arm", "replicates", note)
    terms = contrasts[0]
    if borrowed is not None:
        by_run: dict[str, float] = {}
        for weight, item in terms:
            by_run[item.run.name] = by_run.get(item.run.name, 0.0) + abs(weight)
        error = borrowed.sd * float(np.sqrt(sum(total**2 for total in by_run.values())))
        plural = "s" if borrowed.sizes > 1 else ""
        note = (
            f"one run an arm: the spread between {borrowed.unit} of {borrowed.sizes} replicated size{plural} stands in "
            f"for the error (sd {borrowed.sd:.3g}, {borrowed.freedom} df)"
        )
        return Estimate(value, error, borrowed.freedom, 1, f"{borrowed.unit} an arm", "borrowed", note)
    return _within(value, terms)


def _replicated(cells: _Cells, weights: Array, *, paired: bool) -> tuple[float, float, int]:
    """Return the weighted sum of the sizes' means, its error and degrees of freedom."""
    size = (cells.params[:, None] == cells.sizes).astype(np.float64)
    unit = (cells.unit[:, None] == np.unique(cells.unit)[1:]).astype(np.float64)
    both = np.concatenate([size, unit], axis=1)
    rank = int(np.linalg.matrix_rank(both))
    # Pairing needs units that connect the sizes, and something left to estimate the error from.
    usable = rank == both.shape[1] and cells.value.size - rank >= 2
    design = both if paired and usable else size
    inverse = np.linalg.pinv(design.T @ design)
    coefficients = inverse @ design.T @ cells.value
    full = np.concatenate([weights, np.zeros(design.shape[1] - weights.size)])
    residual = cells.value - design @ coefficients
    freedom = cells.value.size - design.shape[1]
    error = np.sqrt(residual @ residual / freedom * (full @ inverse @ full))
    return float(full @ coefficients), float(error), freedom


def _scattered(value: float, design: Array, means: Array, word: str) -> Estimate:
    freedom = means.size - design.shape[1]
    inverse = np.linalg.pinv(design)
    residual = means - design @ (inverse @ means)
    error = float(np.sqrt(residual @ residual / freedom * (inverse[-1] @ inverse[-1])))
    shape = "their mean" if design.shape[1] == 1 else "the line"
    note = f"error from the scatter of {means.size} {word}, one run each, around {shape} ({freedom} df)"
    return Estimate(value, error, freedom, means.size, word, "scatter", note)


def _within(value: float, terms: Contrast) -> Estimate:
    freedom = min(item.within[1] for _, item in terms)
    error = float(np.sqrt(sum(weight**2 * item.within[0] for weight, item in terms)))
    note = (
        "one run an arm: the interval is of the steps within these runs only, the variation between runs is not in it"
        if freedom
        else "one run an arm, and too few steps for an interval"
    )
    return Estimate(value, error, freedom, 1, "runs an arm", "within", note)
