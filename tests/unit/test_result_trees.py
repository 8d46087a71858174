"""Two results of a study compared from folders and from commits, through the real DVC."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rlscale.files import write_json, write_table
from rlscale.result_trees import compare_trees, open_tree

Run = Callable[..., tuple[int, str, str]]
RUNS = ("q3k_base_b0_s0", "q5k_base_b0_s0")
INTERVAL = {"estimate": 0.112, "low": 0.1, "high": 0.13, "level": 0.9}


def make(root: Path) -> Path:
    """Write what a study of two runs left behind, as far as it is compared; return the folder of the results."""
    results = root / "results/tiny"
    for run in RUNS:
        folder = results / "runs" / run
        cell = {"run": run, "fingerprint": "f0", "budgets": [1, 2], "identity": {"training": {"learning_rate": 0.0016}}}
        write_json(folder / "cell.json", cell)
        for step in (1, 2):
            checkpoint = folder / f"checkpoints/step-{step:06d}"
            write_json(checkpoint / "checkpoint.json", {"fingerprint": "f0", "weights_sha256": f"{run} {step}"})
            (checkpoint / "model.safetensors").write_bytes(b"weights")
            write_json(checkpoint / "config.json", {})
        table = pd.DataFrame({"step": [0, 1, 2], "score": [0.1, 0.2, 0.3], "score_se": 0.03})
        write_table(table.assign(suite="heldout", mode="exact"), folder / "scores.parquet")
        write_table(pd.DataFrame({"step": [1, 2], "seconds_update": 1.0}), folder / "steps.parquet")
        write_json(folder / "steps.parquet.record.json", {"started": "now"})
    fit = {"law": "saturating_slope", "k_max": 0.112, "k": {}, "intervals": {"k_max": INTERVAL}, "points": 4}
    write_json(results / "law/fit.json", {"fits": {"compute_linear": fit}})
    write_json(results / "law/findings.json", {"findings": [{"id": "claim", "verdict": "supported", "effect": None}]})
    (results / "figures").mkdir()
    (results / "figures/slope.svg").write_text("<svg/>")
    (results / "logs").mkdir()
    (results / "logs/train.log").write_text("anything")
    return results


def change(path: Path, edit: Callable[[Any], object]) -> None:
    values = json.loads(path.read_text())
    edit(values)
    write_json(path, values)


def alter(results: Path) -> None:
    """Change one run's learning rate and its scores, another's scores alone, a fit and a finding."""
    for run, moved in zip(RUNS, (0.06, 0.03), strict=True):
        scores = results / f"runs/{run}/scores.parquet"
        write_table(pd.read_parquet(scores).assign(score=[0.1, 0.2, 0.3 + moved]), scores)
    folder = results / "runs" / RUNS[0]
    change(folder / "cell.json", lambda cell: cell["identity"]["training"].update(learning_rate=0.002))
    change(folder / "checkpoints/step-000002/checkpoint.json", lambda it: it.update(weights_sha256="other"))
    raised = INTERVAL | {"estimate": 0.1192}
    change(
        results / "law/fit.json",
        lambda it: it["fits"]["compute_linear"].update(k_max=0.1192, intervals={"k_max": raised}),
    )
    change(results / "law/findings.json", lambda it: it["findings"][0].update(verdict="inconclusive"))


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two repositories with the same results."""
    return make(tmp_path / "a"), make(tmp_path / "b")


def test_clock_times_and_weights_do_not_count(two: tuple[Path, Path], run: Run) -> None:
    a, b = two
    folder = b / "runs" / RUNS[0]
    write_table(pd.DataFrame({"step": [1, 2], "seconds_update": 2.0}), folder / "steps.parquet")
    write_json(folder / "steps.parquet.record.json", {"started": "later"})
    for name in ("model.safetensors", "config.json"):
        (folder / "checkpoints/step-000001" / name).unlink()
    write_json(folder / "checkpoints/step-000001/dropped.json", {"reason": "a test"})
    (b / "logs/train.log").write_text("something else")
    code, out, _ = run("diff", "tiny", str(a), str(b.parents[1]), "--exit-code")
    assert (code, out) == (0, f"study tiny: the same in {a} and {b.parents[1]}: 11 files, equal byte for byte\n")


def test_every_change_is_said(two: tuple[Path, Path], run: Run) -> None:
    a, b = two
    alter(b)
    (b / "figures/slope.svg").write_text("<svg></svg>")
    shutil.copytree(a / "runs" / RUNS[1], b / "runs/q12k_base_b0_s0")
    assert run("diff", "tiny", str(a), str(b))[0] == 0
    code, out, _ = run("diff", "tiny", str(a), str(b), "--exit-code")
    assert code == 1
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert f"{RUNS[0]} training.learning_rate 0.0016 0.002" in lines
    assert f"{RUNS[0]} weights of 1 checkpoint, step 2" in lines
    assert f"{RUNS[0]} 1 of 3 +0.0200 step 2, heldout, exact 0.3000 0.3600 1.4" in lines
    assert f"{RUNS[1]} 1 of 3 +0.0100 step 2, heldout, exact 0.3000 0.3300 0.71" in lines
    assert "compute_linear K_max 0.112 [0.1, 0.13] 0.1192 [0.1, 0.13] 0.4" in lines
    assert "claim supported inconclusive" in lines
    assert "q12k_base_b0_s0 added" in lines
    assert lines[-1] == (
        f"study tiny, {a} → {b}: 3 runs (1 added, 1 of another identity, 1 changed in scores only), 1 fit and "
        "1 finding differ (1 verdict); files: 4 added, 0 removed, 7 changed, 4 the same"
    )
    _, out, _ = run("diff", "tiny", str(a), str(b), "--json")
    found = json.loads(out)
    assert (found["same"], found["scores_only"]) == (False, [RUNS[1]])
    assert found["files_changed"] == compare_trees(open_tree("tiny", str(a)), open_tree("tiny", str(b))).files_changed


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("{a}/none", "{a}/none: neither a folder nor a git revision of this repository"),
        ("{a}", "{a}: no results of tinny: neither it nor {a}/results/tinny holds any; its results are of tiny; did "),
        ("-p", "-p: neither a folder nor a git revision of this repository"),
    ],
)
def test_a_place_without_results(place: str, said: str, two: tuple[Path, Path], run: Run) -> None:
    root = two[0].parents[1]
    code, _, err = run("diff", "tinny", "--", place.format(a=root), str(root))
    assert code == 2
    assert err.startswith(f"error: {said.format(a=root)}")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository of git and DVC, at hand; its results are committed twice, unlike."""
    for name in [name for name in os.environ if name.startswith(("GIT_", "DVC_"))]:
        monkeypatch.delenv(name)
    root = tmp_path / "repository"
    results = make(root)
    monkeypatch.chdir(root)
    outs = [{f"results/tiny/{name}": {"persist": True}} for name in ("runs", "law", "figures")]
    Path("dvc.yaml").write_text(json.dumps({"stages": {"all-of-it": {"cmd": "true", "outs": outs}}}))
    Path(".gitignore").write_text("/results\n")
    git("init", "-q")
    dvc("init", "-q")
    dvc("config", "cache.dir", str(tmp_path / "cache"))
    for tag in ("first", "second"):
        dvc("commit", "-q", "-f")
        git("add", "-A")
        git("commit", "-q", "-m", tag)
        git("tag", tag)
        if tag == "first":
            alter(results)


def git(*arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e", *arguments], check=True)


def dvc(*arguments: str) -> None:
    command = Path(sys.executable).parent / "dvc"
    subprocess.run([command, *arguments], check=True, env=os.environ | {"DVC_NO_ANALYTICS": "1"})


@pytest.mark.slow
@pytest.mark.usefixtures("repository")
def test_commits_are_read_from_the_cache(run: Run, tmp_path: Path) -> None:
    assert "the same in second and .:" in run("diff", "tiny", "second", ".")[1]
    shutil.rmtree("results")  # nothing of a commit is read there
    _, out, _ = run("diff", "tiny", "first", "HEAD", "--json")
    found = json.loads(out)
    assert [change["run"] for change in found["runs"]] == list(RUNS)
    assert found["runs"][0]["identity"] == [{"key": "training.learning_rate", "before": 0.0016, "after": 0.002}]
    assert found["fits"][0]["parameters"][0]["half_widths"] == pytest.approx(0.4)
    assert found["findings"][0]["verdict_after"] == "inconclusive"

    code, _, err = run("diff", "other", "first", "second")
    assert (code, err.count("\n")) == (2, 1)
    assert "first: its dvc.lock has no outputs below results/other" in err
    shutil.rmtree(tmp_path / "cache/files")
    code, _, err = run("diff", "tiny", "first", "second")
    assert (code, err.count("\n")) == (2, 1)
    assert "of first is not in DVC's cache" in err
    assert "`dvc fetch --all-commits` gets it from the remote" in err
    git("rm", "-q", "--cached", "dvc.lock")
    git("commit", "-q", "-m", "without")
    code, _, err = run("diff", "tiny", "HEAD", "first")
    assert (code, err) == (2, "error: HEAD: this commit has no dvc.lock here: DVC tracked no results there\n")
