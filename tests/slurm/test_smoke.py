"""`snakemake --profile slurm` makes the study smoke, and every training gets what its model's placement says."""

from concurrent.futures import Future
from pathlib import Path

import pytest

from rlscale.attempts import attempts
from rlscale.needs import CPU_MEMORY_MB
from tests.slurm.conftest import PLACEMENTS
from tests.slurm.slurm_clone import allocations, slurm_arguments, trainings
from tests.workflow.clone import Clone


@pytest.fixture(scope="module")
def made(smoke_being_made: Future[tuple[Clone, str]]) -> Clone:
    """Return a clone in which the study smoke was made on the cluster. Not to be changed."""
    clone, said = smoke_being_made.result()
    assert "Slurm jobs are followed with squeue." in said
    return clone


def test_every_training_gets_what_its_placement_says(made: Clone) -> None:
    found = {job.wildcards.removeprefix("smoke_"): job for job in trainings(made)}
    runs = {folder.name for folder in (made / "results/smoke/runs").iterdir()}
    assert set(found) == runs
    assert len(runs) == 6
    for run, job in found.items():
        asked = PLACEMENTS[run.split("_")[0]]
        nodes = asked.get("nodes", 1)
        assert job.state == "COMPLETED"
        assert (job.nodes, job.gpus_per_node, job.cpus) == (
            nodes,
            asked["gpus_per_node"],
            nodes * asked["cpus_per_node"],
        )
        assert job.memory_mb_per_node == (asked["memory_gib"] * 1024 if "memory_gib" in asked else CPU_MEMORY_MB)
        assert job.limit_min == asked["runtime_min"]


def test_every_training_ran_once(made: Clone) -> None:
    assert [job.restarts for job in trainings(made)] == [0] * 6
    for run in (made / "results/smoke/resume").iterdir():
        (state,) = run.iterdir()
        assert [attempt.outcome for attempt in attempts(state)] == ["done"], run.name


def test_small_jobs_run_beside_snakemake(made: Clone) -> None:
    rules = {job.rule for job in allocations(made.folder)}
    assert rules == {"base", "train", "evaluate", "grade", "law", "compare", "sensitivity"}


def test_small_runs_go_together_into_one_job(pristine: Clone, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    request.getfixturevalue("cluster")
    clone = pristine.copy(tmp_path / "clone")
    runs = [f"{model}_base_b0_s0" for model in ("q3k", "q5k", "q12k")]
    before = [f"results/smoke/models/{run.removesuffix('_s0')}.record.json" for run in runs]
    clone.snakemake(*before, "results/smoke/data/pools/chain.parquet", "results/smoke/data/suites.parquet")
    scores = [f"results/smoke/runs/{run}/scores.parquet" for run in runs]
    together = ["--groups", "train=run", "evaluate=run", "grade=run", "--group-components", "run=3"]
    clone.snakemake(*slurm_arguments(*scores), *together)
    (job,) = allocations(clone.folder)
    assert (job.state, job.nodes, job.cpus) == ("COMPLETED", 1, 2)  # as many at a time as --cores says
    assert all((clone / path).is_file() for path in scores)


def test_tables_are_those_of_a_laptop(made: Clone, pristine: Clone, tmp_path: Path) -> None:
    laptop = pristine.copy(tmp_path / "laptop")
    laptop.snakemake("smoke")
    for name in ("tables/curves.csv", "tables/ranking.csv", "law/fit.json", "law/findings.json"):
        assert (made / "results/smoke" / name).read_bytes() == (laptop / "results/smoke" / name).read_bytes()
    figures = sorted(path.name for path in (made / "results/smoke/figures").glob("*.png"))
    assert figures == sorted(path.name for path in (laptop / "results/smoke/figures").glob("*.png"))
    assert made.planned("smoke") == {}
