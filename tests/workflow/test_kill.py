"""A training process that is killed and started again ends where one that nobody disturbed does."""

import random
import subprocess
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil  # type: ignore[import-untyped]
import pytest

from tests.workflow.clone import Clone, files_below, steps_table

RUN = "q12k_base_b0_s0"
LAST = 600
RESULTS = "results/killed"
TARGET = f"{RESULTS}/tables/curves.csv"
OWN_STUDY = ("--config", "study=killed.yaml")
DEADLINE_SECONDS = 300.0


def one_long_run(study: dict[str, Any]) -> None:
    study["grid"] = {"law": {"models": ["q12k"]}}
    study["budgets"] = [1, 40, 240, LAST]
    study["training"].update(prompts_per_step=64, train_problems=64 * LAST)
    study["evaluation"]["suites"] = ["heldout"]


@pytest.mark.slow
def test_killed_three_times_equals_never_killed(pristine: Clone, tmp_path: Path) -> None:
    undisturbed, killed = (pristine.copy(tmp_path / name) for name in ("undisturbed", "killed"))
    for clone in (undisturbed, killed):
        clone.change_study(one_long_run, to="killed.yaml")
    # The default interval is longer than this training, and every kill is to find a state behind it.
    interval = "SECONDS_BETWEEN_STATES = "
    killed.replace("src/rlscale/trainers/local/trainer.py", f"{interval}20.0", f"{interval}0.2")
    reference = undisturbed.start(TARGET, *OWN_STUDY, cores=1)
    logs = []
    try:
        rng = random.Random(20251)
        for after_step in sorted(rng.sample(range(1, int(0.6 * LAST)), 3)):
            kill_training(killed, after_step, rng.uniform(0.0, 0.3))
            logs.append(training_log(killed))  # Snakemake removes it before the next attempt
        killed.snakemake(TARGET, *OWN_STUDY)
    finally:
        said = reference.communicate(timeout=DEADLINE_SECONDS)[0]
    assert reference.returncode == 0, said

    resumed = [log.count(f"{RUN}: resumed after step") for log in (*logs, training_log(killed))]
    assert resumed == [0, 1, 1, 1]
    assert "resumed" not in training_log(undisturbed)
    one, two = undisturbed / RESULTS, killed / RESULTS
    for pattern in ("tables/*.csv", "tables/*.parquet", f"runs/{RUN}/checkpoints/**/*", f"runs/{RUN}/rollouts.parquet"):
        assert files_below(one, pattern) == files_below(two, pattern)
    first, second = (steps_table(place / f"runs/{RUN}/steps.parquet") for place in (one, two))
    assert len(first) == LAST
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def kill_training(clone: Clone, after_step: int, delay_seconds: float) -> None:
    """Start Snakemake, and kill the training some time after its state has moved on, and passed ``after_step``."""
    reached = max(after_step, newest_state(clone) + 1)
    snakemake = clone.start(TARGET, *OWN_STUDY, cores=1)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while newest_state(clone) < reached or not training_processes(snakemake):
        assert snakemake.poll() is None, snakemake.communicate()[0]
        assert time.monotonic() < deadline, f"training does not come to step {reached}"
        time.sleep(0.02)
    time.sleep(delay_seconds)
    processes = training_processes(snakemake)
    assert processes, "the training was over before it was killed"
    for process in processes:
        process.kill()
    said = snakemake.communicate(timeout=DEADLINE_SECONDS)[0]
    assert snakemake.returncode != 0, said
    assert not (clone / f"{RESULTS}/runs/{RUN}/steps.parquet").exists()


def training_log(clone: Clone) -> str:
    """Return the log of the last attempt."""
    return (clone / f"{RESULTS}/logs/train/{RUN}.log").read_text()


def newest_state(clone: Clone) -> int:
    """Return the last step that a state of the trainer stands for, 0 where there is none."""
    states = (clone / f"{RESULTS}/resume/{RUN}").glob("*/step-*")
    return max((int(state.name.removeprefix("step-")) for state in states), default=0)


def training_processes(snakemake: "subprocess.Popen[str]") -> list[psutil.Process]:
    """Return the Python processes below Snakemake that train."""
    found = []
    for process in psutil.Process(snakemake.pid).children(recursive=True):
        try:
            if process.cmdline()[-4:] == ["stage", "train", "killed", RUN]:
                found.append(process)
        except psutil.NoSuchProcess:
            continue  # it ended while it was looked at
    return found
