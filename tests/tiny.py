"""A task of twenty facts and a decoder of a thousand parameters: real training in seconds, for tests."""

from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from rlscale.ladder import Supervised
from rlscale.ledger import PHASES
from rlscale.models.checkpoint import save_checkpoint
from rlscale.models.qwen2 import Architecture, Qwen2
from rlscale.models.supervised import new_model, train_on_corpus
from rlscale.task_spec import SkillsTask
from rlscale.tasks.skills import SkillsProblems
from rlscale.trainers import TrainingJob
from rlscale.trainers.local.trainer import LocalTrainer

TASK = SkillsTask(kind="skills", operators=2, chain_length=1, long_chain_length=2, format_noise=0.2)
SHAPE = Architecture(width=16, layers=1, heads=2, kv_heads=1, ffn=16, vocabulary=18)
STAGE = Supervised(steps=60, batch_size=64, learning_rate=0.02, warmup_steps=5)


def silent(_: object) -> None:
    """Report nothing."""


@cache
def problems() -> SkillsProblems:
    """Return the source of all problems."""
    return SkillsProblems(TASK)


@cache
def pool(n: int = 4096) -> pd.DataFrame:
    """Return training problems of the family chain."""
    return problems().train(["chain"], 1.0, 0, n)


@cache
def base_model() -> Qwen2:
    """Return a base model; never change it."""
    return trained_model(SHAPE)


def trained_model(shape: Architecture) -> Qwen2:
    """Return a model after the supervised stage."""
    torch.set_num_threads(1)
    model = new_model(shape, seed=0)
    train_on_corpus(model, problems(), STAGE, seed=0, instruct=False, report=silent)
    return model.requires_grad_(False)


def save(model: Qwen2, folder: Path) -> Path:
    """Write a checkpoint of ``model`` and return its folder."""
    save_checkpoint(model, folder, tokenizer=problems().vocabulary.tokenizer_json(), identity={"step": 0})
    return folder


def random_model(shape: Architecture, seed: int = 0) -> Qwen2:
    """Return a decoder all of whose weights are random, norms and biases included, so that none hides a mistake."""
    model = new_model(shape, seed)
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.empty_like(weight).normal_(0.0, 0.2, generator=noise))
    return model


TRAINING: dict[str, Any] = {
    "prompts_per_step": 16,
    "learning_rate": 0.01,
    "clip_range": 0.2,
    "kl_coefficient": 0.0,
    "temperature": 1.0,
    "minibatches": 1,
    "warmup_steps": 2,
    "max_gradient_norm": 1.0,
    "adam_betas": [0.9, 0.95],
    "weight_decay": 0.0,
    "max_prompt_tokens": None,
    "max_new_tokens": None,
}


def training_job(folder: Path, budgets: tuple[int, ...], **changes: Any) -> TrainingJob:
    """Return a job in ``folder``.

    Args:
        folder: place of base, checkpoints and state.
        budgets: steps to leave a checkpoint at.
        changes: fields of the job, of its identity, or of the identity's training.
    """
    base = folder / "base"
    if not base.is_dir():
        save(base_model(), base)
    training = {key: changes.pop(key, value) for key, value in TRAINING.items()}
    identity: dict[str, Any] = {"unique_problems": None, "group_size": 4, "reward_accuracy": 1.0, "seed": 0}
    identity["task"] = {"kind": "skills"}
    identity = {key: changes.pop(key, value) for key, value in identity.items()}
    fields: dict[str, Any] = {
        "run_id": "run",
        "fingerprint": "f0",
        "budgets": budgets,
        "identity": identity | {"training": training},
        "base": base,
        "problems": pool(),
        "checkpoint": lambda step: folder / "checkpoints" / f"step-{step:06d}",
        "resume": folder / "resume" / "f0",
        "report": silent,
        "placement": None,
    }
    unknown = changes.keys() - fields.keys()
    if unknown:
        raise TypeError(f"no such field: {unknown}")
    return TrainingJob(**(fields | changes))


Outcome = tuple[dict[str, bytes], pd.DataFrame]


def outcome(job: TrainingJob) -> Outcome:
    """Train, and return all files of all checkpoints, and the table without times."""
    table = LocalTrainer().train(job)
    files = {
        f"{step}/{file.name}": file.read_bytes()
        for step in job.budgets
        for file in sorted(job.checkpoint(step).iterdir())
    }
    return files, table.drop(columns=[f"seconds_{phase}" for phase in PHASES])


def assert_equal(one: Outcome, other: Outcome) -> None:
    """Compare bytes and numbers exactly."""
    assert one[0] == other[0]
    pd.testing.assert_frame_equal(one[1], other[1], check_exact=True)


def same_weights(one: Qwen2, other: Qwen2) -> bool:
    """Whether all weights are equal bit for bit."""
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == other_name and torch.equal(a, b) for (name, a), (other_name, b) in pairs)
