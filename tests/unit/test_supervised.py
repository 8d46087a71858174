"""The supervised stage that makes base models, and the optimiser that every stage uses."""

from typing import Any

import numpy as np
import pytest
import torch
from tests.tiny import SHAPE, STAGE, problems, random_model, same_weights, silent

from rlscale.ladder import Supervised
from rlscale.models.encoding import encode_problems
from rlscale.models.generate import generate
from rlscale.models.optimiser import AdamW
from rlscale.models.qwen2 import Qwen2
from rlscale.models.supervised import new_model, rate_factor, train_on_corpus
from rlscale.tasks.vocabulary import EOS

# --- optimiser


def test_adamw_makes_the_updates_of_its_formula() -> None:
    """Algorithm 2 of arXiv 1711.05101, in float64."""
    rng = np.random.default_rng(0)
    model = torch.nn.Linear(3, 2)
    optimiser = AdamW(model, betas=(0.9, 0.95), weight_decay=0.1)
    expected = {name: weight.detach().double().numpy().copy() for name, weight in model.named_parameters()}
    first = {name: np.zeros_like(weight) for name, weight in expected.items()}
    second = {name: np.zeros_like(weight) for name, weight in expected.items()}
    for update in range(1, 6):
        rate = 0.02 * update
        for name, weight in model.named_parameters():
            gradient = rng.normal(size=weight.shape)
            weight.grad = torch.from_numpy(gradient).float()
            first[name] += 0.1 * (gradient - first[name])
            second[name] += 0.05 * (gradient**2 - second[name])
            direction = (first[name] / (1 - 0.9**update)) / (np.sqrt(second[name] / (1 - 0.95**update)) + 1e-8)
            expected[name] -= rate * (direction + 0.1 * expected[name])
        optimiser.step(rate)
    assert optimiser.updates == 5
    for name, weight in model.named_parameters():
        np.testing.assert_allclose(weight.detach().numpy(), expected[name], rtol=1e-5, atol=1e-6)


def test_a_restored_optimiser_goes_on_bit_for_bit() -> None:
    def model_and_optimiser() -> tuple[Qwen2, AdamW]:
        model = random_model(SHAPE)
        return model, AdamW(model, betas=(0.9, 0.95), weight_decay=0.01)

    def update(model: Qwen2, optimiser: AdamW, seed: int) -> None:
        noise = torch.Generator().manual_seed(seed)
        for weight in model.parameters():
            weight.grad = torch.empty_like(weight).normal_(generator=noise)
        optimiser.step(0.01)

    straight, its_optimiser = model_and_optimiser()
    for seed in range(3):
        update(straight, its_optimiser, seed)
    resumed, restored = model_and_optimiser()
    resumed.load_state_dict(straight.state_dict())
    restored.restore({name: tensor.clone() for name, tensor in its_optimiser.moments().items()}, updates=3)
    update(straight, its_optimiser, 3)
    update(resumed, restored, 3)
    assert same_weights(straight, resumed)


def test_clipping_keeps_the_direction_and_tells_the_norm_before() -> None:
    model = torch.nn.Linear(2, 1)
    optimiser = AdamW(model, betas=(0.9, 0.95), weight_decay=0.0)
    optimiser.zero_grad()
    model.weight.grad = torch.tensor([[3.0, 4.0]])
    assert optimiser.clip(1.0) == pytest.approx(5.0)
    torch.testing.assert_close(model.weight.grad, torch.tensor([[0.6, 0.8]]))
    assert model.bias.grad is not None  # a parameter without a gradient has gradient zero
    assert model.bias.grad.tolist() == [0.0]
    assert optimiser.clip(2.0) == pytest.approx(1.0)
    torch.testing.assert_close(model.weight.grad, torch.tensor([[0.6, 0.8]]))


# --- supervised stage


def stage(**changes: Any) -> Supervised:
    return Supervised.model_validate(STAGE.model_dump() | changes)


def trained(stage: Supervised, *, seed: int = 0, start: Qwen2 | None = None) -> tuple[Qwen2, float]:
    """Return a base model, or an instruct model made from ``start``, and its last loss."""
    model = new_model(SHAPE, seed)
    if start is not None:
        model.load_state_dict(start.state_dict())
    loss = train_on_corpus(model, problems(), stage, seed=seed, instruct=start is not None, report=silent)
    return model.requires_grad_(False), loss


def test_the_loss_falls_below_that_of_knowing_the_format_only() -> None:
    _, first = trained(stage(steps=1, warmup_steps=0))
    _, last = trained(STAGE)
    assert first > np.log(10) * 0.9  # nothing is known: neither digits nor where they stand
    assert last < np.log(10) / 2  # half of the targets are digits, and each of these was guessed blindly


def test_the_same_seed_makes_the_same_bytes_and_another_seed_others() -> None:
    short = stage(steps=12)
    assert same_weights(trained(short)[0], trained(short)[0])
    assert not torch.equal(trained(short)[0].flat, trained(short, seed=1)[0].flat)


@pytest.mark.parametrize("steps", [1, 5, 9, 10, 11])
def test_stages_of_any_length_have_a_loss(steps: int) -> None:
    assert 0 < trained(stage(steps=steps, warmup_steps=0))[1] < 20


def test_an_instruct_model_ends_its_answers_more_often() -> None:
    base, _ = trained(STAGE)
    instruct, _ = trained(stage(steps=30, learning_rate=0.005), start=base)
    batch = encode_problems(problems().suite("heldout", 200, 0), SHAPE.vocabulary, None)

    def share_that_ends(model: Qwen2) -> float:
        rollouts = generate(
            model, batch.prompts, batch.prompt_lengths, answers=4, max_new_tokens=2, end=EOS, temperature=1.0,
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        return rollouts.finished.double().mean().item()

    assert share_that_ends(base) < 0.9  # the corpus wanders on in a fifth of its documents
    assert share_that_ends(instruct) > share_that_ends(base) + 0.05


def test_the_rate_rises_stays_and_falls_to_zero() -> None:
    schedule = stage(steps=10, warmup_steps=2, decay_share=0.4)
    factors = [rate_factor(schedule, step) for step in range(11)]
    assert factors == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0])
    constant = stage(warmup_steps=0, decay_share=0.0)
    assert {rate_factor(constant, step) for step in range(60)} == {1.0}


def test_every_supervised_step_is_reported() -> None:
    lines: list[str] = []
    train_on_corpus(new_model(SHAPE, 0), problems(), stage(steps=10), seed=0, instruct=False, report=lines.append)
    assert lines == [f"supervised step {step} of 10" for step in range(1, 11)]
