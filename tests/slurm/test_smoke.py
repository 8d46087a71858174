"""`snakemake --profile slurm` makes the study smoke, and every training gets what its model's placement says."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from rlscale.attempts import attempts
from rlscale.needs import CPU_MEMORY_MB
from tests.slurm.slurm_clone import slurm_arguments, trainings
from tests.workflow.clone import Clone

# Unlike each other in everything: memory and time stated for some, and one run on two nodes.
PLACEMENTS: dict[str, dict[str, Any]] = {
    "q3k": {"gpus_per_node": 1, "cpus_per_node": 2, "memory_gib": 1.5, "runtime_min": 11},
    "q5k": {"gpus_per_node": 4, "cpus_per_node": 1, "runtime_min": 12},
    "q12k": {"nodes": 2, "gpus_per_node": 3, "cpus_per_node": 1, "memory_gib": 1, "runtime_min": 13},
}


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest, pristine: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Return a clone in which the study smoke was made on the cluster. Not to be changed."""
    request.getfixturevalue("cluster")
    clone = pristine.copy(tmp_path_factory.mktemp("slurm") / "clone")
    path, yaml = clone / "config/models/smoke.yaml", YAML()
    ladder = yaml.load(path)
    for name, placement in PLACEMENTS.items():
        ladder["models"][name]["placement"] = {**placement, "reason": "fake GPUs"}
    yaml.dump(ladder, path)
    said = clone.snakemake(*slurm_arguments("smoke"))
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


def test_small_jobs_are_grouped_or_local(made: Clone) -> None:
    from tests.slurm.slurm_clone import allocations

    rules = [job.rule for job in allocations(made.folder)]
    graded = sum("grade" in rule for rule in rules)
    assert graded == 1, "six gradings in one job"
    assert not {"pool", "suites", "curves", "findings", "figure_loss"} & set(rules)


def test_tables_are_those_of_a_laptop(made: Clone, pristine: Clone, tmp_path: Path) -> None:
    laptop = pristine.copy(tmp_path / "laptop")
    laptop.snakemake("smoke")
    for name in ("tables/curves.csv", "tables/ranking.csv", "law/fit.json", "law/findings.json"):
        assert (made / "results/smoke" / name).read_bytes() == (laptop / "results/smoke" / name).read_bytes()
    figures = sorted(path.name for path in (made / "results/smoke/figures").glob("*.png"))
    assert figures == sorted(path.name for path in (laptop / "results/smoke/figures").glob("*.png"))
    assert made.planned("smoke") == {}
