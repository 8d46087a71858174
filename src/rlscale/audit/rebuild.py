"""Results derived again, in a folder of their own, from what is stored; they must come out byte for byte.

The jobs are those of the records, run by the same commands; their inputs are links to what is stored. Nothing below
``results`` is written.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rlscale import forkserver
from rlscale.audit.chain import flat, read_chain, record_for
from rlscale.errors import UserError
from rlscale.provenance import file_digest
from rlscale.records import StoredRecord
from rlscale.sources import PACKAGE

DERIVED_FROM = ("scores", "rollouts")
DERIVED = ("grade", "curves", "law", "compare", "sensitivity", "findings", "metrics", "figure", "report")
"""Stages that are run again, in their order; grading only where rollouts are what is trusted."""

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9+._-]*$")


@dataclass(frozen=True)
class Rebuilt:
    """A file that was derived again, and whether it came out with the bytes that are stored."""

    path: str
    is_same: bool


def rebuilt(study: str, only: Iterable[str] = (), *, stored: str = "scores") -> list[Rebuilt]:
    """Derive results again and compare their bytes.

    Args:
        study: its name.
        only: files; empty for all figures and tables.
        stored: what is trusted (`DERIVED_FROM`): scores, or the raw answers, which are then graded again.

    Raises:
        UserError: a file is not derived from what is trusted, a record or an input is missing, or a job fails.
    """
    chain = read_chain(study)
    stages = DERIVED[stored == "scores" :]
    jobs = {path: record for path, record in chain.records.items() if record.stage in stages}
    wanted = [_target(file, jobs) for file in only] or list(jobs)
    needed = chain.upstream(wanted)
    ordered = sorted((path for path in jobs if path in needed), key=lambda path: stages.index(jobs[path].stage))
    missing = sorted(path for path in needed - chain.records.keys() if not Path(path).is_file())
    if missing or not ordered:
        raise UserError(f"{missing[0] if missing else chain.paths.root}: no record, so nothing can be derived from it")
    with TemporaryDirectory(prefix="rlscale-rebuild-") as name:
        scratch = Path(name)
        _link_inputs([jobs[path] for path in ordered], scratch)
        environment = os.environ | {
            "PYTHONPATH": str(PACKAGE.parent),
            forkserver.ADDRESS: forkserver.address(scratch),
        }
        for path in ordered:
            _run(jobs[path], scratch, environment)
        outputs = [file for path in ordered for file in flat(jobs[path].outputs)]
        return [Rebuilt(file, _same(Path(file), scratch / file)) for file in outputs]


def _target(file: str, jobs: dict[str, StoredRecord]) -> str:
    record = record_for(file)
    if record is None or record not in jobs:
        raise UserError(f"{file}: not derived from scores or rollouts; figures, tables and fits are")
    return record


def _link_inputs(jobs: list[StoredRecord], scratch: Path) -> None:
    """Link what the jobs read and do not make themselves, with its records."""
    made = {file for job in jobs for file in flat(job.outputs)}
    inputs = {file for job in jobs for file in job.inputs if file not in made}
    records = {parent for job in jobs for parent in job.parents}
    own = {str(record_for(next(iter(job.outputs)))) for job in jobs}
    for file in sorted((inputs | records | {"envs"}) - own):
        _link(Path(file), scratch / file)


def _link(path: Path, link: Path) -> None:
    if path.is_absolute() or ".." in path.parts:
        raise UserError(f"{path}: a record names a file outside this folder")
    if path.exists() and not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())


def _run(job: StoredRecord, scratch: Path, environment: dict[str, str]) -> None:
    names = [job.study, *([job.name] if job.name else [])]
    if not all(map(_NAME.match, names)):
        raise UserError(f"{' '.join(names)}: a record names no job that could be run")
    command = [sys.executable, "-m", "rlscale", "stage", job.stage, *names]
    done = subprocess.run(  # noqa: S603
        command, cwd=scratch, env=environment, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UserError(f"{job.stage} {' '.join(names)} failed when it was run again: {last}")


def _same(stored: Path, derived: Path) -> bool:
    if not (stored.is_file() and derived.is_file()):
        return False
    return file_digest(stored).sha256 == file_digest(derived).sha256


def told(found: Iterable[Rebuilt]) -> Iterator[str]:
    """Yield what is said of each file that did not come out the same, and of how many did."""
    files = list(found)
    yield from (f"{one.path}: came out with other bytes" for one in files if not one.is_same)
    yield f"{sum(one.is_same for one in files)} of {len(files)} files were derived again byte for byte"
