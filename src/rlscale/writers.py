"""One writer at a time: a lock that the kernel releases when its holder dies.

A job that Slurm requeued while its old processes live on, a job that was submitted twice, a local Snakemake beside a
cluster's: each would write the files of a run that another one writes. The lock also tells others that a job runs.
"""

import errno
import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rlscale.errors import UserError
from rlscale.files import read_object

SECONDS_TO_WAIT = 60.0
"""For another writer to end: a cancelled job has Slurm's KillWait, 30 s, before it is killed."""

SECONDS_BETWEEN_TRIES = 0.5

_HELD = {errno.EWOULDBLOCK, errno.EACCES}
_CANNOT_LOCK = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}

log = logging.getLogger(__name__)


def this_process() -> dict[str, Any]:
    """Return who runs: host, process and slurm_job (None outside Slurm)."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{part}") for part in ("JOB_ID", "TASK_ID"))
    job = f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")
    return {"host": socket.gethostname(), "process": os.getpid(), "slurm_job": job}


@contextmanager
def only_writer(path: Path, job: str) -> Iterator[None]:
    """Hold the lock ``path``; wait for its holder for a while. Where files cannot be locked, go on with a warning.

    Args:
        path: a file whose content says who holds it.
        job: what the lock is for, for messages.

    Raises:
        UserError: another process holds it for longer than ``SECONDS_TO_WAIT``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    _open.add(descriptor)
    try:
        if _locked_in_time(descriptor, path, job):
            _sign(descriptor)
        yield
    finally:
        _open.discard(descriptor)
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Return whether a process holds the lock; not known, and so False, where files cannot be locked.

    A shared lock is tried and given back at once: it delays a writer that comes at this moment by one try.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return _try(descriptor, fcntl.LOCK_SH) is False
    finally:
        os.close(descriptor)


def _locked_in_time(descriptor: int, path: Path, job: str) -> bool:
    """Return whether the lock is ours; False where files cannot be locked."""
    deadline = time.monotonic() + SECONDS_TO_WAIT
    tries = 0
    while (locked := _try(descriptor, fcntl.LOCK_EX)) is False:
        tries += 1
        if time.monotonic() > deadline:
            raise UserError(
                f"{job}: another process is at it: {_holder(path)}; it still held {path} after {SECONDS_TO_WAIT:.0f} s"
            )
        if tries == 2:  # at the first it may have been a look
            log.info("%s: waits for another process to end: %s", job, _holder(path))
        time.sleep(SECONDS_BETWEEN_TRIES)
    if locked is None:
        log.warning("%s: the file system of %s cannot lock files: nothing keeps a second writer away", job, path)
    return bool(locked)


def _try(descriptor: int, kind: int) -> bool | None:
    """Return whether the lock was had, without waiting; None where files cannot be locked."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        if error.errno in _CANNOT_LOCK:
            return None
        raise
    return True


def _sign(descriptor: int) -> None:
    holder = this_process() | {"since": datetime.now(UTC).isoformat(timespec="seconds")}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _holder(path: Path) -> str:
    said = read_object(path)
    if not said:
        return "it has not said which"
    job = f", Slurm job {said['slurm_job']}" if said["slurm_job"] else ""
    return f"process {said['process']} on {said['host']}{job}, since {said['since']}"


_open: set[int] = set()


def _close_in_fork() -> None:
    """Close what a forked child inherited: it would hold the lock for as long as it outlives its parent."""
    for descriptor in _open:
        os.close(descriptor)
    _open.clear()


os.register_at_fork(after_in_child=_close_in_fork)
