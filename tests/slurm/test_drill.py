"""Faults of a cluster in the middle of a training: each ends with the tables of a training that nobody disturbed."""

import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import pandas as pd
import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.daemons import wait_until
from tests.slurm.drill import (
    BEFORE,
    BUDGETS,
    CURVES,
    LAST,
    MIDDLE,
    RESULTS,
    RUN,
    STEPS,
    STUDY,
    Drill,
    Outcome,
    one_run,
    outcome,
    slow_down,
    table,
)
from tests.slurm.slurm_clone import slurm, trainings
from tests.workflow.clone import REPOSITORY, Clone, files_below, steps_table

TABLE = REPOSITORY / "slurm-drill.md"
BREAKABLE = threading.Lock()  # node n2 breaks for one at a time
MOST_LOST_STEPS = 40  # states are saved every 0.2 s, steps take 0.05 s and more


@pytest.fixture(scope="module")
def prepared(pristine: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    clone = pristine.copy(tmp_path_factory.mktemp("prepared") / "clone")
    clone.change_study(one_run, to="drill.yaml")
    clone.snakemake(*BEFORE, *STUDY)
    return clone


@pytest.fixture(scope="module")
def undisturbed(prepared: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    clone = prepared.copy(tmp_path_factory.mktemp("undisturbed") / "clone")
    clone.snakemake(CURVES, *STUDY)
    return clone


def cancelled(drill: Drill, _: Cluster) -> str:
    snakemake = drill.start()
    slurm("scancel", drill.wait_for_step(MIDDLE).job_id)
    wait_until(lambda: not drill.jobs(), "the job is cancelled", 60)
    drill.go()
    drill.finish(snakemake)
    return "submitted again"


def out_of_time(drill: Drill, _: Cluster) -> str:
    drill.place(runtime_min=1)
    drill.before_step("if step == 100 and once(step): time.sleep(600)")  # Slurm looks at the clock twice a minute
    drill.finish(drill.start())
    first, second = (job.limit_min for job in trainings(drill.clone))
    assert (first, second) == (1, 2)
    return "submitted again with half as much time again (1 min, then 2)"


def preempted(drill: Drill, _: Cluster) -> str:
    drill.place(memory_gib=11)
    drill.options = ("--set-resources", "train:slurm_partition=scavenge")
    snakemake = drill.start()
    job = drill.wait_for_step(MIDDLE)
    more_important = ["--partition=gpu", "--nodelist", job.nodes, "--mem=9000", "--time=5"]
    slurm("sbatch", *more_important, "--output=/dev/null", "--wrap", "sleep 5")
    wait_until(lambda: trainings(drill.clone)[0].restarts == 1, "the job is requeued", 60)
    drill.go()
    drill.finish(snakemake)
    return "requeued by Slurm"


def killed_and_cancelled(drill: Drill, _: Cluster) -> str:
    snakemake = drill.start()
    job = drill.wait_for_step(MIDDLE)
    drill.kill(snakemake)
    locked = drill.start()
    assert "--unlock" in locked.communicate()[0]
    drill.unlock()
    refused = drill.start()
    said = refused.communicate()[0]
    assert refused.returncode != 0
    assert f"{job.job_id}  RUNNING  train drill_{RUN}" in said
    assert "rlscale jobs --cancel" in said
    assert drill.clone.rlscale("jobs", "--cancel").returncode == 0
    drill.go()
    drill.finish(drill.start())
    return "the restart was refused and named the job; `rlscale jobs --cancel`; submitted again"


def killed_and_waited_for(drill: Drill, _: Cluster) -> str:
    snakemake = drill.start()
    drill.wait_for_step(MIDDLE)
    drill.kill(snakemake)
    drill.unlock()
    refused = drill.start()
    assert "still live" in refused.communicate()[0]
    drill.go()
    assert drill.clone.rlscale("jobs", "--wait").returncode == 0
    assert "Nothing to be done" in drill.finish(drill.start())
    return "the restart was refused; `rlscale jobs --wait`; nothing was left to do"


def killed_and_found_finished(drill: Drill, _: Cluster) -> str:
    snakemake = drill.start()
    drill.wait_for_step(MIDDLE)
    drill.kill(snakemake)
    drill.go()
    wait_until(lambda: not drill.jobs(), "the orphan ends", 120)
    drill.unlock()
    assert "Nothing to be done" in drill.finish(drill.start())
    return "the orphan finished; nothing was left to do"


def interrupted(drill: Drill, _: Cluster) -> str:
    snakemake = drill.start()
    drill.wait_for_step(MIDDLE)
    drill.interrupt(snakemake)
    wait_until(lambda: not drill.jobs(), "Ctrl-C cancels the job", 60)
    drill.go()
    drill.finish(drill.start())
    return "Ctrl-C cancelled the job; submitted again"


def failing_twice(drill: Drill, _: Cluster) -> str:
    drill.place(memory_gib=1, runtime_min=10)
    drill.before_step("if step in (60, 150) and once(step): 1 / 0")
    drill.finish(drill.start())
    asked = [(job.memory_mb_per_node, job.limit_min) for job in trainings(drill.clone)]
    assert asked == [(1024, 10), (1536, 15), (2048, 20)]
    return "submitted again twice, each time with half as much memory and time more"


def node_down(drill: Drill, _: Cluster) -> str:
    drill.options = ("--set-resources", "train:slurm_partition=fragile")
    with BREAKABLE:
        snakemake = drill.start()
        assert drill.wait_for_step(MIDDLE).nodes == "n2"
        slurm("scontrol", "update", "NodeName=n2", "State=DOWN", "Reason=drill")
        wait_until(lambda: trainings(drill.clone)[0].restarts == 1, "the job is requeued", 60)
        drill.go()
        drill.finish(snakemake)
    return "requeued by Slurm on another node"


def node_lost(drill: Drill, cluster: Cluster) -> str:
    drill.options = ("--set-resources", "train:slurm_partition=fragile")
    with BREAKABLE:
        wait_until(lambda: cluster.states().get("n2") == "idle", "n2 is back", 60)
        snakemake = drill.start()
        assert drill.wait_for_step(MIDDLE).nodes == "n2"
        cluster.lose_node("n2")
        wait_until(
            lambda: [job.nodes for job in drill.jobs() if job.state == "RUNNING"] in (["n0"], ["n1"]),
            "it runs elsewhere",
            120,
        )
        drill.go()
        try:
            drill.finish(snakemake)
        finally:
            cluster.start_node("n2")
    return "requeued by Slurm on another node, while the old processes ran on: the new ones waited for the lock"


def controller_restarted(drill: Drill, cluster: Cluster) -> str:
    snakemake = drill.start()
    drill.wait_for_step(MIDDLE)
    cluster.stop_controller()
    time.sleep(5)
    cluster.start_controller()
    drill.go()
    drill.finish(snakemake)
    return "the job ran on"


Fault = Callable[[Drill, Cluster], str]
SELF_PACED = (out_of_time, failing_twice)


# The long ones first. Alone are the fault of the whole cluster, and that which the others' jobs would cause again.
TOGETHER: dict[str, Fault] = {
    "walltime": out_of_time,
    "node set down": node_down,
    "node out of reach, its processes alive": node_lost,
    "a job that fails twice, then succeeds": failing_twice,
    "kill -9 of Snakemake, restart while the job runs, cancel": killed_and_cancelled,
    "kill -9 of Snakemake, restart while the job runs, wait": killed_and_waited_for,
    "scancel": cancelled,
    "Ctrl-C, then restart": interrupted,
    "kill -9 of Snakemake, restart after the job finished": killed_and_found_finished,
}
ALONE: dict[str, Fault] = {"preemption with requeue": preempted, "slurmctld restarted": controller_restarted}
FAULTS = TOGETHER | ALONE
EXPECTED = {  # attempts, and states of Slurm's jobs
    "walltime": (2, "TIMEOUT, COMPLETED"),
    "a job that fails twice, then succeeds": (3, "FAILED, FAILED, COMPLETED"),
    "kill -9 of Snakemake, restart while the job runs, cancel": (2, "CANCELLED, COMPLETED"),
    "kill -9 of Snakemake, restart while the job runs, wait": (1, "COMPLETED"),
    "preemption with requeue": (2, "COMPLETED (requeued 1×)"),
    "scancel": (2, "CANCELLED, COMPLETED"),
    "Ctrl-C, then restart": (2, "CANCELLED, COMPLETED"),
    "kill -9 of Snakemake, restart after the job finished": (1, "COMPLETED"),
    "node set down": (2, "COMPLETED (requeued 1×)"),
    "node out of reach, its processes alive": (2, "COMPLETED (requeued 1×)"),
    "slurmctld restarted": (1, "COMPLETED"),
}


@pytest.fixture(scope="module")
def drills(
    cluster: Cluster,
    prepared: Clone,
    smoke_being_made: Future[tuple[Clone, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[Drill, Outcome | BaseException]]:
    """Return each fault's clone and outcome; an exception where it did not come to a good end."""

    def drilled(name: str) -> tuple[Drill, Outcome | BaseException]:
        fault = FAULTS[name]
        drill = Drill(prepared.copy(folders / fault.__name__))
        drill.place(runtime_min=30)
        slow_down(drill.clone)
        if fault not in SELF_PACED:
            drill.hold()
        try:
            with drill.watched():
                happened = fault(drill, cluster)
                drill.clone.snakemake(CURVES, *STUDY)
            return drill, outcome(name, happened, drill)
        except (Exception, subprocess.TimeoutExpired) as error:  # noqa: BLE001 - each fault fails its own tests only
            return drill, error

    folders = tmp_path_factory.mktemp("drills")
    with ThreadPoolExecutor(6) as pool:
        found = dict(zip(TOGETHER, pool.map(drilled, TOGETHER), strict=True))
    wait([smoke_being_made])
    found |= {name: drilled(name) for name in ALONE}
    good = [result for _, result in found.values() if isinstance(result, Outcome)]
    TABLE.write_text(table(good))
    return found


@pytest.mark.parametrize("name", FAULTS)
def test_the_tables_are_those_of_an_undisturbed_run(
    name: str, drills: dict[str, tuple[Drill, Outcome | BaseException]], undisturbed: Clone
) -> None:
    drill, result = drills[name]
    if isinstance(result, BaseException):
        raise result
    one, two = undisturbed / RESULTS, drill.clone / RESULTS
    for pattern in ("tables/*.csv", "tables/*.parquet", f"runs/{RUN}/checkpoints/**/*", f"runs/{RUN}/rollouts.parquet"):
        assert files_below(one, pattern) == files_below(two, pattern), pattern
    first, second = (steps_table(clone / STEPS) for clone in (undisturbed, drill.clone))
    assert len(first) == LAST
    pd.testing.assert_frame_equal(first, second, check_exact=True)


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_lost_and_nobody_writes_twice(
    name: str, drills: dict[str, tuple[Drill, Outcome | BaseException]]
) -> None:
    drill, result = drills[name]
    if isinstance(result, BaseException):
        raise result
    assert (result.duplicates, result.lost_checkpoints) == (0, 0)
    assert drill.seen.checkpoints == {f"step-{step:06d}" for step in BUDGETS}
    assert (result.attempts, result.jobs) == EXPECTED[name]
    assert result.lost_steps <= MOST_LOST_STEPS
    if result.attempts == 1:
        assert result.lost_steps == 0
