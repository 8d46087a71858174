"""What surrounds every job of the workflow: one log to read, progress on the terminal, a record at the end."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

SECONDS_BETWEEN_LINES = 10.0

log = logging.getLogger("rlscale")


@contextmanager
def logged_job(name: str, log_path: Path) -> Iterator[datetime]:
    """Write the package's log to ``log_path`` while a job runs, its traceback included; yield the start (UTC)."""
    log_path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(log_path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.info("%s: started", name)
    try:
        yield datetime.now(UTC)
        log.info("%s: done", name)
    except BaseException:
        log.exception("%s: failed", name)
        print(f"{name}: failed; its log is {log_path}", file=sys.stderr)  # noqa: T201 - Snakemake's terminal
        raise
    finally:
        log.removeHandler(handler)
        handler.close()


class Ticker:
    """Says how far a job is, in one line every ten seconds, on the terminal and in the log."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.said = time.monotonic()

    def __call__(self, text: str) -> None:
        """Say ``text`` if the last line is long enough ago."""
        now = time.monotonic()
        if now - self.said >= SECONDS_BETWEEN_LINES:
            self.said = now
            log.info("%s: %s", self.name, text)
            print(f"  {self.name}: {text}", file=sys.stderr)  # noqa: T201 - Snakemake's terminal
