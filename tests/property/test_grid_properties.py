"""What holds for every grid."""

from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.studies import ladder_values, study_values

from rlscale.grid import Grid, expand
from rlscale.ladder import BuiltLadder
from rlscale.study import TrainedStudy
from rlscale.study_parts import LogSpaced

SUPERVISIONS = {"half": 0.5, "matched": {"small": 1, "large": 0.3}}
LADDER = BuiltLadder.model_validate(ladder_values() | {"supervisions": SUPERVISIONS})


def subset(values: list[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=3, unique_by=repr)


AXES = st.fixed_dictionaries(
    {},
    optional={
        "models": subset(["small", "large"]),
        "variant": subset(["base", "instruct"]),
        "tau": subset([1, 2, 4, 8]),
        "group_size": subset([2, 8, 16]),
        "reward_accuracy": subset([1.0, 0.9, 0.75, 0.0]),
        "families": subset([["chain"], ["sum"], ["sum", "chain"], ["equation", "chain"]]),
        "skill_share": subset([1.0, 0.5, 0.25]),
        "supervision": subset(["full", "half", "matched"]),
        "base_seed": subset([0, 1, 5]),
        "seed": subset([0, 1, 7]),
    },
)
AXIS_NAMES = ["model", "variant", "tau", "reward_accuracy", "families", "supervision", "base_seed", "seed"]
BLOCKS = st.dictionaries(st.sampled_from(["reuse", "reward", "more"]), AXES, max_size=2)


def grid_of(**changes: Any) -> Grid:
    return expand(TrainedStudy.model_validate(study_values(**changes)), LADDER)


@settings(max_examples=40, deadline=None)
@given(law=AXES, blocks=BLOCKS)
def test_ids_and_fingerprints_are_one_to_one_and_sorted(law: dict[str, Any], blocks: dict[str, Any]):
    grid = grid_of(grid={"law": law, **blocks})
    assert list(grid.runs) == sorted(grid.runs)
    assert len({run.fingerprint for run in grid.runs.values()}) == len(grid.runs)
    assert all(run.base_id in grid.bases and run.pool_id in grid.pools for run in grid.runs.values())
    assert all(run.blocks for run in grid.runs.values())
    assert {run.run_id for block in ("law", *blocks) for run in grid.runs_in(block)} == set(grid.runs)


@settings(max_examples=40, deadline=None)
@given(law=AXES, blocks=BLOCKS, data=st.data())
def test_the_order_of_blocks_and_values_is_no_difference(
    law: dict[str, Any], blocks: dict[str, Any], data: st.DataObject
):
    shuffled = {axis: data.draw(st.permutations(values)) for axis, values in law.items()}
    before, after = grid_of(grid={"law": law, **blocks}), grid_of(grid={**blocks, "law": shuffled})
    assert {name: run.identity for name, run in before.runs.items()} == {
        name: run.identity for name, run in after.runs.items()
    }
    assert list(before.runs) == list(after.runs)


@settings(max_examples=40, deadline=None)
@given(law=AXES, offset=st.integers(0, 1000), kind=st.sampled_from(["skills", "programs"]))
def test_a_seed_offset_is_the_same_as_larger_seeds(law: dict[str, Any], offset: int, kind: str):
    if kind == "programs":
        law.pop("families", None)  # it has chains only
    moved = law | {axis: [seed + offset for seed in law.get(axis, [0])] for axis in ("base_seed", "seed")}
    task = {"kind": kind, "seed": offset}
    by_offset = grid_of(grid={"law": law}, task={"kind": kind}, seed_offset=offset)
    by_hand = grid_of(grid={"law": moved}, task=task, evaluation={"seed": offset})
    assert {name: run.fingerprint for name, run in by_offset.runs.items()} == {
        name: run.fingerprint for name, run in by_hand.runs.items()
    }
    assert (by_offset.suites, by_offset.evaluation) == (by_hand.suites, by_hand.evaluation)
    assert {name: base.fingerprint for name, base in by_offset.bases.items()} == {
        name: base.fingerprint for name, base in by_hand.bases.items()
    }


@settings(max_examples=40, deadline=None)
@given(law=AXES, data=st.data())
def test_excluded_and_kept_runs_are_the_whole_product(law: dict[str, Any], data: st.DataObject):
    whole = grid_of(grid={"law": law})
    victim = data.draw(st.sampled_from(list(whole.runs.values())))
    axis = data.draw(st.sampled_from(AXIS_NAMES))
    value = getattr(victim, axis)
    matching = {run.run_id for run in whole.runs.values() if getattr(run, axis) == value}
    if len(matching) == len(whole.runs):
        return
    where = {axis: list(value) if axis == "families" else value}
    grid = grid_of(grid={"law": law}, exclude=[{"where": where, "reason": "because"}])
    assert {run_id for run_id, _ in grid.excluded} == matching
    assert set(grid.runs) == set(whole.runs) - matching


@given(first=st.integers(1, 50), length=st.integers(1, 5000), data=st.data())
def test_log_spaced_budgets_rise_from_first_to_last_in_count_steps(first: int, length: int, data: st.DataObject):
    count = data.draw(st.integers(2, min(length + 1, 60)))
    steps = LogSpaced(first=first, last=first + length, count=count).steps
    assert (steps[0], steps[-1], len(steps)) == (first, first + length, count)
    assert all(later > earlier for earlier, later in pairwise(steps))
