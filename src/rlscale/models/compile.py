"""Compile the decoder's loops now, so that no job has to: ``python -m rlscale.models.compile``.

Numba keeps what it has compiled beside the module; later processes read it from there.
"""

import torch

from rlscale.models.generate import generate
from rlscale.models.qwen2 import Architecture, Qwen2
from rlscale.models.scoring import ScoredAnswers


def compile_loops() -> None:
    """Sample and score with a tiny model, forward and backward: every loop is called."""
    noise = torch.Generator().manual_seed(0)
    model = Qwen2(Architecture(width=4, layers=1, heads=2, kv_heads=1, ffn=4, vocabulary=4), noise)
    prompts, lengths = torch.tensor([[1, 2]]), torch.tensor([2])
    rollouts = generate(model, prompts, lengths, answers=2, max_new_tokens=2, end=0, temperature=1.0, generator=noise)
    scored = ScoredAnswers(prompts, lengths, rollouts.tokens, rollouts.lengths)
    scored.logprobs(model, 1.0).sum().backward()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    compile_loops()
