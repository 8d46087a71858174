"""How far a study is: what is planned, what is there, what runs, what waits and what failed.

All of it is read from files, locks and Slurm's queue, so that it is known while Snakemake runs elsewhere, and after
its death. A file system that cannot lock files hides what runs outside Slurm.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rlscale.attempts import Attempt, attempts, progress
from rlscale.files import read_object
from rlscale.grid import Grid, Run
from rlscale.paths import StudyPaths, checkpoint_name, record_of
from rlscale.provenance import checkpoint_fingerprint
from rlscale.slurm import SlurmJob, comment_of
from rlscale.writers import is_held

STATES = ("running", "queued", "failed", "stopped", "planned", "done")
"""Of a run's training; stopped: it began and was killed or cancelled."""

STAGES = ("train", "evaluate", "grade")


@dataclass(frozen=True)
class RunJob:
    """A job of a run that Slurm knows.

    Attributes:
        job_id: Slurm's number.
        stage: train, evaluate or grade.
        state: Slurm's word.
        reason: why it waits; None where it does not.
    """

    job_id: str
    stage: str
    state: str
    reason: str | None


@dataclass(frozen=True)
class RunStatus:
    """One run: what is planned and what is there.

    Attributes:
        run_id: the run.
        fingerprint: of the run as the study has it now.
        state: one of ``STATES``.
        changed: there are checkpoints of another fingerprint; none of them counts.
        checkpoints: by planned step, whether its checkpoint is there, or was dropped on purpose.
        scores: by planned step, whether that checkpoint has a score.
        step: the last step that was reported; None before the first.
        last_step: the last one planned.
        reward_mean: of ``step``.
        seconds_left: of training, from now; None where it does not run or cannot tell.
        expected_end: of training (UTC, ISO 8601).
        attempts: how often its training was started.
        lost_steps: steps that were made again after kills.
        slurm_jobs: that wait or run for it.
        note: what else to know of it; empty for nothing.
        log: the one to read: of the stage that runs, failed or was killed; None where there is none.
    """

    run_id: str
    fingerprint: str
    state: str
    changed: bool
    checkpoints: dict[int, bool]
    scores: dict[int, bool]
    step: int | None
    last_step: int
    reward_mean: float | None
    seconds_left: float | None
    expected_end: str | None
    attempts: int
    lost_steps: int
    slurm_jobs: list[RunJob]
    note: str
    log: str | None


@dataclass(frozen=True)
class Totals:
    """Of a study: planned budgets, checkpoints and scores that are there, and how many runs are in each state."""

    planned: int
    checkpoints: int
    scores: int
    states: dict[str, int]


def totals(runs: Sequence[RunStatus]) -> Totals:
    """Return the totals of the runs of a study."""
    states = Counter(run.state for run in runs)
    return Totals(
        planned=sum(len(run.checkpoints) for run in runs),
        checkpoints=sum(sum(run.checkpoints.values()) for run in runs),
        scores=sum(sum(run.scores.values()) for run in runs),
        states={state: states[state] for state in STATES},
    )


def study_status(name: str, grid: Grid, jobs: Sequence[SlurmJob] = ()) -> list[RunStatus]:
    """Return the status of every run of the study ``name``, sorted by run.

    Args:
        name: of the study.
        grid: its runs.
        jobs: what Slurm has, of any study.
    """
    queue = defaultdict(list)
    for job in jobs:
        queue[job.comment].append(job)
    paths, now = StudyPaths(name), datetime.now(UTC)
    return [_RunFiles(paths, run, queue).status(now) for run in grid.runs.values()]


def training_state(*, is_held: bool, is_done: bool, slurm: Collection[str], last: Attempt | None) -> str:
    """Return one of ``STATES``.

    Args:
        is_held: a process holds the lock of the training.
        is_done: its record and all checkpoints are there.
        slurm: of its jobs: RUNNING, or waits.
        last: its last attempt.
    """
    if is_held:
        return "running"
    if is_done:
        return "done"
    if "RUNNING" in slurm:  # it starts
        return "running"
    if "waits" in slurm:
        return "queued"
    if last is None or last.outcome == "done":  # and a budget was added, or its record taken away
        return "planned"
    return last.outcome or "stopped"


class _RunFiles:
    """One run, and what there is of it."""

    def __init__(self, paths: StudyPaths, run: Run, queue: Mapping[str, list[SlurmJob]]) -> None:
        self.paths, self.run = paths, run
        self.jobs = [
            RunJob(job.job_id, stage, job.state, job.reason if job.waits else None)
            for stage in STAGES
            for job in queue.get(comment_of(stage, paths.study, run.run_id), ())
        ]
        folder = paths.resume(run.run_id, run.fingerprint)
        self.past, self.reported = attempts(folder), progress(folder)
        self.last = self.past[-1] if self.past else None
        self.trains = self._is_held("train")

    def status(self, now: datetime) -> RunStatus:
        paths, run, reported = self.paths, self.run, self.reported
        found = _fingerprints(paths, run)
        current = {step: found.get(step) == run.fingerprint for step in run.budgets}
        scored = _scored_steps(paths.scores(run.run_id)) if any(current.values()) else set()
        state = training_state(
            is_held=self.trains,
            is_done=all(current.values()) and self._is_recorded(),
            slurm=self._slurm("train"),
            last=self.last,
        )
        changed = any(fingerprint != run.fingerprint for fingerprint in found.values())
        left = self._seconds_left(now) if state == "running" else None
        stage, note = self._to_read(state)
        log = paths.log(stage, run.run_id) if stage else None
        return RunStatus(
            run_id=run.run_id,
            fingerprint=run.fingerprint,
            state=state,
            changed=changed,
            checkpoints=current,
            scores={step: there and step in scored for step, there in current.items()},
            step=reported.step if reported else None,
            last_step=run.budgets[-1],
            reward_mean=reported.reward_mean if reported else None,
            seconds_left=left,
            expected_end=None if left is None else (now + timedelta(seconds=left)).isoformat(timespec="seconds"),
            attempts=len(self.past),
            lost_steps=sum(attempt.lost_steps for attempt in self.past),
            slurm_jobs=self.jobs,
            note="; ".join(filter(None, ("changed: will be trained anew" if changed else "", note))),
            log=str(log) if log and log.is_file() else None,
        )

    def _is_held(self, stage: str) -> bool:
        return is_held(self.paths.lock(stage, self.run.run_id))

    def _slurm(self, stage: str) -> set[str]:
        return {"waits" if job.reason is not None else job.state for job in self.jobs if job.stage == stage}

    def _is_recorded(self) -> bool:
        record = read_object(record_of(self.paths.steps(self.run.run_id)))
        return bool(record) and record["facts"].get("fingerprint") == self.run.fingerprint

    def _seconds_left(self, now: datetime) -> float | None:
        """Return what is left of what the attempt that runs expected; None where it has not reported yet."""
        last, reported = self.last, self.reported
        if last is None or reported is None or reported.attempt != last.number or reported.seconds_left is None:
            return None
        # A job that only starts has the attempt before as its last one.
        if not self.trains and last.slurm_job not in {job.job_id for job in self.jobs}:
            return None
        passed = (now - datetime.fromisoformat(reported.updated)).total_seconds()
        return max(0.0, reported.seconds_left - max(0.0, passed))

    def _to_read(self, state: str) -> tuple[str | None, str]:
        """Return the stage whose log is to be read, and what is to be said of it."""
        if state in {"running", "failed", "stopped"}:
            return "train", (self.last.error or "") if self.last and state == "failed" else ""
        if state != "done":
            return None, ""
        run_id = self.run.run_id
        for stage, output in (("evaluate", self.paths.rollouts(run_id)), ("grade", self.paths.scores(run_id))):
            if self._is_held(stage) or "RUNNING" in self._slurm(stage):
                return stage, f"{stage} runs"
            if not record_of(output).is_file():
                # Snakemake removes what a job left before it starts again: a log without a record is of one that ended.
                ended = self.paths.log(stage, run_id).is_file() and not self._slurm(stage)
                return (stage, f"{stage} failed or was killed") if ended else (None, "")
        return None, ""


def _fingerprints(paths: StudyPaths, run: Run) -> dict[int, str]:
    """Return the fingerprints of the planned checkpoints that are there, by step."""
    steps = {checkpoint_name(step): step for step in run.budgets}
    try:
        places = [place for place in paths.checkpoints(run.run_id).iterdir() if place.name in steps]
    except FileNotFoundError:
        return {}
    found = {steps[place.name]: checkpoint_fingerprint(place) for place in places}
    return {step: fingerprint for step, fingerprint in found.items() if fingerprint is not None}


def _scored_steps(scores: Path) -> set[int]:
    if not scores.is_file():
        return set()
    import pyarrow.parquet as pq

    with pq.ParquetFile(scores) as file:
        return set(file.read(columns=["step"], use_threads=False).column("step").unique().to_pylist())
