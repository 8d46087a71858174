"""What `rlscale diff` says differs: nothing where nothing does, and exactly what was changed."""

import copy
import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlscale.comparison import (
    RunChange,
    ValueChange,
    compare_cells,
    compare_findings,
    compare_fits,
    compare_scores,
)

NAMES = st.sampled_from(["training", "model", "learning_rate", "seed", "tau", "widths"])
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=3), st.lists(st.integers(), max_size=2)
)
IDENTITIES = st.recursive(LEAVES, lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=8)
CELLS = st.fixed_dictionaries(
    {
        "run": st.just("q3k_base_b0_s0"),
        "fingerprint": st.text("0123456789abcdef", min_size=4, max_size=4),
        "budgets": st.lists(st.integers(1, 9), unique=True).map(sorted),
        "base": st.sampled_from(["b0", "b1"]),
        "identity": st.dictionaries(NAMES, IDENTITIES, max_size=4),
    }
)
FLOATS = st.floats(1e-3, 1e3)


def leaf(values: Any, key: str) -> Any:
    """Return the value under a dotted key; None where there is none, or further keys."""
    for name in key.split("."):
        values = values.get(name) if isinstance(values, dict) else None
    return None if isinstance(values, dict) and values else values


@given(CELLS, CELLS)
def test_cells(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert compare_cells(a, copy.deepcopy(a)) == RunChange(a["run"], "changed")
    there, back = compare_cells(a, b), compare_cells(b, a)
    assert {(one.key, one.after, one.before) for one in map(_hashable, there.identity)} == {
        (one.key, one.before, one.after) for one in map(_hashable, back.identity)
    }
    assert set(there.budgets_added) == set(back.budgets_removed) == set(b["budgets"]) - set(a["budgets"])
    assert bool(there.identity) == ((a["identity"], a["base"]) != (b["identity"], b["base"]))
    for one in there.identity:
        if not one.key.startswith("cell."):
            assert (leaf(a["identity"], one.key), leaf(b["identity"], one.key)) == (one.before, one.after)


def _hashable(change: ValueChange) -> ValueChange:
    return ValueChange(change.key, repr(change.before), repr(change.after))


def test_a_changed_value_is_named() -> None:
    before = {"run": "r", "budgets": [1, 2], "identity": {"training": {"learning_rate": 0.0016, "warmup_steps": 5}}}
    after = {"run": "r", "budgets": [1, 4], "identity": {"training": {"learning_rate": 0.002, "warmup_steps": 5}}}
    assert compare_cells(before, after) == RunChange(
        "r",
        "changed",
        identity=(ValueChange("training.learning_rate", 0.0016, 0.002),),
        budgets_added=(4,),
        budgets_removed=(2,),
    )


def scores(*rows: tuple[int, float, float]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["step", "score", "score_se"])
    return table.assign(suite="heldout", mode="exact", problems=8)


def test_scores_are_measured_in_their_errors() -> None:
    before = scores((0, 0.2, 0.03), (1, 0.3, 0.03), (2, 0.4, 0.0), (3, math.nan, math.nan))
    after = scores((3, math.nan, math.nan), (1, 0.25, 0.04), (0, 0.2, 0.05), (2, 0.4, 0.0), (4, 0.9, 0.1))
    found = compare_scores(before, after)
    assert (found.compared, found.moved, found.unshared) == (4, 1, 1)
    assert found.mean_shift == pytest.approx(-0.05 / 3)
    assert found.largest is not None
    assert (found.largest.step, found.largest.before, found.largest.after) == (1, 0.3, 0.25)
    assert found.largest.standard_errors == pytest.approx(1.0)


def test_a_shift_without_an_error_is_the_largest() -> None:
    found = compare_scores(scores((0, 0.2, 0.0), (1, 0.3, 0.1)), scores((0, 0.2001, 0.0), (1, 0.9, 0.1)))
    assert found.largest is not None
    assert (found.largest.step, found.largest.standard_errors) == (0, None)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=6))
def test_equal_scores_do_not_move(values: list[tuple[float, float]]) -> None:
    table = scores(*((step, *value) for step, value in enumerate(values)))
    found = compare_scores(table, table.iloc[::-1].copy())
    assert (found.compared, found.moved, found.largest, found.unshared) == (len(values), 0, None, 0)


def fit(k_max: float, low: float | None, high: float | None, *, verdict: str = "saturating") -> dict[str, Any]:
    interval = {"estimate": k_max, "low": low, "high": high, "level": 0.9}
    made = {"k_max": interval, "n_0": None, "k": {"3012": interval}}
    common = {"law": "saturating_slope", "points": 9, "saturation": {"verdict": verdict}}
    return {**common, "k_max": k_max, "n_0": None, "k": {"3012": k_max}, "intervals": made}


def test_a_parameter_moves_within_its_interval() -> None:
    before, after = fit(0.112, 0.10, 0.13), fit(0.1192, 0.11, 0.14, verdict="not identified")
    (found,) = compare_fits({"compute_linear": before}, {"compute_linear": after})
    assert found.values == (ValueChange("saturation", "saturating", "not identified"),)  # noqa: PD011
    assert [shift.name for shift in found.parameters] == ["k_max", "k(3012)"]
    assert found.parameters[0].half_widths == pytest.approx(0.4)  # up: against 0.13 − 0.112
    (down,) = compare_fits({"x": before}, {"x": fit(0.106, 0.10, 0.13)})
    assert down.parameters[0].half_widths == pytest.approx(0.5)  # down: against 0.112 − 0.10


@given(FLOATS, FLOATS, st.one_of(st.none(), FLOATS), st.one_of(st.none(), FLOATS))
def test_half_widths(old: float, new: float, below: float | None, above: float | None) -> None:
    low, high = (None if below is None else old - below), (None if above is None else old + above)
    changes = compare_fits({"f": fit(old, low, high)}, {"f": fit(new, None, None)})
    assert compare_fits({"f": fit(old, low, high)}, {"f": fit(old, low, high)}) == []
    for shift in (shift for change in changes for shift in change.parameters):
        half = above if new > old else below
        assert shift.half_widths is None or shift.half_widths >= 0
        assert (shift.half_widths is None) == (half is None and new != old)


def test_a_fit_without_intervals_and_one_that_is_gone() -> None:
    plain = {"law": "saturating_slope", "k_max": 0.1, "n_0": 2e9, "k": {}, "intervals": None, "saturation": None}
    found = compare_fits({"a": plain, "b": plain}, {"a": plain | {"k_max": 0.2}, "c": plain})
    assert [(one.fit, one.state) for one in found] == [("a", "changed"), ("b", "removed"), ("c", "added")]
    assert found[0].parameters[0].half_widths is None


def finding(verdict: str, estimate: float | None = 0.5) -> dict[str, Any]:
    effect = None if estimate is None else {"name": "e", "estimate": estimate, "low": 0.4, "high": 0.6, "level": 0.9}
    return {"id": "claim", "verdict": verdict, "effect": effect, "evidence": f"{estimate}"}


@pytest.mark.parametrize(
    ("before", "after", "changed", "half_widths"),
    [
        (finding("supported"), finding("inconclusive"), True, None),
        (finding("supported"), finding("supported", 0.55), False, 0.5),
        (finding("supported"), finding("not tested", None), True, None),
    ],
)
def test_findings(before: Any, after: Any, changed: bool, half_widths: float | None) -> None:
    (found,) = compare_findings([before], [after])
    assert found.verdict_changed is changed
    if half_widths is not None:
        assert found.effect is not None
        assert found.effect.half_widths == pytest.approx(half_widths)
    assert compare_findings([before], [before | {"evidence": "other words"}]) == []


def test_findings_come_and_go() -> None:
    other = finding("supported") | {"id": "other"}
    found = compare_findings([finding("supported")], [other])
    assert [(one.finding, one.state, one.verdict_before, one.verdict_after) for one in found] == [
        ("claim", "removed", "supported", None),
        ("other", "added", None, "supported"),
    ]
