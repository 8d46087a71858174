"""Jobs of one machine are forked from one process that has imported everything, instead of each importing it again.

Importing torch, pandas and the rest takes three to four CPU seconds, as long as many a job. Where Snakemake runs jobs
on its own machine it names a socket in the environment (`ADDRESS`); the first job starts a server there and goes on by
itself, and later ones ask the server to fork. The server ends with Snakemake. A job that finds no server runs as if
there were none, so that nothing depends on it; a job that is killed takes its fork along.

Client and server speak over a Unix socket: a JSON object (argv, cwd, env) in front of which stands its length, with
the client's three standard streams attached; then, from the fork, its exit code as one byte.
"""

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path

ADDRESS = "RLSCALE_FORK_SERVER"
"""Environment variable: the process that the server lives as long as, a colon, and the path of its socket."""

IMPORTED_BEFORE = (
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "pyarrow.parquet",
    "scipy.optimize",
    "scipy.stats",
    "rlscale.cli",
    "rlscale.curves",
    "rlscale.evaluators.local",
    "rlscale.figures",
    "rlscale.findings",
    "rlscale.fit",
    "rlscale.forecasts.sensitivity",
    "rlscale.forecasts.tournament",
    "rlscale.models.supervised",
    "rlscale.rewards",
    "rlscale.tasks",
    "rlscale.trainers.local.trainer",
)
"""What jobs import."""

_LENGTH_BYTES = 8
_KILLED = 137  # what shells say of a process that was killed


def address(folder: Path) -> str:
    """Return the address of a server for jobs of this process; ``folder`` is private and lives as long as it."""
    return f"{os.getpid()}:{folder / 'rlscale.sock'}"


def run_in_fork(argv: list[str]) -> int | None:
    """Run the command line in a fork of the server and return its exit code; None where there is no server yet.

    The first call without a server starts one, for the calls that follow.
    """
    if ADDRESS not in os.environ:
        return None
    owner, _, path = os.environ[ADDRESS].partition(":")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(path)
        except OSError:
            _start_once(owner, Path(path))
            return None
        request = json.dumps({"argv": argv, "cwd": str(Path.cwd()), "env": dict(os.environ)}).encode()
        head = len(request).to_bytes(_LENGTH_BYTES, "big")
        try:
            socket.send_fds(connection, [head], [0, 1, 2])
            connection.sendall(request)
            code = connection.recv(1)
        except OSError:
            code = b""
    return code[0] if code else _KILLED


def _start_once(owner: str, path: Path) -> None:
    try:
        path.with_suffix(".started").touch(exist_ok=False)
    except OSError:
        return  # it is starting, or it failed: this job runs by itself
    command = [sys.executable, "-m", "rlscale.forkserver", owner, str(path)]
    nothing = subprocess.DEVNULL
    subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)  # noqa: S603


def serve(owner: int, path: Path) -> None:
    """Fork a process for each request until the process ``owner`` has ended."""
    for module in IMPORTED_BEFORE:
        import_module(module)
    _remember_sources()
    gc.collect()
    gc.freeze()  # what is there now is shared with the forks, and never looked at again
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        waiting = path.with_suffix(".bound")
        listener.bind(str(waiting))
        listener.listen(64)
        waiting.rename(path)  # only now can a job find it
        while _is_running(owner):
            readable, _, _ = select.select([listener], [], [], 1.0)
            if readable:
                connection, _ = listener.accept()
                if os.fork() == 0:
                    listener.close()
                    _run(connection)
                connection.close()
            _reap()


def _remember_sources() -> None:
    """Look up the code of every stage now, as it was imported, and not once in each job."""
    from rlscale.sources import stage_sources
    from rlscale.stage_versions import STAGE_VERSION

    for stage in STAGE_VERSION:
        stage_sources(stage, "local" if stage in {"train", "evaluate"} else None)


def _run(connection: socket.socket) -> None:
    """Become the job that the connection asks for; never return."""
    code = 1
    try:
        head, streams, _, _ = socket.recv_fds(connection, _LENGTH_BYTES, 3)
        with connection.makefile("rb") as stream:
            request = json.loads(stream.read(int.from_bytes(head, "big")))
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        del os.environ[ADDRESS]
        sys.argv = request["argv"]
        threading.Thread(target=_die_with_client, args=(connection,), daemon=True).start()
        code = _call_main()
        connection.sendall(bytes([code]))
    finally:
        os._exit(code)


def _call_main() -> int:
    code: object = 0
    try:
        import_module("rlscale.cli").main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - what an interpreter does at its top
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code % 256 if isinstance(code, int) else int(code is not None)


def _die_with_client(connection: socket.socket) -> None:
    connection.recv(1)  # a client sends no more: this returns when it is gone
    os.kill(os.getpid(), signal.SIGKILL)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _reap() -> None:
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                return
        except ChildProcessError:
            return


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
