"""DVC beside Snakemake, both real: run, push, clone, pull, nothing to do; then a change, in the clone."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from tests.workflow.clone import Clone, files_below, steps_table
from tests.workflow.test_changes import add_a_budget, train_q5k_faster

pytestmark = pytest.mark.slow

STAGE = "train@smoke"
CHANGED, OTHERS = "q5k_base_b0_s0", ("q3k_base_b0_s0", "q12k_base_b0_s0")
OF_LAW = {"figure_loss", "figure_slope", "figure_profile", "figure_forecast", "figure_tournament"}
SHARED = dict.fromkeys({"curves", "law", "compare", "sensitivity", "findings", "metrics", "report", *OF_LAW}, 1)
METRICS = "results/smoke/tables/metrics.json"


class Repository(Clone):
    """A git repository with a working copy; DVC writes nowhere else, and all share the remote beside them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        dvc = {
            f"DVC_{name}_DIR": str(folder.parent / name) for name in ("SITE_CACHE", "GLOBAL_CONFIG", "SYSTEM_CONFIG")
        }
        identity = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        kept = {name: value for name, value in self.environment.items() if not name.startswith(("GIT_", "DVC_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**kept, **dvc, **identity, "GIT_CONFIG_GLOBAL": os.devnull, "PATH": path}

    def call(self, *command: str) -> str:
        """Return what a command prints; it must succeed."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def commit(self) -> None:
        self.call("git", "add", "--all")
        self.call("git", "commit", "--quiet", "--message", "commit")

    def clone(self, folder: Path) -> "Repository":
        """Return a clone with the code compiled, as `make setup` leaves it."""
        self.call("git", "clone", "--quiet", str(self.folder), str(folder))
        shutil.copytree(self / "src", folder / "src", dirs_exist_ok=True)
        return Repository(folder)


@pytest.fixture(scope="module")
def tracked(pristine: Clone, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A small study that DVC ran, committed and pushed. Not to be changed."""
    repository = Repository(tmp_path_factory.mktemp("dvc") / "first")
    pristine.copy(repository.folder)
    repository.replace("dvc.yaml", "study: [mini]", "study: [smoke]")
    repository.change_study(make_small)
    repository.call("git", "init", "--quiet")
    repository.commit()
    repository.call("dvc", "repro", STAGE)
    repository.commit()
    repository.call("dvc", "push")
    return repository


@pytest.fixture
def pulled(tracked: Repository) -> Iterator[Repository]:
    """A clone with the results of the remote, and without what Snakemake remembers."""
    folder = tracked.folder.with_name("second")
    clone = tracked.clone(folder)
    assert not (folder / ".snakemake").exists()
    assert not (folder / "results/smoke").exists()
    clone.call("dvc", "pull", STAGE)
    yield clone
    shutil.rmtree(folder)


def make_small(study: dict[str, Any]) -> None:
    study["grid"] = {"law": {"models": ["q3k", "q5k", "q12k"]}}
    study["evaluation"].update(problems=64, sampled_problems=16)
    study["law"]["draws"] = 50


def test_dvc_finds_nothing_to_do_and_keeps_every_file(tracked: Repository) -> None:
    assert "didn't change, skipping" in tracked.call("dvc", "repro", STAGE)
    assert tracked.planned("smoke") == {}
    stages = YAML(typ="safe").load(tracked / "dvc.lock")["stages"]
    outs = [out["path"] for out in stages[STAGE]["outs"]]
    files = {str(path.relative_to(tracked.folder)) for path in (tracked / "results/smoke").rglob("*") if path.is_file()}
    left = {name for name in files if not any(name == out or name.startswith(f"{out}/") for out in outs)}
    assert left
    assert {name.split("/")[2] for name in left} == {"logs", "locks"}


def test_a_clone_has_nothing_to_do(pulled: Repository, tracked: Repository) -> None:
    said = pulled.snakemake("-n", "smoke")
    assert "restored what Snakemake remembers of" in said
    assert "Nothing to be done" in said
    for place in ("runs", "resume", "tables"):
        assert files_below(pulled / "results/smoke" / place) == files_below(tracked / "results/smoke" / place)
    # Whichever time stamps a download leaves, contents decide.
    for path in (pulled / "results/smoke").rglob("*.json"):
        path.touch()
    assert pulled.planned("smoke") == {}
    # Looking before pulling harms nothing.
    early = tracked.clone(tracked.folder.with_name("early"))
    assert early.planned("smoke")["train"] == 3
    early.call("dvc", "pull", STAGE)
    assert early.planned("smoke") == {}


def test_a_changed_cell_runs_in_a_clone_and_the_difference_shows(pulled: Repository) -> None:
    before = files_below(pulled / "results/smoke/runs")
    pulled.change_study(train_q5k_faster)
    assert pulled.planned("smoke") == {"train": 1, "evaluate": 1, "grade": 1, **SHARED}
    pulled.call("dvc", "repro", STAGE)
    after = files_below(pulled / "results/smoke/runs")
    assert {name.split("/")[0] for name in before | after if before.get(name) != after.get(name)} == {CHANGED}
    assert "didn't change, skipping" in pulled.call("dvc", "repro", STAGE)

    metrics = json.loads(pulled.call("dvc", "metrics", "diff", "--json"))[METRICS]
    slope = metrics["law.compute_linear.k_max.estimate"]
    assert slope["new"] - slope["old"] == pytest.approx(slope["diff"])
    assert slope["diff"] != 0
    plots = json.loads(pulled.call("dvc", "plots", "diff", "--json"))["data"]
    (loss,) = plots["results/smoke/tables/curves.csv"]
    points = pd.DataFrame(loss["content"]["data"]["values"]).set_index(["rev", "run", "step"])["test_loss"]
    differs = points["workspace"].ne(points["HEAD"])
    assert set(differs[differs].index.get_level_values("run")) == {CHANGED}
    assert len(plots["results/smoke/tables/ranking.csv"]) == 1

    # And back: what Snakemake remembers goes with the results.
    pulled.commit()
    for version in ("HEAD~1", "-"):
        pulled.call("git", "checkout", "--quiet", version)
        pulled.call("dvc", "checkout", STAGE)
        assert pulled.planned("smoke") == {}


def test_a_later_budget_continues_the_pulled_runs(pulled: Repository, tracked: Repository) -> None:
    pulled.change_study(add_a_budget)
    assert pulled.planned("smoke") == {"train": 3, "evaluate": 3, "grade": 3, **SHARED}
    pulled.snakemake(*(f"results/smoke/runs/{run}/steps.parquet" for run in OTHERS))
    for run in OTHERS:
        (log,) = (pulled / f"results/smoke/resume/{run}").glob("*/attempts.jsonl")
        facts = [json.loads(line) for line in log.read_text().splitlines()]
        assert [fact["resumed_after"] for fact in facts if fact.get("resumed_after") is not None][-1] == 12
        old, new = (steps_table(clone / f"results/smoke/runs/{run}/steps.parquet") for clone in (tracked, pulled))
        assert new["step"].tolist() == list(range(1, 17))
        pd.testing.assert_frame_equal(new.head(12), old, check_exact=True)


def test_a_damaged_snapshot_is_one_line(pulled: Repository) -> None:
    snapshot = pulled / "results/smoke/snakemake-metadata.tar"
    snapshot.write_bytes(snapshot.read_bytes()[:5000])
    said = pulled.snakemake("-n", "--config", "study=smoke", fails=True)
    assert "snakemake-metadata.tar: damaged, or no snapshot of study smoke" in said
    assert "Traceback" not in said
    pulled.call("dvc", "checkout", "--force", "results/smoke/snakemake-metadata.tar")
    assert pulled.planned("smoke") == {}
