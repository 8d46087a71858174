"""What a training step of each size costs, phase by phase, and how much of the machine's arithmetic it uses.

For every size of the ladder mini, on one thread: CPU milliseconds (medians) of a supervised step, and of a GRPO
step's rollout and update with all groups; floating-point operations actually done (each different prefix once,
attention and output layer included) and the literature's 8·N·T (2 for the rollout, 6 for the update, over all tokens
of all rollouts), both as shares of the machine's ceiling, a large matrix product in the same process; and the peak
memory of the process. With the name of a finished study: its wall time against the CPU seconds of its jobs, from
their records.

Run: python benchmarks/ladder.py [--base-steps N]    (N supervised steps first: untrained models answer at random)
     python benchmarks/ladder.py STUDY
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import torch

from rlscale.config import load_ladder
from rlscale.ladder import BuiltLadder, Supervised, scaled_learning_rate
from rlscale.ledger import ForwardCost
from rlscale.models.encoding import EncodedProblems, encode_problems
from rlscale.models.generate import Rollouts, generate
from rlscale.models.optimiser import AdamW
from rlscale.models.qwen2 import Qwen2
from rlscale.models.scoring import ScoredAnswers
from rlscale.models.supervised import architecture, new_model, train_on_corpus
from rlscale.task_spec import SkillsTask
from rlscale.tasks.skills import SkillsProblems
from rlscale.tasks.vocabulary import EOS
from rlscale.trainers.local.grpo import policy_loss

ROOT = Path(__file__).parents[1]
PROMPTS, GROUP_SIZE, PROMPT_TOKENS = 128, 8, 4
REPEATS = 30
TRAINING = ("base", "train", "evaluate")


def median_ms(call: Callable[[], object]) -> float:
    """Return the median CPU time of ``call`` in milliseconds, after two calls that do not count."""
    times = []
    for repeat in range(2 + REPEATS):
        started = time.process_time()
        call()
        if repeat >= 2:
            times.append(1e3 * (time.process_time() - started))
    return statistics.median(times)


def ceiling() -> float:
    """Return the FLOPs per second of a large matrix product on this thread, the best of a few."""
    left, right, out = torch.randn(2048, 1024), torch.randn(1024, 1024), torch.empty(2048, 1024)
    return 2 * 2048 * 1024 * 1024 / min(_seconds(lambda: torch.mm(left, right, out=out)) for _ in range(30))


def _seconds(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


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
) -> ScoredAnswers:
    """Make one update on all groups, at a rate of zero so that every repeat does the same."""
    optimiser.zero_grad()
    scored = ScoredAnswers(batch.prompts, batch.prompt_lengths, rollouts.tokens, rollouts.lengths)
    logprobs = scored.logprobs(model, 1.0)
    loss = policy_loss(logprobs, logprobs.detach(), advantages, rollouts.mask, 0.2)
    (loss / rollouts.mask.sum()).backward()  # type: ignore[no-untyped-call]
    optimiser.clip(1.0)
    optimiser.step(0.0)
    return scored


def measure(model: Qwen2, problems: SkillsProblems, stage: Supervised, peak: float) -> str:
    """Train ``model`` by a supervised stage, then return its row of the table."""
    moments: list[float] = []
    train_on_corpus(
        model, problems, stage, seed=0, instruct=False, report=lambda _: moments.append(time.process_time())
    )
    steps = [1e3 * (after - before) for before, after in pairwise(moments)]
    batch = encode_problems(problems.train(["chain"], 1.0, 0, PROMPTS), model.shape.vocabulary, None)
    optimiser = AdamW(model, betas=(0.9, 0.95), weight_decay=0.0)
    rollouts = sample(model, batch)
    advantages = torch.empty(PROMPTS, GROUP_SIZE).normal_(generator=torch.Generator().manual_seed(1))
    scored = update(model, optimiser, batch, rollouts, advantages)
    rollout = median_ms(lambda: sample(model, batch))
    updating = median_ms(lambda: update(model, optimiser, batch, rollouts, advantages))
    shape = model.shape
    cost = ForwardCost(shape.params, shape.width, shape.layers, shape.vocabulary)
    possible = peak * 1e-3 * (rollout + updating)
    done = rollouts.forward_flops(cost) + 3 * scored.edges.forward_flops(cost)
    tokens = PROMPTS * GROUP_SIZE * PROMPT_TOKENS + int(rollouts.lengths.sum())
    nodes = len(scored.edges.forest)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return (
        f"{shape.params:>8} {statistics.median(steps):>11.2f} {rollout:>8.2f} {updating:>8.2f} {nodes:>6} {tokens:>6} "
        f"{100 * done / possible:>7.0f} % {100 * 8 * shape.params * tokens / possible:>6.0f} % {memory:>8.0f}"
    )


def ladder_table(base_steps: int) -> None:
    """Print one row a size."""
    ladder = load_ladder(ROOT / "config" / "models" / "mini.yaml")
    if not isinstance(ladder, BuiltLadder):
        raise TypeError("the ladder mini is built")
    problems = SkillsProblems(SkillsTask(kind="skills"))
    peak = ceiling()
    print(
        f"{PROMPTS} prompts × {GROUP_SIZE} answers a GRPO step; one thread; matrix products: {peak / 1e9:.0f} GFLOP/s"
    )
    print("  CPU ms a step:          supervised  rollout   update  nodes tokens    done     8·N·T  MiB peak")
    for name, shape in sorted(ladder.models.items(), key=lambda item: item[1].non_embedding_params):
        stage = ladder.supervised
        rate = scaled_learning_rate(
            stage.learning_rate, stage.learning_rate_width_exponent, shape.width, stage.reference_width
        )
        stage = stage.model_copy(update={"steps": base_steps, "learning_rate": rate})
        model = new_model(architecture(shape.model_dump(), len(problems.vocabulary)), seed=0)
        print(f"{name:>16} {measure(model, problems, stage, peak)}", flush=True)


def study_table(study: str, cores: int) -> None:
    """Print the wall time of a finished study against the CPU seconds of its jobs."""
    records = [json.loads(path.read_text()) for path in (ROOT / "results" / study).rglob("*.record.json")]
    seconds: dict[str, list[float]] = {}
    for record in records:
        seconds.setdefault(record["stage"], []).append(record["cpu_seconds"])
    started = min(datetime.fromisoformat(record["started"]) for record in records)
    ended = max(datetime.fromisoformat(record["ended"]) for record in records)
    wall = (ended - started).total_seconds()
    for stage, own in sorted(seconds.items(), key=lambda item: -sum(item[1])):
        print(f"{stage:>12} {len(own):>4} jobs {sum(own):>9.1f} CPU s {statistics.median(own):>7.2f} s a job")
    busy = sum(sum(seconds.get(stage, [])) for stage in TRAINING)
    print(f"wall {wall:.0f} s on {cores} cores; CPU seconds in {', '.join(TRAINING)}: {busy:.0f}", end="; ")
    print(f"idle share {1 - busy / (wall * cores):.0%}")


def main() -> None:
    """Print the table that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", help="a finished study")
    parser.add_argument("--base-steps", type=int, default=1000, help="supervised steps before measuring")
    parser.add_argument("--cores", type=int, default=2, help="cores that the study ran on")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.study:
        study_table(arguments.study, arguments.cores)
    else:
        ladder_table(arguments.base_steps)


if __name__ == "__main__":
    main()
