"""Records: any valid content survives, and no damage passes for a record or ends in a traceback."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlscale.records import (
    DamagedRecordError,
    Environment,
    FileDigest,
    FolderDigest,
    GitState,
    Record,
    StoredRecord,
    derivation,
    read_record,
    save_record,
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
sha256 = st.binary(min_size=32, max_size=32).map(bytes.hex)
file = st.builds(FileDigest, bytes=st.integers(0, 2**62), sha256=sha256)
described = file | st.builds(FolderDigest, files=st.dictionaries(text, file, max_size=3))
number = st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False)
fact = st.recursive(
    st.none() | st.booleans() | number | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def records(draw: st.DrawFn) -> Record:
    stage, version = draw(text), draw(st.integers(0, 99))
    inputs = draw(st.dictionaries(text, described, max_size=4))
    return Record(
        study=draw(text),
        stage=stage,
        stage_version=version,
        name=draw(text),
        adapter=draw(st.none() | text),
        outputs=draw(st.dictionaries(text, described, min_size=1, max_size=4)),
        inputs=inputs,
        parents=draw(st.dictionaries(text, sha256, max_size=3)),
        derivation=derivation(stage, version, inputs),
        facts=draw(st.dictionaries(text, fact, max_size=3)),
        sources=draw(st.dictionaries(text, sha256, max_size=3)),
        environment=Environment(
            lock=draw(text),
            lock_sha256=draw(st.none() | sha256),
            python=draw(text),
            libraries=draw(st.dictionaries(text, text, max_size=3)),
        ),
        git=GitState(commit=draw(st.none() | text), uncommitted_sha256=draw(st.none() | sha256)),
        device=draw(text),
        argv=draw(st.lists(text, max_size=3)),
        slurm_job_id=draw(st.none() | text),
        started=draw(text),
        ended=draw(text),
        cpu_seconds=draw(st.floats(0, 1e9)),
    )


same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@settings(same_folder, max_examples=1000)
@given(record=records())
def test_what_was_written_is_read(record: Record, tmp_path: Path) -> None:
    save_record(tmp_path / "record.json", record)
    read = read_record(tmp_path / "record.json")
    assert read.model_dump(exclude={"sha256"}) == record.model_dump()


def _cut(data: bytes, at: int, _: int) -> bytes:
    return data[:at]


def _flipped(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes([data[at] ^ value]) + data[at + 1 :]


def _inserted(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes([value]) * value + data[at:]


@settings(same_folder, max_examples=400)
@given(record=records(), damage=st.sampled_from([_cut, _flipped, _inserted]), data=st.data())
def test_damage_is_said_to_be_damage(record: Record, damage: Any, data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    save_record(path, record)
    before = path.read_bytes()
    at, value = data.draw(st.integers(0, len(before) - 1)), data.draw(st.integers(1, 255))
    path.write_bytes(damage(before, at, value))
    found = read_or_error(path)
    if isinstance(found, DamagedRecordError):
        assert str(found).startswith(f"{path}: ")
        assert len(str(found).splitlines()) == 1
    else:  # white space, or another spelling of the same values
        assert found.model_dump(exclude={"sha256"}) == record.model_dump()


def read_or_error(path: Path) -> StoredRecord | DamagedRecordError:
    try:
        return read_record(path)
    except DamagedRecordError as error:
        return error


NO_RECORDS = ["", "null", "[]", "{}", "[" * 100_000, "9" * 10_000, "\x00", '{"a": NaN}', '{"a": 1e999}']
NO_RECORDS += ['{"record_version": 1}', '{"record_version": 2}', '{"record_version": 2, "sha256": "\\ud800"}']


@pytest.mark.parametrize("text", NO_RECORDS)
def test_what_is_no_record_is_said_to_be_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(DamagedRecordError, match=r"record\.json: (damaged record|record of version)"):
        read_record(tmp_path / "record.json")


def test_a_forged_derivation_is_found(tmp_path: Path) -> None:
    """Whoever makes the digest anew has still to derive the artefact from its inputs."""
    path = tmp_path / "record.json"
    inputs = {"in": FileDigest(bytes=1, sha256="0" * 64)}
    values: dict[str, Any] = dict.fromkeys(("study", "stage", "name", "device", "started", "ended"), "")
    values |= {"stage_version": 1, "adapter": None, "parents": {}, "facts": {}, "sources": {}, "argv": []}
    values |= {"slurm_job_id": None, "cpu_seconds": 0.0, "inputs": inputs, "outputs": inputs}
    values["environment"] = Environment(lock="", lock_sha256=None, python="", libraries={})
    values["git"] = GitState(commit=None, uncommitted_sha256=None)
    save_record(path, Record(**values, derivation=derivation("", 1, inputs)))
    assert json.loads(path.read_text())["derivation"] == read_record(path).derivation
    save_record(path, Record(**values, derivation="0" * 64))
    with pytest.raises(DamagedRecordError, match="derivation"):
        read_record(path)
