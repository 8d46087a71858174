"""Base models and problem files from the hub, out of a cache that a test fills: pinned, checked, never run as code."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.tiny import base_model, save
from tests.unit.test_parquet_source import row, write

from rlscale.errors import UserError
from rlscale.models.checkpoint import load_checkpoint
from rlscale.models.hub import fetch_base
from rlscale.provenance import checkpoint_identity, weights_digest
from rlscale.task_spec import ParquetTask
from rlscale.tasks.sources import local_file

REVISION = "a" * 40
DATA = f"hf://datasets/org/set@{REVISION}/train/easy.parquet"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache of a hub that cannot be reached."""
    from huggingface_hub import constants

    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return folder


def snapshot(cache: Path, kind: str = "models", repo: str = "org--base") -> Path:
    return cache / f"{kind}--{repo}/snapshots/{REVISION}"


@pytest.fixture
def published(cache: Path) -> Path:
    """Return the folder of a published model in the cache."""
    folder = save(base_model(), snapshot(cache))
    (folder / "checkpoint.json").unlink()
    edit(folder / "tokenizer_config.json", lambda values: values.pop("auto_map"))
    return folder


def edit(file: Path, change: Any) -> None:
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))


def test_a_base_model_is_fetched_at_its_commit(published: Path, tmp_path: Path) -> None:
    output = tmp_path / "models/base"
    fetch_base("base", "org/base", REVISION, output)
    digest = hashlib.sha256((published / "model.safetensors").read_bytes()).hexdigest()
    expected = {"base": "base", "step": 0, "repo": "org/base", "revision": REVISION, "weights_sha256": digest}
    assert checkpoint_identity(output) == expected
    assert weights_digest(output) == digest
    assert load_checkpoint(output).shape == base_model().shape
    fetch_base("base", "org/base", REVISION, output)  # again: the same
    assert checkpoint_identity(output) == expected


def test_several_files_of_weights_have_one_digest(published: Path) -> None:
    one = weights_digest(published)
    (published / "model-00002.safetensors").write_bytes(b"more")
    both = weights_digest(published)
    (published / "model-00002.safetensors").write_bytes(b"else")
    assert len({one, both, weights_digest(published)}) == 3


def test_a_model_in_parts_needs_all_of_them(published: Path, tmp_path: Path) -> None:
    parts = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = {"metadata": {}, "weight_map": {"a": parts[0], "b": parts[1], "c": parts[1]}}
    (published / "model.safetensors.index.json").write_text(json.dumps(index))
    (published / "model.safetensors").rename(published / parts[0])
    with pytest.raises(UserError, match=f"org/base at {REVISION} has no {parts[1]}$"):
        fetch_base("base", "org/base", REVISION, tmp_path / "base")
    (published / parts[1]).write_bytes(b"the rest")
    fetch_base("base", "org/base", REVISION, tmp_path / "base")
    assert {file.name for file in (tmp_path / "base").glob("*.safetensors")} == set(parts)


def test_code_of_a_repository_is_neither_fetched_nor_allowed(published: Path, tmp_path: Path) -> None:
    edit(published / "config.json", lambda values: values.update(auto_map={"AutoModel": "evil.Model"}))
    with pytest.raises(UserError, match=r"org/base wants its own code to run \(config.json: auto_map\)"):
        fetch_base("base", "org/base", REVISION, tmp_path / "base")
    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize("name", ["tokenizer.json", "generation_config.json", "model.safetensors"])
def test_an_incomplete_repository_is_refused(name: str, published: Path, tmp_path: Path) -> None:
    (published / name).unlink()
    with pytest.raises(UserError, match=f"org/base at {REVISION} has no .*{name.split('.')[-1]}"):
        fetch_base("base", "org/base", REVISION, tmp_path / "base")


@pytest.mark.usefixtures("cache")
def test_an_unpinned_and_an_absent_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="base: the ladder pins no commit of org/base"):
        fetch_base("base", "org/base", None, tmp_path / "base")
    with pytest.raises(UserError, match=f"base: org/base at {REVISION} cannot be fetched: "):
        fetch_base("base", "org/base", REVISION, tmp_path / "base")


# --- problem files


def test_a_problem_file_is_fetched_at_its_commit_and_its_bytes_are_checked(cache: Path) -> None:
    file = snapshot(cache, "datasets", "org--set") / "train/easy.parquet"
    write(file, [row("1 + 1?", "2")])
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert local_file(DATA).read_bytes() == file.read_bytes()
    assert local_file(f"{DATA}#sha256={digest}").read_bytes() == file.read_bytes()
    with pytest.raises(UserError, match=f"other bytes than the address says: its SHA-256 is {digest}"):
        local_file(f"{DATA}#sha256={'0' * 64}")


def test_a_path_is_a_path(tmp_path: Path) -> None:
    assert local_file(str(tmp_path / "a.parquet")) == tmp_path / "a.parquet"


@pytest.mark.usefixtures("cache")
def test_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match=f"^{DATA} cannot be fetched: "):
        local_file(DATA)


@pytest.mark.parametrize(
    "address",
    [
        "hf://datasets/org/set/train/easy.parquet",
        "hf://datasets/org/set@main/train/easy.parquet",
        f"hf://org/set@{REVISION}/train/easy.parquet",
        f"{DATA}#sha256=abc",
    ],
)
def test_an_address_without_a_pinned_commit_is_refused_with_the_study(address: str) -> None:
    with pytest.raises(
        ValidationError, match="is no address of a data set's file: hf://datasets/OWNER/NAME@COMMIT/PATH"
    ):
        ParquetTask(kind="parquet", train=[address], suites={"quiz": "quiz.parquet"})
