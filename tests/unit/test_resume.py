"""No kill, no restart and no other list of budgets changes what a run makes, bit for bit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.tiny import Outcome, assert_equal, outcome, pool, training_job

from rlscale.files import remove_folder
from rlscale.trainers import Progress
from rlscale.trainers.local.trainer import LocalTrainer

BUDGETS = (2, 5, 8)
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "minibatches and KL": {"minibatches": 2, "kl_coefficient": 0.1, "weight_decay": 0.01},
    "reuse and wrong rewards": {"unique_problems": 24, "reward_accuracy": 0.8, "learning_rate": 0.02},
}
STATES = "rlscale.trainers.local.trainer.SECONDS_BETWEEN_STATES"


class KilledError(Exception):
    """Stands for a signal."""


def killed_at(step: int) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        if progress.step == step:
            raise KilledError

    return report


# --- killed and restarted


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    return {
        name: outcome(training_job(tmp_path_factory.mktemp("undisturbed"), BUDGETS, **variant))
        for name, variant in VARIANTS.items()
    }


@pytest.mark.parametrize("seconds", [0.0, 1e9], ids=["a state each step", "no state before the end"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_killed_and_restarted_equals_never_killed(
    variant: str, seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, Outcome]
) -> None:
    monkeypatch.setattr(STATES, seconds)
    steps: list[int] = []
    for step in (1, 2, 4, 8):  # one run, killed four times: early, at a budget, between budgets, at the very end
        job = training_job(tmp_path, BUDGETS, report=killed_at(step), **VARIANTS[variant])
        with pytest.raises(KilledError):
            LocalTrainer().train(job)
    restarted = replace(job, report=lambda progress: steps.append(progress.step))
    assert_equal(outcome(restarted), undisturbed[variant])
    assert steps == []  # the last kill came after the last state


def test_a_restart_goes_on_after_the_last_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(STATES, 0.0)
    job = training_job(tmp_path, BUDGETS, report=killed_at(4))
    with pytest.raises(KilledError):
        LocalTrainer().train(job)
    steps: list[int] = []
    LocalTrainer().train(replace(job, report=lambda progress: steps.append(progress.step)))
    assert steps == [5, 6, 7, 8]


@pytest.mark.parametrize("function", ["save_checkpoint", "save_state"])
@pytest.mark.parametrize("call", [1, 2])
def test_a_kill_before_either_file_is_written_changes_nothing(
    function: str, call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, Outcome]
) -> None:
    monkeypatch.setattr(STATES, 0.0)
    calls = 0

    def killed(*_: object, **__: object) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise KilledError
        original(*_, **__)

    from rlscale.trainers.local import trainer

    original = getattr(trainer, function)
    job = training_job(tmp_path, BUDGETS)
    with monkeypatch.context() as patched:
        patched.setattr(trainer, function, killed)
        with pytest.raises(KilledError):
            LocalTrainer().train(job)
    assert_equal(outcome(job), undisturbed["plain"])


@pytest.mark.parametrize("name", ["state.safetensors", "steps.parquet"])
@pytest.mark.parametrize("damage", [b"", b"PAR1 and then nothing"])
def test_a_broken_state_is_no_state(
    name: str, damage: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, Outcome]
) -> None:
    monkeypatch.setattr(STATES, 0.0)
    job = training_job(tmp_path, BUDGETS, report=killed_at(4))
    with pytest.raises(KilledError):
        LocalTrainer().train(job)
    (file,) = job.resume.glob(f"step-*/{name}")
    file.write_bytes(damage)
    assert_equal(outcome(replace(job, report=killed_at(0))), undisturbed["plain"])


def test_only_the_newest_state_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(STATES, 0.0)
    job = training_job(tmp_path, BUDGETS)
    LocalTrainer().train(job)
    assert [folder.name for folder in job.resume.iterdir()] == ["step-000008"]


# --- budgets and checkpoints


def test_a_budget_added_at_the_end_goes_on_where_the_run_stood(tmp_path: Path) -> None:
    steps: list[int] = []
    short = training_job(tmp_path / "grown", BUDGETS, problems=pool().head(8 * 16))
    LocalTrainer().train(short)
    grown = training_job(tmp_path / "grown", (*BUDGETS, 11), report=lambda progress: steps.append(progress.step))
    at_once = outcome(training_job(tmp_path / "at once", (*BUDGETS, 11)))
    assert_equal(outcome(grown), at_once)
    assert steps == [9, 10, 11]


@pytest.mark.parametrize("budgets", [(2, 5), (5,), (2, 4, 8)])
def test_other_budgets_give_the_same_weights_at_the_same_steps(
    budgets: tuple[int, ...], tmp_path: Path, undisturbed: dict[str, Outcome]
) -> None:
    LocalTrainer().train(training_job(tmp_path, BUDGETS))
    files, table = outcome(training_job(tmp_path, budgets))
    for step in set(budgets) & set(BUDGETS):
        name = f"{step}/model.safetensors"
        assert files[name] == undisturbed["plain"][0][name]
    pd.testing.assert_frame_equal(table, undisturbed["plain"][1].head(budgets[-1]), check_exact=True)


def test_a_last_budget_taken_away_costs_no_step(tmp_path: Path) -> None:
    LocalTrainer().train(training_job(tmp_path, BUDGETS))
    steps: list[int] = []
    fewer = training_job(tmp_path, BUDGETS[:-1], report=lambda progress: steps.append(progress.step))
    assert len(LocalTrainer().train(fewer)) == BUDGETS[-2]
    assert steps == []


def test_a_missing_checkpoint_is_made_again_with_the_same_bytes(
    tmp_path: Path, undisturbed: dict[str, Outcome]
) -> None:
    job = training_job(tmp_path, BUDGETS)
    LocalTrainer().train(job)
    remove_folder(job.checkpoint(5))
    assert_equal(outcome(job), undisturbed["plain"])


def test_a_changed_run_uses_nothing_of_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(STATES, 0.0)
    LocalTrainer().train(training_job(tmp_path / "one", BUDGETS))
    changed: dict[str, Any] = {"fingerprint": "f1", "learning_rate": 0.02}
    again = outcome(training_job(tmp_path / "one", BUDGETS, resume=tmp_path / "one" / "resume" / "f1", **changed))
    assert_equal(again, outcome(training_job(tmp_path / "fresh", BUDGETS, **changed)))
