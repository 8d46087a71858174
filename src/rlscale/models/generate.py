"""Sampling a group of answers to each prompt, and scoring them again.

A group lies in one row: the prompt once, then its G answers, time-major (all first tokens, all second tokens, …). A
tree mask lets every answer see the prompt and itself only. The same row serves prefill, decoding (a growing prefix of
a preallocated cache) and training, so the prompt is computed once a group instead of once an answer.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from rlscale.ledger import ForwardCost
from rlscale.models.qwen2 import Qwen2, full_attention, rotary


@dataclass(frozen=True)
class Layout:
    """Places in a row that holds a prompt of P places and G answers of A tokens.

    The last token of an answer is never an input, so a row has P + (A − 1)·G places.
    """

    prompt: int
    answers: int
    answer_tokens: int

    @property
    def length(self) -> int:
        """Places in a row."""
        return self.prompt + (self.answer_tokens - 1) * self.answers

    def forward_flops(self, cost: ForwardCost, rows: int) -> float:
        """Return FLOPs of one pass over ``rows`` rows, with logits where an answer's token is predicted."""
        logit_rows = rows * (1 + self.length - self.prompt)
        return cost.forward(tokens=rows * self.length, logit_rows=logit_rows, attended_pairs=rows * self.length**2)

    def rollout_flops(self, cost: ForwardCost, rows: int, decoded: int) -> float:
        """Return FLOPs of generating ``decoded`` tokens an answer: prefill, then one pass a further token."""
        flops = cost.forward(tokens=rows * self.prompt, logit_rows=rows, attended_pairs=rows * self.prompt**2)
        tokens = rows * self.answers
        for time in range(1, decoded):
            pairs = tokens * (self.prompt + time * self.answers)
            flops += cost.forward(tokens=tokens, logit_rows=tokens, attended_pairs=pairs)
        return flops

    def positions(self, prompt_lengths: Tensor) -> Tensor:
        """Return the position [B, L] of every place: answers continue where their prompt really ends."""
        answer = torch.arange(self.answer_tokens - 1).repeat_interleave(self.answers)
        prompt = torch.arange(self.prompt).expand(len(prompt_lengths), -1)
        return torch.cat((prompt, prompt_lengths[:, None] + answer), dim=1)

    def mask(self, prompt_lengths: Tensor) -> Tensor:
        """Return who sees whom: [1, 1, L, L], or [B, 1, L, L] where prompts differ in length."""
        place = torch.arange(self.length)
        in_prompt = place < self.prompt
        answer = torch.where(in_prompt, -1, (place - self.prompt) % self.answers)
        same_branch = in_prompt[None, :] | (answer[:, None] == answer[None, :])
        mask = (same_branch & (place[None, :] <= place[:, None]))[None, None]
        if bool((prompt_lengths == self.prompt).all()):
            return mask
        padding = in_prompt & (place >= prompt_lengths[:, None])
        return mask & ~padding[:, None, None, :]


@dataclass(frozen=True)
class Rollouts:
    """G answers to each of B prompts.

    Attributes:
        tokens: [B, G, A], padded with 0 after the end token.
        logprobs: [B, G, A] of the chosen tokens under the distribution that they were drawn from; 0 if greedy.
        lengths: [B, G] tokens generated, the end token included.
        finished: [B, G] whether the end token came.
        decoded: number of times that a token was chosen for the whole batch; the work that was done.
    """

    tokens: Tensor
    logprobs: Tensor
    lengths: Tensor
    finished: Tensor
    decoded: int

    @property
    def mask(self) -> Tensor:
        """True [B, G, A] where a token was generated, the end token included."""
        return torch.arange(self.tokens.shape[-1]) < self.lengths[..., None]


@torch.no_grad()
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
    batch, width = prompts.shape
    layout = Layout(width, answers, max_new_tokens)
    cosine, sine = rotary(layout.positions(prompt_lengths), model.shape.head_width)
    mask = layout.mask(prompt_lengths)
    cache = torch.empty(2, model.shape.layers, batch, layout.length, model.shape.kv_heads, model.shape.head_width)

    def run(tokens: Tensor, start: int) -> Tensor:
        stop = start + tokens.shape[1]
        attention = full_attention(mask[:, :, start:stop, :stop])

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys, values = cache[0, layer], cache[1, layer]
            keys[:, start:stop], values[:, start:stop] = k, v
            return attention(layer, q, keys[:, :stop], values[:, :stop])

        return model.hidden(tokens, (cosine[:, start:stop], sine[:, start:stop]), attend)

    tokens = torch.zeros(batch, answers, max_new_tokens, dtype=torch.int64)
    logprobs = torch.zeros(batch, answers, max_new_tokens)
    lengths = torch.full((batch, answers), max_new_tokens)
    running = torch.ones(batch, answers, dtype=torch.bool)
    hidden = run(prompts, 0)[torch.arange(batch), prompt_lengths - 1]
    logits = model.logits(hidden / temperature)[:, None]
    for time in range(max_new_tokens):
        chosen, logprob = _choose(logits, answers, generator)
        chosen = torch.where(running, chosen, 0)
        tokens[:, :, time] = chosen
        logprobs[:, :, time] = torch.where(running, logprob, 0.0)
        ended = running & (chosen == end)
        lengths[ended] = time + 1
        running &= ~ended
        if time + 1 == max_new_tokens or not bool(running.any()):
            break
        logits = model.logits(run(chosen, width + time * answers) / temperature)
    return Rollouts(tokens, logprobs, lengths, ~running, decoded=time + 1)


def _choose(logits: Tensor, answers: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Return a token for each answer [B, G] and its log-probability, from logits [B, G, V] or shared ones [B, 1, V]."""
    batch, rows, _ = logits.shape
    if generator is None:
        return logits.argmax(-1).expand(batch, answers), torch.zeros(())
    # Inverse transform: one uniform a token instead of one an entry of the vocabulary.
    probabilities = torch.softmax(logits, -1)
    cumulative = probabilities.cumsum(-1)
    uniform = torch.rand((batch, rows, answers // rows), generator=generator)
    drawn = torch.searchsorted(cumulative, uniform * cumulative[..., -1:]).clamp_(max=logits.shape[-1] - 1)
    return drawn.view(batch, answers), probabilities.gather(-1, drawn).view(batch, answers).log()


def answer_logprobs(
    model: Qwen2, prompts: Tensor, prompt_lengths: Tensor, answers: Tensor, *, temperature: float
) -> Tensor:
    """Return log-probabilities [B, G, A] of given ``answers`` [B, G, A] to ``prompts`` [B, P], by teacher forcing."""
    batch, width = prompts.shape
    _, group, length = answers.shape
    layout = Layout(width, group, length)
    rotation = rotary(layout.positions(prompt_lengths), model.shape.head_width)
    row = torch.cat((prompts, answers[:, :, :-1].transpose(1, 2).reshape(batch, -1)), dim=1)
    hidden = model.hidden(row, rotation, full_attention(layout.mask(prompt_lengths)))
    # One gather takes the places that predict; dividing states is cheaper than dividing logits.
    starts = torch.arange(batch)[:, None] * layout.length
    last = starts + prompt_lengths[:, None] - 1
    later = starts + torch.arange(width, layout.length)
    states = (hidden / temperature).view(-1, model.shape.width)
    states = states.index_select(0, torch.cat((last.view(-1), later.view(-1))))
    shared, own = torch.split(states, [batch, states.shape[0] - batch])
    # The first tokens of a group share one distribution: its logits are computed once.
    first = model.logits(shared).log_softmax(-1).gather(-1, answers[:, :, 0])
    targets = answers[:, :, 1:].transpose(1, 2).reshape(-1)
    rest = F.cross_entropy(model.logits(own), targets, reduction="none").neg()
    return torch.cat((first[..., None], rest.view(batch, length - 1, group).transpose(1, 2)), dim=-1)
