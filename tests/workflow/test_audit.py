"""The audit of the study smoke: it finds whatever was done to any file, says nothing else, and says what mends it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.workflow.clone import REPOSITORY, Clone
from tests.workflow.tamper import FAULTS

TABLE = REPOSITORY / "audit-drill.md"
KINDS = (
    *("data", "checkpoint weights", "trainer state", "steps", "rollouts", "scores", "curves", "fit", "figure"),
    *("record", "record of a training", "specification", "study file", "ladder file", "source code", "lock file"),
)
ALL = {"forecast_compute", "loss_compute", "profile_compute", "reuse", "reward_accuracy", "slope_compute"}
ALL |= {"tournament_compute", "variant"}
TAINTED = {
    "fit": {"loss_compute", "profile_compute", "slope_compute"},
    "figure": {"slope_compute"},
    "trainer state": set(),  # only what will be trained from it
}
RESULTS = "results/smoke"
WEIGHTS = f"{RESULTS}/runs/q3k_base_b0_s0/checkpoints/step-000002/model.safetensors"
FIGURE = f"{RESULTS}/figures/slope_compute"


@pytest.fixture(scope="module")
def committed(finished: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Return the clone with its files in a commit. Not to be changed."""
    clone = finished.copy(tmp_path_factory.mktemp("committed") / "clone")
    identity = {
        f"GIT_{who}_{what}": "nobody@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    clone.environment |= identity
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", *command], cwd=clone.folder, env=clone.environment, check=True)
    return clone


@pytest.fixture
def smoke(committed: Clone, tmp_path: Path) -> Clone:
    clone = committed.copy(tmp_path / "clone")
    clone.environment |= {name: value for name, value in committed.environment.items() if name.startswith("GIT_")}
    return clone


@pytest.fixture(scope="module")
def drill(committed: Clone, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what `tests.workflow.tamper` saw."""
    clone = committed.copy(tmp_path_factory.mktemp("drill") / "clone")
    command = [sys.executable, "-m", "tests.workflow.tamper"]
    environment = committed.environment | {"PYTHONPATH": clone.environment["PYTHONPATH"]}
    done = subprocess.run(command, cwd=clone.folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    TABLE.write_text(table(said))
    return said


def table(said: dict[str, Any]) -> str:
    """Return the drill as Markdown: for each kind and fault the verdict, and how many figures it taints."""

    def cell(audits: dict[str, Any], fault: str) -> str:
        faults = audits[fault]
        if faults is None:
            return "-"
        return ", ".join(f"{one['verdict']}, taints {len(one['taints'])}" for one in faults) or "ok"

    lines = [f"| {' | '.join(('kind', *FAULTS))} |", f"|{' --- |' * (len(FAULTS) + 1)}"]
    lines += [f"| {' | '.join((kind, *(cell(said[kind], fault) for fault in FAULTS)))} |" for kind in KINDS]
    return "\n".join(lines) + "\n"


def audited(clone: Clone, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = clone.rlscale("audit", *arguments, "--json")
    assert done.returncode in {0, 1}, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_done_to_a_file_is_found_and_nothing_else(kind: str, drill: dict[str, Any]) -> None:
    audits = drill[kind]
    assert audits["back-dated"] == []
    for fault in FAULTS[:-1]:
        if audits[fault] is None:
            assert kind in {"curves", "fit"}
            continue
        (one,) = audits[fault]
        assert one["path"] == audits["file"], fault
        assert one["verdict"] == ("missing" if fault == "deleted" else "modified"), fault
        assert set(one["taints"]) == TAINTED.get(kind, ALL), fault
        assert one["mend"]


def test_an_unrelated_commit_is_no_fault(drill: dict[str, Any]) -> None:
    assert drill["unrelated commit"] == []


def test_a_finished_study_is_sound_and_a_quick_audit_reads_nothing_again(smoke: Clone) -> None:
    code, said = audited(smoke, "smoke")
    full = said["audits"][0]
    assert (code, full["faults"], full["notes"], full["ok"]) == (0, [], [], True)
    assert {edge["verdict"] for edge in full["edges"]} == {"ok"}
    assert full["hashed_bytes"] > 1e6
    quick = audited(smoke, "smoke", "--quick")[1]["audits"][0]
    assert (quick["edges"], quick["files"], quick["hashed_bytes"]) == (full["edges"], full["files"], 0)


def test_the_commands_that_it_names_mend_it(smoke: Clone) -> None:
    """A figure is gone, weights and a specification are changed: the commands, one after the other, make all well."""
    (smoke / f"{FIGURE}.png").unlink()
    cell = smoke / f"{RESULTS}/runs/q5k_base_b0_s0/cell.json"
    cell.write_text(cell.read_text().replace('"seed": 0', '"seed": 1', 1))
    weights = (smoke / WEIGHTS).read_bytes()
    (smoke / WEIGHTS).write_bytes(weights[:-1])
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for _ in range(6):
        code, said = audited(smoke, "smoke")
        faults = said["audits"][0]["faults"]
        if not faults:
            break
        command = ["bash", "-c", faults[0]["mend"] + " --cores 2"]
        subprocess.run(
            command, cwd=smoke.folder, env=smoke.environment | {"PATH": path}, check=True, capture_output=True
        )
    assert code == 0
    assert (smoke / WEIGHTS).read_bytes() == weights
    assert smoke.planned("smoke") == {}


def test_figures_and_tables_are_derived_again_byte_for_byte(smoke: Clone) -> None:
    code, said = audited(smoke, "smoke", "--rebuild", "--from", "rollouts")
    rebuilt = {one["path"]: one["is_same"] for one in said["rebuilt"]["smoke"]}
    assert code == 0
    assert all(rebuilt.values())
    made = [path for folder in ("figures", "tables", "law") for path in (smoke / RESULTS / folder).iterdir()]
    assert {str(path.relative_to(smoke.folder)) for path in made if "record" not in path.name} < set(rebuilt)
    assert f"{RESULTS}/runs/q3k_base_b0_s0/scores.parquet" in rebuilt

    path = smoke / f"{FIGURE}.svg"
    path.write_text(path.read_text().replace("</svg>", "<!-- --></svg>"))
    done = smoke.rlscale("audit", f"{FIGURE}.svg", "--rebuild")
    assert done.returncode == 1
    assert f"{FIGURE}.svg: came out with other bytes" in done.stdout


def test_a_copied_picture_is_traced_and_an_altered_copy_is_told(smoke: Clone, tmp_path: Path) -> None:
    for suffix in ("png", "svg"):
        copy = tmp_path / f"figure-3.{suffix}"
        shutil.copy(smoke / f"{FIGURE}.{suffix}", copy)
        assert smoke.rlscale("audit", str(copy)).returncode == 0
        with copy.open("ab") as stream:
            stream.write(b"\n")
        done = smoke.rlscale("audit", str(copy))
        assert done.returncode == 1
        assert f"MODIFIED {copy}: it says that it is {FIGURE}.{suffix}" in done.stdout


def test_what_was_dropped_on_purpose_is_no_fault_and_uncommitted_code_is_one(smoke: Clone) -> None:
    script = "import pathlib, sys, rlscale.provenance as p; p.drop_weights(pathlib.Path(sys.argv[1]), 'a test')"
    subprocess.run(
        [sys.executable, "-c", script, str(Path(WEIGHTS).parent)], cwd=smoke.folder, env=smoke.environment, check=True
    )
    code, said = audited(smoke, "smoke")
    assert code == 0
    assert "dropped" in {edge["verdict"] for edge in said["audits"][0]["edges"]}
    subprocess.run(["git", "rm", "-q", "--cached", "src/rlscale/fit.py"], cwd=smoke.folder, check=True)
    (fault,) = audited(smoke, "smoke")[1]["audits"][0]["faults"]
    assert (fault["path"], fault["verdict"]) == ("src/rlscale/fit.py", "dirty")
    subprocess.run(["git", "commit", "-q", "-m", "gone"], cwd=smoke.folder, env=smoke.environment, check=True)
    (fault,) = audited(smoke, "smoke")[1]["audits"][0]["faults"]
    assert fault["verdict"] == "dirty"


def test_a_stranger_among_the_results_is_told_and_a_page_is_written(smoke: Clone) -> None:
    (smoke / f"{RESULTS}/figures/mine.svg").write_text("<svg/>")
    done = smoke.rlscale("audit", "smoke", "--quick", "--html", "audit.html")
    assert done.returncode == 1
    assert f"UNTRACKED {RESULTS}/figures/mine.svg" in done.stdout
    page = (smoke / "audit.html").read_text()
    assert page.startswith("<!doctype html>")
    assert f"<td>{RESULTS}/figures/mine.svg</td><td>untracked</td>" in page


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ("smok",),
            "error: smok: neither a study with results nor a file; studies with results: smoke; did you mean smoke?",
        ),
        (("smoke", "--from", "score"), 'error: --from "score": one of scores, rollouts; did you mean scores?'),
        (("README.md",), "error: README.md: neither below results nor a picture that says what it was derived from"),
        ((f"{RESULTS}/figures/slope.svg",), f"error: {RESULTS}/figures/slope.svg: the study smoke makes no such file"),
        (
            (f"{RESULTS}/models/q3k_base_b0", "--rebuild"),
            f"error: {RESULTS}/models/q3k_base_b0: not derived from scores",
        ),
    ],
)
def test_bad_input_is_one_sentence(arguments: tuple[str, ...], error: str, committed: Clone) -> None:
    done = committed.rlscale("audit", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(error)
    assert len(done.stderr.splitlines()) == 1
