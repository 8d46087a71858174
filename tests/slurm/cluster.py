"""A Slurm cluster of its own on this machine: controller, several nodes, fake GPUs; accounting where asked for.

Debian's packages as they are, as root, without systemd. The configuration must stand in /etc/slurm, where the job step
plugin of Snakemake looks for it; a configuration that this kit did not write is never touched, and only processes that
it started are ended.

    python -m tests.slurm.cluster start [--accounting]
    python -m tests.slurm.cluster stop
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import psutil  # type: ignore[import-untyped]

from tests.slurm.daemons import (
    ACCOUNTING_PORT,
    BASE,
    CONTROLLER_PORT,
    ETC,
    FIRST_NODE_PORT,
    MARK,
    NAME,
    ClusterError,
    daemon,
    end,
    is_ours,
    run,
    start_accounting,
    start_munge,
    wait_until,
    write,
)

NEEDED = ("munged", "slurmctld", "slurmd", "sinfo", "sbatch")
NEEDED_FOR_ACCOUNTING = ("mariadbd", "mariadb", "mariadb-install-db", "slurmdbd", "sacctmgr")


class Cluster:
    """Two partitions over all nodes: `gpu`, and `scavenge`, whose jobs are requeued when `gpu` needs their place.

    Args:
        nodes: virtual nodes, n0, n1 ...
        fragile: further ones, which only the partition `fragile` has beside the others, and prefers.
        gpus: fake ones on each node.
        cpus: declared on each node, whatever the machine has.
        memory_mb: declared on each node.
        accounting: whether slurmdbd keeps accounts, in a database of its own.
    """

    def __init__(
        self,
        *,
        nodes: int = 2,
        fragile: int = 0,
        gpus: int = 4,
        cpus: int = 8,
        memory_mb: int = 16000,
        accounting: bool = False,
    ) -> None:
        self.nodes = [f"n{number}" for number in range(nodes + fragile)]
        self.firm = ",".join(self.nodes[:nodes])
        self.gpus, self.cpus, self.memory_mb = gpus, cpus, memory_mb
        self.accounting = accounting

    def __enter__(self) -> "Cluster":
        check_possible(accounting=self.accounting)
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait until all nodes are idle.

        Raises:
            ClusterError: packages or rights are missing, or a foreign configuration stands in the way.
        """
        check_possible(accounting=self.accounting)
        for folder in ("state", "log", "pids", "munge", "dev"):
            (BASE / folder).mkdir(parents=True, exist_ok=True)
        BASE.chmod(0o755)
        (BASE / "munge").chmod(0o711)
        start_munge()
        self._write_configuration()
        if self.accounting:
            start_accounting()
        self.start_controller()
        for node in self.nodes:
            self.start_node(node)
        wait_until(lambda: self.states() == dict.fromkeys(self.nodes, "idle"), "all nodes are idle")

    def stop(self) -> None:
        """Cancel all jobs, end what was started here, and take the configuration out of /etc/slurm."""
        if (BASE / "pids/slurmctld.pid").exists():
            subprocess.run(["scancel", "--user=root", "--full"], capture_output=True, timeout=10, check=False)
            time.sleep(1)
        for file in sorted((BASE / "pids").glob("slurmd.*.pid")):
            end(file)
        for name in ("slurmctld", "slurmdbd", "mariadbd", "munged"):
            end(BASE / f"pids/{name}.pid")
        for process in psutil.process_iter():
            if is_ours(process):
                process.kill()
        for file in ETC.glob("*.conf"):
            if file.is_file() and file.read_text(errors="replace").startswith(MARK):
                file.unlink()
        shutil.rmtree(BASE, ignore_errors=True)

    def start_controller(self) -> None:
        """Start slurmctld; it takes up the state that an earlier one left."""
        run("slurmctld")

    def stop_controller(self) -> None:
        """End slurmctld; jobs run on."""
        end(BASE / "pids/slurmctld.pid")

    def start_node(self, node: str) -> None:
        """Start the slurmd of a node."""
        (BASE / f"spool.{node}").mkdir(exist_ok=True)
        run("slurmd", "-N", node)

    def lose_node(self, node: str) -> None:
        """Kill the slurmd of a node and nothing else: Slurm cannot reach it, and what runs there runs on."""
        end(BASE / f"pids/slurmd.{node}.pid", signal.SIGKILL)

    def states(self) -> dict[str, str]:
        """Return the state of every node, by its name; empty while the controller does not answer."""
        done = subprocess.run(
            ["sinfo", "-h", "-N", "-p", "fragile", "-o", "%N %t"], capture_output=True, text=True, check=False
        )
        return dict(line.split() for line in done.stdout.splitlines())

    def _write_configuration(self) -> None:
        host = socket.gethostname().split(".")[0]
        storage = "accounting_storage/slurmdbd" if self.accounting else "accounting_storage/none"
        last = len(self.nodes) - 1
        slurm = {
            "ClusterName": NAME,
            "SlurmctldHost": f"{host}(127.0.0.1)",
            "SlurmctldPort": CONTROLLER_PORT,
            "SlurmUser": "root",
            "SlurmdUser": "root",
            "AuthType": "auth/munge",
            "CredType": "cred/munge",
            "StateSaveLocation": BASE / "state",
            "SlurmdSpoolDir": f"{BASE}/spool.%n",
            "SlurmctldPidFile": BASE / "pids/slurmctld.pid",
            "SlurmdPidFile": f"{BASE}/pids/slurmd.%n.pid",
            "SlurmctldLogFile": BASE / "log/slurmctld.log",
            "SlurmdLogFile": f"{BASE}/log/slurmd.%n.log",
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/none",
            "MpiDefault": "none",
            "SwitchType": "switch/none",
            "ReturnToService": 2,
            "SlurmdParameters": "config_overrides",
            "SlurmdTimeout": 10,
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_Core_Memory",
            "SchedulerType": "sched/backfill",
            "SchedulerParameters": "sched_interval=2,bf_interval=2",
            "AuthInfo": "cred_expire=5",  # a requeued job waits until its old credential expires: usually 120 s
            "GresTypes": "gpu",
            "AccountingStorageType": storage,
            "AccountingStorageHost": "127.0.0.1",
            "AccountingStoragePort": ACCOUNTING_PORT,
            "JobAcctGatherType": "jobacct_gather/none",
            "JobCompType": "jobcomp/none",
            "MinJobAge": 900,
            "MailProg": "/bin/true",
            "DefMemPerCPU": 500,
            "KillWait": 5,
            "InactiveLimit": 0,
            "PreemptType": "preempt/partition_prio",
            "PreemptMode": "REQUEUE",
        }
        nodes = [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={FIRST_NODE_PORT + place} CPUs={self.cpus} "
            f"RealMemory={self.memory_mb} Gres=gpu:{self.gpus} Weight={2 if node in self.firm else 1} State=UNKNOWN"
            for place, node in enumerate(self.nodes)
        ]
        partitions = (
            f"PartitionName=gpu Nodes={self.firm} Default=YES MaxTime=1-0 State=UP PriorityTier=10",
            f"PartitionName=scavenge Nodes={self.firm} MaxTime=1-0 State=UP PriorityTier=1",
            "PartitionName=fragile Nodes=ALL MaxTime=1-0 State=UP PriorityTier=10",
        )
        settings = [f"{name}={value}" for name, value in slurm.items()]
        write(ETC / "slurm.conf", [*settings, *nodes, *partitions])
        # Records without File= are dropped, so a GPU is a device of its own that swallows everything, as /dev/null.
        for number in range(self.gpus):
            device = BASE / f"dev/gpu{number}"
            if not device.exists():
                os.mknod(device, 0o20666, os.makedev(1, 3))
        files = f"{BASE}/dev/gpu[0-{self.gpus - 1}]"
        gpus = f"NodeName=n[0-{last}] Name=gpu File={files} Flags=nvidia_gpu_env"
        write(ETC / "gres.conf", ["AutoDetect=off", gpus])


def check_possible(*, accounting: bool) -> None:
    """Check that a cluster can be started here.

    Raises:
        ClusterError: it cannot.
    """
    if os.geteuid() != 0:
        raise ClusterError("the test cluster writes /etc/slurm and must be started by root")
    needed = (*NEEDED, *(NEEDED_FOR_ACCOUNTING if accounting else ()))
    if missing := [name for name in needed if shutil.which(name) is None]:
        raise ClusterError(f"not installed: {', '.join(missing)}; `make install-slurm` installs Debian's packages")
    for name in ("slurm.conf", "gres.conf", "slurmdbd.conf"):
        file = ETC / name
        if file.is_symlink() or (file.exists() and not file.read_text(errors="replace").startswith(MARK)):
            raise ClusterError(
                f"{file} was not written by this kit: it stays, and no test cluster is started beside it"
            )
    if daemon(BASE / "pids/slurmctld.pid"):
        raise ClusterError("a test cluster runs here already; `python -m tests.slurm.cluster stop` ends it")


def _main() -> int:
    parser = argparse.ArgumentParser(description="A Slurm cluster of its own on this machine.")
    parser.add_argument("action", choices=("start", "stop"))
    parser.add_argument("--accounting", action="store_true", help="keep accounts with slurmdbd")
    options = parser.parse_args()
    cluster = Cluster(accounting=options.accounting)
    try:
        if options.action == "start":
            cluster.start()
        else:
            cluster.stop()
    except (ClusterError, TimeoutError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(_main())
