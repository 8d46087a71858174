"""Log-probabilities of given tokens, with a gradient: what training and the exact score are made of."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlscale.ledger import ForwardCost
from rlscale.models import kernels
from rlscale.models.decoder import Tape, backward, forward, predict, predict_backward
from rlscale.models.forest import Forest, Ids, distinct
from rlscale.models.qwen2 import Floats, Qwen2, as_weights


class Edges:
    """Tokens after nodes of a forest, to be scored.

    Attributes:
        forest: the nodes.
        predicting: [r] nodes whose predictions are needed, each once.
        rows: [e] for each edge, which of them it follows.
        tokens: [e] its token.
    """

    def __init__(self, forest: Forest, nodes: Ids, tokens: Ids) -> None:
        """Take the edges from ``nodes`` [e] to ``tokens`` [e]."""
        self.forest, self.tokens = forest, tokens
        self.predicting, self.rows = np.unique(nodes, return_inverse=True)

    def forward_flops(self, cost: ForwardCost) -> float:
        """Return the FLOPs of one forward pass."""
        return cost.of_nodes(self.forest.position, logit_rows=len(self.predicting))

    def logprobs(self, model: Qwen2, temperature: float) -> Tensor:
        """Return log-probabilities [e] at a temperature; differentiable in the weights until the model's next pass."""
        if torch.is_grad_enabled() and model.flat.requires_grad:
            result: Tensor = _Logprobs.apply(model.flat, model, self, temperature)  # type: ignore[no-untyped-call]
            return result
        return torch.from_numpy(self.score(model, temperature)[0])

    def score(self, model: Qwen2, temperature: float) -> tuple[Floats, Floats, Tape]:
        """Return log-probabilities [e], the probabilities [r, V] of all tokens, and the tape."""
        tape = forward(model, self.forest)
        logits, probabilities, log_total = predict(model, tape.normed[self.predicting], temperature)
        return logits[self.rows, self.tokens] - log_total[self.rows], probabilities, tape


class _Logprobs(torch.autograd.Function):
    """The whole model as one node of torch's graph."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, model: Qwen2, edges: Edges, temperature: float) -> Tensor:
        del flat  # the graph hangs on it; the model reads its parts
        logprobs, ctx.probabilities, ctx.tape = edges.score(model, temperature)
        ctx.model, ctx.edges, ctx.temperature = model, edges, temperature
        return torch.from_numpy(logprobs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        model, edges, tape, logits = ctx.model, ctx.edges, ctx.tape, ctx.probabilities
        flat = torch.empty_like(model.flat)
        into = as_weights(model.shape, flat)
        of_row = np.empty(len(logits), np.float32)
        kernels.logits_backward(logits, edges.rows, edges.tokens, gradient.contiguous().numpy(), of_row)
        states = predict_backward(model, tape.normed[edges.predicting], ctx.temperature, logits, into)
        normed = np.zeros_like(tape.normed)
        normed[edges.predicting] = states
        backward(model, edges.forest, tape, normed, into)
        return flat, None, None, None


class ScoredAnswers:
    """G answers to each of B prompts, to be scored."""

    def __init__(self, prompts: Tensor, prompt_lengths: Tensor, answers: Tensor, answer_lengths: Tensor) -> None:
        """Take prompts [B, P] of true lengths [B], and answers [B, G, A] of lengths [B, G]."""
        forest = Forest()
        leaves = forest.plant(prompts.numpy(), prompt_lengths.numpy())[np.arange(len(prompts)), prompt_lengths - 1]
        tokens, lengths = answers.numpy(), answer_lengths.numpy()
        nodes = np.repeat(leaves[:, None], answers.shape[1], 1)
        self._edge = np.zeros(answers.shape, np.int64)
        found: list[tuple[Ids, Ids]] = []
        count = 0
        for time in range(int(lengths.max(initial=0))):
            is_there, goes_on = lengths > time, lengths > time + 1
            edges, of_each = distinct(nodes[is_there], tokens[is_there, time])
            self._edge[is_there, time] = count + of_each
            count += len(edges[0])
            found.append(edges)
            nodes[goes_on] = forest.grow(nodes[goes_on], tokens[goes_on, time])
        self._is_there = torch.arange(answers.shape[2]) < answer_lengths[..., None]
        sources, targets = (np.concatenate(parts) for parts in zip(*found, strict=True))
        self.edges = Edges(forest, sources, targets)

    def logprobs(self, model: Qwen2, temperature: float) -> Tensor:
        """Return log-probabilities [B, G, A] of the answers' tokens, 0 after an answer's length; see `Edges`."""
        logprobs = self.edges.logprobs(model, temperature)[torch.from_numpy(self._edge)]
        return torch.where(self._is_there, logprobs, 0.0)


def document_edges(documents: Ids, is_target: NDArray[np.bool_]) -> Edges:
    """Return the targets of documents [B, L]: the tokens where ``is_target`` [B, L] says so, never the first ones."""
    forest = Forest()
    nodes = forest.plant(documents[:, :-1], np.full(len(documents), documents.shape[1] - 1))
    predicts = is_target[:, 1:]
    return Edges(forest, nodes[predicts], documents[:, 1:][predicts])
