"""A small Qwen2 decoder in torch, written for many short sequences on one CPU thread.

The arithmetic is Qwen2's (RMSNorm, rotary positions, grouped-query attention with biases on q, k, v, SwiGLU, tied
output layer), so that the weights load in ``transformers`` with the same logits. Only the layout differs: q, k, v and
gate, up are one matrix each, and the caller supplies attention, so that training, prefill and decoding share one pass.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that every torch user knows

NORM_EPSILON = 1e-6
ROPE_THETA = 10_000.0

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, q [B, L, H, D], k and v [B, L, KV, D]) → attention output [B, L, H, D]."""


@dataclass(frozen=True)
class Architecture:
    """Shape of a decoder. ``heads`` must divide ``width`` into even parts, ``kv_heads`` must divide ``heads``."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int
    vocabulary: int

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads

    @property
    def params(self) -> int:
        """Non-embedding parameters N."""
        qkv = (self.heads + 2 * self.kv_heads) * self.head_width * (self.width + 1)
        per_layer = qkv + self.width * self.width + 3 * self.width * self.ffn + 2 * self.width
        return self.layers * per_layer + self.width

    def to_json(self) -> dict[str, int]:
        """Return the fields as a mapping."""
        return asdict(self)


class Layer(nn.Module):
    """The weights of one decoder layer."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        qkv = (shape.heads + 2 * shape.kv_heads) * shape.head_width
        self.input_norm = nn.Parameter(torch.ones(shape.width))
        self.qkv_weight = nn.Parameter(torch.empty(qkv, shape.width))
        self.qkv_bias = nn.Parameter(torch.zeros(qkv))
        self.output_weight = nn.Parameter(torch.empty(shape.width, shape.width))
        self.ffn_norm = nn.Parameter(torch.ones(shape.width))
        self.gate_up_weight = nn.Parameter(torch.empty(2 * shape.ffn, shape.width))
        self.down_weight = nn.Parameter(torch.empty(shape.width, shape.ffn))


class Qwen2(nn.Module):
    """A decoder with tied embeddings; weights are drawn from N(0, 1/width) by ``generator``."""

    def __init__(self, shape: Architecture, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Parameter(torch.empty(shape.vocabulary, shape.width))
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.final_norm = nn.Parameter(torch.ones(shape.width))
        with torch.no_grad():
            for weight in self.parameters():
                if weight.ndim == 2:
                    weight.normal_(0.0, shape.width**-0.5, generator=generator)

    @property
    def decoder_layers(self) -> list[Layer]:
        """The decoder layers, first to last."""
        return cast("list[Layer]", list(self.layers))

    def hidden(self, tokens: Tensor, rotation: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
        """Return the final hidden states [B, L, width] of ``tokens`` [B, L].

        Args:
            tokens: token ids.
            rotation: cosine and signed sine from :func:`rotary`, broadcastable to [B, L, 1, head width].
            attend: the attention of the caller: full, cached, or over a tree of answers.
        """
        shape = self.shape
        batch, length = tokens.shape
        rotated_heads = shape.heads + shape.kv_heads
        x = F.embedding(tokens, self.embedding)
        for index, layer in enumerate(self.decoder_layers):
            normed = F.rms_norm(x, (shape.width,), layer.input_norm, NORM_EPSILON)
            qkv = F.linear(normed, layer.qkv_weight, layer.qkv_bias)
            qkv = qkv.view(batch, length, rotated_heads + shape.kv_heads, shape.head_width)
            qk, v = torch.split(qkv, [rotated_heads, shape.kv_heads], dim=2)
            q, k = torch.split(rotate(qk, rotation), [shape.heads, shape.kv_heads], dim=2)
            mixed = attend(index, q, k, v)
            x = x + F.linear(mixed.reshape(batch, length, shape.width), layer.output_weight)
            normed = F.rms_norm(x, (shape.width,), layer.ffn_norm, NORM_EPSILON)
            gate, up = F.linear(normed, layer.gate_up_weight).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, layer.down_weight)
        return F.rms_norm(x, (shape.width,), self.final_norm, NORM_EPSILON)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits [..., vocabulary] of hidden states [..., width]."""
        return F.linear(hidden, self.embedding)


def rotary(positions: Tensor, head_width: int) -> tuple[Tensor, Tensor]:
    """Return cosine and signed sine, [..., 1, head width], for integer ``positions`` [...].

    The sign of the first half of the sine is flipped, so that a roll by half a head replaces Qwen2's ``rotate_half``
    (rotary position embedding: Su et al., arXiv 2104.09864).
    """
    half = torch.arange(0, head_width, 2, dtype=torch.float32) / head_width
    angle = positions.to(torch.float32).unsqueeze(-1) * (1.0 / ROPE_THETA**half)
    cosine, sine = angle.cos(), angle.sin()
    return torch.cat((cosine, cosine), -1).unsqueeze(-2), torch.cat((-sine, sine), -1).unsqueeze(-2)


def rotate(heads: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Apply :func:`rotary` to ``heads`` [B, L, H, head width]."""
    cosine, signed_sine = rotation
    return torch.addcmul(heads * cosine, heads.roll(heads.shape[-1] // 2, -1), signed_sine)


def full_attention(mask: Tensor) -> Attend:
    """Return attention within a sequence where ``mask`` (broadcastable to [B, H, L, L], True = may see) allows it."""

    def attend(_: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=q.shape[1] != k.shape[1])
        return mixed.transpose(1, 2)

    return attend


def causal_mask(length: int) -> Tensor:
    """Return the [L, L] mask in which every position sees itself and what is before it."""
    return torch.ones(length, length, dtype=torch.bool).tril()
