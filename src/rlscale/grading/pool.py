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
            found = Judgement(**child.ask({"answer": answer, "gold": gold}, self._deadline))
        except UserError as error:
            found = Judgement("no_verdict", str(error))
        except (TimeoutError, EOFError) as error:
            if child is not None:
                child.end()
            child = None
            is_late = isinstance(error, TimeoutError)
            reason = f"no verdict within {self._deadline:g} s" if is_late else "the grader died of it"
            found = Judgement("no_verdict", reason)
        finally:
            self._idle.put(child)
        return found


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
        try:
            self.ask(None, START_SECONDS)
        except TimeoutError:
            self.end()
            raise UserError(f"the grader does not start within {START_SECONDS:.0f} s") from None
        except EOFError:
            said = self._process.communicate()[1].decode(errors="replace").strip().splitlines()
            raise UserError(f"the grader does not start: {said[-1] if said else 'it died'}") from None

    def ask(self, question: object, seconds: float) -> Any:
        """Return the answer to a question.

        Raises:
            TimeoutError: there is none within ``seconds``.
            EOFError: the child died.
        """
        end = time.monotonic() + seconds
        try:
            self._write(json.dumps(question).encode() + b"\n")
        except BrokenPipeError as error:
            raise EOFError from error
        return json.loads(self._read_line(end))

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._in.write(view) :]

    def _read_line(self, end: float) -> bytes:
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        line = b""
        while not line.endswith(b"\n"):
            if not poll.poll(max(0.0, end - time.monotonic()) * 1e3):
                raise TimeoutError
            read = self._out.read(65536)
            if not read:
                raise EOFError
            line += read
        return line
