"""What `rlscale status` reads from files, locks and Slurm's queue."""

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlscale.attempts import PROGRESS, Attempt, OpenAttempt, new_attempt
from rlscale.config import find_study, load_grid
from rlscale.files import write_json
from rlscale.grid import Run
from rlscale.paths import StudyPaths, record_of
from rlscale.provenance import IDENTITY, drop_weights
from rlscale.slurm import comment_of
from rlscale.status import STATES, training_state
from rlscale.writers import only_writer

ROOT = Path(__file__).parents[2]
RUN = "q3k_base_b0_s0"
TRAIN_LOG, EVALUATE_LOG, GRADE_LOG = (
    f"results/smoke/logs/{stage}/{RUN}.log" for stage in ("train", "evaluate", "grade")
)
PATHS = StudyPaths("smoke")
Queue = Callable[..., None]


@pytest.fixture(autouse=True)
def _in_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder that has the configuration but no results."""
    (tmp_path / "config").symlink_to(ROOT / "config")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Queue:
    """Return a function that says what Slurm has: (job id, state, comment, nodes, reason) of each job."""
    folder = tmp_path / "slurm"
    folder.mkdir()

    def answer(*jobs: tuple[str, str, str, str, str], code: int = 0) -> None:
        said = "".join("\t".join((*job, str(tmp_path))) + "\n" for job in jobs)
        (folder / "said").write_text(said if code == 0 else "slurm_load_jobs error: Unable to contact controller\n")
        (folder / "squeue").write_text(f"#!/bin/sh\ncat {folder}/said >&{2 if code else 1}\nexit {code}\n")
        (folder / "squeue").chmod(0o755)

    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    answer()
    return answer


@pytest.fixture
def smoke() -> Run:
    return load_grid(find_study("smoke"))[2].runs[RUN]


@pytest.fixture
def status(run: Any) -> Callable[[], dict[str, Any]]:
    """Return a function that returns what is said of the run."""

    def found() -> dict[str, Any]:
        code, out, _ = run("status", "smoke", "--json")
        assert code == 0
        rows = {row["run_id"]: row for row in json.loads(out)["runs"]}
        return rows[RUN]

    return found


def log(*paths: str) -> None:
    for path in map(Path, paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def held(stage: str = "train") -> AbstractContextManager[None]:
    return only_writer(PATHS.lock(stage, RUN), stage)


def begin(smoke: Run, *, step: int = 3, left: float = 9000.0) -> OpenAttempt:
    log(TRAIN_LOG)
    attempt = OpenAttempt(PATHS.resume(RUN, smoke.fingerprint))
    attempt.resumed(0)
    attempt.report(step=step, last_step=12, reward_mean=0.25, seconds_left=left)
    return attempt


def finish(smoke: Run) -> None:
    with new_attempt(PATHS.resume(RUN, smoke.fingerprint)):
        log(TRAIN_LOG)
        for step in smoke.budgets:
            identity = {"run": RUN, "step": step, "fingerprint": smoke.fingerprint}
            write_json(PATHS.checkpoint(RUN, step) / IDENTITY, identity)
        write_json(record_of(PATHS.steps(RUN)), {"facts": {"fingerprint": smoke.fingerprint}})


def train_job(state: str, reason: str = "None") -> tuple[str, str, str, str, str]:
    return ("17", state, comment_of("train", "smoke", RUN), "", reason)


# --- states


def test_nothing_is_there(status: Any) -> None:
    found = status()
    assert (found["state"], found["log"], found["attempts"], found["step"]) == ("planned", None, 0, None)


def test_it_runs_while_its_lock_is_held(status: Any, smoke: Run) -> None:
    attempt = begin(smoke)
    with held():
        found = status()
        assert (found["state"], found["step"], found["last_step"], found["reward_mean"]) == ("running", 3, 12, 0.25)
        assert 0 < found["seconds_left"] <= 9000
        assert (
            datetime.now(UTC) < datetime.fromisoformat(found["expected_end"]) <= datetime.now(UTC) + timedelta(0, 9000)
        )
        assert (found["attempts"], found["log"]) == (1, TRAIN_LOG)
    stopped = status()
    assert (stopped["state"], stopped["seconds_left"], stopped["expected_end"]) == ("stopped", None, None)
    assert (stopped["step"], stopped["log"]) == (3, TRAIN_LOG)
    attempt.end("failed", "RuntimeError: no GPU is free")
    failed = status()
    assert (failed["state"], failed["note"], failed["log"]) == ("failed", "RuntimeError: no GPU is free", TRAIN_LOG)


def test_time_left_is_counted_from_when_it_was_said(status: Any, smoke: Run) -> None:
    begin(smoke, left=10000.0)
    path = PATHS.resume(RUN, smoke.fingerprint) / PROGRESS
    then = (datetime.now(UTC) - timedelta(seconds=4000)).isoformat(timespec="seconds")
    write_json(path, json.loads(path.read_text()) | {"updated": then})
    with held():
        assert 5000 < status()["seconds_left"] <= 6000
        write_json(path, json.loads(path.read_text()) | {"seconds_left": 3000.0})
        assert status()["seconds_left"] == 0


def test_an_attempt_that_has_made_no_step_does_not_know_its_time(status: Any, smoke: Run) -> None:
    begin(smoke, step=9)
    OpenAttempt(PATHS.resume(RUN, smoke.fingerprint)).resumed(4)
    with held():
        found = status()
    assert (found["attempts"], found["lost_steps"], found["seconds_left"]) == (2, 5, None)


def test_a_job_of_slurm_tells_the_time_of_its_own_attempt_only(
    status: Any, smoke: Run, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where files cannot be locked, too."""
    begin(smoke)
    queue(train_job("RUNNING"))
    assert (status()["state"], status()["seconds_left"]) == ("running", None)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    begin(smoke)
    monkeypatch.delenv("SLURM_JOB_ID")  # a job does not see itself in the queue
    assert status()["seconds_left"] > 0


@pytest.mark.parametrize(
    ("state", "reason", "expected"),
    [("PENDING", "Priority", "queued"), ("CONFIGURING", "None", "queued"), ("RUNNING", "None", "running")],
)
def test_a_job_of_slurm(state: str, reason: str, expected: str, status: Any, smoke: Run, queue: Queue) -> None:
    begin(smoke).end("failed", "RuntimeError: before")
    other = ("18", "RUNNING", comment_of("train", "smoke", "q5k_base_b0_s0"), "n1", "None")
    queue(train_job(state, reason), other)
    found = status()
    assert found["state"] == expected
    waits = reason if expected == "queued" else None
    assert found["slurm_jobs"] == [{"job_id": "17", "stage": "train", "state": state, "reason": waits}]


def test_a_job_that_is_ending_is_no_run(status: Any, smoke: Run, queue: Queue) -> None:
    begin(smoke)
    queue(train_job("COMPLETING"))
    assert status()["state"] == "stopped"


def test_it_is_done_when_all_is_there_for_its_fingerprint(status: Any, smoke: Run) -> None:
    finish(smoke)
    found = status()
    assert (found["state"], found["log"], set(found["checkpoints"].values())) == ("done", None, {True})
    drop_weights(PATHS.checkpoint(RUN, 1), "a test")
    assert status()["state"] == "done"
    write_json(record_of(PATHS.steps(RUN)), {"facts": {"fingerprint": "0" * 16}})
    assert status()["state"] == "planned"
    record_of(PATHS.steps(RUN)).unlink()
    assert status()["state"] == "planned"


def test_a_run_that_changed_begins_anew(status: Any) -> None:
    write_json(PATHS.checkpoint(RUN, 1) / IDENTITY, {"fingerprint": "0" * 16})
    found = status()
    assert (found["state"], found["changed"], found["note"]) == ("planned", True, "changed: will be trained anew")
    assert not found["checkpoints"]["1"]


def test_later_stages_have_their_log(status: Any, smoke: Run, queue: Queue) -> None:
    finish(smoke)
    job = ("19", "RUNNING", comment_of("evaluate", "smoke", RUN), "n1", "None")

    def seen() -> tuple[str, str, str | None]:
        found = status()
        return found["state"], found["note"], found["log"]

    queue(job)
    log(EVALUATE_LOG)
    assert seen() == ("done", "evaluate runs", EVALUATE_LOG)
    queue()
    assert seen() == ("done", "evaluate failed or was killed", EVALUATE_LOG)
    with held("evaluate"):
        assert seen() == ("done", "evaluate runs", EVALUATE_LOG)
    queue((*job[:1], "PENDING", *job[2:]))
    assert seen() == ("done", "", None)
    queue()
    write_json(record_of(PATHS.rollouts(RUN)), {})
    assert seen() == ("done", "", None)
    log(GRADE_LOG)
    assert seen() == ("done", "grade failed or was killed", GRADE_LOG)
    pd.DataFrame({"step": [0, 1, 12]}).to_parquet(PATHS.scores(RUN))
    write_json(record_of(PATHS.scores(RUN)), {})
    assert seen() == ("done", "", None)
    assert [step for step, there in status()["scores"].items() if there] == ["1", "12"]


LAST = st.sampled_from([None, "open", "done", "failed"])


@given(st.booleans(), st.booleans(), st.sets(st.sampled_from(["RUNNING", "waits", "COMPLETING"])), LAST)
def test_a_state_follows_from_the_strongest_sign(
    is_held: bool, is_done: bool, slurm: set[str], outcome: str | None
) -> None:
    last = None
    if outcome:
        last = Attempt(1, "2026-01-01T00:00:00+00:00", "n1", 1, outcome=None if outcome == "open" else outcome)
    state = training_state(is_held=is_held, is_done=is_done, slurm=slurm, last=last)
    assert state in STATES
    assert (state == "running") == (is_held or (not is_done and "RUNNING" in slurm))
    assert (state == "done") == (is_done and not is_held)
    if state in {"failed", "stopped", "planned"}:
        assert not is_held
        assert not is_done
        assert not slurm & {"RUNNING", "waits"}
        assert state == {"failed": "failed", "open": "stopped"}.get(str(outcome), "planned")


# --- what is shown


def row_of(said: str) -> list[str]:
    (row,) = (line.split() for line in said.splitlines() if line.strip().startswith(f"{RUN} "))
    return row


def test_the_table_fits_a_terminal_and_names_the_logs(run: Any, smoke: Run, queue: Queue) -> None:
    queue(train_job("PENDING", "AssocGrpGRES"))
    begin(smoke, step=10).end("failed", "RuntimeError: OpenRLHF failed with 1: no GPU is free")
    waits = run("status", "smoke")[1].splitlines()
    assert waits[0] == "study smoke: 6 runs: 1 queued, 5 planned; 0 of 48 checkpoints, 0 of 48 scores"
    assert max(map(len, waits)) <= 120
    assert row_of("\n".join(waits)) == [RUN, "queued", "17", "AssocGrpGRES", "10/12", "0.250", "1", "0/8", "0/8"]
    queue()
    failed = run("status", "smoke")[1]
    assert f"{RUN}: RuntimeError: OpenRLHF failed with 1: no GPU is free; log: {TRAIN_LOG}\n" in failed


def test_time_left_is_hours_and_minutes(run: Any, smoke: Run) -> None:
    begin(smoke, left=2 * 3600 + 118.0)
    with held():
        said = run("status", "smoke")[1]
    assert row_of(said)[:5] == [RUN, "running", "3/12", "0.250", "2:02"]


def test_states_are_chosen(run: Any, smoke: Run) -> None:
    begin(smoke)

    def chosen(*options: str) -> list[str]:
        return [row["run_id"] for row in json.loads(run("status", "smoke", "--json", *options)[1])["runs"]]

    assert chosen("--state", "failed") == []
    assert chosen("--state", "stopped") == chosen("--state", "failed, stopped") == [RUN]
    assert len(chosen("--state", "stopped", "--state", "planned")) == len(chosen()) == 6
    code, out, err = run("status", "smoke", "--state", "stoped")
    assert (code, out) == (2, "")
    assert err == f'error: no state "stoped"; there are {", ".join(STATES)}; did you mean stopped?\n'


def test_of_a_large_study_only_what_moves_is_shown(run: Any) -> None:
    runs = load_grid(find_study("mini-full"))[2].runs
    some, *_ = runs.values()
    OpenAttempt(StudyPaths("mini-full").resume(some.run_id, some.fingerprint))
    brief = run("status", "mini-full")[1]
    assert [one for one in runs if f"\n{one} " in brief] == [some.run_id]
    assert brief.endswith(f"1 of {len(runs)} runs are shown; --all shows every one\n")
    assert f"{len(runs)} runs: 1 stopped, {len(runs) - 1} planned" in brief
    everything = run("status", "mini-full", "--all")[1]
    assert all(f"\n{one} " in everything for one in runs)


def test_where_slurm_does_not_answer_it_says_what_files_say(run: Any, smoke: Run, queue: Queue) -> None:
    queue(code=1)
    begin(smoke)
    code, out, err = run("status", "smoke", "--json")
    assert (code, err.count("\n")) == (0, 1)
    assert err.startswith("warning: Slurm does not answer: squeue failed with 1: slurm_load_jobs error: Unable")
    found = json.loads(out)
    assert found["slurm_error"].startswith("Slurm does not answer")
    assert found["states"] == {state: {"stopped": 1, "planned": 5}.get(state, 0) for state in STATES}
