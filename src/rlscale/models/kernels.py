"""The loops of the decoder that are not matrix products, forward and backward, compiled for the machine by numba.

Models this small spend most of their time on starting operations, not on arithmetic: one loop here stands for five to
twenty calls of a tensor library. A node attends to its ancestors by walking up its parents, so that there are neither
masks nor padding. All arrays are C-contiguous; floats are float32, indices int64.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

F = TypeVar("F", bound=Callable[..., None])

# Sums may be reordered, so that they vectorise; NaN and infinity keep their meaning, so that a diverging run shows.
_FAST = {"reassoc", "contract", "nsz", "arcp"}


def _compiled(function: F) -> F:
    return cast("F", numba.njit(cache=True, fastmath=_FAST, error_model="numpy")(function))


@_compiled
def add_and_normalise(x: Any, added: Any, epsilon: float, normed: Any, inverse: Any) -> None:
    """Add ``added`` [n, w] to the residual stream ``x`` and divide it by its root mean square.

    RMSNorm without its gain: Zhang and Sennrich, arXiv 1910.07467.
    """
    rows, width = x.shape
    for i in range(rows):
        total = np.float32(0.0)
        for j in range(width):
            value = x[i, j] + added[i, j]
            x[i, j] = value
            total += value * value
        scale = np.float32(1.0) / np.sqrt(total / np.float32(width) + np.float32(epsilon))
        inverse[i] = scale
        for j in range(width):
            normed[i, j] = x[i, j] * scale


@_compiled
def normalise_backward(x: Any, gradient: Any, normed: Any, inverse: Any) -> None:
    """Add to ``x`` [n, w] the gradient that reaches a state through its normalised form."""
    rows, width = x.shape
    for i in range(rows):
        along = np.float32(0.0)
        for j in range(width):
            along += gradient[i, j] * normed[i, j]
        along /= np.float32(width)
        scale = inverse[i]
        for j in range(width):
            x[i, j] += scale * (gradient[i, j] - along * normed[i, j])


@_compiled
def rotate(qkv: Any, position: Any, cosine: Any, sine: Any, heads: int) -> None:
    """Turn the first ``heads`` heads of q, k, v [n, …] by their position (arXiv 2104.09864, eq. 34); −sine: back."""
    half = cosine.shape[1]
    for i in range(qkv.shape[0]):
        place = position[i]
        for head in range(heads):
            start = head * 2 * half
            for j in range(half):
                c, s = cosine[place, j], sine[place, j]
                first, second = qkv[i, start + j], qkv[i, start + half + j]
                qkv[i, start + j] = first * c - second * s
                qkv[i, start + half + j] = second * c + first * s


@_compiled
def attend(qkv: Any, first: int, parent: Any, heads: int, kv_heads: int, mixed: Any, weights: Any) -> None:
    """Attend from the nodes ``first``, ``first + 1``, … to themselves and all their ancestors.

    Args:
        qkv: [all nodes, (heads + 2 · kv heads) · D], rotated.
        first: number of the first node that attends.
        parent: [all nodes] the node before each, −1 for none.
        heads: query heads.
        kv_heads: key and value heads; query head h reads number h // (heads / kv heads).
        mixed: [n, heads · D], written.
        weights: [n, heads, deepest + 1], written from the node itself upwards; what lies beyond is left alone.
    """
    width = mixed.shape[1] // heads
    shared = heads // kv_heads
    scale = np.float32(1.0 / np.sqrt(width))
    for i in range(mixed.shape[0]):
        for head in range(heads):
            own = head * width
            key = (heads + head // shared) * width
            value = key + kv_heads * width
            depth = 0
            largest = np.float32(-3.0e38)
            node = first + i
            while node >= 0:
                score = np.float32(0.0)
                for j in range(width):
                    score += qkv[first + i, own + j] * qkv[node, key + j]
                score *= scale
                weights[i, head, depth] = score
                largest = max(largest, score)
                depth += 1
                node = parent[node]
            total = np.float32(0.0)
            for step in range(depth):
                weight = np.float32(np.exp(weights[i, head, step] - largest))
                weights[i, head, step] = weight
                total += weight
            for j in range(width):
                mixed[i, own + j] = np.float32(0.0)
            node = first + i
            for step in range(depth):
                weight = weights[i, head, step] / total
                weights[i, head, step] = weight
                for j in range(width):
                    mixed[i, own + j] += weight * qkv[node, value + j]
                node = parent[node]


@_compiled
def attend_backward(qkv: Any, parent: Any, heads: int, kv_heads: int, weights: Any, mixed: Any, gradient: Any) -> None:
    """Write the gradient [n, …] of q, k, v from that of ``mixed`` [n, heads · D]: :func:`attend` for ``first`` = 0."""
    rows = mixed.shape[0]
    width = mixed.shape[1] // heads
    shared = heads // kv_heads
    scale = np.float32(1.0 / np.sqrt(width))
    gradient[:] = np.float32(0.0)
    slopes = np.empty(weights.shape[2], np.float32)
    for i in range(rows):
        for head in range(heads):
            own = head * width
            key = (heads + head // shared) * width
            value = key + kv_heads * width
            depth = 0
            expected = np.float32(0.0)
            node = i
            while node >= 0:
                weight = weights[i, head, depth]
                slope = np.float32(0.0)
                for j in range(width):
                    slope += mixed[i, own + j] * qkv[node, value + j]
                for j in range(width):
                    gradient[node, value + j] += weight * mixed[i, own + j]
                slopes[depth] = slope
                expected += weight * slope
                depth += 1
                node = parent[node]
            node = i
            for step in range(depth):
                slope = weights[i, head, step] * (slopes[step] - expected) * scale
                for j in range(width):
                    gradient[i, own + j] += slope * qkv[node, key + j]
                for j in range(width):
                    gradient[node, key + j] += slope * qkv[i, own + j]
                node = parent[node]


@_compiled
def gated(gate_up: Any, exponential: Any, hidden: Any) -> None:
    """Write SwiGLU's hidden states [n, f] (arXiv 2002.05202), and over exp(−gate) the sigmoid of the gate."""
    rows, ffn = hidden.shape
    for i in range(rows):
        for j in range(ffn):
            sigmoid = np.float32(1.0) / (np.float32(1.0) + exponential[i, j])
            exponential[i, j] = sigmoid
            hidden[i, j] = gate_up[i, j] * sigmoid * gate_up[i, ffn + j]


@_compiled
def gated_backward(gate_up: Any, sigmoid: Any, hidden: Any, gradient: Any) -> None:
    """Write the gradient [n, 2 f] of gate and up from that of the hidden states [n, f]."""
    rows, ffn = hidden.shape
    for i in range(rows):
        for j in range(ffn):
            share, gate = sigmoid[i, j], gate_up[i, j]
            activated = gate * share
            gradient[i, j] = hidden[i, j] * gate_up[i, ffn + j] * (share + activated * (np.float32(1.0) - share))
            gradient[i, ffn + j] = hidden[i, j] * activated


@_compiled
def scaled_backward(product: Any, weight: Any, gain: Any, into_weight: Any, into_gain: Any) -> None:
    """Split the gradient [m, w] of weight · gain into those of the weight [m, w] and of the gain [w]."""
    rows, width = weight.shape
    into_gain[:] = np.float32(0.0)
    for i in range(rows):
        for j in range(width):
            into_weight[i, j] = product[i, j] * gain[j]
            into_gain[j] += product[i, j] * weight[i, j]


@_compiled
def add_rows(into: Any, index: Any, rows: Any) -> None:
    """Add ``rows`` [n, w] to the rows ``index`` [n] of ``into``, which may be there more than once."""
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            into[index[i], j] += rows[i, j]


@_compiled
def divide_by_sum(exponentials: Any, log_total: Any) -> None:
    """Make probabilities of exponentials [r, V], and write down the logarithm of each row's sum."""
    for i in range(exponentials.shape[0]):
        total = np.float32(0.0)
        for j in range(exponentials.shape[1]):
            total += exponentials[i, j]
        log_total[i] = np.log(total)
        share = np.float32(1.0) / total
        for j in range(exponentials.shape[1]):
            exponentials[i, j] *= share


@_compiled
def logits_backward(probabilities: Any, row: Any, token: Any, gradient: Any, of_row: Any) -> None:
    """Overwrite probabilities [r, V] with the gradient of the logits, given that of edges' log-probabilities [e]."""
    of_row[:] = np.float32(0.0)
    for edge in range(gradient.shape[0]):
        of_row[row[edge]] += gradient[edge]
    for i in range(probabilities.shape[0]):
        for j in range(probabilities.shape[1]):
            probabilities[i, j] *= -of_row[i]
    for edge in range(gradient.shape[0]):
        probabilities[row[edge], token[edge]] += gradient[edge]


@_compiled
def choose(probabilities: Any, row: Any, uniform: Any, token: Any, chosen: Any) -> None:
    """Draw a token for each answer by inverse transform: one uniform number instead of one an entry of the vocabulary.

    Args:
        probabilities: [r, V].
        row: [n] the distribution that each answer is at.
        uniform: [n] numbers in [0, 1).
        token: [n] written.
        chosen: [n] written: the probability of the token.
    """
    for i in range(row.shape[0]):
        left = uniform[i]
        for j in range(probabilities.shape[1]):
            weight = probabilities[row[i], j]
            if weight > np.float32(0.0):
                token[i] = j  # the last one that can be, where rounding leaves a remainder
                chosen[i] = weight
                if left < weight:
                    break
                left -= weight
