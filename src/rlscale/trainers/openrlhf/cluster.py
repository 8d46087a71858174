"""Ray across the nodes of a Slurm allocation: a head on this node, a worker on each other one, and their end.

Port and folder are the job's own, so that jobs which share a node do not meet; everything carries the run's mark and
ends with it. On one node OpenRLHF's process starts a Ray of its own, which needs the folder only.
"""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlscale.errors import UserError
from rlscale.slurm import allocated_nodes
from rlscale.trainers.openrlhf.process import MARK

LOCAL = "local"
"""Ray's own word for an instance that the process starts for itself."""


@contextmanager
def ray_cluster(nodes: int, gpus_per_node: int, log: Path, fingerprint: str) -> Iterator[dict[str, str]]:
    """Yield ``address`` and ``folder`` of a Ray with so many nodes; at the end its processes are told to end.

    Args:
        nodes: of this job's allocation.
        gpus_per_node: of each; 0 where the device is the CPU.
        log: file of all that Ray's own processes say.
        fingerprint: of the run, the mark of its processes.

    Raises:
        UserError: there are not so many nodes in a Slurm allocation here.
    """
    # Sockets below the folder must have short paths: 107 bytes is all that Linux allows.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        if nodes == 1:
            yield {"address": LOCAL, "folder": folder}
        else:
            with _across_nodes(nodes, gpus_per_node, log, fingerprint, folder) as address:
                yield {"address": address, "folder": folder}


@contextmanager
def _across_nodes(nodes: int, gpus_per_node: int, log: Path, fingerprint: str, folder: str) -> Iterator[str]:
    allocated = allocated_nodes()
    if allocated < nodes:
        raise UserError(f"{nodes} nodes need a Slurm allocation of as many; this job has {allocated or 'none'}")
    head = os.environ["SLURMD_NODENAME"]  # Slurm's name of this node, which need not be the host's
    port = _free_port()
    address = f"{_own_address()}:{port}"
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
    at_head = [*ray, "--head", f"--port={port}", f"--temp-dir={folder}", "--include-dashboard=false"]
    others = [f"--nodes={nodes - 1}", f"--ntasks={nodes - 1}", "--ntasks-per-node=1", f"--exclude={head}"]
    # A step that names no GPUs asks for all of the job's, which no part of its nodes has.
    gpus = [f"--gres=gpu:{gpus_per_node}"] if gpus_per_node else []
    elsewhere = ["srun", "--overlap", "--kill-on-bad-exit=1", *others, *gpus, *ray, f"--address={address}"]
    started: list[subprocess.Popen[bytes]] = []
    with log.open("ab") as stream:
        try:
            for command in (at_head, elsewhere):
                started.append(_start(command, stream.fileno(), fingerprint))
            yield address
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait()


def _start(command: list[str], output: int, fingerprint: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=os.environ | {MARK: fingerprint},
    )


def _own_address() -> str:
    """Return this node's address as others see it; its name often stands for the loopback in /etc/hosts."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it asks which interface leads out (RFC 5737: no one's)
        except OSError:
            return socket.gethostbyname(socket.gethostname())
        return str(probe.getsockname()[0])


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("", 0))
        return int(listener.getsockname()[1])
