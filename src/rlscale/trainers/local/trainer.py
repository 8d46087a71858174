"""The training loop: sample groups, reward, update; a checkpoint at every budget.

Each step is a pure function of the state before it and of seeds derived from its number, so a run that was killed and
resumed equals one that was not, bit for bit on one thread. Groups whose rewards are all equal have a gradient of
exactly zero where there is no KL term; they are counted, and not computed.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rlscale.canonical import derived_seed
from rlscale.errors import UserError
from rlscale.ledger import PHASES, ForwardCost, planned_flops
from rlscale.models.checkpoint import load_checkpoint, read_tokenizer, save_checkpoint
from rlscale.models.encoding import EncodedProblems, encode_problems
from rlscale.models.generate import Rollouts, generate
from rlscale.models.optimiser import AdamW
from rlscale.models.scoring import ScoredAnswers
from rlscale.provenance import checkpoint_fingerprint
from rlscale.rewards import flip
from rlscale.tasks.vocabulary import EOS
from rlscale.trainers import Progress, TrainingJob
from rlscale.trainers.local.grpo import group_advantages, k3, policy_loss
from rlscale.trainers.local.state import load_state, restore, save_state
from rlscale.trainers.order import order_seed, problems_of_step, unique_so_far

log = logging.getLogger(__name__)

SECONDS_BETWEEN_STATES = 20.0

Row = dict[str, float]


class LocalTrainer:
    """GRPO on one CPU thread."""

    def train(self, job: TrainingJob) -> pd.DataFrame:
        """Train one run; see :class:`rlscale.trainers.Trainer`."""
        torch.set_num_threads(1)
        return _Run(job).train()


@dataclass(frozen=True)
class _Batch:
    """One step's problems, the groups of answers to them, and the answers' advantages [B, G]."""

    problems: EncodedProblems
    rollouts: Rollouts
    advantages: Tensor


class _Run:
    """One run's policy, data and position."""

    def __init__(self, job: TrainingJob) -> None:
        self.job = job
        self.identity = job.identity
        self.settings: dict[str, Any] = job.identity["training"]
        self.group_size: int = job.identity["group_size"]
        self.seed: int = job.identity["seed"]
        self.prompts: int = self.settings["prompts_per_step"]
        self.temperature: float = self.settings["temperature"]
        self.unique: int | None = job.identity["unique_problems"]
        self.model = load_checkpoint(job.base)
        self.tokenizer = read_tokenizer(job.base)
        uses_kl = self.settings["kl_coefficient"] > 0
        self.reference = load_checkpoint(job.base).requires_grad_(False) if uses_kl else None
        shape = self.model.shape
        self.problems = encode_problems(job.problems, shape.vocabulary, self.settings["max_new_tokens"])
        needed = self.unique or job.budgets[-1] * self.prompts
        if len(job.problems) < needed:
            raise UserError(f"{job.run_id}: the pool has {len(job.problems)} problems, but the run needs {needed}")
        self.cost = ForwardCost(shape.params, shape.width, shape.layers, shape.vocabulary)
        self.optimiser = AdamW(
            self.model, betas=self.settings["adam_betas"], weight_decay=self.settings["weight_decay"]
        )
        self.rows: list[Row] = []
        self.seconds: dict[str, float] = {}

    def train(self) -> pd.DataFrame:
        first = self._resume() + 1
        self.job.resumed(first - 1)
        last = self.job.budgets[-1]
        started = saved = time.monotonic()
        for step in range(first, last + 1):
            row = self._step(step)
            self.rows.append(row)
            if step in self.job.budgets:
                self._save_checkpoint(step)
            now = time.monotonic()
            if now - saved > SECONDS_BETWEEN_STATES or step == last:
                save_state(self.job.resume, step, self.model, self.optimiser, pd.DataFrame(self.rows))
                saved = now
            left = (now - started) / (step - first + 1) * (last - step)
            self.job.report(Progress(step, last, row["reward_mean"], left))
        return self._table()

    def _resume(self) -> int:
        """Restore the newest state that no missing checkpoint stands before; return its step, 0 where there is none."""
        missing = [step for step in self.job.budgets if not self._has_checkpoint(step)]
        state = load_state(self.job.resume, min(missing) - 1 if missing else None)
        if state is None:
            return 0
        restore(state, self.model, self.optimiser)
        self.rows = state.rows.to_dict("records")  # type: ignore[assignment]
        log.info("%s: resumed after step %d", self.job.run_id, state.step)
        return state.step

    def _step(self, step: int) -> Row:
        self.seconds = dict.fromkeys(PHASES, 0.0)
        places = problems_of_step(step, prompts=self.prompts, unique=self.unique, seed=order_seed(self.identity))
        problems = self.problems.take(places)
        with self._timed("rollout"):
            rollouts = generate(
                self.model,
                problems.prompts,
                problems.prompt_lengths,
                answers=self.group_size,
                max_new_tokens=self.problems.answers.shape[1],
                end=EOS,
                temperature=self.temperature,
                generator=torch.Generator().manual_seed(derived_seed("rollout", self.seed, step)),
            )
        rewards = self._rewards(problems, rollouts, step)
        flat = (rewards == rewards[:, :1]).all(1)
        active = torch.ones_like(flat) if self.reference is not None else ~flat
        update = self._update(step, _Batch(problems, rollouts, group_advantages(rewards)), active)
        outcome = {"reward_mean": rewards.mean().item(), "flat_share": flat.float().mean().item()}
        return self._rollout_row(step, problems, rollouts) | outcome | update

    def _rewards(self, problems: EncodedProblems, rollouts: Rollouts, step: int) -> Tensor:
        """Return rewards [B, G]: 1 where the answer and its end are right, then wrong at the declared rate."""
        right = (rollouts.tokens == problems.answers[:, None]).all(-1).double().numpy()
        rng = np.random.Generator(np.random.PCG64(derived_seed("reward", self.seed, step)))
        return torch.from_numpy(flip(right, self.identity["reward_accuracy"], rng)).float()

    def _update(self, step: int, batch: _Batch, active: Tensor) -> Row:
        """Update the policy on the ``active`` groups [B], one optimiser update a minibatch."""
        parts = [part[active[part]] for part in torch.arange(len(active)).chunk(self.settings["minibatches"])]
        tokens = batch.rollouts.mask.sum().item() / len(parts)
        warmup = self.settings["warmup_steps"]
        rate = self.settings["learning_rate"] * (min(1.0, step / warmup) if warmup else 1.0)
        with self._timed("update"):
            scored = [self._scored(batch, part) for part in parts]
        # With one update a step the policy that sampled is the policy that is updated: the ratio is exactly 1.
        old: list[Tensor | None] = [None] * len(parts)
        if len(parts) > 1:
            with self._timed("old_logprob"), torch.no_grad():
                old = [None if part is None else part.logprobs(self.model, self.temperature) for part in scored]
        outcomes = [
            self._optimise(batch, groups, part, before, tokens=tokens, rate=rate)
            for groups, part, before in zip(parts, scored, old, strict=True)
        ]
        divergences, norms = zip(*outcomes, strict=True)
        has_reference = self.reference is not None
        return {
            "learning_rate": rate,
            "updates": len(parts),
            "gradient_norm": float(np.mean(norms)),
            "kl": float(np.mean(divergences)) if has_reference else float("nan"),
            **self._update_cost([part for part in scored if part], has_old=len(parts) > 1),
        }

    def _update_cost(self, parts: list[ScoredAnswers], *, has_old: bool) -> Row:
        passes = {"old_logprob": 1 * has_old, "reference_logprob": 1 * (self.reference is not None), "update": 3}
        tokens = sum(len(part.edges.forest) for part in parts)
        forward = sum(part.edges.forward_flops(self.cost) for part in parts)
        row: Row = {f"tokens_{phase}": tokens * (count > 0) for phase, count in passes.items()}
        row |= {f"flops_{phase}": forward * count for phase, count in passes.items()}
        return row | {f"seconds_{phase}": seconds for phase, seconds in self.seconds.items()}

    def _optimise(
        self,
        batch: _Batch,
        groups: Tensor,
        scored: ScoredAnswers | None,
        old: Tensor | None,
        *,
        tokens: float,
        rate: float,
    ) -> tuple[float, float]:
        """Make one update on some groups; return the KL to the base a token, and the gradient's norm."""
        self.optimiser.zero_grad()
        divergence = 0.0
        if scored is not None:
            mask = batch.rollouts.mask[groups]
            with self._timed("reference_logprob"), torch.no_grad():
                base = None if self.reference is None else scored.logprobs(self.reference, self.temperature)
            with self._timed("update"):
                logprobs = scored.logprobs(self.model, self.temperature)
                before = logprobs.detach() if old is None else old
                loss = policy_loss(logprobs, before, batch.advantages[groups], mask, self.settings["clip_range"])
                if base is not None:
                    penalty = k3(logprobs, base, mask)
                    divergence = penalty.item() / tokens
                    loss = loss + self.settings["kl_coefficient"] * penalty
                (loss / tokens).backward()  # type: ignore[no-untyped-call]
        with self._timed("update"):
            norm = self.optimiser.clip(self.settings["max_gradient_norm"])
            self.optimiser.step(rate)
        return divergence, norm

    def _scored(self, batch: _Batch, groups: Tensor) -> ScoredAnswers | None:
        """Return the answers of some groups, ready to be scored; None where there are no groups."""
        if not len(groups):
            return None
        problems, rollouts = batch.problems, batch.rollouts
        return ScoredAnswers(
            problems.prompts[groups],
            problems.prompt_lengths[groups],
            rollouts.tokens[groups],
            rollouts.lengths[groups],
        )

    def _rollout_row(self, step: int, problems: EncodedProblems, rollouts: Rollouts) -> Row:
        rows = len(problems.prompts)
        answer_tokens = int(rollouts.lengths.sum())
        prompt_tokens = int(problems.prompt_lengths.sum())
        tokens_per_rollout = prompt_tokens / rows + answer_tokens / rollouts.lengths.numel()
        literature = planned_flops(
            params=self.cost.params, samples=rows, group_size=self.group_size, tokens_per_rollout=tokens_per_rollout
        )
        return {
            "step": step,
            "samples": step * self.prompts,
            "entropy": -rollouts.logprobs.sum().item() / answer_tokens,
            "answer_tokens_mean": answer_tokens / rollouts.lengths.numel(),
            "truncated_share": 1.0 - rollouts.finished.float().mean().item(),
            "tokens_rollout": prompt_tokens + answer_tokens,
            "flops_rollout": rollouts.forward_flops(self.cost),
            "compute_flops": literature,
        }

    def _table(self) -> pd.DataFrame:
        table = pd.DataFrame(self.rows[: self.job.budgets[-1]])
        counts = unique_so_far(
            self.job.problems["problem"].to_numpy(dtype=np.str_),
            len(table),
            prompts=self.prompts,
            unique=self.unique,
            seed=order_seed(self.identity),
        )
        table.insert(2, "unique_samples", counts)
        whole = ["step", "samples", "updates", *(name for name in map(str, table) if name.startswith("tokens_"))]
        return table.astype(dict.fromkeys(whole, "int64"))

    def _has_checkpoint(self, step: int) -> bool:
        return checkpoint_fingerprint(self.job.checkpoint(step)) == self.job.fingerprint

    def _save_checkpoint(self, step: int) -> None:
        if self._has_checkpoint(step):
            return  # made before the kill by the same steps: the same bytes
        save_checkpoint(
            self.model,
            self.job.checkpoint(step),
            tokenizer=self.tokenizer,
            identity={"run": self.job.run_id, "fingerprint": self.job.fingerprint, "step": step},
        )

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[phase] += time.perf_counter() - started
