"""Slurm, as far as the workflow asks it: which jobs of this working directory live, and how it tells of their end.

Snakemake's executor plugin submits every job from the working directory, with a comment that names its rule and
wildcards (`rule_train_wildcards_STUDY_RUN`). By these two a job is known without Snakemake, and after its death.
"""

import os
import shutil
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from rlscale.errors import UserError

SECONDS_TO_ANSWER = 30.0
JOBS_SHOWN = 20
CHECKS_WITHIN_MEMORY = 3
"""Checks that must fit into the time for which Slurm remembers a finished job: the executor plugin's own rule."""

_FIELDS = {"job_id": "%i", "state": "%T", "comment": "%k", "nodes": "%N", "reason": "%r", "folder": "%Z"}


_WILDCARDS = "_wildcards_"


class SlurmSilentError(UserError):
    """Slurm is installed, but does not answer."""


@dataclass(frozen=True)
class SlurmJob:
    """A job that waits or runs.

    Attributes:
        job_id: Slurm's number; ``12_3`` for a task of an array.
        state: Slurm's word: PENDING, RUNNING, COMPLETING ...
        comment: what the executor plugin wrote: rule and wildcards.
        nodes: where it runs; empty while it waits.
        reason: why it waits.
    """

    job_id: str
    state: str
    comment: str
    nodes: str
    reason: str

    @property
    def waits(self) -> bool:
        """Whether it has not started."""
        return self.state in {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"}

    @property
    def is_several(self) -> bool:
        """Whether it is a group of the executor plugin, whose comment does not say which jobs it holds."""
        return _WILDCARDS not in self.comment

    def is_of(self, study: str) -> bool:
        """Return whether its first wildcard is this study; of a group that is not known."""
        wildcards = self.comment.partition(_WILDCARDS)[2]
        return wildcards == study or wildcards.startswith(f"{study}_")

    @property
    def name(self) -> str:
        """Its rule and wildcards, for people."""
        return self.comment.removeprefix("rule_").replace(_WILDCARDS, " ")


def comment_of(rule: str, *wildcards: str) -> str:
    """Return the comment that the executor plugin gives a job of this rule and these wildcards."""
    return f"rule_{rule}{_WILDCARDS}{'_'.join(wildcards)}"


def has_slurm() -> bool:
    """Return whether Slurm's commands are installed here."""
    return shutil.which("squeue") is not None


def live_jobs(folder: Path | None = None) -> list[SlurmJob]:
    """Return this user's jobs that Snakemake submitted from ``folder`` and that wait or run, in the order of their ids.

    Args:
        folder: the working directory; None for the current one.

    Raises:
        SlurmSilentError: it does not answer.
    """
    if not has_slurm():
        return []
    place = str((folder or Path.cwd()).resolve())
    command = ["squeue", "--me", "--noheader", "--array", "--sort=i", "--format", "\t".join(_FIELDS.values())]
    jobs = []
    for line in _ask(command).splitlines():
        values = dict(zip(_FIELDS, line.split("\t"), strict=True))
        is_own = str(Path(values.pop("folder")).resolve()) == place
        if is_own and values["comment"].startswith("rule_") and values["job_id"] != _this_job():
            jobs.append(SlurmJob(**values))
    return jobs


def allocated_nodes() -> int:
    """Return the nodes of the allocation that this process runs in, 0 where it runs in none.

    The executor plugin takes most of Slurm's variables out of a job's environment, but leaves its number.

    Raises:
        SlurmSilentError: it does not answer.
    """
    job = _this_job()
    if job is None or not has_slurm():
        return 0
    return int(_ask(["squeue", "--noheader", "--jobs", job, "--format", "%D"]))


def refuse_live_jobs(planned: Collection[str]) -> None:
    """Refuse to start jobs that an earlier Snakemake submitted from here and that still live: both would write.

    Args:
        planned: comments of the jobs that are about to be started. A live job that is several at once does not say
            which, and counts as one of them.

    Raises:
        UserError: some do.
        SlurmSilentError: it does not answer.
    """
    jobs = [job for job in live_jobs() if job.comment in planned or job.is_several]
    if not jobs:
        return
    shown = [f"  {job.job_id}  {job.state}  {job.name}" for job in jobs[:JOBS_SHOWN]]
    if len(jobs) > JOBS_SHOWN:
        shown.append(f"  and {len(jobs) - JOBS_SHOWN} more: rlscale jobs")
    raise UserError(
        "\n".join(
            [
                f"{len(jobs)} Slurm job(s) that an earlier Snakemake submitted from this folder still live:",
                *shown,
                "Wait for them (`rlscale jobs --wait`: what they finish is not made twice), or cancel them "
                "(`rlscale jobs --cancel`: training goes on from its last state). Then start again.",
            ]
        )
    )


def cancel(jobs: list[SlurmJob]) -> None:
    """Ask Slurm to cancel these jobs.

    Raises:
        SlurmSilentError: it does not answer.
    """
    _ask(["scancel", *(job.job_id for job in jobs)])


def status_command(seconds_between_checks: int) -> str:
    """Return the command by which this cluster tells how a job ended: sacct where it keeps accounts, or squeue.

    Without accounts sacct waits for ever, and squeue knows a job as long after its end as MinJobAge says.

    Raises:
        UserError: the cluster keeps no accounts, and forgets jobs too soon for checks so far apart.
    """
    lines = (line.partition("=") for line in _ask(["scontrol", "show", "config"]).splitlines())
    settings = {name.strip(): value.strip() for name, _, value in lines}
    if settings.get("AccountingStorageType", "").endswith("slurmdbd") and shutil.which("sacct"):
        return "sacct"
    remembered = int(settings["MinJobAge"].split()[0])
    if remembered < CHECKS_WITHIN_MEMORY * seconds_between_checks:
        most = remembered // CHECKS_WITHIN_MEMORY
        raise UserError(
            f"this cluster keeps no accounts (AccountingStorageType) and forgets a job {remembered} s after its end "
            f"(MinJobAge), but jobs are looked at every {seconds_between_checks} s: set "
            f"slurm-init-seconds-before-status-checks in slurm/config.yaml to {most} or less"
        )
    return "squeue"


def _this_job() -> str | None:
    return os.environ.get("SLURM_JOB_ID")


def _ask(command: list[str]) -> str:
    """Return what a command of Slurm says.

    Raises:
        SlurmSilentError: it failed, or did not answer in time.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_TO_ANSWER, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise SlurmSilentError(
            f"Slurm does not answer: {command[0]} said nothing for {SECONDS_TO_ANSWER:.0f} s"
        ) from None
    if done.returncode:
        said = (done.stderr.strip() or "nothing").splitlines()[-1]
        raise SlurmSilentError(f"Slurm does not answer: {command[0]} failed with {done.returncode}: {said}")
    return done.stdout
