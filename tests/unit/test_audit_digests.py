"""Digests of an audit: what is read again, and what is believed."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from rlscale.audit.digests import Digests


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    return str(tmp_path / "one"), str(tmp_path / "two")


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def audited(memory: Path, *paths: str, quick: bool) -> Digests:
    digests = Digests(memory, quick=quick)
    digests.look_up(paths)
    digests.remember()
    return digests


def test_only_a_quick_one_believes_what_is_remembered(files: tuple[str, str], tmp_path: Path):
    memory = tmp_path / "memory.json"
    assert audited(memory, *files, quick=True).hashed_bytes == 6
    quick = audited(memory, *files, quick=True)
    assert (quick.hashed_bytes, len(quick)) == (0, 2)
    found = quick[files[0]]
    assert found is not None
    assert (found.bytes, found.sha256) == (3, sha256("one"))
    assert audited(memory, *files, quick=False).hashed_bytes == 6


def test_what_was_not_looked_up_stays_remembered_and_what_is_gone_does_not(files: tuple[str, str], tmp_path: Path):
    memory = tmp_path / "memory.json"
    audited(memory, *files, quick=False)
    audited(memory, files[0], quick=False)
    assert audited(memory, *files, quick=True).hashed_bytes == 0
    Path(files[1]).unlink()
    assert audited(memory, *files, quick=True)[files[1]] is None
    assert files[1] not in memory.read_text()


def test_a_time_that_was_set_back_deceives_nobody(files: tuple[str, str], tmp_path: Path):
    memory = tmp_path / "memory.json"
    audited(memory, *files, quick=False)
    path = Path(files[0])
    old = path.stat()
    path.write_text("eno")
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    found = audited(memory, *files, quick=True)[files[0]]
    assert found is not None
    assert found.sha256 == sha256("eno")


@pytest.mark.parametrize("memory", ["", "[]", '{"one": 3}', "{"])
def test_a_damaged_memory_is_none(memory: str, files: tuple[str, str], tmp_path: Path):
    (tmp_path / "memory.json").write_text(memory)
    assert audited(tmp_path / "memory.json", *files, quick=True).hashed_bytes == 6


@pytest.mark.parametrize("forged", ["not hexadecimal", "", None, 3, "A" * 64, "0" * 63])
def test_a_forged_digest_is_not_believed(forged: object, files: tuple[str, str], tmp_path: Path):
    memory = tmp_path / "memory.json"
    audited(memory, *files, quick=False)
    known = json.loads(memory.read_text())
    known[files[0]][-1] = forged
    memory.write_text(json.dumps(known))
    again = audited(memory, *files, quick=True)
    found = again[files[0]]
    assert found is not None
    assert (again.hashed_bytes, found.sha256) == (3, sha256("one"))


@pytest.mark.parametrize("path", ["/dev/zero", "/dev", "/dev/null/nothing", "no such file"])
def test_what_is_no_file_is_missing(path: str, tmp_path: Path):
    assert Digests(tmp_path / "memory.json", quick=False)[path] is None
