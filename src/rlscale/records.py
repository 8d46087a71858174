"""The record of an artefact: what made it, out of what, with what; one JSON file beside it, written last.

A record carries the digest of itself, so that damage shows, and a derivation: the digest of all that decides what comes
out (stage, its version, its inputs), with no times and no outputs. A figure carries its derivation inside.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, StringConstraints, ValidationError

from rlscale.canonical import digest
from rlscale.errors import UserError, first_line
from rlscale.files import read_json, write_json

RECORD_VERSION: Literal[2] = 2
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class DamagedRecordError(UserError):
    """A record that is none: cut, changed, or of another version."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FileDigest(_Strict):
    """Size [bytes] and SHA-256 of a file."""

    bytes: NonNegativeInt
    sha256: Sha256


class FolderDigest(_Strict):
    """The files of a folder by relative path; hidden ones are left out."""

    files: dict[str, FileDigest]


Described = FileDigest | FolderDigest


class Environment(_Strict):
    """The software: the lock that it was installed from, by path and digest, and the versions that were found."""

    lock: str
    lock_sha256: Sha256 | None
    python: str
    libraries: dict[str, str]


class GitState(_Strict):
    """Commit, and SHA-256 of the uncommitted changes; None where there is no repository, or no change."""

    commit: str | None
    uncommitted_sha256: Sha256 | None


class Record(_Strict):
    """What is known of one artefact and of what was made with it. Paths are relative to the repository's root.

    Attributes:
        study: the study's name.
        stage: a stage of the workflow.
        stage_version: as raised by hand when the stage comes to make other results.
        name: of the run, pool, base model or figure; empty where a study has one such job.
        adapter: the trainer or evaluator; None where the stage has none.
        outputs: the artefact and what else the job made.
        inputs: what it was made from.
        parents: records of the inputs, with their derivations.
        derivation: see :func:`derivation`.
        facts: what only the stage knows: fingerprint, seed.
        sources: SHA-256 of the stage's own code (see `rlscale.sources`).
        environment: the software.
        git: the repository's state.
        device: the machine's architecture.
        argv: the command line.
        slurm_job_id: None outside Slurm.
        started: UTC, ISO 8601; ended likewise.
        cpu_seconds: CPU time of the job and its children.
    """

    record_version: Literal[2] = RECORD_VERSION
    study: str
    stage: str
    stage_version: NonNegativeInt
    name: str
    adapter: str | None
    outputs: dict[str, Described] = Field(min_length=1)
    inputs: dict[str, Described]
    parents: dict[str, Sha256]
    derivation: Sha256
    facts: dict[str, Any]
    sources: dict[str, Sha256]
    environment: Environment
    git: GitState
    device: str
    argv: list[str]
    slurm_job_id: str | None
    started: str
    ended: str
    cpu_seconds: NonNegativeFloat


class StoredRecord(Record):
    """A record as its file holds it: with the SHA-256 of all the rest, as canonical JSON."""

    sha256: Sha256


def derivation(stage: str, stage_version: int, inputs: Mapping[str, Described]) -> str:
    """Return the digest of all that decides what a job makes: the same derivation, the same bytes."""
    described = {path: one.model_dump() for path, one in inputs.items()}
    return digest({"stage": stage, "stage_version": stage_version, "inputs": described})


def save_record(path: Path, record: Record) -> None:
    """Write a record with the digest of itself."""
    values = record.model_dump(mode="json")
    write_json(path, values | {"sha256": digest(values)})


def read_record(path: Path) -> StoredRecord:
    """Return the record of a file.

    Raises:
        DamagedRecordError: it holds none, or one whose values do not have the digest that it states.
        FileNotFoundError: there is no file.
    """
    try:
        values = read_json(path)
        if not isinstance(values, dict):
            raise DamagedRecordError(f"{path}: damaged record: no JSON object")
        version = values.get("record_version")
        if version != RECORD_VERSION:
            raise DamagedRecordError(f"{path}: record of version {json.dumps(version)[:20]}, not {RECORD_VERSION}")
        record = StoredRecord.model_validate(values)
        if record.sha256 != digest({name: value for name, value in values.items() if name != "sha256"}):
            raise DamagedRecordError(f"{path}: damaged record: its values do not have the digest that it states")
    except ValidationError as error:
        first = error.errors()[0]
        said = f"{'.'.join(map(str, first['loc']))[:80]}: {first['msg']}"
        raise DamagedRecordError(f"{path}: damaged record: {' '.join(said.split())}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise DamagedRecordError(f"{path}: damaged record: {first_line(error)}") from None
    if record.derivation != derivation(record.stage, record.stage_version, record.inputs):
        raise DamagedRecordError(f"{path}: damaged record: its derivation is not that of its inputs")
    return record
