"""The local trainer: it learns, it equals a plain implementation, and no kill, budget or reuse changes its results."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tests.plain_qwen2 import plain_logprobs
from tests.tiny import SHAPE, assert_equal, base_model, outcome, pool, problems, training_job

from rlscale.canonical import derived_seed
from rlscale.errors import UserError
from rlscale.evaluators import EvaluationSettings
from rlscale.evaluators.local import LocalEvaluator
from rlscale.ledger import PHASES, ForwardCost
from rlscale.models.checkpoint import load_checkpoint
from rlscale.models.encoding import encode_problems
from rlscale.models.generate import generate
from rlscale.models.optimiser import AdamW
from rlscale.models.qwen2 import Qwen2
from rlscale.rewards import flip
from rlscale.tasks.vocabulary import EOS
from rlscale.trainers import Progress, trainer_named
from rlscale.trainers.local.trainer import LocalTrainer
from rlscale.trainers.openrlhf.trainer import OpenRlhfTrainer


def mean_probability(checkpoint: Path) -> float:
    """Return the mean probability of the right answers to training problems."""
    settings = EvaluationSettings(temperature=1.0, samples=1, greedy=False, exact=True, sampled_problems=1, seed=0)
    rollouts = LocalEvaluator().evaluate(checkpoint, pool().head(500).assign(suite="train"), settings)
    return float(rollouts.loc[rollouts["mode"] == "exact", "probability"].mean())


# --- learning


def test_it_learns(tmp_path: Path) -> None:
    job = training_job(tmp_path, (40,))
    table = LocalTrainer().train(job)
    assert table["reward_mean"].tail(8).mean() > table["reward_mean"].head(4).mean() + 0.1
    assert mean_probability(job.checkpoint(40)) > mean_probability(job.base) + 0.2


def test_wrong_rewards_slow_it_down(tmp_path: Path) -> None:
    reached = {}
    for accuracy in (1.0, 0.75, 0.5):
        job = training_job(tmp_path / f"{accuracy}", (25,), reward_accuracy=accuracy)
        LocalTrainer().train(job)
        reached[accuracy] = mean_probability(job.checkpoint(25))
    assert reached[1.0] > reached[0.75] + 0.02
    assert reached[0.75] > reached[0.5] + 0.02


def test_rewards_are_wrong_at_the_declared_rate(tmp_path: Path) -> None:
    """With a policy that stands still the answers are the same, and only the rewards differ."""
    rewards = {
        accuracy: LocalTrainer().train(
            training_job(tmp_path / f"{accuracy}", (25,), reward_accuracy=accuracy, learning_rate=1e-12)
        )["reward_mean"]
        for accuracy in (1.0, 0.75, 0.0)
    }
    right = rewards[1.0]
    assert (right + rewards[0.0]).to_numpy() == pytest.approx(1.0)
    expected = (0.75 * right + 0.25 * (1 - right)).mean()
    standard_error = (0.75 * 0.25 / (25 * 16 * 4)) ** 0.5
    assert abs(rewards[0.75].mean() - expected) < 4 * standard_error


# --- the same as a plain implementation


def plain_training(folder: Path, identity: dict[str, Any], steps: int) -> tuple[Qwen2, list[dict[str, float]]]:
    """Return the weights after ``steps`` of GRPO, by one unpacked pass for each answer, and some statistics."""
    training = identity["training"]
    model, reference = (load_checkpoint(folder / "base") for _ in range(2))
    optimiser = AdamW(model, betas=training["adam_betas"], weight_decay=training["weight_decay"])
    rows = []
    for step in range(1, steps + 1):
        batch = encode_problems(pool().iloc[(step - 1) * 16 : step * 16], SHAPE.vocabulary, None)
        noise = torch.Generator().manual_seed(derived_seed("rollout", 0, step))
        rollouts = generate(
            model, batch.prompts, batch.prompt_lengths, answers=4, max_new_tokens=2, end=EOS, temperature=1.0,
            generator=noise,
        )  # fmt: skip
        lists, truths = rollouts.tokens.tolist(), batch.answers.tolist()
        right = [[float(answer == truth) for answer in group] for group, truth in zip(lists, truths, strict=True)]
        rng = np.random.Generator(np.random.PCG64(derived_seed("reward", 0, step)))
        all_rewards = flip(np.array(right), identity["reward_accuracy"], rng)
        norms = []
        for part in np.arange(16).reshape(training["minibatches"], -1):
            optimiser.zero_grad()
            loss = torch.zeros(())
            for place in part:
                rewards = all_rewards[place]
                spread = rewards.std(ddof=1)
                for answer in range(4):
                    length = int(rollouts.lengths[place, answer])
                    words, prompt = rollouts.tokens[place, answer, :length], batch.prompts[place]
                    logprobs = plain_logprobs(model, prompt, words, 1.0)
                    ratio = (logprobs - rollouts.logprobs[place, answer, :length]).exp()
                    advantage = (rewards[answer] - rewards.mean()) / spread if spread else 0.0
                    loss = loss - torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).sum()
                    if training["kl_coefficient"]:
                        gap = plain_logprobs(reference, prompt, words, 1.0).detach() - logprobs
                        loss = loss + training["kl_coefficient"] * (gap.exp() - gap - 1).sum()
            (loss * training["minibatches"] / rollouts.lengths.sum()).backward()
            norms.append(optimiser.clip(training["max_gradient_norm"]))
            optimiser.step(training["learning_rate"] * min(1.0, step / 2))
        rows.append(
            {
                "reward_mean": float(all_rewards.mean()),
                "gradient_norm": float(np.mean(norms)),
                "truncated_share": float(np.mean([EOS not in answer for group in lists for answer in group])),
                "answer_tokens_mean": rollouts.lengths.double().mean().item(),
            }
        )
    return model, rows


@pytest.mark.parametrize(
    "variant",
    [{}, {"minibatches": 2, "kl_coefficient": 0.1, "weight_decay": 0.01}, {"reward_accuracy": 0.8}],
    ids=["plain", "minibatches and KL", "wrong rewards"],
)
def test_its_steps_are_those_of_a_plain_implementation(variant: dict[str, Any], tmp_path: Path) -> None:
    job = training_job(tmp_path, (3,), **variant)
    table = LocalTrainer().train(job)
    plain, rows = plain_training(tmp_path, job.identity, steps=3)
    expected = pd.DataFrame(rows)
    np.testing.assert_allclose(table[list(expected)], expected, rtol=1e-4)
    packed = load_checkpoint(job.checkpoint(3))
    others, starts = plain.named_weights(), base_model().named_weights()
    for name, weight in packed.named_weights().items():
        other, start = others[name], starts[name]
        # Adam's first updates are near ± the rate however small a gradient is, rounding error included.
        assert (weight - other).norm() < 0.01 * (weight - start).norm(), name


def test_seeds_and_settings_change_the_weights(tmp_path: Path) -> None:
    weights = "2/model.safetensors"
    seen = {outcome(training_job(tmp_path / "plain", (2,)))[0][weights]}
    for change in ({"seed": 1}, {"learning_rate": 0.011}, {"group_size": 5}, {"temperature": 0.9}):
        name = next(iter(change))
        seen.add(outcome(training_job(tmp_path / name, (2,), **change))[0][weights])
    assert len(seen) == 5


# --- problems


@pytest.fixture(scope="module")
def different() -> pd.DataFrame:
    """More different problems than the two operators have: sums."""
    return problems().train(["sum"], 1.0, 0, 500).drop_duplicates("problem", ignore_index=True)


def test_reuse_sees_the_first_problems_of_the_pool_and_all_of_them(tmp_path: Path, different: pd.DataFrame) -> None:
    job = training_job(tmp_path / "pool", (5,), problems=different, unique_problems=40, learning_rate=0.01)
    files, table = outcome(job)
    assert table["samples"].tolist() == [16, 32, 48, 64, 80]
    assert table["unique_samples"].tolist()[:2] == [16, 32]
    assert table["unique_samples"].tolist()[2:] == [40, 40, 40]
    first = replace(job, problems=different.head(40), resume=tmp_path / "resume")
    first = replace(first, checkpoint=lambda step: tmp_path / "first" / str(step))
    assert_equal(outcome(first), (files, table))


def test_fresh_samples_are_all_different_while_the_pool_is(tmp_path: Path, different: pd.DataFrame) -> None:
    table = LocalTrainer().train(training_job(tmp_path, (4,), problems=different))
    assert table["unique_samples"].tolist() == table["samples"].tolist() == [16, 32, 48, 64]


def test_a_pool_that_draws_a_problem_twice_counts_it_once(tmp_path: Path) -> None:
    table = LocalTrainer().train(training_job(tmp_path, (6,)))
    counts = [pool()["problem"].head(16 * step).nunique() for step in range(1, 7)]
    assert table["unique_samples"].tolist() == counts


@pytest.mark.parametrize(
    ("unique", "size", "needed"), [(None, 31, 32), (20, 19, 20)], ids=["a fresh stream", "with reuse"]
)
def test_a_pool_that_is_too_small_is_refused(unique: int | None, size: int, needed: int, tmp_path: Path) -> None:
    job = training_job(tmp_path, (2,), problems=pool().head(size), unique_problems=unique)
    with pytest.raises(UserError, match=f"^run: the pool has {size} problems, but the run needs {needed}$"):
        LocalTrainer().train(job)


# --- the table of steps


def test_the_table_has_a_row_for_each_step_with_these_columns(tmp_path: Path) -> None:
    reports: list[Progress] = []
    table = LocalTrainer().train(training_job(tmp_path, (1, 6), report=reports.append))
    by_phase = {f"{kind}_{phase}" for kind in ("tokens", "flops", "seconds") for phase in PHASES}
    assert set(table) == by_phase | {
        "step", "samples", "unique_samples", "reward_mean", "flat_share", "learning_rate", "updates", "gradient_norm",
        "kl", "entropy", "answer_tokens_mean", "truncated_share", "compute_flops",
    }  # fmt: skip
    assert table["step"].tolist() == [1, 2, 3, 4, 5, 6]
    assert table["learning_rate"].tolist() == [0.005, 0.01, 0.01, 0.01, 0.01, 0.01]  # two steps of warm-up
    assert table["updates"].tolist() == [1] * 6
    assert table["reward_mean"].between(0, 1).all()
    assert (table["entropy"] > 0).all()
    assert (table[["seconds_rollout", "seconds_update"]] > 0).all(axis=None)
    assert [(r.step, r.last_step, r.reward_mean) for r in reports] == [
        (step, 6, reward) for step, reward in zip(table["step"], table["reward_mean"], strict=True)
    ]
    assert all(r.seconds_left >= 0 for r in reports)


def test_tokens_and_flops_by_hand(tmp_path: Path) -> None:
    table = LocalTrainer().train(training_job(tmp_path, (4,)))
    # 16 prompts "x f =" of 3 tokens, 4 answers to each, at most a digit and the end.
    answer_tokens = 16 * 4 * table["answer_tokens_mean"]
    np.testing.assert_allclose(table["compute_flops"], 6 * SHAPE.params * (16 * 4 * 3 + answer_tokens), rtol=1e-12)
    np.testing.assert_allclose(table["tokens_rollout"], 16 * 3 + answer_tokens, rtol=1e-12)
    # At most one node a place, at least those of one answer a prompt; what begins alike is computed once.
    active = (16 * (1 - table["flat_share"])).round()
    assert (table["tokens_update"] < active * (3 + 4)).all()
    assert (table["tokens_update"] > active).all()
    cost = ForwardCost(SHAPE.params, SHAPE.width, SHAPE.layers, SHAPE.vocabulary)
    nodes = table["tokens_update"].astype(int)
    most = [3 * cost.forward(tokens=n, logit_rows=n, attended_pairs=4 * n) for n in nodes]
    least = [3 * cost.forward(tokens=n, logit_rows=0, attended_pairs=n) for n in nodes]
    assert ((least < table["flops_update"]) & (table["flops_update"] < most)).all()
    assert (table["flops_rollout"] > 0).all()
    unused = ["tokens_old_logprob", "tokens_reference_logprob", "flops_old_logprob", "flops_reference_logprob"]
    assert (table[unused] == 0).all(axis=None)
    assert table["kl"].isna().all()


def test_minibatches_and_the_kl_term_are_in_the_ledger(tmp_path: Path) -> None:
    table = LocalTrainer().train(training_job(tmp_path, (4,), minibatches=4, kl_coefficient=0.1))
    assert table["updates"].tolist() == [4] * 4
    for phase in ("old_logprob", "reference_logprob", "update"):  # with a KL term flat groups are computed too
        assert table[f"tokens_{phase}"].between(4 * 16, 16 * 7).all()
    assert table["tokens_update"].tolist() == table["tokens_old_logprob"].tolist()
    np.testing.assert_allclose(table["flops_update"], 3 * table["flops_reference_logprob"])
    np.testing.assert_allclose(table["flops_old_logprob"], table["flops_reference_logprob"])
    assert (table["kl"] > 0).all()


def test_the_kl_term_keeps_the_policy_near_its_base(tmp_path: Path) -> None:
    free, held = (
        LocalTrainer().train(training_job(tmp_path / f"{kl}", (20,), kl_coefficient=kl))["kl"] for kl in (1e-6, 1.0)
    )
    assert free[0] == held[0] == pytest.approx(0.0, abs=1e-6)  # the first update starts from the base
    assert held.tail(5).mean() < 0.5 * free.tail(5).mean()


def test_room_for_longer_answers_leaves_fewer_cut_off(tmp_path: Path) -> None:
    tight, roomy = (
        LocalTrainer().train(training_job(tmp_path / f"{room}", (3,), max_new_tokens=room)) for room in (None, 6)
    )
    assert tight["truncated_share"][0] > roomy["truncated_share"][0] >= 0
    assert tight["answer_tokens_mean"].max() <= 2 < roomy["answer_tokens_mean"][0]


def test_trainers_are_found_by_name() -> None:
    assert isinstance(trainer_named("local"), LocalTrainer)
    assert isinstance(trainer_named("openrlhf"), OpenRlhfTrainer)
    with pytest.raises(UserError, match=r"no trainer 'openrlfh'; .*; did you mean openrlhf"):
        trainer_named("openrlfh")
