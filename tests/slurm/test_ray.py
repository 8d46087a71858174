"""Ray across two nodes of a real allocation: head and worker see each other, and nothing of them stays."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from rlscale.trainers.openrlhf.process import MARK
from tests.slurm.ray_job import FINGERPRINT
from tests.slurm.slurm_clone import SOON, allocations
from tests.workflow.clone import REPOSITORY


@pytest.mark.usefixtures("cluster")
def test_head_and_worker_see_each_other_and_are_gone_afterwards(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "tests/slurm/two_nodes.smk")]
    options = ["--executor", "slurm", "--jobs", "1", "--slurm-status-command", "squeue", *SOON]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'src'}", "PATH": path}
    done = subprocess.run(
        [*command, *options], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    logs = "".join(path.read_text() for path in tmp_path.rglob("*.log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs

    (job,) = allocations(tmp_path)
    assert (job.state, job.nodes, job.gpus_per_node, job.cpus, job.memory_mb_per_node) == ("COMPLETED", 2, 2, 6, 4000)
    assert len((tmp_path / "starts.txt").read_text().splitlines()) == 1, "the script ran once, not once a GPU or node"
    seen = sorted(json.loads((tmp_path / "seen.json").read_text()), key=lambda place: place["SLURMD_NODENAME"])
    assert [place["SLURMD_NODENAME"] for place in seen] == ["n0", "n1"]
    assert {place["SLURM_JOB_ID"] for place in seen} == {str(job.job_id)}
    assert [len(place["CUDA_VISIBLE_DEVICES"].split(",")) for place in seen] == [2, 2]
    left = [process for process in psutil.process_iter() if _mark_of(process) == FINGERPRINT]
    assert left == []


def _mark_of(process: psutil.Process) -> str | None:
    try:
        mark: str | None = process.environ().get(MARK)
    except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
        return None
    return mark
