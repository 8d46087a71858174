"""What differs between two results of a study, and by how much against their own errors.

Runs are compared by what they are (the values of ``cell.json``), by their weights and by their scores; fits by their
parameters, findings by their verdicts. A score's shift is measured in standard errors, a parameter's in the half-width
of the first result's interval. Values and tables in, dataclasses out.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

State = Literal["added", "removed", "changed"]

_PARAMETERS = ("k_max", "n_0")
_OF_FIT = ("law", "loss", "x", "first_steps", "max_params", "points")
_SCORE_KEYS = ["step", "suite", "mode"]


@dataclass(frozen=True)
class ValueChange:
    """A value before and after; None where there is none."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True)
class ScoreShift:
    """A score that moved; ``standard_errors`` is |after − before| in their joint error, None where neither has one."""

    step: int
    suite: str
    mode: str
    before: float
    after: float
    standard_errors: float | None


@dataclass(frozen=True)
class ScoreChanges:
    """How the scores of a run moved.

    Attributes:
        compared: scores that both have.
        moved: those that are not equal.
        mean_shift: mean of after − before over all compared; None where none is compared.
        largest: the one that moved by the most standard errors; None where none moved.
        unshared: scores that only one of the two has.
    """

    compared: int
    moved: int
    mean_shift: float | None
    largest: ScoreShift | None
    unshared: int


@dataclass(frozen=True)
class RunChange:
    """A run that differs.

    Attributes:
        run: its id.
        state: added, removed or changed.
        identity: values of ``cell.json`` that differ, by dotted key.
        budgets_added: steps planned only after.
        budgets_removed: steps planned only before.
        weights: steps whose checkpoints both have, with other weights.
        scores: how scores moved; None where the tables are the same, or one is missing.
    """

    run: str
    state: State
    identity: tuple[ValueChange, ...] = ()
    budgets_added: tuple[int, ...] = ()
    budgets_removed: tuple[int, ...] = ()
    weights: tuple[int, ...] = ()
    scores: ScoreChanges | None = None

    @property
    def scores_only(self) -> bool:
        """Whether nothing but scores differs: the same model was asked or graded otherwise."""
        others = (self.identity, self.budgets_added, self.budgets_removed, self.weights)
        return self.state == "changed" and self.scores is not None and not any(others)


@dataclass(frozen=True)
class Shift:
    """A number with its interval, before and after.

    Attributes:
        name: of the number.
        before: estimate, low, high; ends are None where there is no interval or it is open.
        after: the same.
        half_widths: |after − before| against the half of the first interval on that side; None without one.
    """

    name: str
    before: tuple[float | None, float | None, float | None]
    after: tuple[float | None, float | None, float | None]
    half_widths: float | None


@dataclass(frozen=True)
class FitChange:
    """A fit that differs: what was fitted, its verdict on saturation, its parameters."""

    fit: str
    state: State
    values: tuple[ValueChange, ...] = ()
    parameters: tuple[Shift, ...] = ()


@dataclass(frozen=True)
class FindingChange:
    """A finding that differs in its verdict or its effect."""

    finding: str
    state: State
    verdict_before: str | None
    verdict_after: str | None
    effect: Shift | None = None

    @property
    def verdict_changed(self) -> bool:
        """Whether the verdict is another one."""
        return self.verdict_before != self.verdict_after


def compare_cells(before: Mapping[str, Any], after: Mapping[str, Any]) -> RunChange:
    """Return how the cells of one run differ in identity and budgets."""
    old, new = (set(cell.get("budgets", ())) for cell in (before, after))
    return RunChange(
        run=str(after.get("run")),
        state="changed",
        identity=tuple(_value_changes(_identity(before), _identity(after))),
        budgets_added=tuple(sorted(new - old)),
        budgets_removed=tuple(sorted(old - new)),
    )


def compare_scores(before: pd.DataFrame, after: pd.DataFrame) -> ScoreChanges:
    """Return how the scores of a run moved (columns step, suite, mode, score, score_se)."""
    columns = [*_SCORE_KEYS, "score", "score_se"]
    merged = before[columns].merge(after[columns], on=_SCORE_KEYS, how="outer", suffixes=("_a", "_b"), indicator=True)
    both = merged[merged["_merge"] == "both"]
    shifts = [
        ScoreShift(
            step=int(row["step"]),
            suite=str(row["suite"]),
            mode=str(row["mode"]),
            before=float(row["score_a"]),
            after=float(row["score_b"]),
            standard_errors=_in_errors(row["score_b"] - row["score_a"], row["score_se_a"], row["score_se_b"]),
        )
        for row in both.to_dict("records")
        if row["score_a"] != row["score_b"] and not (math.isnan(row["score_a"]) and math.isnan(row["score_b"]))
    ]
    return ScoreChanges(
        compared=len(both),
        moved=len(shifts),
        mean_shift=float((both["score_b"] - both["score_a"]).mean()) if len(both) else None,
        largest=max(shifts, key=lambda shift: _or_infinite(shift.standard_errors)) if shifts else None,
        unshared=len(merged) - len(both),
    )


def compare_fits(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[FitChange]:
    """Return the fits (by name, as in ``fit.json``) that differ."""
    changes = []
    for name, state in _states(before, after):
        if state != "changed":
            changes.append(FitChange(name, state))
            continue
        old, new = before[name], after[name]
        values = [ValueChange(key, old.get(key), new.get(key)) for key in _OF_FIT if old.get(key) != new.get(key)]
        verdicts = [(fit.get("saturation") or {}).get("verdict") for fit in (old, new)]
        if verdicts[0] != verdicts[1]:
            values.append(ValueChange("saturation", *verdicts))
        old_numbers, new_numbers = _parameters(old), _parameters(new)
        shifts = [
            _shift(key, old_numbers.get(key, _NOTHING), new_numbers.get(key, _NOTHING))
            for key in dict.fromkeys([*old_numbers, *new_numbers])
            if old_numbers.get(key) != new_numbers.get(key)
        ]
        changes.append(FitChange(name, state, tuple(values), tuple(shifts)))
    return changes


def compare_findings(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> list[FindingChange]:
    """Return the findings that differ in verdict or effect; one whose wording alone differs is not among them."""
    old, new = ({finding["id"]: finding for finding in findings} for findings in (before, after))
    changes = []
    for name, state in _states(old, new):
        verdicts = [None if one is None else str(one["verdict"]) for one in (old.get(name), new.get(name))]
        effects = [_estimate((one or {}).get("effect")) for one in (old.get(name), new.get(name))]
        moved = state == "changed" and effects[0] != effects[1]
        effect = new.get(name, {}).get("effect") or old.get(name, {}).get("effect") or {}
        if moved or verdicts[0] != verdicts[1]:
            shift = _shift(effect.get("name", "effect"), *effects) if moved else None
            changes.append(FindingChange(name, state, verdicts[0], verdicts[1], shift))
    return changes


_NOTHING: tuple[float | None, float | None, float | None] = (None, None, None)


def _states(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, State]]:
    """Yield the keys whose values differ, those of ``before`` first."""
    for key in dict.fromkeys([*before, *after]):
        if key not in after:
            yield key, "removed"
        elif key not in before:
            yield key, "added"
        elif before[key] != after[key]:
            yield key, "changed"


def _identity(cell: Mapping[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in cell.items() if key not in {"identity", "budgets", "fingerprint", "run"}}
    return dict(_flat(cell.get("identity", {}))) | {f"cell.{key}": value for key, value in _flat(rest)}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _value_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[ValueChange]:
    for key, _ in _states(before, after):
        yield ValueChange(key, before.get(key), after.get(key))


def _parameters(fit: Mapping[str, Any]) -> dict[str, tuple[float | None, float | None, float | None]]:
    """Return the parameters of a fit and its slope k at each size, with intervals where there are any."""
    intervals = fit.get("intervals") or {}
    found = {name: _estimate(intervals.get(name), fit.get(name)) for name in _PARAMETERS if name in fit}
    slopes = intervals.get("k") or {}
    return found | {f"k({size})": _estimate(slopes.get(size), slope) for size, slope in fit.get("k", {}).items()}


def _estimate(
    interval: Mapping[str, Any] | None, estimate: float | None = None
) -> tuple[float | None, float | None, float | None]:
    if interval is None:
        return estimate, None, None
    return interval.get("estimate", estimate), interval.get("low"), interval.get("high")


def _shift(
    name: str,
    before: tuple[float | None, float | None, float | None],
    after: tuple[float | None, float | None, float | None],
) -> Shift:
    """Return a shift; intervals need not be symmetric, so the half that the number moved into is its measure."""
    (old, low, high), new = before, after[0]
    half_widths = None
    if old is not None and new is not None:
        end = high if new > old else low
        half = None if end is None else abs(end - old)
        half_widths = 0.0 if new == old else abs(new - old) / half if half else None
    return Shift(name, before, after, half_widths)


def _in_errors(shift: float, *errors: float) -> float | None:
    joint = math.hypot(*(error for error in errors if math.isfinite(error)))
    return abs(shift) / joint if joint > 0 and math.isfinite(shift) else None


def _or_infinite(value: float | None) -> float:
    return math.inf if value is None else value
