"""Records: what made an artefact, out of what, with what.

A record stands beside every artefact and is written last: where there is no record, the artefact is not finished.
Downstream jobs depend on the record, a small file whose content Snakemake compares, and not on large folders.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rlscale.canonical import digest
from rlscale.files import write_json
from rlscale.paths import record_of

STAGE_VERSION = {
    "pool": 1,
    "suites": 1,
    "base": 2,
    "train": 2,
    "evaluate": 2,
    "grade": 2,
    "curves": 1,
    "law": 3,
    "compare": 1,
    "sensitivity": 1,
    "findings": 3,
    "figure": 2,
}
"""Raised by hand when a stage comes to make other results from the same inputs: exactly that stage runs again."""

RECORD_VERSION = 1
IDENTITY = "checkpoint.json"
"""The file of a checkpoint that says which run and step it is, and the digest of its weights."""

DROPPED = "dropped.json"
"""The file that stands in the place of a checkpoint's weights after they were removed on purpose."""

LIBRARIES = ("rlscale", "numpy", "pandas", "scipy", "torch", "matplotlib", "snakemake")


def write_record(
    artefact: Path,
    *,
    stage: str,
    inputs: Iterable[Path],
    started: datetime,
    outputs: Iterable[Path] = (),
    facts: Mapping[str, object] | None = None,
) -> None:
    """Write the record of ``artefact``, after it and its further ``outputs`` stand.

    Args:
        artefact: a file or a folder; the record's name follows from it.
        stage: a key of ``STAGE_VERSION``.
        inputs: files and folders that it was made from.
        started: when its job began (UTC).
        outputs: what else the job made.
        facts: what only the stage knows: run, fingerprint, seeds.
    """
    record = {
        "record_version": RECORD_VERSION,
        "stage": stage,
        "stage_version": STAGE_VERSION[stage],
        "outputs": {str(path): describe(path) for path in (artefact, *outputs)},
        "inputs": {str(path): describe(path) for path in inputs},
        "facts": dict(facts or {}),
        "argv": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "git": git_state(),
        "libraries": library_versions(),
        "python": platform.python_version(),
        "device": platform.machine(),
        "slurm_job_id": os.environ.get("SLURM_JOB_ID"),
        "started": started.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu_seconds": round(sum(os.times()[:4]), 2),
    }
    write_json(record_of(artefact), record)


def describe(path: Path) -> dict[str, object]:
    """Return size in bytes and SHA-256 of a file; of a folder, those of its files by relative path."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
        return {"files": {str(file.relative_to(path)): describe(file) for file in files}}
    with path.open("rb") as stream:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def weights_digest(checkpoint: Path) -> str:
    """Return the SHA-256 of a checkpoint's weights; of several files, that of their names and digests."""
    digests = {file.name: describe(file)["sha256"] for file in sorted(checkpoint.glob("*.safetensors"))}
    return str(next(iter(digests.values()))) if len(digests) == 1 else digest(digests)


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that results depend on, of those that are installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # a record says what was there; what was not could not have mattered
    return found


def checkpoint_identity(path: Path) -> dict[str, object] | None:
    """Return what ``checkpoint.json`` says, or None where there is no complete checkpoint."""
    file = path / IDENTITY
    if not file.is_file():
        return None
    identity: dict[str, object] = json.loads(file.read_text(encoding="utf-8"))
    return identity


def checkpoint_fingerprint(path: Path) -> str | None:
    """Return the fingerprint of the run that a checkpoint belongs to, or None where there is no complete checkpoint."""
    identity = checkpoint_identity(path)
    return None if identity is None else str(identity["fingerprint"])


def drop_weights(checkpoint: Path, reason: str) -> None:
    """Remove a checkpoint's files but its identity, and say so beside it; may be done again."""
    write_json(checkpoint / DROPPED, {"dropped": datetime.now(UTC).isoformat(timespec="seconds"), "reason": reason})
    for file in checkpoint.iterdir():
        if file.name not in {IDENTITY, DROPPED}:
            file.unlink()


def is_dropped(checkpoint: Path) -> bool:
    """Return whether the weights were removed on purpose."""
    return (checkpoint / DROPPED).is_file()


@cache
def git_state() -> dict[str, str | None]:
    """Return the commit and the SHA-256 of the uncommitted changes; None where there is no repository or no change."""
    try:
        commit = _git("rev-parse", "HEAD").decode().strip()
        changes = _git("diff", "HEAD", "--binary")
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "uncommitted_sha256": None}
    return {"commit": commit, "uncommitted_sha256": hashlib.sha256(changes).hexdigest() if changes else None}


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], check=True, capture_output=True).stdout  # noqa: S603, S607
