"""OpenRLHF as a child process, and the end of all that it started.

Ray starts processes in groups and sessions of their own, and `ray stop` ends those of every job on the machine. So all
processes of a run carry its fingerprint in their environment, and exactly these are ended.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

MARK = "RLSCALE_RUN"
EXTENSIONS = "TORCH_EXTENSIONS_DIR"
SECONDS_TO_END = 10.0


class RunningProcess:
    """One start of OpenRLHF; a context manager, at whose end nothing of it is left.

    Args:
        settings: the attempt's settings.
        words: OpenRLHF's arguments.
        log: file of all that is said.
        fingerprint: of the run.
        extensions: where DeepSpeed's extensions are compiled, if TORCH_EXTENSIONS_DIR does not say.
    """

    def __init__(self, settings: Path, words: Sequence[str], log: Path, *, fingerprint: str, extensions: Path) -> None:
        # A compiler that was killed leaves its lock, for which all later ones would wait for ever.
        for lock in extensions.glob("*/lock"):
            lock.unlink()
        environment = {EXTENSIONS: str(extensions.resolve())} | os.environ | {MARK: fingerprint}
        self.fingerprint, self.log = fingerprint, log
        self.started = self.last_move = time.monotonic()
        argv = [sys.executable, "-m", "rlscale.trainers.openrlhf.launch", str(settings.resolve()), *words]
        with log.open("wb") as stream:
            self._process = subprocess.Popen(  # noqa: S603
                argv,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def runs(self, seconds: float) -> bool:
        """Wait so long at most; return whether it still runs."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def moved(self) -> None:
        """Note a step."""
        self.last_move = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.started

    @property
    def seconds_still(self) -> float:
        """Since the last step, or the start."""
        return time.monotonic() - self.last_move

    @property
    def returncode(self) -> int | None:
        """Exit code; None while it runs."""
        return self._process.returncode

    def last_words(self) -> str:
        """Return the last line of the log that is not empty."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_leftovers(self.fingerprint)
        self._process.wait()

    @staticmethod
    def end_leftovers(fingerprint: str) -> None:
        """End all processes of a run on this machine: first asked to, then killed."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            found = _marked(fingerprint)
            for process in found:
                try:
                    process.send_signal(number)
                except psutil.NoSuchProcess:
                    continue
            psutil.wait_procs(found, timeout=SECONDS_TO_END)


def _marked(fingerprint: str) -> list[psutil.Process]:
    """Return the processes of this user that carry the run's mark, without this one."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == fingerprint:
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found
