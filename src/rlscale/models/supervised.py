"""Making base models: supervised training of a decoder on the task's own noisy corpus.

*base* learns the corpus from random weights; *instruct* is a base trained a little further on documents that all end
where the answer ends, so that it knows the format of an answer and no more facts than the base.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from rlscale.canonical import derived_seed
from rlscale.ladder import Supervised
from rlscale.models.optimiser import AdamW
from rlscale.models.qwen2 import Architecture, Qwen2
from rlscale.models.scoring import document_edges
from rlscale.tasks.procedural import ProceduralProblems


def new_model(shape: Architecture, seed: int) -> Qwen2:
    """Return a decoder with random weights that ``seed`` and the shape determine."""
    generator = torch.Generator().manual_seed(derived_seed("weights", seed, *shape.to_json().values()))
    return Qwen2(shape, generator)


def train_on_corpus(
    model: Qwen2,
    problems: ProceduralProblems,
    stage: Supervised,
    *,
    seed: int,
    instruct: bool,
    report: Callable[[str], None],
) -> float:
    """Train ``model`` in place and return the mean loss of the last tenth of the steps, in nats a target token.

    Args:
        model: random weights for a base model, a base model for an instruct model.
        problems: source of the corpus.
        stage: length, batches, schedule; its learning rate is the model's own, already scaled to the width.
        seed: moves the corpus; stages and seeds never share documents' noise.
        instruct: train on documents that all end where the answer ends.
        report: called after each step with a line on how far training is.
    """
    noise = 0.0 if instruct else problems.spec.format_noise
    corpus_seed = derived_seed("instruct" if instruct else "base", seed)
    optimiser = AdamW(model, betas=stage.adam_betas, weight_decay=stage.weight_decay)
    recent: list[float] = []
    batches = problems.corpus(corpus_seed, stage.batch_size, stage.steps, format_noise=noise)
    for step, (tokens, is_target) in enumerate(batches):
        loss = -document_edges(tokens, is_target).logprobs(model, temperature=1.0).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step(stage.learning_rate * rate_factor(stage, step))
        if 10 * (step + 1) > 9 * stage.steps:
            recent.append(loss.item())
        report(f"supervised step {step + 1} of {stage.steps}")
    return sum(recent) / len(recent)


def rate_factor(stage: Supervised, step: int) -> float:
    """Return the share of the peak learning rate at ``step`` = 0, 1, …: warm-up, plateau, linear decay to zero."""
    decay_steps = stage.decay_share * stage.steps
    rising = (step + 1) / stage.warmup_steps if stage.warmup_steps else 1.0
    falling = (stage.steps - step) / decay_steps if decay_steps else 1.0
    return min(1.0, rising, falling)


def architecture(shape: Mapping[str, Any], vocabulary: int) -> Architecture:
    """Return the architecture of a ladder's model with a vocabulary of so many words."""
    names = ("width", "layers", "heads", "kv_heads", "ffn")
    return Architecture(**{name: shape[name] for name in names}, vocabulary=vocabulary)
