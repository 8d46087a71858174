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
from rlscale.errors import first_line
from rlscale.files import read_json, remove_others, write_json
from rlscale.paths import producing_record, record_of
from rlscale.records import (
    DamagedRecordError,
    Described,
    Environment,
    FileDigest,
    FolderDigest,
    GitState,
    Record,
    derivation,
    read_record,
    save_record,
)
from rlscale.sources import stage_sources
from rlscale.stage_versions import STAGE_VERSION

IDENTITY = "checkpoint.json"
"""The file of a checkpoint that says which run and step it is, and the digest of its weights."""

DROPPED = "dropped.json"
"""The file that stands in the place of a checkpoint's weights after they were removed on purpose."""

CORE_LOCK = Path("envs/core.txt")
LOCKS: dict[str | None, Path] = {"openrlhf": Path("envs/train.txt"), "vllm": Path("envs/eval.txt")}
"""Locked environments by trainer or evaluator; all else runs in that of the core."""

FIGURE_IDENTIFIER = "rlscale:"

LIBRARIES = ("rlscale", "numpy", "pandas", "scipy", "torch", "matplotlib", "snakemake")


def write_record(
    artefact: Path,
    *,
    study: str,
    stage: str,
    inputs: Iterable[Path],
    started: datetime,
    name: str = "",
    adapter: str | None = None,
    outputs: Iterable[Path] = (),
    facts: Mapping[str, object] | None = None,
) -> None:
    """Write the record of ``artefact``, after it and its further ``outputs`` stand.

    Args:
        artefact: a file or a folder; the record's name follows from it.
        study: the study's name.
        stage: a key of ``STAGE_VERSION``.
        inputs: files and folders that it was made from.
        started: when its job began (UTC).
        name: of the run, pool, base model or figure.
        adapter: the trainer or evaluator that was used.
        outputs: what else the job made.
        facts: what only the stage knows: fingerprint, seeds.

    Raises:
        FileNotFoundError: an input or output does not stand.
        DamagedRecordError: the record of an input is damaged.
    """
    used = {str(path): described(path) for path in inputs}
    record = Record(
        study=study,
        stage=stage,
        stage_version=STAGE_VERSION[stage],
        name=name,
        adapter=adapter,
        outputs={str(path): described(path) for path in (artefact, *outputs)},
        inputs=used,
        parents=_parents(used),
        derivation=derivation(stage, STAGE_VERSION[stage], used),
        facts=dict(facts or {}),
        sources=stage_sources(stage, adapter),
        environment=environment(adapter),
        git=git_state(),
        device=platform.machine(),
        argv=[Path(sys.argv[0]).name, *sys.argv[1:]],
        slurm_job_id=os.environ.get("SLURM_JOB_ID"),
        started=started.isoformat(timespec="seconds"),
        ended=datetime.now(UTC).isoformat(timespec="seconds"),
        cpu_seconds=round(sum(os.times()[:4]), 2),
    )
    save_record(record_of(artefact), record)


def derivation_of(stage: str, inputs: Iterable[Path]) -> str:
    """Return the derivation of what a stage makes from ``inputs``, before it is made."""
    return derivation(stage, STAGE_VERSION[stage], {str(path): described(path) for path in inputs})


def figure_identifier(derivation: str) -> str:
    """Return what a figure carries in its metadata, as Dublin Core's Identifier."""
    return f"{FIGURE_IDENTIFIER}{derivation}"


def _parents(inputs: Iterable[str]) -> dict[str, str]:
    records = {record for path in inputs if (record := producing_record(Path(path)))}
    return {str(path): read_record(path).derivation for path in sorted(records) if path.is_file()}


def described(path: Path) -> Described:
    """Return size and SHA-256 of a file; of a folder, those of its files but hidden ones.

    A checkpoint whose weights were dropped is described as it was, so that dropping changes no later derivation.

    Raises:
        FileNotFoundError: it does not stand.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
        found = {str(file.relative_to(path)): file_digest(file) for file in files}
        if gone := dropped_files(path):
            found = {name: file for name, file in (found | gone).items() if name != DROPPED}
        return FolderDigest(files=dict(sorted(found.items())))
    return file_digest(path)


def file_digest(path: Path) -> FileDigest:
    """Return size and SHA-256 of a file.

    Raises:
        FileNotFoundError: it does not stand.
    """
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256")
        return FileDigest(bytes=os.fstat(stream.fileno()).st_size, sha256=found.hexdigest())


def weights_digest(checkpoint: Path) -> str:
    """Return the SHA-256 of a checkpoint's weights; of several files, that of their names and digests."""
    digests = {file.name: file_digest(file).sha256 for file in sorted(checkpoint.glob("*.safetensors"))}
    return next(iter(digests.values())) if len(digests) == 1 else digest(digests)


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
    """Remove a checkpoint's files but its identity, and say so beside it; may be done again.

    Args:
        checkpoint: its folder.
        reason: for people; ``dropped.json`` holds it with the time, and bytes and sha256 of each file that goes.
    """
    if not is_dropped(checkpoint):
        files = FolderDigest.model_validate(described(checkpoint)).files
        gone = {name: file.model_dump() for name, file in files.items() if name != IDENTITY}
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(checkpoint / DROPPED, {"dropped": now, "reason": reason, "files": gone})
    remove_others(checkpoint, [checkpoint / IDENTITY, checkpoint / DROPPED])


def dropped_files(checkpoint: Path) -> dict[str, FileDigest]:
    """Return size and SHA-256 of the files that were dropped, by relative path; empty where none was.

    Raises:
        DamagedRecordError: what says so is damaged.
    """
    path = checkpoint / DROPPED
    if not path.is_file():
        return {}
    try:
        return {name: FileDigest.model_validate(file) for name, file in read_json(path).get("files", {}).items()}
    except (ValueError, AttributeError) as error:
        raise DamagedRecordError(f"{path}: damaged: {first_line(error)}") from None


def is_dropped(checkpoint: Path) -> bool:
    """Return whether the weights were removed on purpose."""
    return (checkpoint / DROPPED).is_file()


def environment(adapter: str | None) -> Environment:
    """Return the software that a stage runs with; its lock is that of its trainer or evaluator."""
    lock = LOCKS.get(adapter, CORE_LOCK)
    return Environment(
        lock=str(lock),
        lock_sha256=file_digest(lock).sha256 if lock.is_file() else None,
        python=platform.python_version(),
        libraries=library_versions(),
    )


@cache
def git_state() -> GitState:
    """Return the commit and the SHA-256 of the uncommitted changes; None where there is no repository or no change."""
    try:
        commit = _git("rev-parse", "HEAD").decode().strip()
        changes = _git("diff", "HEAD", "--binary")
    except (OSError, subprocess.CalledProcessError):
        return GitState(commit=None, uncommitted_sha256=None)
    return GitState(commit=commit, uncommitted_sha256=hashlib.sha256(changes).hexdigest() if changes else None)


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], check=True, capture_output=True).stdout  # noqa: S603, S607
