"""`rlscale gc` on a finished study: nothing runs again, a later budget goes on, and what is asked again is said."""

import json
import shutil
from typing import Any

import pytest

from rlscale.paths import StudyPaths
from rlscale.provenance import is_dropped
from rlscale.records import read_record
from rlscale.writers import only_writer
from tests.workflow.clone import Clone, files_below

pytestmark = pytest.mark.slow

RUN = "q5k_base_b0_s0"
BUDGETS = (1, 2, 3, 4, 6, 8, 10, 12)


def gc(clone: Clone, *arguments: str) -> dict[str, Any]:
    done = clone.rlscale("gc", "smoke", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def weights(clone: Clone) -> set[tuple[str, int]]:
    """Return run and step of all weights that stand."""
    files = (clone / "results/smoke/runs").glob("*/checkpoints/step-*/model.safetensors")
    return {(file.parents[2].name, int(file.parent.name.removeprefix("step-"))) for file in files}


def test_weights_go_and_the_study_stays_complete(smoke: Clone, finished: Clone) -> None:
    results = smoke / "results/smoke"
    runs = [folder.name for folder in (results / "runs").iterdir()]
    every = {(run, step) for run in runs for step in BUDGETS}
    before = files_below(results)
    planned = gc(smoke, "--dry-run")
    assert files_below(results) == before
    assert {(one["run"], one["step"]) for one in planned["weights"]} == {one for one in every if one[1] != 12}
    assert (planned["orphans"], planned["withheld"]) == ([], {})

    done = gc(smoke, "--yes")
    assert (done["removed"], done["weights"], done["changed_meanwhile"]) == (True, planned["weights"], [])
    assert weights(smoke) == {(run, 12) for run in runs}
    after = files_below(results)
    gone = {name: data for name, data in before.items() if name not in after}
    assert sum(map(len, gone.values())) == done["bytes"] == planned["bytes"]
    assert {name.rpartition("/")[2] for name in after.keys() - before.keys()} == {"dropped.json"}
    assert smoke.planned("smoke") == {}
    audited = smoke.rlscale("audit", "smoke", "--json")
    assert audited.returncode == 0, audited.stdout[-2000:]
    edges = json.loads(audited.stdout)["audits"][0]["edges"]
    assert {edge["verdict"] for edge in edges} == {"ok", "dropped"}
    assert gc(smoke, "--yes")["bytes"] == 0

    # What was dropped is known to the byte, and the record of its evaluation says the same.
    folder = f"results/smoke/runs/{RUN}/checkpoints/step-000002"
    dropped = json.loads((smoke / folder / "dropped.json").read_text())
    record = read_record(smoke / f"results/smoke/runs/{RUN}/rollouts.parquet.record.json").model_dump()
    named = dict(record["inputs"][folder]["files"])
    named.pop("checkpoint.json")
    assert dropped["files"] == named
    assert dropped["reason"] == "rlscale gc --keep last"

    # A later budget goes on from the trainer's state, and its record describes the checkpoints as they were.
    smoke.change_study(lambda study: study["budgets"].append(16))
    smoke.snakemake(f"results/smoke/runs/{RUN}/scores.parquet")
    assert f"{RUN}: resumed after step 12" in (smoke / f"results/smoke/logs/train/{RUN}.log").read_text()
    steps = f"results/smoke/runs/{RUN}/steps.parquet.record.json"
    old, new = (read_record(clone / steps).outputs for clone in (finished, smoke))
    checkpoints = [path for path in old if "/checkpoints/" in path]
    assert len(checkpoints) == len(BUDGETS)
    assert {path: old[path] for path in checkpoints} == {path: new[path] for path in checkpoints}
    assert weights(smoke) == {(run, 12) for run in runs} | {(RUN, 16)}
    found = gc(smoke, "--yes")
    assert [(one["run"], one["step"]) for one in found["weights"]] == [(RUN, 12)]

    smoke.change_study(lambda study: study["evaluation"].update(sampled_problems=32))
    assert gc(smoke, "--dry-run", "--keep", "none")["withheld"][RUN] == {
        "16": "the evaluation has changed: it would be asked again"
    }
    said = smoke.snakemake(f"results/smoke/runs/{RUN}/scores.parquet", fails=True)
    assert "step-000001 was dropped after its evaluation (keep_checkpoints) and cannot be asked again" in said


def test_what_no_run_owns_goes_too_and_the_rest_stays(smoke: Clone) -> None:
    results = smoke / "results/smoke"
    states = files_below(results / "resume")
    shutil.copytree(results / f"resume/{RUN}", results / "resume/a_run_of_old")
    (state,) = (results / f"resume/{RUN}").iterdir()
    shutil.copytree(state, state.with_name("0" * 16))
    shard = results / f"runs/{RUN}/rollout-shards/step-000001-0000000000000000.parquet"
    shard.write_bytes(b"answers")
    found = gc(smoke, "--keep", "all", "--yes")
    assert found["weights"] == []
    assert [(one["what"], one["run"]) for one in found["orphans"]] == [
        ("trainer state", "a_run_of_old"),
        ("trainer state", RUN),
        ("rollout shard", RUN),
    ]
    assert files_below(results / "resume") == states
    assert not shard.exists()
    assert not (results / "resume/a_run_of_old").exists()

    # Without scores that stand, with other weights, of another fingerprint: nothing goes.
    (results / "runs/q12k_base_b0_s0/scores.parquet").write_bytes(b"no longer graded")
    other = results / "runs/q3k_base_b0_s0/checkpoints"
    (other / "step-000002/model.safetensors").write_bytes(b"not what was asked")
    smoke.change_study(lambda study: study.update(per_model={"q5k": {"learning_rate": 0.01}}))
    found = gc(smoke, "--yes", "--keep", "2,4")
    kept = weights(smoke)
    assert {step for run, step in kept if run == RUN} == set(BUDGETS)
    assert {step for run, step in kept if run == "q3k_base_b0_s0"} == {2, 4}
    assert found["withheld"] == {
        "q12k_base_b0_s0": {str(step): "no scores that stand" for step in BUDGETS if step not in {2, 4}}
    }
    assert files_below(results / "resume") == states  # the record of the run that changed names its state
    found = gc(smoke, "--dry-run", "--keep", "none")
    assert found["withheld"]["q3k_base_b0_s0"] == {"2": "its record names other weights"}


def test_it_asks_and_keeps_away_from_jobs(smoke: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files_below(smoke / "results/smoke")
    done = smoke.rlscale("gc", "smoke", "--json")
    assert (done.returncode, done.stderr) == (2, "error: --json does not ask: add --yes, or --dry-run\n")
    monkeypatch.chdir(smoke.folder)
    paths = StudyPaths("smoke")
    with only_writer(paths.lock("evaluate", RUN), "a test"):
        done = smoke.rlscale("gc", "smoke", "--yes")
    said = f"error: evaluate of {RUN} is going on: nothing was removed; try again when it is over\n"
    assert (done.returncode, done.stderr.splitlines(keepends=True)[-1]) == (2, said)
    after = files_below(smoke / "results/smoke")
    assert after.pop(f"locks/evaluate/{RUN}.lock") != before.pop(f"locks/evaluate/{RUN}.lock")
    assert after == before
    assert not is_dropped(paths.checkpoint(RUN, 1))
