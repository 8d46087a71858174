"""One pass of a decoder over the nodes of token trees, and the gradient of that pass written out by hand.

Automatic differentiation spends three times the operations on models this small, so that the backward pass is
explicit; the tests hold it against a plain decoder. Matrix products are torch's, loops are in :mod:`kernels`, and all
intermediate results live in buffers that are made once.
"""

from dataclasses import dataclass

import numpy as np
import torch

from rlscale.models import kernels
from rlscale.models.forest import Forest
from rlscale.models.qwen2 import NORM_EPSILON, Buffers, Floats, Layer, Qwen2, Weights, rotations


@dataclass(frozen=True)
class _Nodes:
    """Nodes ``first`` to the last of a forest that will have ``room`` nodes in the end, and how positions turn."""

    forest: Forest
    first: int
    room: int
    cosine: Floats
    sine: Floats

    @property
    def count(self) -> int:
        return len(self.forest) - self.first

    @property
    def depth(self) -> int:
        """Most nodes that one of them attends to."""
        return int(self.forest.position.max()) + 1


@dataclass(frozen=True)
class _Attention:
    """What the backward pass of a layer's attention needs."""

    normed: Floats
    inverse: Floats
    qkv: Floats
    weights: Floats
    mixed: Floats


@dataclass(frozen=True)
class _FeedForward:
    """What the backward pass of a layer's gated block needs."""

    normed: Floats
    inverse: Floats
    gate_up: Floats
    sigmoid: Floats
    hidden: Floats


@dataclass
class Tape:
    """What a pass leaves for its backward pass, in buffers that the model's next pass overwrites.

    Attributes:
        normed: [n, width] the final hidden states, but for the gain of the last norm.
        inverse: [n] what they were multiplied with.
        layers: what the layers leave.
        uses: which pass of the model it was.
    """

    normed: Floats
    inverse: Floats
    layers: list[tuple[_Attention, _FeedForward]]
    uses: int


def forward(model: Qwen2, forest: Forest, first: int = 0, *, room: int | None = None) -> Tape:
    """Pass over the nodes of a forest from number ``first`` on; the nodes before it had their pass.

    Args:
        model: the decoder.
        forest: token trees.
        first: number of the first node of the pass; a pass with ``first`` > 0 has no backward pass.
        room: nodes that the forest will have after the last pass, if more passes follow.
    """
    shape, scratch = model.shape, model.scratch
    scratch.uses += 1
    nodes = _nodes(model, forest, first, room or len(forest))
    x, added = (scratch.take(name, nodes.count, shape.width) for name in ("x", "added"))
    np.take(model.weights.embedding, forest.tokens[first:], axis=0, out=x, mode="clip")
    added[:] = 0.0
    layers = []
    for index, layer in enumerate(model.weights.layers):
        attention = _attention(model, nodes, index, x, added)
        _multiply(attention.mixed, layer.output_weight.T, added)
        feed_forward = _feed_forward(model, index, x, added)
        _multiply(feed_forward.hidden, layer.down_weight.T, added)
        layers.append((attention, feed_forward))
    normed, inverse = scratch.take("normed", *x.shape), scratch.take("inverse", len(x))
    kernels.add_and_normalise(x, added, NORM_EPSILON, normed, inverse)
    return Tape(normed, inverse, layers, scratch.uses)


def backward(model: Qwen2, forest: Forest, tape: Tape, gradient: Floats, into: Weights) -> None:
    """Write the gradient of a pass over a whole forest.

    Args:
        model: the decoder, unchanged since the pass.
        forest: the forest of the pass.
        tape: what the pass left.
        gradient: [n, width], of the loss with respect to the normed states; overwritten.
        into: the embedding's gradient is added to, those of the layers are replaced, the final norm's is left alone.

    Raises:
        RuntimeError: the model made another pass since.
    """
    if tape.uses != model.scratch.uses:
        raise RuntimeError("the model has made another pass since the one whose gradient is asked for")
    nodes = _nodes(model, forest, 0, len(forest))
    x = model.scratch.take("x", nodes.count, model.shape.width)
    x[:] = 0.0
    kernels.normalise_backward(x, gradient, tape.normed, tape.inverse)
    for index in reversed(range(model.shape.layers)):
        layer, grads = model.weights.layers[index], into.layers[index]
        attention, feed_forward = tape.layers[index]
        _feed_forward_backward(model.scratch, layer, feed_forward, x, grads)
        _attention_backward(model, nodes, index, attention, x=x, grads=grads)
    kernels.add_rows(into.embedding, forest.tokens, x)


def _nodes(model: Qwen2, forest: Forest, first: int, room: int) -> _Nodes:
    longest = int(forest.position.max(initial=0)) + 1
    return _Nodes(forest, first, room, *rotations(model.shape.head_width, -(-longest // 32) * 32))


def _attention(model: Qwen2, nodes: _Nodes, index: int, x: Floats, added: Floats) -> _Attention:
    """Add ``added`` to ``x`` [n, width] and attend; the output matrix is the caller's."""
    shape, layer, scratch = model.shape, model.weights.layers[index], model.scratch
    normed, mixed = (scratch.take(f"{index} {name}", *x.shape) for name in ("attention normed", "mixed"))
    inverse = scratch.take(f"{index} attention inverse", len(x))
    weights = scratch.take(f"{index} attention", len(x), shape.heads, nodes.depth)
    qkv = scratch.take(f"{index} qkv", nodes.room, shape.qkv_width)
    own, position = qkv[nodes.first : nodes.first + nodes.count], nodes.forest.position[nodes.first :]
    kernels.add_and_normalise(x, added, NORM_EPSILON, normed, inverse)
    _multiply(normed, _scaled(scratch, layer.qkv_weight, layer.input_norm).T, own)
    own += layer.qkv_bias
    kernels.rotate(own, position, nodes.cosine, nodes.sine, shape.heads + shape.kv_heads)
    kernels.attend(qkv, nodes.first, nodes.forest.parent, shape.heads, shape.kv_heads, mixed, weights)
    return _Attention(normed, inverse, qkv, weights, mixed)


def _attention_backward(model: Qwen2, nodes: _Nodes, index: int, saved: _Attention, *, x: Floats, grads: Layer) -> None:
    """Add to ``x`` [n, width], the gradient of the states after attention, what goes through it."""
    shape, layer, scratch = model.shape, model.weights.layers[index], model.scratch
    mixed = scratch.take("added", *x.shape)
    qkv = scratch.take("qkv gradient", len(x), shape.qkv_width)
    _multiply(x.T, saved.mixed, grads.output_weight)
    _multiply(x, layer.output_weight, mixed)
    parent, position = nodes.forest.parent, nodes.forest.position
    kernels.attend_backward(saved.qkv, parent, shape.heads, shape.kv_heads, saved.weights, mixed, qkv)
    kernels.rotate(qkv, position, nodes.cosine, -nodes.sine, shape.heads + shape.kv_heads)
    np.sum(qkv, 0, out=grads.qkv_bias)
    scaled, of_scaled = (layer.qkv_weight, layer.input_norm), (grads.qkv_weight, grads.input_norm)
    normed = _scaled_backward(scratch, scaled, saved.normed, qkv, of_scaled)
    kernels.normalise_backward(x, normed, saved.normed, saved.inverse)


def _feed_forward(model: Qwen2, index: int, x: Floats, added: Floats) -> _FeedForward:
    """Add ``added`` to ``x`` [n, width] and pass the gate; the output matrix is the caller's."""
    shape, layer, scratch = model.shape, model.weights.layers[index], model.scratch
    normed, inverse = scratch.take(f"{index} ffn normed", *x.shape), scratch.take(f"{index} ffn inverse", len(x))
    gate_up = scratch.take(f"{index} gate up", len(x), 2 * shape.ffn)
    sigmoid, hidden = (scratch.take(f"{index} {name}", len(x), shape.ffn) for name in ("sigmoid", "hidden"))
    kernels.add_and_normalise(x, added, NORM_EPSILON, normed, inverse)
    _multiply(normed, _scaled(scratch, layer.gate_up_weight, layer.ffn_norm).T, gate_up)
    np.negative(gate_up[:, : shape.ffn], out=sigmoid)
    np.exp(sigmoid, out=sigmoid)
    kernels.gated(gate_up, sigmoid, hidden)
    return _FeedForward(normed, inverse, gate_up, sigmoid, hidden)


def _feed_forward_backward(scratch: Buffers, layer: Layer, saved: _FeedForward, x: Floats, grads: Layer) -> None:
    """Add to ``x`` [n, width], the gradient of the states after the block, what goes through it."""
    hidden = scratch.take("hidden gradient", *saved.hidden.shape)
    gate_up = scratch.take("gate up gradient", *saved.gate_up.shape)
    _multiply(x.T, saved.hidden, grads.down_weight)
    _multiply(x, layer.down_weight, hidden)
    kernels.gated_backward(saved.gate_up, saved.sigmoid, hidden, gate_up)
    scaled, of_scaled = (layer.gate_up_weight, layer.ffn_norm), (grads.gate_up_weight, grads.ffn_norm)
    normed = _scaled_backward(scratch, scaled, saved.normed, gate_up, of_scaled)
    kernels.normalise_backward(x, normed, saved.normed, saved.inverse)


def predict(model: Qwen2, normed: Floats, temperature: float) -> tuple[Floats, Floats, Floats]:
    """Return what comes after nodes whose normed states [r, width] are given.

    Returns:
        Logits [r, V] less the largest of their row, probabilities [r, V], and the logarithm [r] of the sum of the
        exponentials of the former; all in scratch.
    """
    scratch, size = model.scratch, (len(normed), model.shape.vocabulary)
    logits, exponentials = scratch.take("logits", *size), scratch.take("probabilities", *size)
    log_total = scratch.take("log total", len(normed))
    _multiply(normed * (model.weights.final_norm / np.float32(temperature)), model.weights.embedding.T, logits)
    logits -= logits.max(1, keepdims=True)
    np.exp(logits, out=exponentials)
    kernels.divide_by_sum(exponentials, log_total)
    return logits, exponentials, log_total


def predict_backward(model: Qwen2, normed: Floats, temperature: float, gradient: Floats, into: Weights) -> Floats:
    """Return the gradient of ``normed`` [r, width] from that of the logits [r, V] that :func:`predict` made of it.

    Those of the embedding and of the final norm are written.
    """
    gain = model.weights.final_norm / np.float32(temperature)
    _multiply(gradient.T, normed * gain, into.embedding)
    states = model.scratch.take("states gradient", *normed.shape)
    _multiply(gradient, model.weights.embedding, states)
    into.final_norm[:] = (states * normed).sum(0) / np.float32(temperature)
    states *= gain
    return states


def _multiply(left: Floats, right: Floats, out: Floats) -> None:
    torch.mm(torch.from_numpy(left), torch.from_numpy(right), out=torch.from_numpy(out))


def _scaled(scratch: Buffers, weight: Floats, gain: Floats) -> Floats:
    """Return ``weight`` [m, w] with the gain [w] of the norm before it."""
    return np.multiply(weight, gain, out=scratch.take("scaled", *weight.shape))


def _scaled_backward(
    scratch: Buffers,
    scaled: tuple[Floats, Floats],
    normed: Floats,
    gradient: Floats,
    into: tuple[Floats, Floats],
) -> Floats:
    """Return the gradient of ``normed`` [n, w] through ``normed @ (weight · gain).T``, and write that of the two."""
    weight, gain = scaled
    product = scratch.take("scaled gradient", *weight.shape)
    _multiply(gradient.T, normed, product)
    kernels.scaled_backward(product, weight, gain, *into)
    of_normed = scratch.take("added", *normed.shape)
    _multiply(gradient, _scaled(scratch, weight, gain), of_normed)
    return of_normed
