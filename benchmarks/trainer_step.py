"""Time of the trainer's three kinds of work for each size of the ladder mini, on one thread.

A supervised step is one of the base stage's (forward, backward, AdamW); a rollout is the sampling of one GRPO step's
groups; an update is what follows it (forward and backward over all groups, none left out as flat, and AdamW). Medians
of milliseconds, and ratios to the smallest size. Run: python benchmarks/trainer_step.py
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from rlscale.config import load_ladder
from rlscale.ladder import BuiltLadder
from rlscale.models.encoding import EncodedProblems, encode_problems
from rlscale.models.generate import Rollouts, answer_logprobs, generate
from rlscale.models.optimiser import AdamW
from rlscale.models.qwen2 import Qwen2
from rlscale.models.supervised import architecture, new_model, train_on_corpus
from rlscale.task_spec import SkillsTask
from rlscale.tasks.skills import SkillsProblems
from rlscale.tasks.vocabulary import EOS
from rlscale.trainers.local.grpo import policy_loss

LADDER = Path(__file__).parents[1] / "config" / "models" / "mini.yaml"
PROMPTS, GROUP_SIZE = 128, 8
REPEATS = 20
COLUMNS = ("supervised", "rollout", "update")


def median_ms(call: Callable[[], object]) -> float:
    """Return the median time of ``call`` in milliseconds, after two calls that do not count."""
    times = []
    for repeat in range(2 + REPEATS):
        started = time.perf_counter()
        call()
        if repeat >= 2:
            times.append(1e3 * (time.perf_counter() - started))
    return statistics.median(times)


def supervised_ms(model: Qwen2, problems: SkillsProblems, ladder: BuiltLadder) -> float:
    """Return the median time between two reports of the supervised stage; drawing the corpus is part of it."""
    moments: list[float] = []
    stage = ladder.supervised.model_copy(update={"steps": 4 * REPEATS, "learning_rate": 1e-3})
    train_on_corpus(
        model, problems, stage, seed=0, instruct=False, report=lambda _: moments.append(time.perf_counter())
    )
    return float(1e3 * np.median(np.diff(moments)))


def sample(model: Qwen2, batch: EncodedProblems) -> Rollouts:
    """Return one step's rollouts."""
    return generate(
        model,
        batch.prompts,
        batch.prompt_lengths,
        answers=GROUP_SIZE,
        max_new_tokens=batch.answers.shape[1],
        end=EOS,
        temperature=1.0,
        generator=torch.Generator().manual_seed(0),
    )


def update(
    model: Qwen2, optimiser: AdamW, batch: EncodedProblems, rollouts: Rollouts, advantages: torch.Tensor
) -> None:
    """Make one update on all groups."""
    optimiser.zero_grad()
    logprobs = answer_logprobs(model, batch.prompts, batch.prompt_lengths, rollouts.tokens, temperature=1.0)
    loss = policy_loss(logprobs, logprobs.detach(), advantages, rollouts.mask, 0.2)
    (loss / rollouts.mask.sum()).backward()  # type: ignore[no-untyped-call]
    optimiser.clip(1.0)
    optimiser.step(1e-4)


def times_of(model: Qwen2, problems: SkillsProblems, ladder: BuiltLadder) -> tuple[float, float, float]:
    """Return milliseconds of a supervised step, a rollout and an update."""
    supervised = supervised_ms(model, problems, ladder)
    batch = encode_problems(problems.train(["chain"], 1.0, 0, PROMPTS), model.shape.vocabulary, None)
    optimiser = AdamW(model, betas=(0.9, 0.95), weight_decay=0.0)
    rollouts = sample(model, batch)
    advantages = torch.empty(PROMPTS, GROUP_SIZE).normal_(generator=torch.Generator().manual_seed(1))
    rollout = median_ms(lambda: sample(model, batch))
    return supervised, rollout, median_ms(lambda: update(model, optimiser, batch, rollouts, advantages))


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    ladder = load_ladder(LADDER)
    if not isinstance(ladder, BuiltLadder):
        raise TypeError(f"{LADDER} is no built ladder")
    problems = SkillsProblems(SkillsTask(kind="skills"))
    print(
        f"milliseconds (ratio to the smallest size); {PROMPTS} prompts × {GROUP_SIZE} answers a GRPO step, one thread"
    )
    print(f"{'size':>6} {'params':>8}" + "".join(f"{name:>18}" for name in COLUMNS))
    smallest: tuple[float, ...] | None = None
    for name, shape in sorted(ladder.models.items(), key=lambda item: item[1].non_embedding_params):
        model = new_model(architecture(shape.model_dump(), len(problems.vocabulary)), seed=0)
        times = times_of(model, problems, ladder)
        smallest = smallest or times
        cells = (f"{ms:9.2f} ({ms / first:5.1f})" for ms, first in zip(times, smallest, strict=True))
        print(f"{name:>6} {shape.non_embedding_params:>8}" + "".join(f"{cell:>18}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
