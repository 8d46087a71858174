"""Jobs in forks of one process: they say and return what they would by themselves, and they end with their client."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from rlscale.forkserver import ADDRESS, address

DEADLINE_SECONDS = 120.0


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "rlscale", *arguments]


def servers(socket: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if "rlscale.forkserver" in line and str(socket) in line:
            found.append(process)
    return found


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of jobs with a server that is up, owned by a process that ends with the module."""
    folder = tmp_path_factory.mktemp("server")
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    socket = folder / "rlscale.sock"
    found = os.environ | {ADDRESS: f"{owner.pid}:{socket}"}
    first = subprocess.run(command("stage", "--help"), env=found, capture_output=True, text=True, check=True)
    assert "Usage" in first.stdout  # by itself, while the server starts
    wait_for(socket.exists, "the server does not come up")
    assert len(servers(socket)) == 1
    yield found
    owner.kill()
    owner.wait()
    wait_for(lambda: not servers(socket), "the server outlives its owner")


@pytest.mark.parametrize(
    "arguments",
    [("stage", "--help"), ("stage",), ("stage", "tarin", "mini", "run"), ("stage", "train", "nowhere", "no-run")],
    ids=["help", "nothing asked", "no such stage", "no such study"],
)
def test_a_fork_says_and_returns_what_a_process_does(
    arguments: tuple[str, ...], environment: dict[str, str], tmp_path: Path
) -> None:
    outcomes = []
    for place, env in (("alone", os.environ.copy()), ("forked", environment)):
        (tmp_path / place).mkdir()
        outcomes.append(
            subprocess.run(
                command(*arguments), env=env, cwd=tmp_path / place, capture_output=True, text=True, check=False
            )
        )
    alone, forked = outcomes
    assert (forked.returncode, forked.stdout) == (alone.returncode, alone.stdout)
    last = [outcome.stderr.strip().splitlines()[-1:] for outcome in outcomes]
    assert last[0] == last[1]


def test_a_fork_ends_with_its_client(environment: dict[str, str], tmp_path: Path) -> None:
    """The job reads a named pipe into which nobody writes, so that it would last for ever."""
    specs = tmp_path / "results" / "study" / "specs" / "pools"
    specs.mkdir(parents=True)
    os.mkfifo(specs / "pool.json")
    client = subprocess.Popen(command("stage", "pool", "study", "pool"), env=environment, cwd=tmp_path)
    server = servers(Path(environment[ADDRESS].partition(":")[2]))[0]
    wait_for(server.children, "the server does not fork")
    assert client.poll() is None
    client.kill()
    client.wait()
    wait_for(lambda: not server.children(), "the fork outlives its client")


def test_without_a_server_a_job_runs_by_itself(tmp_path: Path) -> None:
    socket = tmp_path / "rlscale.sock"
    socket.with_suffix(".started").touch()  # one was started and failed
    found = os.environ | {ADDRESS: f"{os.getpid()}:{socket}"}
    done = subprocess.run(command("stage", "--help"), env=found, capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout
    assert not servers(socket)


def test_an_address_names_its_owner(tmp_path: Path) -> None:
    assert address(tmp_path) == f"{os.getpid()}:{tmp_path / 'rlscale.sock'}"
