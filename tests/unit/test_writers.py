"""One writer at a time: who comes second waits, and is told who is first; a dead holder holds nothing."""

import errno
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from rlscale import writers
from rlscale.errors import UserError
from rlscale.writers import is_held, only_writer, this_process

DEADLINE_SECONDS = 60.0
HOLDER = """
import sys, time
from pathlib import Path
from rlscale.writers import only_writer
with only_writer(Path(sys.argv[1]), "train run"):
    {inside}
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "locks" / "run.lock"


@contextmanager
def held_elsewhere(lock: Path, inside: str = "", **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """Hold the lock in another process, which does something before it says that it holds it."""
    command = [sys.executable, "-c", HOLDER.format(inside=inside), str(lock)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | environment)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_is_held_from_begin_to_end(lock: Path) -> None:
    assert not is_held(lock)
    assert not lock.exists(), "a look makes no lock"
    with only_writer(lock, "train run"):
        assert is_held(lock)
        assert is_held(lock)
    assert not is_held(lock)


def test_it_is_given_back_after_an_error(lock: Path) -> None:
    with pytest.raises(ZeroDivisionError), only_writer(lock, "train run"):
        raise ZeroDivisionError
    assert not is_held(lock)


def test_the_second_is_told_who_is_first(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "SECONDS_TO_WAIT", 0.0)
    with held_elsewhere(lock, SLURM_JOB_ID="4711") as process:
        with pytest.raises(UserError) as caught, only_writer(lock, "train run"):
            pytest.fail("two writers")
        said = str(caught.value)
        assert said.startswith(f"train run: another process is at it: process {process.pid} on ")
        assert ", Slurm job 4711, since 2" in said
        assert said.count("\n") == 0
        assert is_held(lock), "the second took the lock from the first"


def test_who_waits_goes_on_when_the_first_is_killed(lock: Path, caplog: pytest.LogCaptureFixture) -> None:
    ends = "import threading; threading.Timer(3, lambda: __import__('os').kill(__import__('os').getpid(), 9)).start()"
    caplog.set_level(logging.INFO, "rlscale")
    with held_elsewhere(lock, ends) as process, only_writer(lock, "train run"):
        assert process.wait() == -signal.SIGKILL
        assert json.loads(lock.read_text())["process"] == os.getpid()
    assert f"train run: waits for another process to end: process {process.pid}" in caplog.text


@pytest.mark.parametrize(
    "inside",
    [
        "import os\n    if os.fork() == 0: time.sleep(600)",
        "import subprocess; subprocess.Popen(['sleep', '600'])",
        "import multiprocessing as m; m.get_context('fork').Process(target=time.sleep, args=(600,)).start()",
    ],
    ids=["fork", "subprocess", "multiprocessing"],
)
def test_a_child_that_outlives_its_parent_holds_nothing(inside: str, lock: Path) -> None:
    with held_elsewhere(lock, inside) as process:
        wait_for(lambda: psutil.Process(process.pid).children())
        children = psutil.Process(process.pid).children()
        try:
            process.kill()
            process.wait()
            assert all(child.is_running() for child in children)
            wait_for(lambda: not is_held(lock))
        finally:
            for child in children:
                child.kill()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_files_cannot_be_locked_it_warns_and_goes_on(
    number: int, lock: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(_descriptor: int, _kind: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    with only_writer(lock, "train run"):
        assert not is_held(lock)
    assert "cannot lock files: nothing keeps a second writer away" in caplog.text


def test_another_error_is_an_error(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_descriptor: int, _kind: int) -> None:
        raise OSError(errno.EIO, "the disk")

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(OSError, match="the disk"), only_writer(lock, "train run"):
        pytest.fail("no lock")


@pytest.mark.parametrize(
    ("environment", "job"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "7"}, "7"),
        ({"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}, "7_3"),
    ],
)
def test_a_process_knows_its_slurm_job(
    environment: dict[str, str], job: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = this_process()
    assert (found["slurm_job"], found["process"]) == (job, os.getpid())
