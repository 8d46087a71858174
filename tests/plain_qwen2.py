"""Qwen2 as a textbook would write it, a sequence at a time and differentiated by torch: the fast one is held to it."""

from math import prod

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from rlscale.models.qwen2 import NORM_EPSILON, ROPE_THETA, Qwen2


def plain_logits(model: Qwen2, tokens: Tensor) -> Tensor:
    """Return logits [n, vocabulary] of one sequence [n]."""
    shape = model.shape
    names, sizes = zip(*shape.sizes(), strict=True)
    parts = model.flat.split([prod(size) for size in sizes])
    weights = {name: part.view(size) for name, size, part in zip(names, sizes, parts, strict=True)}
    x = weights["embedding"][tokens]
    for layer in range(shape.layers):
        normed = _rms_norm(x, weights[f"{layer}.input_norm"])
        qkv = normed @ weights[f"{layer}.qkv_weight"].T + weights[f"{layer}.qkv_bias"]
        heads = qkv.view(len(tokens), -1, shape.head_width).transpose(0, 1)
        q, k, v = heads.split([shape.heads, shape.kv_heads, shape.kv_heads])
        group = shape.heads // shape.kv_heads
        k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
        scores = _rotate(q) @ _rotate(k).transpose(1, 2) / shape.head_width**0.5
        unseen = torch.ones(len(tokens), len(tokens), dtype=torch.bool).triu(1)
        mixed = scores.masked_fill(unseen, float("-inf")).softmax(-1) @ v
        x = x + mixed.transpose(0, 1).reshape(len(tokens), shape.width) @ weights[f"{layer}.output_weight"].T
        normed = _rms_norm(x, weights[f"{layer}.ffn_norm"])
        gate, up = (normed @ weights[f"{layer}.gate_up_weight"].T).chunk(2, 1)
        x = x + (F.silu(gate) * up) @ weights[f"{layer}.down_weight"].T
    return _rms_norm(x, weights["final_norm"]) @ weights["embedding"].T


def plain_logprobs(model: Qwen2, prompt: Tensor, answer: Tensor, temperature: float) -> Tensor:
    """Return log-probabilities [n] of the tokens of one answer [n] to one prompt without padding."""
    logits = plain_logits(model, torch.cat((prompt, answer[:-1])))[len(prompt) - 1 :]
    return (logits / temperature).log_softmax(-1).gather(-1, answer[:, None])[:, 0]


def _rms_norm(x: Tensor, gain: Tensor) -> Tensor:
    return x * (x.square().mean(-1, keepdim=True) + NORM_EPSILON).rsqrt() * gain


def _rotate(heads: Tensor) -> Tensor:
    """Rotate [H, n, D] as transformers does: each half of a head with the other."""
    _, length, width = heads.shape
    frequency = ROPE_THETA ** (-torch.arange(0, width, 2) / width)
    angle = torch.outer(torch.arange(length).float(), frequency).repeat(1, 2)
    first, second = heads.chunk(2, -1)
    return heads * angle.cos() + torch.cat((-second, first), -1) * angle.sin()
