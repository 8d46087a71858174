"""Sampling a group of answers to each prompt: the prompt is computed once, and so is every different beginning."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rlscale.ledger import ForwardCost
from rlscale.models import kernels
from rlscale.models.decoder import forward, predict
from rlscale.models.forest import Forest, Ids
from rlscale.models.qwen2 import Floats, Qwen2


@dataclass(frozen=True)
class Rollouts:
    """G answers to each of B prompts.

    Attributes:
        tokens: [B, G, A], padded with 0 after the end token.
        logprobs: [B, G, A] of the chosen tokens under the distribution that they were drawn from; 0 if greedy.
        lengths: [B, G] tokens generated, the end token included.
        finished: [B, G] whether the end token came.
        passes: for each pass that was made, the positions [n] of its nodes and how many distributions it gave.
    """

    tokens: Tensor
    logprobs: Tensor
    lengths: Tensor
    finished: Tensor
    passes: tuple[tuple[Ids, int], ...]

    @property
    def mask(self) -> Tensor:
        """True [B, G, A] where a token was generated, the end token included."""
        return torch.arange(self.tokens.shape[-1]) < self.lengths[..., None]

    def forward_flops(self, cost: ForwardCost) -> float:
        """Return the FLOPs of all passes."""
        return sum(cost.of_nodes(positions, logit_rows=rows) for positions, rows in self.passes)


def generate(
    model: Qwen2,
    prompts: Tensor,
    prompt_lengths: Tensor,
    *,
    answers: int,
    max_new_tokens: int,
    end: int,
    temperature: float,
    generator: torch.Generator | None,
) -> Rollouts:
    """Sample ``answers`` answers to each prompt, or decode greedily where ``generator`` is None.

    Args:
        model: the policy.
        prompts: [B, P] token ids, padded on the right.
        prompt_lengths: [B] true lengths.
        answers: G, answers a prompt.
        max_new_tokens: A, the longest answer; one that has not ended by then is not finished.
        end: id of the end token; what follows it is padded with 0.
        temperature: divides the logits.
        generator: source of the sampling noise.
    """
    size = (len(prompts), answers, max_new_tokens)
    tokens, logprobs = np.zeros(size, np.int64), np.zeros(size, np.float32)
    lengths = np.full(size[:2], max_new_tokens)
    running = np.ones(size[:2], bool)
    forest, first = Forest(), 0
    leaves = forest.plant(prompts.numpy(), prompt_lengths.numpy())[np.arange(len(prompts)), prompt_lengths - 1]
    room = len(forest) + (max_new_tokens - 1) * running.size
    nodes = np.repeat(leaves, answers)  # of each running answer
    passes = []
    for time in range(max_new_tokens):
        tape = forward(model, forest, first, room=room)
        predicting, rows = np.unique(nodes, return_inverse=True)
        passes.append((forest.position[first:], len(predicting)))
        noise = None if generator is None else torch.rand(size[:2], generator=generator).numpy()[running]
        drawn, logprob = _choose(model, tape.normed[predicting - first], rows, temperature, noise)
        tokens[running, time], logprobs[running, time] = drawn, logprob
        goes_on = drawn != end
        lengths[running] = np.where(goes_on, max_new_tokens, time + 1)
        running[running] = goes_on
        if time + 1 == max_new_tokens or not goes_on.any():
            break
        first = len(forest)
        nodes = forest.grow(nodes[goes_on], drawn[goes_on])
    return Rollouts(
        tokens=torch.from_numpy(tokens),
        logprobs=torch.from_numpy(logprobs),
        lengths=torch.from_numpy(lengths),
        finished=torch.from_numpy(~running),
        passes=tuple(passes),
    )


def _choose(model: Qwen2, normed: Floats, rows: Ids, temperature: float, noise: Floats | None) -> tuple[Ids, Floats]:
    """Return a token for each answer [n] and its log-probability; ``rows`` [n] says which of the states it is at."""
    _, probabilities, _ = predict(model, normed, temperature)
    if noise is None:
        return probabilities.argmax(1)[rows], np.zeros(len(rows), np.float32)
    tokens, chosen = np.zeros(len(rows), np.int64), np.ones(len(rows), np.float32)
    kernels.choose(probabilities, rows, noise, tokens, chosen)
    return tokens, np.log(chosen)
