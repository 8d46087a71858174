"""Which weights may go, what says that they went, and what `rlscale gc` refuses."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlscale.answers import KEEP, superfluous
from rlscale.files import write_json
from rlscale.provenance import DROPPED, IDENTITY, described, drop_weights, dropped_files, is_dropped
from rlscale.records import DamagedRecordError
from rlscale.slurm import comment_of

Run = Callable[..., tuple[int, str, str]]
STEPS = st.sets(st.integers(1, 500), max_size=8)


@given(STEPS, st.one_of(st.sampled_from(KEEP), STEPS))
def test_what_is_superfluous(steps: set[int], keep: str | set[int]) -> None:
    found = superfluous(steps, keep)
    assert found == sorted(set(found))
    kept = steps - set(found)
    assert kept | set(found) == steps
    expected = {"all": steps, "none": set(), "last": {max(steps)} if steps else set()}
    assert kept == (expected[keep] if isinstance(keep, str) else steps & keep)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "step-000001"
    write_json(folder / IDENTITY, {"step": 1})
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_bytes(b"{}")
    return folder


def test_a_dropped_checkpoint_is_described_as_it_was(checkpoint: Path) -> None:
    before = described(checkpoint)
    drop_weights(checkpoint, "a test")
    assert {path.name for path in checkpoint.iterdir()} == {IDENTITY, DROPPED}
    assert is_dropped(checkpoint)
    assert described(checkpoint) == before
    said = json.loads((checkpoint / DROPPED).read_text())
    assert (said["reason"], set(said["files"])) == ("a test", {"model.safetensors", "config.json"})
    drop_weights(checkpoint, "again")
    assert json.loads((checkpoint / DROPPED).read_text()) == said


def test_a_drop_that_was_cut_short_is_finished(checkpoint: Path) -> None:
    before, weights = described(checkpoint), (checkpoint / "model.safetensors").read_bytes()
    drop_weights(checkpoint, "a test")
    (checkpoint / "model.safetensors").write_bytes(weights)  # not removed before the kill
    assert described(checkpoint) == before
    drop_weights(checkpoint, "again")
    assert {path.name for path in checkpoint.iterdir()} == {IDENTITY, DROPPED}
    assert described(checkpoint) == before


def test_a_note_of_what_went_may_be_old_or_damaged(checkpoint: Path) -> None:
    write_json(checkpoint / DROPPED, {"dropped": "2026-01-01", "reason": "before files were named"})
    assert dropped_files(checkpoint) == {}
    for damaged in ("{", "[]", '{"files": {"a": {"bytes": -1}}}'):
        (checkpoint / DROPPED).write_text(damaged)
        with pytest.raises(DamagedRecordError, match=r"step-000001/dropped\.json: damaged"):
            dropped_files(checkpoint)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("smoke", "--keep", "lst"), '--keep "lst": allowed are last, all, none, or steps parted by commas; did you '),
        (("smoke", "--keep", "1,-2"), '--keep "1,-2": allowed are'),
        (("smoke", "--keep", "1,9"), "--keep: step 9 is no budget of smoke; there are 1, 2, 3, 4, 6, 8, 10, 12"),
        (("published",), "config/studies/published.yaml: a published study has no checkpoints"),
        (("smoke", "--json"), "--json does not ask: add --yes, or --dry-run"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], said: str, run: Run) -> None:
    code, _, err = run("gc", *arguments)
    assert (code, err.splitlines()[-1].startswith(f"error: {said}")) == (2, True), err


def test_a_job_of_slurm_is_in_the_way(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    comment = comment_of("evaluate", "smoke", "q3k_base_b0_s0")
    line = "\t".join(("17", "PENDING", comment, "n1", "Priority", str(Path.cwd())))
    (tmp_path / "squeue").write_text(f"#!/bin/sh\necho '{line}'\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    code, out, err = run("gc", "smoke", "--yes")
    assert (code, out) == (2, "")
    assert "17  PENDING" in err
