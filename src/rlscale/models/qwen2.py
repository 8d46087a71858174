"""A small Qwen2 decoder: its shape and its weights.

The arithmetic is Qwen2's (RMSNorm, rotary positions, grouped-query attention with biases on q, k, v, SwiGLU, tied
output layer), so that the weights load in ``transformers`` with the same logits. Only the layout differs: all weights
are one vector, of which the matrices are views, and q, k, v and gate, up are one matrix each.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Floats = NDArray[np.float32]

NORM_EPSILON = 1e-6
ROPE_THETA = 10_000.0


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
    def qkv_width(self) -> int:
        """Width of the queries, keys and values of a position together."""
        return (self.heads + 2 * self.kv_heads) * self.head_width

    @property
    def params(self) -> int:
        """Non-embedding parameters N."""
        return sum(prod(size) for _, size in self.sizes()) - self.vocabulary * self.width

    def sizes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield name and size of every weight, in the order of the weight vector."""
        yield "embedding", (self.vocabulary, self.width)
        for layer in range(self.layers):
            yield f"{layer}.input_norm", (self.width,)
            yield f"{layer}.qkv_weight", (self.qkv_width, self.width)
            yield f"{layer}.qkv_bias", (self.qkv_width,)
            yield f"{layer}.output_weight", (self.width, self.width)
            yield f"{layer}.ffn_norm", (self.width,)
            yield f"{layer}.gate_up_weight", (2 * self.ffn, self.width)
            yield f"{layer}.down_weight", (self.width, self.ffn)
        yield "final_norm", (self.width,)

    def to_json(self) -> dict[str, int]:
        """Return the fields as a mapping."""
        return asdict(self)


@dataclass(frozen=True)
class Layer:
    """The weights of one decoder layer, or their gradients."""

    input_norm: Floats
    qkv_weight: Floats
    qkv_bias: Floats
    output_weight: Floats
    ffn_norm: Floats
    gate_up_weight: Floats
    down_weight: Floats


@dataclass(frozen=True)
class Weights:
    """All weights of a decoder, or their gradients: views of one vector."""

    embedding: Floats
    layers: tuple[Layer, ...]
    final_norm: Floats


class Buffers:
    """Arrays by name that keep their memory from one use to the next; what they held is lost when they grow.

    Attributes:
        uses: how many passes have used them.
    """

    def __init__(self) -> None:
        self._memory: dict[str, Floats] = {}
        self.uses = 0

    def take(self, name: str, *shape: int) -> Floats:
        """Return the array of this name in this shape, with whatever is in it."""
        size = prod(shape)
        memory = self._memory.get(name)
        if memory is None or memory.size < size:
            memory = self._memory[name] = np.zeros(size + size // 4, np.float32)
        return memory[:size].reshape(shape)


class Qwen2(nn.Module):
    """A decoder with tied embeddings; weights are drawn from N(0, 1/width) by ``generator``.

    Attributes:
        flat: the weight vector, the only parameter.
        weights: its parts, which follow every change that is made to it in place.
        scratch: intermediate results of its passes.
    """

    def __init__(self, shape: Architecture, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.flat = nn.Parameter(torch.zeros(sum(prod(size) for _, size in shape.sizes())))
        for name, weight in self.named_weights().items():
            if weight.ndim == 2:
                weight.normal_(0.0, shape.width**-0.5, generator=generator)
            elif not name.endswith("bias"):
                weight.fill_(1.0)
        self.weights = as_weights(shape, self.flat.detach())
        self.scratch = Buffers()

    def named_weights(self) -> dict[str, Tensor]:
        """Return views of the weights by name; what is written into them is written into the model."""
        return _views(self.shape, self.flat.detach())


def as_weights(shape: Architecture, flat: Tensor) -> Weights:
    """Return a vector laid out as the weights of a decoder; its parts share its memory."""
    views = {name: view.numpy() for name, view in _views(shape, flat).items()}
    layers = tuple(
        Layer(**{field: views[f"{index}.{field}"] for field in Layer.__annotations__}) for index in range(shape.layers)
    )
    return Weights(views["embedding"], layers, views["final_norm"])


def _views(shape: Architecture, flat: Tensor) -> dict[str, Tensor]:
    names, sizes = zip(*shape.sizes(), strict=True)
    parts = torch.split(flat, [prod(size) for size in sizes])
    return {name: part.view(size) for name, size, part in zip(names, sizes, parts, strict=True)}


@cache
def rotations(head_width: int, positions: int) -> tuple[Floats, Floats]:
    """Return cosines and sines [positions, head width / 2] of the angles that positions 0, 1, … turn a head by.

    Rotary position embedding: Su et al., arXiv 2104.09864, section 3.2.2.
    """
    half = np.arange(0, head_width, 2, dtype=np.float32) / np.float32(head_width)
    angle = np.arange(positions, dtype=np.float32)[:, None] * (1.0 / ROPE_THETA**half).astype(np.float32)
    return np.cos(angle), np.sin(angle)
