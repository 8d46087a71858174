"""A clone that runs on the test cluster, and what Slurm says of its jobs."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.workflow.clone import Clone

# The profile's own intervals suit jobs of hours; here a look costs nothing.
OFTEN = ("--seconds-between-status-checks", "1", "--slurm-init-seconds-before-status-checks", "1")
SOON = (*OFTEN, "--latency-wait", "15")


@dataclass(frozen=True)
class Allocation:
    """What Slurm gave a job, read back from it."""

    job_id: int
    rule: str
    wildcards: str
    state: str
    nodes: int
    gpus_per_node: int
    cpus: int
    memory_mb_per_node: int
    limit_min: int
    restarts: int


def slurm_arguments(*arguments: str) -> tuple[str, ...]:
    """Return Snakemake's arguments for the cluster, as a user gives them, but for the intervals."""
    return ("--profile", "slurm", *arguments, *SOON)


def allocations(folder: Path) -> list[Allocation]:
    """Return all jobs of a working directory that Slurm remembers, in the order of their submission."""
    return sorted(_allocations(folder), key=lambda found: found.job_id)


def trainings(clone: Clone) -> list[Allocation]:
    """Return the jobs that were submitted to train."""
    return [found for found in allocations(clone.folder) if found.rule == "train"]


def _allocations(folder: Path) -> Iterator[Allocation]:
    for line in slurm("scontrol", "show", "job", "--details", "--oneliner").splitlines():
        values = dict(re.findall(r"(\w+)=(\S*)", line))
        match = re.search(r"Comment=rule_(\w+?)(?:_wildcards_(\S+))?(?: |$)", line)
        if match is None or Path(values["WorkDir"]).resolve() != folder.resolve():
            continue
        gres = re.search(r"gpu:(\d+)", values.get("TresPerNode", ""))
        tres = dict(part.split("=") for part in values["TRES"].split(",") if "=" in part)
        hours, minutes, _ = values["TimeLimit"].split(":")
        yield Allocation(
            job_id=int(values["JobId"]),
            rule=match[1],
            wildcards=match[2] or "",
            state=values["JobState"],
            nodes=int(values["NumNodes"].split("-")[0]),
            gpus_per_node=int(gres[1]) if gres else 0,
            cpus=int(tres["cpu"]),
            memory_mb_per_node=_megabytes(values["MinMemoryNode"]),
            limit_min=60 * int(hours) + int(minutes),
            restarts=int(values["Restarts"]),
        )


def _megabytes(text: str) -> int:
    return round(float(text[:-1]) * {"M": 1, "G": 1024}[text[-1]])


def slurm(*command: str) -> str:
    """Return what a command of Slurm says; it must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr}"
    return done.stdout
