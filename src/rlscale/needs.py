"""What a job of a run asks a cluster for: nodes, GPUs, cores, memory and time, by the placement of its model.

Where a placement does not say, it is estimated: memory from the model's shape, time from the price of the run. A job
that failed asks for more of both when it is submitted again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from inspect import signature
from math import ceil
from typing import Any

from rlscale.grid import Run
from rlscale.ladder import HubLadder, Ladder
from rlscale.placement import GIB, PROCESS_GIB, Placement, Shape, host_memory_gib
from rlscale.price import Price

CPUS_PER_GPU = 8
START_MINUTES = 30
"""Time that a job on GPUs takes before its first step and after its last: loading, compiling, writing."""

CPU_MINUTES = 240
"""Wall time of a job on one CPU; the longest training of mini-full takes three minutes."""

CPU_MEMORY_MB = 2048
CPU_DISK_MB = 1024
EVALUATION_MINUTES = 480
"""Wall time of an evaluation on GPUs. Not estimated: how long answers are is what it finds out."""

MORE_EACH_ATTEMPT = 0.5
"""Share of time and memory that each further attempt asks for on top."""

Resource = int | str | None


@dataclass(frozen=True)
class Needs:
    """What one job occupies.

    Attributes:
        nodes: nodes.
        gpus_per_node: GPUs of each.
        cpus_per_node: cores of each.
        memory_mb: host memory of each.
        runtime_min: wall time.
        disk_mb: of the files that it leaves.
    """

    nodes: int
    gpus_per_node: int
    cpus_per_node: int
    memory_mb: int
    runtime_min: int
    disk_mb: int

    def resources(self, attempt: int) -> dict[str, Resource]:
        """Return the needs of an attempt (from 1) in the words of Snakemake and its Slurm plugin; None: not asked for.

        A job of several nodes is declared `mpi`: only then does the plugin start the script once, on the first node,
        with all of the allocation behind it. GPUs are asked for by node too, since a total may be spread unevenly.
        """
        more = 1 + MORE_EACH_ATTEMPT * (attempt - 1)
        is_wide = self.nodes > 1
        return {
            "nodes": self.nodes if is_wide or self.gpus_per_node else None,  # jobs that go together add theirs up
            "gpu": self.nodes * self.gpus_per_node,
            "gres": f"gpu:{self.gpus_per_node}" if self.gpus_per_node else None,
            "mpi": "srun" if is_wide else None,
            "tasks": self.nodes if is_wide else None,
            "tasks_per_gpu": 0,
            "cpus_per_task": self.cpus_per_node,
            "mem_mb": ceil(self.memory_mb * more),
            "runtime": ceil(self.runtime_min * more),
            "disk_mb": self.disk_mb,
        }


ON_ONE_CPU = Needs(1, 0, 1, CPU_MEMORY_MB, CPU_MINUTES, CPU_DISK_MB)

RESOURCES = tuple(ON_ONE_CPU.resources(attempt=1))
"""Names of the resources that training and evaluation ask for."""


def resource_functions(needs: Callable[[str, str], Needs]) -> dict[str, Callable[[Any, int], Resource]]:
    """Return for each resource the function of a job's wildcards and attempt that says how much it asks for.

    Args:
        needs: what a job of a study and a run occupies; asked once a job and attempt, however many resources there are.
    """

    @cache
    def resources(study: str, run: str, attempt: int) -> dict[str, Resource]:
        return needs(study, run).resources(attempt)

    def asked(name: str) -> Callable[[Any, int], Resource]:
        def of_job(wildcards: Any, attempt: int) -> Resource:
            return resources(wildcards.study, wildcards.run, attempt)[name]

        # Snakemake asks for the signature at each call, and finding it out takes longer than all else here.
        vars(of_job)["__signature__"] = signature(of_job)
        return of_job

    return {name: asked(name) for name in RESOURCES}


def training_needs(run: Run, ladder: Ladder, price: Price | None) -> Needs:
    """Return what training a run asks for; without a price, the time of a CPU."""
    placement = ladder.models[run.model].placement
    if placement is None:
        return ON_ONE_CPU
    shape, gpus = _shape(run, ladder), price.gpus(run) if price else None
    estimated_min = ceil(60 * gpus.wall_hours) + START_MINUTES if gpus else CPU_MINUTES
    memory_gib = host_memory_gib(shape, placement) if shape else CPU_MEMORY_MB / 1024
    return Needs(
        nodes=placement.nodes,
        gpus_per_node=placement.cuda_per_node,
        cpus_per_node=placement.cpus_per_node or _cpus(placement.cuda_per_node),
        memory_mb=ceil(1024 * (placement.memory_gib or memory_gib)),
        runtime_min=placement.runtime_min or estimated_min,
        disk_mb=ceil(1024 * gpus.checkpoint_gib) if gpus else CPU_DISK_MB,
    )


def evaluation_needs(run: Run, ladder: Ladder, evaluator: str) -> Needs:
    """Return what the evaluation of a run asks for: the GPUs of one engine of vLLM, or one CPU."""
    placement = ladder.models[run.model].placement
    if placement is None or placement.device == "cpu" or evaluator != "vllm":
        return ON_ONE_CPU
    memory_mb = _engine_memory_mb(placement, _shape(run, ladder))
    gpus = placement.engine_gpus
    return Needs(1, gpus, _cpus(gpus), memory_mb, EVALUATION_MINUTES, CPU_DISK_MB)


def _engine_memory_mb(placement: Placement, shape: Shape | None) -> int:
    weights_gib = 2 * shape.params / GIB if shape else 0.0
    return ceil(1024 * (placement.engine_gpus * PROCESS_GIB + weights_gib))


def _shape(run: Run, ladder: Ladder) -> Shape | None:
    return ladder.models[run.model].shape if isinstance(ladder, HubLadder) else None


def _cpus(gpus: int) -> int:
    return CPUS_PER_GPU * gpus or 1
