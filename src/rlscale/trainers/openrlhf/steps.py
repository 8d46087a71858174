"""OpenRLHF's log as the table of steps that every trainer returns, and the check that a run consumed what was planned.

Tokens follow from the mean lengths of a step's rollouts, FLOPs from the tokens. OpenRLHF takes the time of both
log-probabilities together: it is shared out evenly. It does not log the entropy, nor the KL where there is no reference
model: these are NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rlscale.ledger import ForwardCost, planned_flops
from rlscale.models.checkpoint import read_architecture
from rlscale.trainers import TrainingJob
from rlscale.trainers.openrlhf.events import Events, Scalars, samples_by_place
from rlscale.trainers.order import order_seed, unique_so_far


@dataclass(frozen=True)
class PastAttempt:
    """One start of OpenRLHF: its folder, and the step that it began with."""

    folder: Path
    first_step: int


def steps_table(job: TrainingJob, attempts: Sequence[PastAttempt]) -> pd.DataFrame:
    """Return one row per step up to the last budget, each from the last attempt that began before it.

    Raises:
        RuntimeError: a step is missing, or its rewarded samples are not the planned ones.
    """
    last, prompts = job.budgets[-1], job.identity["training"]["prompts_per_step"]
    shape = read_architecture(job.base)
    cost = ForwardCost(shape.params, shape.width, shape.layers, shape.vocabulary)
    rows: dict[int, dict[str, float]] = {}
    for attempt in attempts:  # a later one replaces the steps that it made again
        rows = {step: row for step, row in rows.items() if step < attempt.first_step}
        logged, rewards = Events(attempt.folder).steps(), samples_by_place(attempt.folder)
        for step, scalars in logged.items():
            places = range((step - 1) * prompts, step * prompts)
            groups = [rewards.get(place, []) for place in places]
            rows[step] = _row(job, step, scalars, groups, cost)
    missing = [step for step in range(1, last + 1) if step not in rows]
    if missing:
        raise RuntimeError(f"{job.run_id}: OpenRLHF logged nothing of step {missing[0]}")
    table = pd.DataFrame([rows[step] for step in range(1, last + 1)])
    unique = unique_so_far(
        job.problems["problem"].to_numpy(dtype=np.str_),
        last,
        prompts=prompts,
        unique=job.identity["unique_problems"],
        seed=order_seed(job.identity),
    )
    table.insert(2, "unique_samples", unique)
    whole = ["step", "samples", "updates", *(name for name in map(str, table) if name.startswith("tokens_"))]
    return table.astype(dict.fromkeys(whole, "int64"))


def _row(
    job: TrainingJob, step: int, scalars: Scalars, groups: Sequence[Sequence[float]], cost: ForwardCost
) -> dict[str, float]:
    training, size = job.identity["training"], job.identity["group_size"]
    prompts = training["prompts_per_step"]
    _check_samples(job.run_id, step, [len(group) for group in groups], scalars["rollout/num_samples"], size)
    rollouts = prompts * size
    length, answer = scalars["total_length"], scalars["rollout/response_length_mean"]
    tokens = round(length * rollouts)
    has_reference = training["kl_coefficient"] > 0
    passes = {"rollout": 1, "old_logprob": 1, "reference_logprob": 1 * has_reference, "update": 3}
    forward = cost.forward(tokens=tokens, logit_rows=tokens, attended_pairs=round(rollouts * length * (length + 1) / 2))
    experience = scalars["timing/make_experience"]
    return {
        "step": step,
        "samples": step * prompts,
        "entropy": float("nan"),
        "answer_tokens_mean": answer,
        "truncated_share": scalars["rollout/truncated_rate"],
        "compute_flops": planned_flops(params=cost.params, samples=prompts, group_size=size, tokens_per_rollout=length),
        "reward_mean": scalars["rollout/reward_mean"],
        "flat_share": float(np.mean([min(group) == max(group) for group in groups])),
        "no_verdict_share": scalars["no_verdict"],
        "learning_rate": scalars["actor_lr"],
        "updates": training["minibatches"],
        "gradient_norm": scalars["actor_grad_norm"],
        "kl": scalars["kl"] if has_reference else float("nan"),
        **{f"tokens_{phase}": tokens * (count > 0) for phase, count in passes.items()},
        **{f"flops_{phase}": forward * count for phase, count in passes.items()},
        "seconds_rollout": scalars["timing/generation"],
        "seconds_old_logprob": experience / (1 + has_reference),
        "seconds_reference_logprob": experience / 2 * has_reference,
        "seconds_update": scalars["timing/ppo_train"] + scalars["timing/broadcast"],
    }


def _check_samples(run_id: str, step: int, rewarded: Sequence[int], trained_on: float, size: int) -> None:
    """Refuse a step that did not reward each of its planned samples as often as planned, or trained on others."""
    wrong = [place for place, count in enumerate(rewarded) if count != size]
    if wrong or trained_on != len(rewarded) * size:
        seen = f"{len(rewarded) - len(wrong)} of {len(rewarded)} planned samples have {size} rewards each"
        raise RuntimeError(f"{run_id}: step {step} is not as planned: {seen}, and it trained on {trained_on:.0f}")
