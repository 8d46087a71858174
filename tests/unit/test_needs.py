"""What jobs ask a cluster for, by the placements of their models."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.studies import ladder_values, study_values

from rlscale.config import find_study, load_grid
from rlscale.grid import Grid, Run, expand
from rlscale.ladder import BuiltLadder, HubLadder, Ladder
from rlscale.needs import ON_ONE_CPU, RESOURCES, Needs, evaluation_needs, training_needs
from rlscale.price import Price, grid_price
from rlscale.study import TrainedStudy

ROOT = Path(__file__).resolve().parents[2]
counts = st.integers(1, 64)


@pytest.fixture(scope="module")
def paper() -> tuple[Ladder, Grid, Price, TrainedStudy]:
    study, ladder, grid = load_grid(find_study("paper-63"))
    return ladder, grid, grid_price(study, ladder, grid), study


@given(needs=st.builds(Needs, counts, st.integers(0, 8), counts, counts, counts, counts), attempt=st.integers(1, 9))
def test_an_attempt_asks_for_more_time_and_memory_and_for_the_same_machines(needs: Needs, attempt: int) -> None:
    first, later = needs.resources(1), needs.resources(attempt)
    assert tuple(first) == RESOURCES
    for name in set(RESOURCES) - {"mem_mb", "runtime"}:
        assert first[name] == later[name]
    for name, planned in (("mem_mb", needs.memory_mb), ("runtime", needs.runtime_min)):
        assert first[name] == planned
        assert planned * (1 + (attempt - 1) / 2) <= later[name] < planned * (1 + (attempt - 1) / 2) + 1  # type: ignore[operator]


@given(needs=st.builds(Needs, counts, st.integers(0, 8), counts, counts, counts, counts))
def test_slurm_starts_a_job_once_whatever_it_occupies(needs: Needs) -> None:
    asked = needs.resources(1)
    assert asked["tasks_per_gpu"] == 0, "or the plugin asks for a task a GPU"
    assert asked["gpu"] == needs.nodes * needs.gpus_per_node
    assert asked["gres"] == (f"gpu:{needs.gpus_per_node}" if needs.gpus_per_node else None)
    across = (asked["mpi"], asked["tasks"])
    assert across == (("srun", needs.nodes) if needs.nodes > 1 else (None, None))


def test_without_a_placement_one_cpu_is_enough() -> None:
    ladder, study = BuiltLadder.model_validate(ladder_values()), TrainedStudy.model_validate(study_values())
    grid = expand(study, ladder)
    run = next(iter(grid.runs.values()))
    assert training_needs(run, ladder, grid_price(study, ladder, grid)) == ON_ONE_CPU
    assert evaluation_needs(run, ladder, "local") == ON_ONE_CPU


def test_a_placement_says_what_is_asked_for() -> None:
    placement = {"nodes": 2, "gpus_per_node": 3, "cpus_per_node": 5, "memory_gib": 1.5, "runtime_min": 7, "reason": "-"}
    values: dict[str, Any] = ladder_values()
    for shape in values["models"].values():
        shape["placement"] = placement
    ladder, study = BuiltLadder.model_validate(values), TrainedStudy.model_validate(study_values())
    grid = expand(study, ladder)
    run = next(iter(grid.runs.values()))
    found = training_needs(run, ladder, grid_price(study, ladder, grid))
    assert (found.nodes, found.gpus_per_node, found.cpus_per_node) == (2, 3, 5)
    assert (found.memory_mb, found.runtime_min) == (1536, 7)


def longest_run(grid: Grid, price: Price, model: str) -> Run:
    runs = [run for run in grid.runs.values() if run.model == model]
    return max(runs, key=lambda run: price.placed[run.run_id].wall_hours)


def test_the_documented_table_is_what_is_asked_for(paper: tuple[Ladder, Grid, Price, TrainedStudy]) -> None:
    ladder, grid, price, _ = paper
    written = (ROOT / "docs/placement.md").read_text()
    for model in ladder.models:
        asked = training_needs(longest_run(grid, price, model), ladder, price)
        where = f"{asked.nodes} × {asked.gpus_per_node} | {asked.cpus_per_node}"
        row = f"| {model} | {where} | {asked.memory_mb / 1024:.0f} | {asked.runtime_min / 60:.0f} |"
        assert row in written


def test_an_engine_answers_on_its_own_gpus(paper: tuple[Ladder, Grid, Price, TrainedStudy]) -> None:
    ladder, grid, price, study = paper
    assert isinstance(ladder, HubLadder)
    for model, described in ladder.models.items():
        assert described.placement is not None
        asked = evaluation_needs(longest_run(grid, price, model), ladder, study.evaluator)
        assert (asked.nodes, asked.gpus_per_node) == (1, described.placement.engine_gpus)
