"""What runs again after a change of the study: exactly what the change concerns."""

import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from rlscale.stage_versions import STAGE_VERSION
from tests.workflow.clone import Change, Clone, files_below, job_counts, steps_table, times_below

pytestmark = pytest.mark.slow

RUNS = 6
OF_LAW = {"figure_loss": 1, "figure_slope": 1, "figure_profile": 1, "figure_forecast": 1, "figure_tournament": 1}
OF_FACTORS = {"figure_reuse": 1, "figure_factor": 2}
FIGURES = OF_LAW | OF_FACTORS
RESULTS = {"compare": 1, "sensitivity": 1, "findings": 1, "metrics": 1, "report": 1}
LAW = {"law": 1, **RESULTS, **OF_LAW}
CURVES = {"curves": 1, **LAW, **OF_FACTORS}


def train_q5k_faster(study: dict[str, Any]) -> None:
    study["per_model"] = {"q5k": {"learning_rate": 0.01}}


def add_a_budget(study: dict[str, Any]) -> None:
    study["budgets"].append(16)


def test_spelling_and_touching_run_nothing(smoke: Clone) -> None:
    study = smoke / "config/studies/smoke.yaml"
    values = YAML(typ="safe").load(study)
    YAML().dump(_reversed(values), study)
    smoke.replace("config/studies/smoke.yaml", "learning_rate: 0.004", "learning_rate: 4e-3  # the same number")
    study.write_text(f"# another comment\n\n{study.read_text()}")
    assert list(YAML(typ="safe").load(study)) == list(values)[::-1]
    folders = [smoke / name for name in ("config", "workflow", "src")]
    touched = [smoke / "Snakefile", *(path for folder in folders for path in folder.rglob("*.*"))]
    assert {path.suffix for path in touched} >= {".yaml", ".smk", ".py"}
    for path in touched:
        os.utime(path)
    assert smoke.planned("smoke") == {}


def test_one_size_is_trained_again(smoke: Clone) -> None:
    smoke.change_study(train_q5k_faster)
    expected = {"train": 1, "evaluate": 1, "grade": 1, **CURVES}
    assert smoke.planned("smoke") == expected
    results = smoke / "results/smoke"
    before = times_below(results, "runs/*/**/*")
    said = smoke.snakemake("results/smoke/law/fit.json")
    assert job_counts(said) == {name: count for name, count in expected.items() if name not in {**RESULTS, **FIGURES}}
    after = times_below(results, "runs/*/**/*")
    rewritten = {name.split("/")[1] for name in before | after if before.get(name) != after.get(name)}
    assert rewritten == {"q5k_base_b0_s0"}
    assert pd.read_parquet(results / "runs/q5k_base_b0_s0/steps.parquet")["learning_rate"].max() == 0.01
    assert len(list((results / "resume/q5k_base_b0_s0").iterdir())) == 1, "the replaced run's state is still there"
    assert smoke.planned("smoke") == {**RESULTS, **FIGURES}


def test_a_change_is_seen_without_what_snakemake_remembers(smoke: Clone) -> None:
    shutil.rmtree(smoke / ".snakemake")  # as in a clone that got its results from elsewhere
    smoke.change_study(train_q5k_faster)
    assert smoke.planned("smoke") == {"train": 1, "evaluate": 1, "grade": 1, **CURVES}


def test_a_later_budget_continues_every_run(smoke: Clone, finished: Clone, tmp_path: Path) -> None:
    smoke.change_study(add_a_budget)
    assert smoke.planned("smoke") == {"train": RUNS, "evaluate": RUNS, "grade": RUNS, **CURVES}
    from_scratch = smoke.copy(tmp_path / "from-scratch")
    continued = ("q12k_base_b0_s0", "q3k_base_tau004_b0_s0")
    smoke.snakemake(*(f"results/smoke/runs/{run}/rollouts.parquet" for run in continued))
    for run in continued:
        old, new = finished / f"results/smoke/runs/{run}", smoke / f"results/smoke/runs/{run}"
        assert f"{run}: resumed after step 12" in (smoke / f"results/smoke/logs/train/{run}.log").read_text()
        steps = steps_table(new / "steps.parquet")
        assert steps["step"].tolist() == list(range(1, 17))
        pd.testing.assert_frame_equal(steps.head(12), steps_table(old / "steps.parquet"), check_exact=True)
        for kept in ("checkpoints/*/*", "rollout-shards/*"):
            assert times_below(old, kept).items() < times_below(new, kept).items()
            assert files_below(old, kept).items() < files_below(new, kept).items()
        assert (new / "checkpoints/step-000016/model.safetensors").is_file()

    run = continued[1]
    for folder in ("runs", "resume"):
        shutil.rmtree(from_scratch / f"results/smoke/{folder}/{run}")
    (from_scratch / f"results/smoke/logs/train/{run}.log").unlink()
    from_scratch.snakemake(f"results/smoke/runs/{run}/steps.parquet")
    assert "resumed" not in (from_scratch / f"results/smoke/logs/train/{run}.log").read_text()
    one, two = (place / f"results/smoke/runs/{run}" for place in (smoke, from_scratch))
    assert files_below(one, "checkpoints/*/*") == files_below(two, "checkpoints/*/*")
    pd.testing.assert_frame_equal(
        steps_table(one / "steps.parquet"), steps_table(two / "steps.parquet"), check_exact=True
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(
            lambda study: study["evaluation"].update(samples=2),
            {"evaluate": RUNS, "grade": RUNS, **CURVES},
            id="evaluation",
        ),
        pytest.param(lambda study: study["law"].update(first_step=3), LAW, id="law"),
        pytest.param(lambda study: study["law"].update(gates={"max_final_loss_rise": 0.5}), CURVES, id="gates"),
    ],
)
def test_later_stages_run_without_training(smoke: Clone, change: Change, expected: dict[str, int]) -> None:
    smoke.change_study(change)
    assert smoke.planned("smoke") == expected


def test_checkpoints_are_dropped_once_they_are_evaluated(smoke: Clone) -> None:
    run = "results/smoke/runs/q5k_base_b0_s0"
    smoke.change_study(lambda study: study.update(keep_checkpoints="last"))
    assert smoke.planned("smoke") == {}  # what is evaluated stays as it is
    smoke.change_study(lambda study: study["evaluation"].update(sampled_problems=48))
    smoke.snakemake(f"{run}/scores.parquet")
    left = {path.parent.name for path in (smoke / run).glob("checkpoints/*/model.safetensors")}
    assert left == {"step-000012"}
    assert len(list((smoke / run).glob("checkpoints/*/dropped.json"))) == 7
    assert smoke.planned(f"{run}/scores.parquet") == {}
    # The run itself goes on without them: a later budget makes its own checkpoint, and no earlier one again.
    smoke.change_study(add_a_budget)
    smoke.snakemake(f"{run}/steps.parquet")
    assert len(list((smoke / run).glob("checkpoints/*/model.safetensors"))) == 2
    smoke.change_study(lambda study: study["evaluation"].update(sampled_problems=32))
    said = smoke.snakemake(f"{run}/scores.parquet", fails=True)
    assert "step-000001 was dropped after its evaluation (keep_checkpoints) and cannot be asked again" in said


def test_a_stage_of_a_new_version_runs_again(smoke: Clone) -> None:
    version = STAGE_VERSION["grade"]
    smoke.replace("src/rlscale/stage_versions.py", f'"grade": {version}', f'"grade": {version + 1}')
    assert smoke.planned("smoke") == {"grade": RUNS, **CURVES}


def _reversed(values: Any) -> Any:
    """Return the same values with the keys of every mapping in reverse order."""
    if isinstance(values, dict):
        return {key: _reversed(value) for key, value in reversed(values.items())}
    return values
