"""Planning large grids, and what the own Snakemake process of a job plans: nothing."""

from pathlib import Path

import pandas as pd
import pytest
from benchmarks.planning import Bench

from tests.workflow.clone import Clone, times_below

pytestmark = pytest.mark.slow

RUN = "q5k_base_b0_s0"


def in_a_process_of_its_own(clone: Clone, rule: str, **wildcards: str) -> str:
    """Run one job as executors of clusters start it."""
    values = ",".join(f"{name}={value}" for name, value in wildcards.items())
    job = ("--target-jobs", f"{rule}:{values}", "--allowed-rules", rule, "--force", "--nolock", "--no-hooks")
    return clone.snakemake(*job, "--attempt", "1", "--force-use-threads", "--mode", "subprocess", cores=1)


def test_a_waiting_job_does_what_was_planned_whatever_has_become_of_the_study(smoke: Clone) -> None:
    for name in ("config/studies/smoke.yaml", "config/models/smoke.yaml"):
        (smoke / name).write_text("nothing: [to be read\n")
    results = smoke / "results/smoke"
    specifications = times_below(results, "**/specs/**/*.json") | times_below(results, "runs/*/cell.json")
    made = [results / f"runs/{RUN}/steps.parquet", results / "law/fit.json"]
    before = [path.stat().st_mtime_ns for path in made]
    in_a_process_of_its_own(smoke, "train", study="smoke", run=RUN)
    in_a_process_of_its_own(smoke, "law", study="smoke")
    assert all(path.stat().st_mtime_ns > time for path, time in zip(made, before, strict=True))
    assert len(pd.read_parquet(made[0])) == 12
    assert specifications == (times_below(results, "**/specs/**/*.json") | times_below(results, "runs/*/cell.json"))


def test_one_changed_cell_of_many_plans_its_own_jobs_and_the_tables(tmp_path: Path) -> None:
    Bench(tmp_path, 100).run(repeats=1)  # compares what is planned, for each case of the benchmark
