"""What an OpenRLHF training does first on several nodes: Ray across the allocation, and a task on each node."""

import os
import sys
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rlscale.files import write_json
from rlscale.trainers.openrlhf.cluster import ray_cluster

FINGERPRINT = "two-nodes-of-a-test"
SECONDS = 120.0


@ray.remote(num_cpus=1)
def look_around() -> dict[str, str]:
    """Return what Slurm told the Ray of this node; a task's own CUDA_VISIBLE_DEVICES is Ray's."""
    told = psutil.Process(os.getppid()).environ()
    return {name: told.get(name, "") for name in ("SLURMD_NODENAME", "CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID")}


def main() -> None:
    output = Path(sys.argv[1])
    with (output.parent / "starts.txt").open("a") as starts:
        starts.write(f"{os.environ['SLURM_JOB_ID']}\n")
    with ray_cluster(2, 2, output.parent / "ray.txt", FINGERPRINT) as cluster:
        ray.init(cluster["address"])
        deadline = time.monotonic() + SECONDS
        while sum(node["Alive"] for node in ray.nodes()) < 2:
            assert time.monotonic() < deadline, f"Ray has {ray.nodes()}"
            time.sleep(0.5)
        nodes = [node["NodeID"] for node in ray.nodes()]
        there = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
        seen = ray.get([look_around.options(scheduling_strategy=place).remote() for place in there])
        ray.shutdown()
    write_json(output, seen)


if __name__ == "__main__":
    main()
