"""The GPU path on a CPU: the unmodified OpenRLHF with Ray, DeepSpeed and vLLM, from base models to a fitted law.

`make test-openrlhf` runs it in an environment of its own. Each start of OpenRLHF takes more than a minute here.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import psutil
import pytest

from rlscale.errors import UserError
from rlscale.evaluators import Evaluator
from rlscale.evaluators.local import LocalEvaluator
from rlscale.evaluators.vllm import VllmEvaluator
from rlscale.files import read_json
from rlscale.models.qwen2 import Architecture
from rlscale.placement import Placement
from rlscale.trainers import Progress, TrainingJob
from rlscale.trainers.openrlhf.cluster import ray_cluster
from rlscale.trainers.openrlhf.events import samples_by_place
from rlscale.trainers.openrlhf.process import EXTENSIONS, MARK
from rlscale.trainers.openrlhf.trainer import OpenRlhfTrainer
from rlscale.trainers.order import order_seed, problems_of_run
from tests.evaluator_protocol import SETTINGS, EvaluatorProtocol, greedy_agreement, share_right
from tests.tiny import TRAINING, save, trained_model, training_job
from tests.trainer_protocol import Trained, TrainerProtocol, trained
from tests.workflow.clone import Clone, fresh_clone

HERE = Path(__file__).parent
CPU = {
    "RLSCALE_CPU_SHIM": "1",
    "DS_ACCELERATOR": "cpu",
    "RAY_OVERRIDE_RESOURCES": '{"CPU":8,"GPU":1}',
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}
STUDY = "openrlhf"
RESULTS = f"results/{STUDY}"
OWN = ("--config", f"study={STUDY}.yaml")
KILLED = "q37k_base_b0_s0"
PROMPTS, GROUP, LAST = 32, 8, 16
BUDGETS = [2, 4, 8, LAST]
DEADLINE_SECONDS = 600.0
PLACEMENT = Placement(gpus_per_node=1, zero_stage=2, micro_batch=8, engine_memory=0.1, device="cpu", reason="a test")
SHAPE = Architecture(width=64, layers=1, heads=2, kv_heads=1, ffn=64, vocabulary=18)


@pytest.fixture(scope="session", autouse=True)
def cpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Put the shim and the settings of a CPU into the environment of all processes."""
    extensions = os.environ.get(EXTENSIONS, str(tmp_path_factory.mktemp("extensions")))  # compiled once for all runs
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CPU.items():
            patch.setenv(name, value)
        patch.setenv(EXTENSIONS, extensions)
        patch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")  # ninja, for DeepSpeed
        patch.setenv("PYTHONPATH", f"{HERE / 'cpu'}:{os.environ.get('PYTHONPATH', '')}")
        yield


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Return a clone with the study, in which one run was killed in the middle and all was then finished."""
    clone = fresh_clone(tmp_path_factory.mktemp("openrlhf") / "clone")
    clone.environment["PYTHONPATH"] = f"{HERE / 'cpu'}:{clone.environment['PYTHONPATH']}"
    shutil.copy(HERE / "ladder.yaml", clone / f"config/models/{STUDY}.yaml")
    shutil.copy(HERE / "study.yaml", clone / f"{STUDY}.yaml")
    kill_in_the_middle(clone)
    clone.snakemake(*OWN, cores=1)
    return clone


def kill_in_the_middle(clone: Clone) -> None:
    """Start the run, wait for its first checkpoint and some more steps, and kill its whole process group."""
    process = clone.start(f"{RESULTS}/runs/{KILLED}/steps.parquet", *OWN, cores=1, new_session=True)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not 6 <= rewarded_steps(clone) < LAST:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "the run does not come to its sixth step"
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    until = time.monotonic() + 60
    while left := marked_processes():
        assert time.monotonic() < until, f"still there after a kill: {left}"
        time.sleep(0.5)
    clone.snakemake("--unlock", *OWN)


def rewarded_steps(clone: Clone) -> int:
    """Return how many steps the killed run has rewarded."""
    return sum(len(samples_by_place(attempt)) for attempt in attempts(clone)) // PROMPTS


def attempts(clone: Clone, run: str = KILLED) -> list[Path]:
    return sorted((clone / f"{RESULTS}/resume/{run}").glob("*/attempts/*"))


def marked_processes() -> list[str]:
    """Return the processes of any run of OpenRLHF that are left."""
    found = []
    for process in psutil.process_iter():
        try:
            if MARK in process.environ():
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


# --- the study


def test_the_study_ends_with_a_fitted_law(clone: Clone) -> None:
    fits = read_json(clone / f"{RESULTS}/law/fit.json")["fits"]
    assert fits
    curves = pd.read_csv(clone / f"{RESULTS}/tables/curves.csv")
    assert sorted(curves["run"].unique()) == [KILLED, "q98k_base_b0_s0"]
    assert sorted(curves["step"].unique()) == [0, *BUDGETS]
    assert (clone / f"{RESULTS}/figures/loss_compute.png").is_file()


@pytest.mark.parametrize("run", [KILLED, "q98k_base_b0_s0"])
def test_the_reward_rises(clone: Clone, run: str) -> None:
    table = pd.read_parquet(clone / f"{RESULTS}/runs/{run}/steps.parquet")
    assert table["reward_mean"].tail(6).mean() > table["reward_mean"].head(4).mean() + 0.1
    assert table["no_verdict_share"].max() == 0


def test_the_killed_run_saw_the_planned_samples_in_the_planned_order(clone: Clone) -> None:
    first, second = attempts(clone)
    began, resumed = [read_json(attempt / "settings.json")["first_step"] for attempt in (first, second)]
    assert began == 1
    assert resumed - 1 in BUDGETS[1:-1]  # the last state before the kill, which came after step 6
    before, after = (samples_by_place(attempt) for attempt in (first, second))
    assert set(before) >= set(range(6 * PROMPTS))
    assert sorted(after) == list(range((resumed - 1) * PROMPTS, LAST * PROMPTS))
    assert {len(rewards) for rewards in after.values()} == {GROUP}
    table = pd.read_parquet(clone / f"{RESULTS}/runs/{KILLED}/steps.parquet")
    assert table["samples"].tolist() == [PROMPTS * step for step in range(1, LAST + 1)]
    assert steps_in_order(first)[:6] == list(range(1, 7))
    assert steps_in_order(second) == list(range(resumed, LAST + 1))


def steps_in_order(attempt: Path) -> list[int]:
    """Return the steps of an attempt in the order in which their samples were rewarded."""
    lines = [line for file in (attempt / "samples").glob("*.jsonl") for line in file.read_text().splitlines()]
    return list(dict.fromkeys(json.loads(line)["place"] // PROMPTS + 1 for line in lines))


def test_nothing_is_left_running(clone: Clone) -> None:
    assert clone
    assert marked_processes() == []


def test_nothing_is_to_be_done_again(clone: Clone) -> None:
    assert clone.planned(*OWN) == {}


def test_both_evaluators_give_the_same_greedy_answers(clone: Clone) -> None:
    checkpoint = clone / f"{RESULTS}/runs/q98k_base_b0_s0/checkpoints/step-{LAST:06d}"
    problems = pd.read_parquet(clone / f"{RESULTS}/data/suites.parquet")
    settings = replace(SETTINGS, sampled_problems=len(problems))
    vllm, local = (
        evaluator.evaluate(checkpoint, problems, settings) for evaluator in (VllmEvaluator(PLACEMENT), LocalEvaluator())
    )
    assert greedy_agreement(vllm, local) >= 0.99
    rates = [share_right(rollouts, problems, "sampled") for rollouts in (vllm, local)]
    assert abs(rates[0] - rates[1]) < 0.06  # 256 problems × 3 answers: four standard errors


# --- several nodes


def test_without_an_allocation_there_are_no_several_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with (
        pytest.raises(UserError, match="2 nodes need a Slurm allocation of as many; this job has none"),
        ray_cluster(2, 0, tmp_path / "ray.txt", "f0"),
    ):
        pass


# --- what every trainer and every evaluator must do


class TestOpenRlhfTrainer(TrainerProtocol):
    @pytest.fixture(scope="class")
    @classmethod
    def done(cls, tmp_path_factory: pytest.TempPathFactory) -> Trained:
        """Return a short job of the trainer alone, without the workflow."""
        folder = tmp_path_factory.mktemp("trainer")
        save(trained_model(SHAPE), folder / "base")
        identity = {
            "task": {"kind": "skills"},
            "unique_problems": 40,
            "group_size": 4,
            "reward_accuracy": 0.9,
            "seed": 3,
            "training": TRAINING | {"learning_rate": 0.002, "kl_coefficient": 0.01, "minibatches": 2},
        }

        def job(report: Callable[[Progress], None]) -> TrainingJob:
            return training_job(folder, (2, 5), identity=identity, report=report, placement=PLACEMENT)

        return trained(OpenRlhfTrainer(), job)

    def test_reuse_and_kl_are_in_the_table(self, done: Trained) -> None:
        table = done.table
        assert table["unique_samples"].tolist() == done_unique(done.job)
        assert (table["kl"] >= 0).all()
        assert (table["updates"] == 2).all()
        assert (table["tokens_reference_logprob"] == table["tokens_rollout"]).all()


def done_unique(job: TrainingJob) -> list[int]:
    """Return how many different problems a job has seen after each step."""
    rows = problems_of_run(job.budgets[-1], prompts=16, unique=40, seed=order_seed(job.identity))
    names = job.problems["problem"].to_numpy()[rows]
    return [len(set(names[: 16 * step])) for step in range(1, job.budgets[-1] + 1)]


class TestVllmEvaluator(EvaluatorProtocol):
    @pytest.fixture(scope="class")
    @classmethod
    def evaluator(cls) -> Evaluator:
        return VllmEvaluator(PLACEMENT)

    @pytest.fixture(scope="class")
    @classmethod
    def checkpoint(cls, clone: Clone) -> Path:
        return clone / f"{RESULTS}/models/q37k_base_b0"
