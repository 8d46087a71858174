"""Trainer openrlhf without OpenRLHF: its rewards, its states, and a process that fails or stands still."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
from tests.tiny import TRAINING, base_model, pool, save, training_job

from rlscale.errors import UserError
from rlscale.placement import Placement
from rlscale.provenance import checkpoint_fingerprint, weights_digest
from rlscale.trainers import TrainingJob
from rlscale.trainers.openrlhf.events import samples_by_place
from rlscale.trainers.openrlhf.process import MARK, RunningProcess
from rlscale.trainers.openrlhf.referee import Referee
from rlscale.trainers.openrlhf.states import COMPLETE, States, keep_checkpoint
from rlscale.trainers.openrlhf.trainer import OpenRlhfTrainer

PLACEMENT = Placement(gpus_per_node=1, device="cpu", stall_minutes=5, reason="a test")


# --- rewards


def referee(folder: Path, **changes: Any) -> Referee:
    settings = {"grader": "exact", "reward_accuracy": 1.0, "seed": 0, "ends": ["<eos>"], "folder": str(folder)}
    return Referee(settings | changes)


def label(place: int, answer: str) -> str:
    return json.dumps({"place": place, "answer": answer})


@pytest.mark.parametrize(
    ("query", "reward"),
    [
        ("3 f1 = 7 <eos>", 1.0),
        ("3 f1 =7<eos>", 1.0),
        ("3 f1 = 8 <eos>", 0.0),
        ("3 f1 = 7", 0.0),  # cut off
        ("3 f1 = 7 7 <eos>", 0.0),
        ("3 f1 = <eos>", 0.0),
    ],
)
def test_an_answer_is_what_follows_its_prompt(query: str, reward: float, tmp_path: Path) -> None:
    found = referee(tmp_path)(query, "3 f1 =", label(0, "7"))
    assert (found["rewards"], found["scores"], found["extra_logs"]) == (reward, reward, {"no_verdict": 0.0})


def test_what_cannot_be_graded_has_no_verdict_and_raises_nothing(tmp_path: Path) -> None:
    judge = referee(tmp_path)
    elsewhere = judge("4 f1 = 7 <eos>", "3 f1 =", label(0, "7"))
    assert (elsewhere["rewards"], elsewhere["extra_logs"]) == (0.0, {"no_verdict": 1.0})
    broken = judge("3 f1 = 7 <eos>", "3 f1 =", json.dumps({"place": 1, "answer": None}))
    assert (broken["rewards"], broken["extra_logs"]) == (0.0, {"no_verdict": 1.0})
    assert judge("3 f1 = 7 <eos>", "3 f1 =", label(2, "7"))["rewards"] == 1.0
    assert samples_by_place(tmp_path) == {0: [0.0], 1: [0.0], 2: [1.0]}


def test_mathematics_is_graded_as_mathematics(tmp_path: Path) -> None:
    judge = referee(tmp_path, grader="math", ends=["<|im_end|>", "<|endoftext|>"])
    prompt = r"<|im_start|>user Answer in \boxed{}: 1/3?<|im_end|>"
    answers = {r"\boxed{2/6}<|im_end|>": 1.0, r"\boxed{0.5}<|endoftext|>": 0.0, r"\boxed{1/3}": 0.0, "<|im_end|>": 0.0}
    found = {answer: judge(prompt + answer, prompt, label(0, r"\frac13"))["rewards"] for answer in answers}
    assert found == answers


def test_rewards_are_wrong_at_the_declared_rate_each_sample_by_itself(tmp_path: Path) -> None:
    judge = referee(tmp_path, reward_accuracy=0.75)

    def ask(place: int) -> float:
        return float(judge("3 f1 = 7 <eos>", "3 f1 =", label(place, "7"))["rewards"])

    with ThreadPoolExecutor(8) as threads:
        rewards = list(threads.map(ask, [place for place in range(250) for _ in range(8)]))
    assert sum(rewards) / len(rewards) == pytest.approx(0.75, abs=4 * (0.75 * 0.25 / 2000) ** 0.5)
    groups = samples_by_place(tmp_path)
    assert {len(group) for group in groups.values()} == {8}
    again = referee(tmp_path / "again", reward_accuracy=0.75)
    for _ in range(8):
        again("3 f1 = 7 <eos>", "3 f1 =", label(5, "7"))
    assert samples_by_place(tmp_path / "again")[5] == groups[5]


def test_a_line_that_a_kill_cut_short_is_no_sample(tmp_path: Path) -> None:
    referee(tmp_path)("3 f1 = 7 <eos>", "3 f1 =", label(4, "7"))
    (file,) = (tmp_path / "samples").iterdir()
    file.write_text(file.read_text() + '{"place": 5, "rew')
    assert samples_by_place(tmp_path) == {4: [1.0]}


# --- states


def states(folder: Path, steps: list[int], latest: int | None) -> States:
    for step in steps:
        (folder / f"_actor/global_step{step}").mkdir(parents=True)
    if latest is not None:
        (folder / "_actor/latest").write_text(f"global_step{latest}")
    return States(folder)


@pytest.mark.parametrize(
    ("steps", "latest", "before", "step"),
    [
        ([], None, None, 0),
        ([4], None, None, 0),  # killed while the first was written
        ([4, 12], 12, None, 12),
        ([4, 12, 24], 12, None, 12),  # killed while 24 was written
        ([4, 12], 12, 12, 4),  # the checkpoint of 12 is missing
        ([12, 24], 24, 4, 0),  # that of 4 is, and no older state is left
        ([12, 24], 24, 25, 24),
    ],
)
def test_a_run_goes_on_from_the_last_whole_state_before_what_is_missing(
    steps: list[int], latest: int | None, before: int | None, step: int, tmp_path: Path
) -> None:
    found = states(tmp_path, steps, latest)
    assert found.rewind(before) == step
    left = {path.name for path in (tmp_path / "_actor").glob("*")}
    assert left == ({f"global_step{step}", "latest"} if step else set())
    assert found.last_step() == step


def test_only_whole_weights_become_a_checkpoint(tmp_path: Path) -> None:
    found = States(tmp_path / "state")
    weights = save(base_model(), tmp_path / "state/global_step4_hf")
    (weights / "checkpoint.json").unlink()
    assert found.weights(4) is None
    (weights / COMPLETE).touch()
    assert found.weights(4) == weights
    digest = weights_digest(weights)
    keep_checkpoint(weights, tmp_path / "step-4", {"run": "r", "fingerprint": "f0", "step": 4})
    assert not weights.exists()
    assert checkpoint_fingerprint(tmp_path / "step-4") == "f0"
    assert json.loads((tmp_path / "step-4/checkpoint.json").read_text())["weights_sha256"] == digest
    assert not (tmp_path / "step-4" / COMPLETE).exists()


# --- the process


def job(folder: Path, **changes: Any) -> TrainingJob:
    values = {"task": {"kind": "skills"}, "unique_problems": None, "group_size": 4, "reward_accuracy": 1.0, "seed": 0}
    training = {"training": TRAINING | changes.pop("training", {})}
    # Processes are ended by fingerprint: tests that run side by side must not share one.
    own = {"fingerprint": uuid4().hex, "placement": PLACEMENT}
    return training_job(folder, (2, 5), identity=values | training, **(own | changes))


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a module `ray` in the place of the real one; OpenRLHF's process gets no further than it."""
    folder = tmp_path / "fake"
    (folder / "openrlhf/utils").mkdir(parents=True)
    for file in ("__init__.py", "utils/__init__.py"):
        (folder / "openrlhf" / file).touch()
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setattr("rlscale.trainers.openrlhf.trainer.SECONDS_BETWEEN_LOOKS", 0.2)
    return folder


def test_a_failure_is_said_with_its_last_words(fake: Path, tmp_path: Path) -> None:
    (fake / "ray.py").write_text("raise RuntimeError('no GPU is free')\n")
    with pytest.raises(RuntimeError, match="run: OpenRLHF failed with 1: RuntimeError: no GPU is free"):
        OpenRlhfTrainer().train(job(tmp_path / "job"))
    assert "no GPU is free" in (tmp_path / "job/resume/f0/attempts/000/log.txt").read_text()


def test_a_run_that_stands_still_is_ended_with_all_that_it_started(fake: Path, tmp_path: Path) -> None:
    """What Ray starts is in sessions of its own, ignores a polite end, and would outlive its parent."""
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    pid_file = tmp_path / "pid"
    (fake / "ray.py").write_text(
        "import pathlib, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True)\n"
        f"pathlib.Path({str(pid_file)!r}).write_text(str(child.pid))\n"
        "time.sleep(600)\n"
    )
    impatient = PLACEMENT.model_copy(update={"stall_minutes": 0.2})
    with pytest.raises(RuntimeError, match=r"run: no step within 0\.2 min after step 0; ended"):
        OpenRlhfTrainer().train(job(tmp_path / "job", placement=impatient))
    assert not psutil.pid_exists(int(pid_file.read_text()))


def test_other_runs_are_left_alone() -> None:
    others = [
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=os.environ | {MARK: mark})
        for mark in ("mine", "yours")
    ]
    try:
        RunningProcess.end_leftovers("mine")
        others[0].wait(10)
        time.sleep(0.1)
        assert others[1].poll() is None
    finally:
        for process in others:
            process.kill()
            process.wait()


def test_an_end_without_checkpoints_is_an_error(fake: Path, tmp_path: Path) -> None:
    (fake / "ray.py").write_text("init = lambda **_: None\ncluster_resources = lambda: {'GPU': 1.0}\n")
    (fake / "openrlhf/utils/deepspeed.py").write_text("class DeepspeedStrategy: ...\n")
    (fake / "openrlhf/cli").mkdir()
    (fake / "openrlhf/cli/__init__.py").touch()
    (fake / "openrlhf/cli/train_ppo_ray.py").write_text("import sys\nprint(sys.argv)\n")
    with pytest.raises(RuntimeError, match="run: OpenRLHF ended without a checkpoint of step 2"):
        OpenRlhfTrainer().train(job(tmp_path / "job"))
    folder = tmp_path / "job/resume/f0"
    assert "--actor.model_name_or_path" in (folder / "attempts/000/log.txt").read_text()
    rows = [json.loads(line) for line in (folder / "prompts.jsonl").read_text().splitlines()]
    assert [json.loads(row["label"])["place"] for row in rows] == list(range(5 * 16))
    assert [row["prompt"] for row in rows] == pool()["prompt"].head(5 * 16).tolist()


def test_reuse_is_written_out_epoch_by_epoch(fake: Path, tmp_path: Path) -> None:
    (fake / "ray.py").write_text("raise SystemExit(3)\n")
    reused = job(tmp_path / "job")
    reused.identity["unique_problems"] = 20
    with pytest.raises(RuntimeError, match="OpenRLHF failed with 3"):
        OpenRlhfTrainer().train(reused)
    lines = (tmp_path / "job/resume/f0/prompts.jsonl").read_text().splitlines()
    prompts = [json.loads(line)["prompt"] for line in lines]
    one_epoch = Counter(pool()["prompt"].head(20))
    assert [Counter(prompts[start : start + 20]) for start in (0, 20, 40, 60)] == [one_epoch] * 4
    assert prompts[:20] != prompts[20:40]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": {"max_prompt_tokens": 2}}, "training.max_prompt_tokens is 2, but problem .* has 3 tokens"),
        ({"problems": pool().head(79)}, "the pool has 79 problems, but the run needs 80"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_starts(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"run: {message}"):
        OpenRlhfTrainer().train(job(tmp_path, **changes))
    assert not list((tmp_path / "resume/f0").glob("attempts/*"))


def test_without_a_placement_there_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run: its ladder states no placement, which trainer openrlhf needs"):
        OpenRlhfTrainer().train(replace(job(tmp_path), placement=None))
