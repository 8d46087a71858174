"""What a run says of itself while it trains: its attempts, and how far the last one is.

Each start of training is an attempt. What is known of it is appended to ``attempts.jsonl`` as it becomes known, one
line a fact, keyed by the attempt's number; the last step is in ``progress.json``. Both stand beside the trainer's
state, outlive every kill, and are part of no record and no identity.
"""

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rlscale.files import append_line, atomic_file, read_object
from rlscale.writers import this_process

ATTEMPTS = "attempts.jsonl"
PROGRESS = "progress.json"
SECONDS_BETWEEN_REPORTS = 1.0


@dataclass(frozen=True)
class Attempt:
    """One start of training.

    Attributes:
        number: from 1.
        started: when (UTC, ISO 8601).
        host: the machine.
        process: its number there.
        slurm_job: Slurm's job, ``12_3`` for a task of an array; None outside Slurm.
        resumed_after: the step that it went on from; None where it did not come to know.
        reached: the last step that it reported, at most a second old when it was killed; None for none.
        ended: when (UTC, ISO 8601); None where it runs or was killed.
        outcome: done or failed; None where it runs or was killed.
        error: the last line of the error that it failed with.
        lost_steps: steps that it reported and that a later attempt made again; 0 while there is no later one.
    """

    number: int
    started: str
    host: str
    process: int
    slurm_job: str | None = None
    resumed_after: int | None = None
    reached: int | None = None
    ended: str | None = None
    outcome: str | None = None
    error: str | None = None
    lost_steps: int = 0


@dataclass(frozen=True)
class Reported:
    """What a run reported last.

    Attributes:
        attempt: number of the attempt.
        step: the last step made.
        last_step: the last of the run.
        reward_mean: of that step; None where it was no number.
        seconds_left: to the last step, as the trainer expected; None where it could not tell.
        updated: when (UTC, ISO 8601).
    """

    attempt: int
    step: int
    last_step: int
    reward_mean: float | None
    seconds_left: float | None
    updated: str


def attempts(folder: Path) -> list[Attempt]:
    """Return the attempts of the run whose state is in ``folder``, in order, with the steps that each one lost."""
    facts = _facts(folder)
    last = progress(folder)
    if last is not None and last.attempt in facts:
        facts[last.attempt] |= {"reached": last.step}
    found = [Attempt(number=number, **values) for number, values in sorted(facts.items()) if "started" in values]
    resumed_after = None
    for place, attempt in reversed(list(enumerate(found))):
        if attempt.reached is not None and resumed_after is not None:
            found[place] = replace(attempt, lost_steps=max(0, attempt.reached - resumed_after))
        if attempt.resumed_after is not None:
            resumed_after = attempt.resumed_after
    return found


def progress(folder: Path) -> Reported | None:
    """Return what the run whose state is in ``folder`` reported last; None where it reported nothing."""
    values = read_object(folder / PROGRESS)
    return Reported(**values) if values else None


class OpenAttempt:
    """An attempt that goes on, and writes down what it is told."""

    def __init__(self, folder: Path) -> None:
        facts, last = _facts(folder), progress(folder)
        self._folder = folder
        self._number = max(facts, default=0) + 1
        self._last: Reported | None = None
        self._written = -math.inf
        if last is not None:  # this attempt will overwrite it
            self._note(last.attempt, reached=last.step)
        self._note(self._number, started=_now(), **this_process())

    def resumed(self, step: int) -> None:
        """Note the step that it goes on from, 0 for the beginning."""
        self._note(self._number, resumed_after=step)

    def report(self, *, step: int, last_step: int, reward_mean: float, seconds_left: float) -> None:
        """Replace the progress: at the first and the last step, and at others where the last time is a second ago."""
        self._last = Reported(
            attempt=self._number,
            step=step,
            last_step=last_step,
            reward_mean=_number(reward_mean),
            seconds_left=_number(seconds_left),
            updated=_now(),
        )
        if step == last_step or time.monotonic() - self._written >= SECONDS_BETWEEN_REPORTS:
            self._write_progress()

    def end(self, outcome: str, error: str | None = None) -> None:
        """Note the outcome, done or failed, and the last progress."""
        self._write_progress()
        self._note(self._number, ended=_now(), outcome=outcome, **({"error": error} if error else {}))

    def _write_progress(self) -> None:
        if self._last is not None:
            # Not flushed: it is worth nothing after a crash, and a disk that is busy would slow the training.
            with atomic_file(self._folder / PROGRESS, flush=False) as temporary:
                temporary.write_text(json.dumps(vars(self._last)), encoding="utf-8")
        self._written = time.monotonic()

    def _note(self, number: int, **facts: object) -> None:
        append_line(self._folder / ATTEMPTS, json.dumps({"attempt": number, **facts}))


@contextmanager
def new_attempt(folder: Path) -> Iterator[OpenAttempt]:
    """Yield a new attempt of the run whose state is in ``folder``; its outcome is kept unless it is interrupted."""
    attempt = OpenAttempt(folder)
    try:
        yield attempt
    except Exception as error:
        attempt.end("failed", _last_line(error))
        raise
    attempt.end("done")


def _facts(folder: Path) -> dict[int, dict[str, Any]]:
    """Return what is known of each attempt, by number; a line that a lost machine tore is skipped."""
    path = folder / ATTEMPTS
    if not path.is_file():
        return {}
    facts: dict[int, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            values = json.loads(line)
        except ValueError:
            continue
        facts.setdefault(values.pop("attempt"), {}).update(values)
    return facts


def _last_line(error: Exception) -> str:
    kind = type(error).__name__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{kind}: {lines[-1]}" if lines else kind


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
