"""Grading by child processes: answers go out one by one, and what hangs, bursts or dies costs its own verdict only."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import IO, Any, Self, cast

from rlscale.errors import UserError
from rlscale.grading.judgement import Judgement

DEADLINE_SECONDS = 5.0
MEMORY_MIB = 2048
START_SECONDS = 120.0
"""Within which a child must have imported math-verify, on the slowest file system."""

LAST_BREATH_SECONDS = 0.1
"""Given to a process that has closed its output, to end."""


class MathGrader:
    """Grades answers in child processes; a context manager, which ends them.

    Args:
        workers: child processes; without, one for each core that this process may use.
        deadline: seconds for one answer.
        memory_mib: address space of a child, in MiB.

    Raises:
        UserError: no child can be started.
    """

    def __init__(
        self, *, workers: int | None = None, deadline: float = DEADLINE_SECONDS, memory_mib: int = MEMORY_MIB
    ) -> None:
        count = workers or len(os.sched_getaffinity(0))
        self._argv = [sys.executable, "-m", "rlscale.grading.child", str(deadline), str(memory_mib)]
        self._deadline = deadline
        self._threads = ThreadPoolExecutor(count)
        # None: a child that is to be started when it is needed.
        self._idle: SimpleQueue[_Child | None] = SimpleQueue()
        self._idle.put(_Child(self._argv))
        for _ in range(count - 1):
            self._idle.put(None)

    def grade(self, answers: Sequence[str], golds: Sequence[str]) -> list[Judgement]:
        """Return a judgement for each answer, in order.

        Raises:
            ValueError: the lengths differ.
        """
        if len(answers) != len(golds):
            raise ValueError(f"{len(answers)} answers, {len(golds)} golds")
        return list(self._threads.map(self._one, answers, golds))

    def close(self) -> None:
        """End the child processes."""
        self._threads.shutdown()
        while not self._idle.empty():
            child = self._idle.get()
            if child is not None:
                child.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _one(self, answer: str, gold: str) -> Judgement:
        child = self._idle.get()
        try:
            child = child or _Child(self._argv)
            found = child.ask({"answer": answer, "gold": gold}, self._deadline)
            if found is not None:
                return Judgement(**found)
            reason = f"no verdict within {self._deadline:g} s" if child.is_alive() else "the grader died of it"
            child.end()
            child = None
            return Judgement("no_verdict", reason)
        except UserError as error:
            return Judgement("no_verdict", str(error))
        finally:
            self._idle.put(child)


class _Child:
    """One child process.

    Raises:
        UserError: it does not start.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        pipe = subprocess.PIPE
        # bufsize 0: what stands in the pipe is what `poll` knows of.
        self._process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)  # noqa: S603
        self._in, self._out = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        if self.ask(None, START_SECONDS) is None:
            said = self.end().decode(errors="replace").strip().splitlines()
            raise UserError(f"the grader does not start: {said[-1] if said else f'not within {START_SECONDS:.0f} s'}")

    def ask(self, question: object, seconds: float) -> Any:
        """Return the answer to a question; None if that takes too long, or the child died."""
        try:
            self._write(json.dumps(question).encode() + b"\n")
        except BrokenPipeError:
            return None
        line = self._read_line(time.monotonic() + seconds)
        return None if line is None else json.loads(line)

    def is_alive(self) -> bool:
        """Return whether the process still runs."""
        try:
            self._process.wait(timeout=LAST_BREATH_SECONDS)
        except subprocess.TimeoutExpired:
            return True
        return False

    def end(self) -> bytes:
        """End the process; return what it said on stderr."""
        self._process.kill()
        return self._process.communicate()[1]

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._in.write(view) :]

    def _read_line(self, end: float) -> bytes | None:
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        line = b""
        while not line.endswith(b"\n"):
            milliseconds = max(0.0, end - time.monotonic()) * 1e3
            read = self._out.read(65536) if poll.poll(milliseconds) else b""
            if not read:
                return None
            line += read
        return line
