"""What is asked of Slurm, with commands that answer as Slurm does."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlscale.errors import UserError
from rlscale.slurm import allocated_nodes, cancel, comment_of, live_jobs, refuse_live_jobs, status_command
from rlscale.workflow import check_cluster

RUNNING = "12\tRUNNING\trule_train_wildcards_smoke_q3k_base_b0_s0\tn0\tNone"
WAITING = "13_2\tPENDING\trule_evaluate_wildcards_smoke_q3k_base_b0_s0\t\tResources"
CONFIG = (
    "Configuration data as of 2026-01-01\nAccountingStorageType   = {storage}\nMinJobAge               = {age} sec\n"
)


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder on the path; the working directory is another one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


def answers(folder: Path, command: str, text: str, code: int = 0) -> None:
    """Let a command say ``text``, and write down what it was asked."""
    (folder / f"{command}.txt").write_text(text)
    script = folder / command
    script.write_text(f'#!/bin/bash\necho "$*" > "$0.asked"\ncat "$0.txt"\nexit {code}\n')
    script.chmod(0o755)


def queue(folder: Path, *lines: str, place: Path | None = None) -> None:
    answers(folder, "squeue", "".join(f"{line}\t{place or Path.cwd()}\n" for line in lines))


def test_jobs_of_this_folder_are_known_by_their_comment(bin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue(bin_folder, RUNNING, WAITING, "14\tRUNNING\t(null)\tn0\tNone")
    first, second = live_jobs()
    assert (first.job_id, first.waits, first.nodes) == ("12", False, "n0")
    assert first.comment == comment_of("train", "smoke", "q3k_base_b0_s0")
    assert first.name == "train smoke_q3k_base_b0_s0"
    assert (second.job_id, second.waits, second.reason) == ("13_2", True, "Resources")
    monkeypatch.setenv("SLURM_JOB_ID", "12")  # Snakemake itself may be a job
    assert [job.job_id for job in live_jobs()] == ["13_2"]


def test_jobs_of_other_folders_are_not_ours(bin_folder: Path, tmp_path: Path) -> None:
    queue(bin_folder, RUNNING, place=tmp_path)
    assert live_jobs() == []
    assert [job.job_id for job in live_jobs(tmp_path)] == ["12"]
    refuse_live_jobs([comment_of("train", "smoke", "q3k_base_b0_s0")])


def planned(rule: str, study: str, run: str) -> SimpleNamespace:
    """Return what of a job of Snakemake's is looked at."""
    return SimpleNamespace(rule=SimpleNamespace(name=rule), wildcards=[study, run])


def test_no_job_starts_beside_itself(bin_folder: Path) -> None:
    queue(bin_folder, RUNNING, WAITING)
    jobs = [planned(rule, "smoke", "q3k_base_b0_s0") for rule in ("train", "evaluate")]
    with pytest.raises(UserError) as caught:
        check_cluster(None, jobs)
    assert "2 Slurm job(s) that an earlier Snakemake submitted" in str(caught.value)
    assert "12  RUNNING  train smoke_q3k_base_b0_s0" in str(caught.value)
    assert "rlscale jobs --wait" in str(caught.value)


def test_two_studies_may_run_from_one_folder(bin_folder: Path) -> None:
    queue(bin_folder, RUNNING)
    check_cluster(None, [planned("train", "mini", "q3k_base_b0_s0"), planned("train", "smoke", "q5k_base_b0_s0")])


def test_a_job_that_is_several_may_be_any(bin_folder: Path) -> None:
    queue(bin_folder, "12\tRUNNING\trule_run_evaluate_grade_train\tn0\tNone")
    with pytest.raises(UserError, match="12  RUNNING  run_evaluate_grade_train"):
        check_cluster(None, [planned("train", "mini", "q3k_base_b0_s0")])


def test_many_live_jobs_are_not_all_listed(bin_folder: Path) -> None:
    queue(bin_folder, *(RUNNING.replace("12", str(number), 1) for number in range(100, 150)))
    with pytest.raises(UserError, match="and 30 more: rlscale jobs"):
        refuse_live_jobs([comment_of("train", "smoke", "q3k_base_b0_s0")])


def test_a_controller_that_is_down_is_said(bin_folder: Path) -> None:
    answers(bin_folder, "squeue", "", code=1)
    with pytest.raises(UserError, match="Slurm does not answer: squeue failed with 1: nothing"):
        live_jobs()


def test_only_a_study_on_slurm_needs_its_answer(bin_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers(bin_folder, "squeue", "", code=1)
    check_cluster(None, [])
    assert "whether it has jobs of this folder is not known" in capsys.readouterr().err
    with pytest.raises(UserError, match="Slurm does not answer"):
        check_cluster(SimpleNamespace(status_command=None, init_seconds_before_status_checks=20), [])


def test_cancelling_names_every_job(bin_folder: Path) -> None:
    queue(bin_folder, RUNNING, WAITING)
    answers(bin_folder, "scancel", "")
    cancel(live_jobs())
    assert (bin_folder / "scancel.asked").read_text() == "12 13_2\n"


def test_an_allocation_is_asked_for_its_nodes(bin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert allocated_nodes() == 0
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    answers(bin_folder, "squeue", "8\n")
    assert allocated_nodes() == 8


@pytest.mark.parametrize(
    ("storage", "age", "command"),
    [
        ("accounting_storage/slurmdbd", 2, "sacct"),
        ("accounting_storage/none", 300, "squeue"),
        ("(null)", 300, "squeue"),
    ],
)
def test_accounts_decide_how_jobs_are_followed(bin_folder: Path, storage: str, age: int, command: str) -> None:
    answers(bin_folder, "sacct", "")
    answers(bin_folder, "scontrol", CONFIG.format(storage=storage, age=age))
    assert status_command(20) == command


def test_a_cluster_that_forgets_too_soon_is_refused(bin_folder: Path) -> None:
    answers(bin_folder, "scontrol", CONFIG.format(storage="accounting_storage/none", age=45))
    assert status_command(15) == "squeue"
    with pytest.raises(UserError, match=r"forgets a job 45 s after its end .* to 15 or less"):
        status_command(16)
