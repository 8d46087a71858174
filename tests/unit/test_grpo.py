"""The objective: advantages, the clip on both sides, and the KL estimate, by hand and against numpy."""

import numpy as np
import pytest
import torch

from rlscale.trainers.local.grpo import group_advantages, k3, policy_loss


def test_advantages_are_standard_scores_within_a_group() -> None:
    rewards = np.random.default_rng(0).normal(size=(7, 5))
    expected = (rewards - rewards.mean(1, keepdims=True)) / rewards.std(1, ddof=1, keepdims=True)
    np.testing.assert_allclose(group_advantages(torch.from_numpy(rewards)), expected, rtol=1e-6)


def test_advantages_of_one_right_answer_in_four() -> None:
    # Mean 1/4, unbiased deviation 1/2.
    assert group_advantages(torch.tensor([[1.0, 0.0, 0.0, 0.0]]))[0].tolist() == pytest.approx([1.5, -0.5, -0.5, -0.5])


@pytest.mark.parametrize("reward", [0.0, 1.0, 0.5])
def test_a_group_of_equal_rewards_has_no_advantage(reward: float) -> None:
    assert group_advantages(torch.full((2, 8), reward)).abs().max() == 0.0


def test_the_clip_takes_effect_where_the_ratio_has_gone_the_advantages_way() -> None:
    ratios = torch.tensor([1.5, 0.5, 1.1, 1.5, 0.5, 0.9])
    advantages = torch.tensor([2.0, 2.0, 2.0, -1.0, -1.0, -1.0])
    logprobs = ratios.log().requires_grad_()
    loss = policy_loss(
        logprobs[:, None, None], torch.zeros(6, 1, 1), advantages[:, None], torch.ones(6, 1, 1, dtype=torch.bool), 0.2
    )
    # Positive: min(r, 1.2)·2 = 2.4, 1.0, 2.2; negative: −max(r, 0.8) = −1.5, −0.8, −0.9.
    assert loss.item() == pytest.approx(-(2.4 + 1.0 + 2.2 - 1.5 - 0.8 - 0.9))
    (gradient,) = torch.autograd.grad(loss, logprobs)
    # d(r·A)/d log p = r·A, and nothing where the clip is the smaller.
    assert gradient.tolist() == pytest.approx([0.0, -1.0, -2.2, 1.5, 0.0, 0.9])


def test_tokens_outside_the_mask_count_nothing() -> None:
    logprobs, old = torch.tensor([[[0.1, 5.0]]]), torch.tensor([[[0.0, 0.0]]])
    mask = torch.tensor([[[True, False]]])
    loss = policy_loss(logprobs, old, torch.tensor([[2.0]]), mask, 0.5)
    assert loss.item() == pytest.approx(-2 * np.exp(0.1), rel=1e-5)
    assert k3(logprobs, old, mask).item() == pytest.approx(np.exp(-0.1) + 0.1 - 1, abs=1e-6)


def test_the_loss_is_a_sum_over_tokens() -> None:
    noise = torch.Generator().manual_seed(0)
    logprobs, old = (torch.empty(3, 2, 4).uniform_(-2, 0, generator=noise) for _ in range(2))
    advantages = torch.empty(3, 2).normal_(generator=noise)
    mask = torch.empty(3, 2, 4).uniform_(generator=noise) < 0.7
    ratio = np.exp((logprobs - old).double().numpy())
    a = advantages.double().numpy()[..., None]
    expected = -(np.minimum(ratio * a, np.clip(ratio, 0.8, 1.2) * a) * mask.numpy()).sum()
    assert policy_loss(logprobs, old, advantages, mask, 0.2).item() == pytest.approx(expected, rel=1e-5)


def test_k3_is_zero_for_equal_policies_and_never_negative() -> None:
    noise = torch.Generator().manual_seed(1)
    logprobs, reference = (torch.empty(1000, dtype=torch.float64).uniform_(-6, 0, generator=noise) for _ in range(2))
    every = torch.ones(1000, dtype=torch.bool)
    assert k3(logprobs, logprobs.clone(), every).item() == 0.0
    assert all(k3(logprobs[[i]], reference[[i]], every[[i]]).item() > 0.0 for i in range(1000))


def test_k3_estimates_the_kl_of_the_policy_to_the_reference() -> None:
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    logprobs, reference = torch.from_numpy(np.log(p)), torch.from_numpy(np.log(q))
    each = [k3(logprobs[[i]], reference[[i]], torch.ones(1)).item() for i in range(3)]
    assert p @ each == pytest.approx((p * np.log(p / q)).sum(), rel=1e-6)  # its mean over the policy is the KL
