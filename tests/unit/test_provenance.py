"""Records: what they hold, and that they can be made anywhere."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rlscale.canonical import canonical_json, derived_seed, digest
from rlscale.paths import record_of
from rlscale.provenance import (
    checkpoint_identity,
    described,
    git_state,
    library_versions,
    write_record,
)
from rlscale.records import GitState
from rlscale.stage_versions import STAGE_VERSION

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NO_REPOSITORY = GitState(commit=None, uncommitted_sha256=None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory outside every repository."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:  # a commit hook points git elsewhere
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    git_state.cache_clear()
    yield tmp_path
    git_state.cache_clear()


def git(*arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_record_says_what_was_made_of_what(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    Path("in.json").write_bytes(b"in")
    Path("out.parquet").write_bytes(b"out!")
    Path("more").mkdir()
    Path("more/b").write_bytes(b"b")
    write_record(
        Path("out.parquet"),
        study="tiny",
        stage="train",
        name="run",
        adapter="local",
        inputs=[Path("in.json")],
        outputs=[Path("more")],
        started=STARTED,
        facts={"seed": 3},
    )
    record = json.loads((folder / "out.parquet.record.json").read_text())
    assert record_of(folder / "out.parquet").is_file()
    assert (record["stage"], record["stage_version"]) == ("train", STAGE_VERSION["train"])
    assert 0 < record["cpu_seconds"] < sum(os.times()[:4]) + 0.01
    assert record["inputs"] == {"in.json": {"bytes": 2, "sha256": sha256(b"in")}}
    assert record["outputs"] == {
        "out.parquet": {"bytes": 4, "sha256": sha256(b"out!")},
        "more": {"files": {"b": {"bytes": 1, "sha256": sha256(b"b")}}},
    }
    assert record["facts"] == {"seed": 3}
    assert record["started"] == "2026-01-02T03:04:05+00:00"
    assert record["started"] < record["ended"]
    assert record["slurm_job_id"] == "17"
    assert record["git"] == NO_REPOSITORY.model_dump()
    assert record["environment"]["libraries"] == library_versions()
    assert str(folder) not in (folder / "out.parquet.record.json").read_text()  # no record names a machine's folders


def test_there_is_no_record_of_what_does_not_stand(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_record(Path("absent"), study="tiny", stage="law", inputs=[], started=STARTED)
    assert list(folder.iterdir()) == []


def test_a_folder_is_described_by_all_its_files_but_hidden_ones(folder: Path) -> None:
    (folder / "a" / "deep").mkdir(parents=True)
    (folder / "a" / "z").write_bytes(b"")
    (folder / "a" / "deep" / "y").write_bytes(b"y")
    (folder / "a" / ".snakemake_timestamp").write_bytes(b"now")
    assert described(folder / "a").model_dump() == {
        "files": {
            "deep/y": {"bytes": 1, "sha256": sha256(b"y")},
            "z": {"bytes": 0, "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        }
    }


@pytest.mark.usefixtures("folder")
def test_git_state_is_the_commit_and_a_digest_of_the_changes() -> None:
    assert git_state() == NO_REPOSITORY
    git("init")
    git_state.cache_clear()
    assert git_state() == NO_REPOSITORY  # no commit yet
    Path("file").write_text("one\n")
    git("add", "file")
    git("commit", "-m", "first")
    git_state.cache_clear()
    assert git_state() == GitState(commit=git("rev-parse", "HEAD"), uncommitted_sha256=None)
    seen = set()
    for text in ("two\n", "three\n"):
        Path("file").write_text(text)
        git_state.cache_clear()
        state = git_state()
        assert state.commit == git("rev-parse", "HEAD")
        seen.add(state.uncommitted_sha256)
    assert None not in seen
    assert len(seen) == 2


def test_libraries_are_those_that_are_installed() -> None:
    import numpy as np
    import torch

    versions = library_versions()
    assert versions["numpy"] == np.__version__
    assert versions["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert all(versions.values())


def test_a_checkpoint_without_an_identity_is_none(tmp_path: Path) -> None:
    assert checkpoint_identity(tmp_path / "absent") is None
    assert checkpoint_identity(tmp_path) is None
    (tmp_path / "checkpoint.json").write_text('{"run": "r", "step": 3}')
    assert checkpoint_identity(tmp_path) == {"run": "r", "step": 3}


# --- canonical JSON, which identities are digests of


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [1e-3, 0.001]}, '{"a":[0.001,0.001],"b":1}'),
        ((1, 2.0, True, None), "[1,2.0,true,null]"),
        ({"τ": "é"}, '{"τ":"é"}'),
        (1e22, "1e+22"),
    ],
)
def test_a_value_has_one_text(value: object, text: str) -> None:
    assert canonical_json(value) == text
    assert digest(value) == sha256(text.encode())


@pytest.mark.parametrize("value", [{1: 2}, {"a": {1, 2}}, [object()], b"bytes".__iter__(), Path("a")])
def test_what_has_no_stable_text_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        canonical_json(value)


@pytest.mark.parametrize("value", [float("nan"), [float("inf")]])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="no canonical form"):
        canonical_json(value)


def test_seeds_are_63_bits_and_differ_by_every_part() -> None:
    parts: list[tuple[int | str, ...]] = [("a", 1), ("a", 2), ("b", 1), ("a", 1, 0), ("a1",), (1, "a"), ("a", "1")]
    seeds = {derived_seed(*each) for each in parts}
    assert len(seeds) == len(parts)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_golden_seed() -> None:
    """Another number here would be other rollouts in every run."""
    assert derived_seed("rollout", 0, 1) == 1932558633445646998
