"""One pass of a decoder over the nodes of token trees, and the gradient of that pass written out by hand.

Automatic differentiation spends three times the operations on models this small, so that the backward pass is
explicit; the tests hold it against a plain decoder. Matrix products are torch's, loops are in :mod:`kernels`, and all
intermediate results live in buffers that are made once.
"""

from dataclasses import dataclass, field

import numpy as np
import torch

from rlscale.models import kernels
from rlscale.models.forest import Forest
from rlscale.models.qwen2 import NORM_EPSILON, Buffers, Floats, Qwen2, Weights, rotations


@dataclass(frozen=True)
class _Saved:
    """What the backward pass of a layer needs."""

    input_normed: Floats
    input_inverse: Floats
    qkv: Floats
    attention: Floats
    mixed: Floats
    ffn_normed: Floats
    ffn_inverse: Floats
    gate_up: Floats
    sigmoid: Floats
    hidden: Floats


@dataclass
class Tape:
    """What a pass leaves for its backward pass, in buffers that the model's next pass overwrites."""

    layers: list[_Saved] = field(default_factory=list)
    normed: Floats = field(default_factory=lambda: np.empty((0, 0), np.float32))
    inverse: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    uses: int = 0


def forward(model: Qwen2, forest: Forest, first: int = 0, *, room: int | None = None) -> Tape:
    """Pass over the nodes of a forest from number ``first`` on; the nodes before it had their pass.

    Args:
        model: the decoder.
        forest: token trees.
        first: number of the first node of the pass.
        room: nodes that the forest will have after the last pass, if more passes follow.

    Returns:
        The tape, whose ``normed`` [n, width] are the final hidden states but for the gain of the last norm. With
        ``first`` > 0 it serves no backward pass.
    """
    shape, weights, scratch = model.shape, model.weights, model.scratch
    scratch.uses += 1
    tape = Tape(uses=scratch.uses)
    tokens, position = forest.tokens[first:], forest.position[first:]
    count, all_nodes = len(tokens), room or len(forest)
    depth = int(forest.position.max()) + 1
    cosine, sine = rotations(shape.head_width, -(-depth // 32) * 32)
    x = scratch.take("x", count, shape.width)
    np.take(weights.embedding, tokens, axis=0, out=x, mode="clip")
    added = scratch.take("added", count, shape.width)
    added[:] = 0.0
    for index, layer in enumerate(weights.layers):

        def take(name: str, *size: int, index: int = index) -> Floats:
            return scratch.take(f"{index} {name}", *size)

        input_normed, input_inverse = take("input normed", count, shape.width), take("input inverse", count)
        kernels.add_and_normalise(x, added, NORM_EPSILON, input_normed, input_inverse)
        qkv = take("qkv", all_nodes, shape.qkv_width)
        own = qkv[first : first + count]
        _multiply(input_normed, _scaled(scratch, layer.qkv_weight, layer.input_norm).T, own)
        kernels.rotate(own, layer.qkv_bias, position, cosine, sine, shape.heads, shape.kv_heads)
        attention, mixed = take("attention", count, shape.heads, depth), take("mixed", count, shape.width)
        kernels.attend(qkv, first, forest.parent, shape.heads, shape.kv_heads, mixed, attention)
        _multiply(mixed, layer.output_weight.T, added)

        ffn_normed, ffn_inverse = take("ffn normed", count, shape.width), take("ffn inverse", count)
        kernels.add_and_normalise(x, added, NORM_EPSILON, ffn_normed, ffn_inverse)
        gate_up = take("gate up", count, 2 * shape.ffn)
        _multiply(ffn_normed, _scaled(scratch, layer.gate_up_weight, layer.ffn_norm).T, gate_up)
        sigmoid, hidden = take("sigmoid", count, shape.ffn), take("hidden", count, shape.ffn)
        np.negative(gate_up[:, : shape.ffn], out=sigmoid)
        np.exp(sigmoid, out=sigmoid)
        kernels.gated(gate_up, sigmoid, hidden)
        _multiply(hidden, layer.down_weight.T, added)
        tape.layers.append(
            _Saved(
                input_normed, input_inverse, qkv, attention, mixed,
                ffn_normed, ffn_inverse, gate_up, sigmoid, hidden,
            )
        )  # fmt: skip
    tape.normed, tape.inverse = scratch.take("normed", count, shape.width), scratch.take("inverse", count)
    kernels.add_and_normalise(x, added, NORM_EPSILON, tape.normed, tape.inverse)
    return tape


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
    shape, weights, scratch = model.shape, model.weights, model.scratch
    if tape.uses != scratch.uses:
        raise RuntimeError("the model has made another pass since the one whose gradient is asked for")
    cosine, sine = rotations(shape.head_width, -(-int(forest.position.max() + 1) // 32) * 32)
    x = scratch.take("x", len(forest), shape.width)
    x[:] = 0.0
    kernels.normalise_backward(x, gradient, tape.normed, tape.inverse)
    for layer, saved, grads in zip(reversed(weights.layers), reversed(tape.layers), reversed(into.layers), strict=True):
        hidden = scratch.take("hidden gradient", len(forest), shape.ffn)
        gate_up = scratch.take("gate up gradient", len(forest), 2 * shape.ffn)
        _multiply(x.T, saved.hidden, grads.down_weight)
        _multiply(x, layer.down_weight, hidden)
        kernels.gated_backward(saved.gate_up, saved.sigmoid, hidden, gate_up)
        scaled, of_scaled = (layer.gate_up_weight, layer.ffn_norm), (grads.gate_up_weight, grads.ffn_norm)
        normed = _scaled_backward(scratch, scaled, saved.ffn_normed, gate_up, of_scaled)
        kernels.normalise_backward(x, normed, saved.ffn_normed, saved.ffn_inverse)

        mixed = scratch.take("added", len(forest), shape.width)
        qkv = scratch.take("qkv gradient", len(forest), shape.qkv_width)
        _multiply(x.T, saved.mixed, grads.output_weight)
        _multiply(x, layer.output_weight, mixed)
        kernels.attend_backward(saved.qkv, forest.parent, shape.heads, shape.kv_heads, saved.attention, mixed, qkv)
        kernels.rotate_backward(qkv, grads.qkv_bias, forest.position, cosine, sine, shape.heads, shape.kv_heads)
        scaled, of_scaled = (layer.qkv_weight, layer.input_norm), (grads.qkv_weight, grads.input_norm)
        normed = _scaled_backward(scratch, scaled, saved.input_normed, qkv, of_scaled)
        kernels.normalise_backward(x, normed, saved.input_normed, saved.input_inverse)
    kernels.add_rows(into.embedding, forest.tokens, x)


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
