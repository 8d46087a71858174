"""The objective: group relative policy optimisation, with a clipped ratio and an optional KL to the base model."""

import torch
from torch import Tensor

EPSILON = 1e-9


def group_advantages(rewards: Tensor) -> Tensor:
    """Return advantages [B, G]: rewards minus their group's mean, over its unbiased standard deviation.

    Source: GRPO, Shao et al., arXiv 2402.03300, eq. 3; the unbiased deviation is OpenRLHF's ``group_norm``. A group
    whose rewards are all equal has advantage 0.
    """
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + EPSILON)


def policy_loss(logprobs: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, clip_range: float) -> Tensor:
    """Return the clipped objective, negated and *summed* over tokens: −Σ min(r·A, clip(r, 1 ± ε)·A).

    Args:
        logprobs: [B, G, A] of the policy, with gradient.
        old: [B, G, A] of the policy that sampled.
        advantages: [B, G].
        mask: [B, G, A], True where a token was generated.
        clip_range: ε.
    """
    ratio = torch.exp(logprobs - old)
    clipped = ratio.clamp(1.0 - clip_range, 1.0 + clip_range)
    advantage = advantages[..., None]
    return -(torch.minimum(ratio * advantage, clipped * advantage) * mask).sum()


def k3(logprobs: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    """Return Σ exp(d) − d − 1 over tokens, d = reference − policy log-probability.

    Never negative, unbiased for the KL of the policy to the reference (Schulman 2020, "Approximating KL divergence").
    """
    difference = reference - logprobs
    return ((torch.exp(difference) - difference - 1.0) * mask).sum()
