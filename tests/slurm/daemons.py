"""The daemons of the test cluster: how each is configured, started and ended; munge and the accounts' database too."""

import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

BASE = Path("/tmp/rlscale-slurm")  # noqa: S108 - short, as paths of sockets must be; one cluster a machine
ETC = Path("/etc/slurm")
NAME = "rlscale-test"
MARK = "# written by the test cluster of rlscale\n"
MUNGE_SOCKET = Path("/run/munge/munge.socket.2")
SECONDS_TO_START = 60.0
DATABASE_PORT, ACCOUNTING_PORT, CONTROLLER_PORT, FIRST_NODE_PORT = 26813, 26819, 26817, 26900


class ClusterError(Exception):
    """The cluster cannot be started here; the message says why."""


def wait_until(condition: Callable[[], bool], what: str, seconds: float = SECONDS_TO_START) -> None:
    """Wait until ``condition()`` is true.

    Raises:
        TimeoutError: it does not become so in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s in vain: {what}")
        time.sleep(0.1)


def write(path: Path, lines: list[str], mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=mode)
    path.chmod(mode)
    path.write_text(MARK + "".join(f"{line}\n" for line in lines))


def run(*command: str) -> None:
    # A daemon that kept our streams open would keep whoever reads them waiting.
    log = BASE / "log/kit.log"
    with log.open("ab") as stream:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd="/", check=False, timeout=120
        )
    if done.returncode:
        raise ClusterError(f"{command[0]} failed with {done.returncode}:\n{log.read_text(errors='replace')[-2000:]}")


def daemon(pid_file: Path) -> psutil.Process | None:
    """Return the daemon that wrote its number into a file, if it still runs."""
    text = pid_file.read_text().strip() if pid_file.is_file() else ""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(int(text)) if text else None
        return process if process and process.name() == pid_file.name.split(".")[0] else None
    return None


def is_ours(process: psutil.Process) -> bool:
    """Return whether a process belongs to a job of the cluster; some outlive the end of their node."""
    try:
        return str(process.environ().get("SLURM_WORKING_CLUSTER", "")).startswith(f"{NAME}:")
    except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def end(pid_file: Path, number: int = signal.SIGTERM) -> None:
    """End the daemon of a file."""
    process = daemon(pid_file)
    if process is not None:
        process.send_signal(number)
        try:
            process.wait(10)
        except psutil.TimeoutExpired:
            process.kill()
    pid_file.unlink(missing_ok=True)


def start_munge() -> None:
    if MUNGE_SOCKET.exists() and subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode == 0:
        return  # one runs already: whoever started it ends it
    key = BASE / "munge/key"
    if not key.exists():
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
    MUNGE_SOCKET.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    MUNGE_SOCKET.parent.chmod(0o755)
    pid, log, seed = (f"--{name}={BASE / path}" for name, path in _MUNGE_FILES.items())
    run("munged", f"--key-file={key}", pid, log, seed, "--force")


_MUNGE_FILES = {"pid-file": "pids/munged.pid", "log-file": "log/munged.log", "seed-file": "munge/seed"}


def start_accounting() -> None:
    folder, socket_path = BASE / "db", BASE / "db.sock"
    if not folder.exists():
        by_socket = "--auth-root-authentication-method=socket"
        run("mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={folder}", by_socket)
    with (BASE / "log/mariadbd.log").open("ab") as log:
        database = subprocess.Popen(
            [
                "mariadbd",
                "--no-defaults",
                "--user=root",
                f"--datadir={folder}",
                f"--socket={socket_path}",
                f"--port={DATABASE_PORT}",
                "--bind-address=127.0.0.1",
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (BASE / "pids/mariadbd.pid").write_text(str(database.pid))
    client = ["mariadb", "--no-defaults", "-S", str(socket_path), "-e"]
    wait_until(
        lambda: subprocess.run([*client, "select 1"], capture_output=True, check=False).returncode == 0, "MariaDB"
    )
    user = "slurm@'127.0.0.1'"
    create = f"create database slurm_acct; create user {user} identified by 'x'; grant all on slurm_acct.* to {user}"
    run(*client, create)
    settings = {
        "AuthType": "auth/munge",
        "DbdHost": socket.gethostname().split(".")[0],
        "DbdAddr": "127.0.0.1",
        "DbdPort": ACCOUNTING_PORT,
        "SlurmUser": "root",
        "PidFile": BASE / "pids/slurmdbd.pid",
        "LogFile": BASE / "log/slurmdbd.log",
        "StorageType": "accounting_storage/mysql",
        "StorageHost": "127.0.0.1",
        "StoragePort": DATABASE_PORT,
        "StorageUser": "slurm",
        "StoragePass": "x",
        "StorageLoc": "slurm_acct",
    }
    write(ETC / "slurmdbd.conf", [f"{name}={value}" for name, value in settings.items()], mode=0o600)
    run("slurmdbd")
    listing = ["sacctmgr", "--noheader", "list", "cluster"]
    wait_until(lambda: subprocess.run(listing, capture_output=True, check=False).returncode == 0, "slurmdbd")
    run("sacctmgr", "--immediate", "add", "cluster", NAME)
    run("sacctmgr", "--immediate", "add", "account", "research", f"cluster={NAME}")
    run("sacctmgr", "--immediate", "add", "user", "root", "account=research")
