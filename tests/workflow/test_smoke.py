"""The whole workflow on the study smoke: everything is made, once, and the same every time."""

import hashlib
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from matplotlib.image import imread

from rlscale.points import read_points
from tests.workflow.clone import Clone, files_below, steps_table

pytestmark = pytest.mark.slow

FIGURES = (
    *("loss_compute", "slope_compute", "profile_compute", "forecast_compute", "tournament_compute"),
    *("reuse", "reward_accuracy", "variant"),
)
RUNS = (
    "q12k_base_b0_s0",
    "q3k_base_acc075_b0_s0",
    "q3k_base_b0_s0",
    "q3k_base_tau004_b0_s0",
    "q3k_instruct_b0_s0",
    "q5k_base_b0_s0",
)
BUDGETS = (1, 2, 3, 4, 6, 8, 10, 12)


def test_tables_hold_every_run_and_step(finished: Clone) -> None:
    curves = pd.read_csv(finished / "results/smoke/tables/curves.csv", keep_default_na=False)
    assert sorted(zip(curves["run"], curves["step"], strict=True)) == [(r, s) for r in RUNS for s in (0, *BUDGETS)]
    assert curves["test_loss"].between(0, 1).all()
    assert set(curves["excluded"]) == {""}
    typed = pd.read_parquet(finished / "results/smoke/tables/curves.parquet")
    assert typed["test_loss"].tolist() == curves["test_loss"].tolist()
    read_points(finished / "results/smoke/tables/curves.csv", variant="base")
    scores = pd.read_csv(finished / "results/smoke/tables/scores.csv")
    assert len(scores) == len(RUNS) * (len(BUDGETS) + 1) * 2 * 3  # two suites; exact, sampled and greedy scores
    assert scores[["score", "score_se"]].notna().all(axis=None)


def test_training_teaches_every_size(finished: Clone) -> None:
    curves = pd.read_parquet(finished / "results/smoke/tables/curves.parquet")
    loss = curves[curves["blocks"].str.contains("law")].set_index(["step", "run"])["test_loss"]
    assert len(loss.loc[0]) == 3
    assert (loss.loc[BUDGETS[-1]] < loss.loc[0] - 0.1).all()


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_drawn(finished: Clone, name: str) -> None:
    root = ET.parse(finished / f"results/smoke/figures/{name}.svg").getroot()  # noqa: S314 - made here
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > 20
    image = imread(finished / f"results/smoke/figures/{name}.png")
    assert min(image.shape[:2]) > 300
    assert image[..., :3].std() > 0.02


def test_there_are_no_other_figures(finished: Clone) -> None:
    assert {path.stem for path in (finished / "results/smoke/figures").glob("*.svg")} == set(FIGURES)


def test_every_artefact_has_a_record_that_names_existing_inputs(finished: Clone) -> None:
    root = finished / "results/smoke"
    records = {path: json.loads(path.read_text()) for path in root.rglob("*.record.json")}
    described: dict[str, Any] = {}
    for record in records.values():
        for name, description in record["outputs"].items():
            described |= _flat(name, description)
        inputs = {key: value for name, value in record["inputs"].items() for key, value in _flat(name, value).items()}
        assert inputs
        assert {name: _sha256(finished / name) for name in inputs} == inputs
    not_artefacts = {"specs", "logs", "locks"}
    diary = {"cell.json", "attempts.jsonl", "progress.json"}
    made = {
        str(path.relative_to(finished.folder))
        for path in root.rglob("*")
        if path.is_file()
        and not not_artefacts & set(path.relative_to(root).parts)
        and path not in records
        and path.name not in diary
    }
    assert made == set(described)
    assert {name: _sha256(finished / name) for name in made} == described


def test_the_command_line_reads_what_was_made(finished: Clone) -> None:
    answer = finished.rlscale("fit", "results/smoke/tables/curves.csv", "--x", "compute", "--variant", "base", "--json")
    assert answer.returncode == 0, answer.stderr
    assert set(json.loads(answer.stdout)["k"]) == {"3012", "5296", "11784"}
    answer = finished.rlscale("status", "smoke", "--json")
    assert answer.returncode == 0, answer.stderr
    status = json.loads(answer.stdout)
    planned = len(RUNS) * len(BUDGETS)
    assert (status["planned"], status["checkpoints"], status["scores"]) == (planned, planned, planned)
    assert [run["run_id"] for run in status["runs"]] == list(RUNS)


def test_the_summary_says_what_the_files_say(finished: Clone) -> None:
    fits = json.loads((finished / "results/smoke/law/fit.json").read_text())["fits"]
    found = json.loads(finished.rlscale("summary", "smoke", "--json").stdout)
    assert found["fits"] == fits
    assert all((finished / path).is_file() for path in [*found["tables"], *found["figures"]])
    assert {Path(path).stem for path in found["figures"]} == set(FIGURES)
    said = finished.rlscale("summary", "smoke").stdout
    assert "K_max" in said
    assert all(path in said for path in found["figures"])


def test_the_summary_in_markdown_has_the_law_the_claims_and_digests_that_check(finished: Clone) -> None:
    answer = finished.rlscale("summary", "smoke", "--markdown")
    assert answer.returncode == 0, answer.stderr
    before, digests, _ = answer.stdout.split("```")
    stated = {name: digest for digest, name in (line.split("  ") for line in digests.strip().splitlines())}
    assert stated == {name: _sha256(finished / name) for name in stated}
    for artefact in (
        "law/fit.json",
        "law/findings.json",
        "tables/curves.csv",
        "figures/slope_compute.svg",
        "figures/slope_compute.png",
    ):
        assert f"results/smoke/{artefact}" in stated
    assert {"results/smoke/law/fit.json.record.json", "results/smoke/tables/curves.parquet.record.json"} <= set(stated)

    first, *_ = json.loads((finished / "results/smoke/law/fit.json").read_text())["fits"].values()
    findings = json.loads((finished / "results/smoke/law/findings.json").read_text())["findings"]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in before.splitlines() if "|" in line]
    by_name = {row[0]: row[1:] for row in rows}
    for size, slope in first["k"].items():
        assert by_name[f"{int(size):,}"][0].startswith(f"{slope:.3f} [")
    assert {claim["claim"]: claim["verdict"] for claim in findings} == {
        claim["claim"]: by_name[claim["claim"]][0] for claim in findings
    }


def test_a_fit_of_another_version_is_refused(smoke: Clone) -> None:
    path = smoke / "results/smoke/law/fit.json"
    fits = json.loads(path.read_text())
    for fit in fits["fits"].values():
        fit.pop("r2_line")
    path.write_text(json.dumps(fits))
    answer = smoke.rlscale("summary", "smoke")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "results/smoke/law/fit.json: made by another version of rlscale" in answer.stderr


def test_a_second_run_has_nothing_to_do(finished: Clone) -> None:
    assert "Nothing to be done" in finished.snakemake("smoke")


def test_two_runs_from_scratch_are_identical(pristine: Clone, finished: Clone, tmp_path: Path) -> None:
    other = pristine.copy(tmp_path / "a clone elsewhere")
    other.environment |= {"PYTHONHASHSEED": "2"}
    other.snakemake("smoke")
    one, two = finished / "results/smoke", other / "results/smoke"
    for pattern in ("tables/*.csv", "tables/*.parquet", "law/fit.json", "law/*.csv", "figures/*.svg", "figures/*.png"):
        assert files_below(one, pattern) == files_below(two, pattern)
    for pattern in ("data/**/*.parquet", "models/*/*", "runs/*/checkpoints/**/*", "runs/*/rollouts.parquet"):
        assert files_below(one, pattern) == files_below(two, pattern)
    for run in RUNS:
        pd.testing.assert_frame_equal(
            steps_table(one / f"runs/{run}/steps.parquet"),
            steps_table(two / f"runs/{run}/steps.parquet"),
            check_exact=True,
        )


def _flat(name: str, description: dict[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of a described file, or of each file of a described folder, by path."""
    if "files" not in description:
        return {name: description["sha256"]}
    return {f"{name}/{inner}": values["sha256"] for inner, values in description["files"].items()}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
