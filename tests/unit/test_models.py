"""Decoders of the built ladders: size, checkpoints as transformers reads them, optimiser, supervised stage."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.tiny import SHAPE, STAGE, base_model, problems, random_model, save, silent

from rlscale.config import load_ladder
from rlscale.errors import UserError
from rlscale.ladder import BuiltLadder, Supervised
from rlscale.models.checkpoint import WEIGHTS, load_checkpoint, read_tokenizer, save_checkpoint
from rlscale.models.encoding import encode_problems
from rlscale.models.generate import generate
from rlscale.models.optimiser import AdamW
from rlscale.models.qwen2 import Architecture, Qwen2, causal_mask, full_attention, rotary
from rlscale.models.supervised import architecture, new_model, rate_factor, train_on_corpus
from rlscale.tasks.vocabulary import EOS, PAD

LADDERS = sorted((Path(__file__).parents[2] / "config" / "models").glob("*.yaml"))
SHAPES = {
    "one layer": Architecture(width=12, layers=1, heads=1, kv_heads=1, ffn=20, vocabulary=18),
    "several heads": Architecture(width=24, layers=3, heads=3, kv_heads=3, ffn=16, vocabulary=18),
    "grouped queries": Architecture(width=32, layers=2, heads=4, kv_heads=2, ffn=24, vocabulary=18),
    "heads of 32": Architecture(width=64, layers=2, heads=2, kv_heads=1, ffn=40, vocabulary=18),
}
PROMPTS = ["3 f0 =", "7 f1 f0 =", "1 2 + 3 4 =", "9"]


def non_embedding(model: Qwen2) -> int:
    return sum(weight.numel() for name, weight in model.named_parameters() if name != "embedding")


def same_weights(one: Qwen2, other: Qwen2) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == other_name and torch.equal(a, b) for (name, a), (other_name, b) in pairs)


# --- size


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_params_counts_all_weights_but_the_embedding(shape: Architecture) -> None:
    assert shape.params == non_embedding(Qwen2(shape))


@pytest.mark.parametrize("path", LADDERS, ids=lambda path: path.stem)
def test_shipped_ladders_declare_the_sizes_that_are_built(path: Path) -> None:
    ladder = load_ladder(path)
    if not isinstance(ladder, BuiltLadder):
        pytest.skip("published checkpoints: nothing is built")
    for model in ladder.models.values():
        shape = architecture(model.model_dump(), vocabulary=18)
        assert model.non_embedding_params == shape.params == non_embedding(Qwen2(shape))


def test_new_weights_follow_from_seed_and_shape() -> None:
    assert same_weights(new_model(SHAPE, 3), new_model(SHAPE, 3))
    assert not torch.equal(new_model(SHAPE, 3).embedding, new_model(SHAPE, 4).embedding)
    wider = Architecture(**SHAPE.to_json() | {"ffn": SHAPE.ffn + 1})
    assert not torch.equal(new_model(SHAPE, 3).embedding, new_model(wider, 3).embedding)


# --- checkpoints


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_transformers_reads_checkpoints_with_the_same_logits_and_greedy_answers(
    shape: Architecture, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = random_model(shape).requires_grad_(False)
    folder = save(model, tmp_path / "checkpoint")
    theirs: Any = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    assert type(theirs).__name__ == "Qwen2ForCausalLM"
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (PAD, EOS)

    tokens, lengths = (torch.from_numpy(array) for array in problems().vocabulary.encode(PROMPTS))
    longest = tokens.shape[1]
    rotation = rotary(torch.arange(longest)[None], shape.head_width)
    logits = model.logits(model.hidden(tokens, rotation, full_attention(causal_mask(longest))))
    greedy = generate(
        model, tokens, lengths, answers=1, max_new_tokens=6, end=EOS, temperature=1.0, generator=None
    ).tokens[:, 0]
    for row, (prompt, length) in enumerate(zip(PROMPTS, lengths.tolist(), strict=True)):
        encoded = tokenizer(prompt, return_tensors="pt")
        assert encoded["input_ids"][0].tolist() == tokens[row, :length].tolist()
        with torch.no_grad():
            expected = theirs(**encoded).logits[0]
        torch.testing.assert_close(logits[row, :length], expected, rtol=1e-5, atol=1e-5)
        answer = theirs.generate(**encoded, do_sample=False, max_new_tokens=6)[0, length:]
        assert greedy[row].tolist() == answer.tolist() + [PAD] * (6 - len(answer))


@pytest.mark.usefixtures("offline")
def test_transformers_answers_a_padded_batch_alike(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = save(base_model(), tmp_path / "checkpoint")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    theirs: Any = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    batch = tokenizer(PROMPTS, return_tensors="pt", padding=True)  # on the left, as the checkpoint says
    answers = theirs.generate(**batch, do_sample=False, max_new_tokens=3)[:, batch["input_ids"].shape[1] :]
    tokens, lengths = (torch.from_numpy(array) for array in problems().vocabulary.encode(PROMPTS))
    ours = generate(
        base_model(), tokens, lengths, answers=1, max_new_tokens=3, end=EOS, temperature=1.0, generator=None
    )
    assert ours.tokens[:, 0, : answers.shape[1]].tolist() == answers.tolist()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_checkpoint_reads_back_bit_for_bit(shape: Architecture, tmp_path: Path) -> None:
    model = random_model(shape)
    save(model, tmp_path / "one")
    again = load_checkpoint(tmp_path / "one")
    assert again.shape == shape
    assert same_weights(again, model)
    save(again, tmp_path / "two")
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_a_checkpoint_carries_its_identity_digest_and_tokenizer(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    save_checkpoint(base_model(), folder, tokenizer="words", identity={"run": "r", "step": 7})
    identity = json.loads((folder / "checkpoint.json").read_text())
    weights = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    assert identity == {"run": "r", "step": 7, "weights_sha256": weights}
    assert read_tokenizer(folder) == "words"


def test_saving_replaces_an_older_checkpoint_whole(tmp_path: Path) -> None:
    folder = save(random_model(SHAPES["one layer"]), tmp_path / "checkpoint")
    (folder / "stray").write_text("left over")
    save(base_model(), folder)
    assert same_weights(load_checkpoint(folder), base_model())
    assert not (folder / "stray").exists()
    assert [item.name for item in tmp_path.iterdir()] == ["checkpoint"]


def truncate(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def drop_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    del tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, folder / WEIGHTS)


def reshape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 99}))


def forget_a_key(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["num_key_value_heads"]
    (folder / "config.json").write_text(json.dumps(config))


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "weights cut off": truncate,
    "weights of zero bytes": lambda folder: (folder / WEIGHTS).write_bytes(b""),
    "weights that are no safetensors": lambda folder: (folder / WEIGHTS).write_bytes(b"\x80\x04" * 100),
    "no weights": lambda folder: (folder / WEIGHTS).unlink(),
    "a tensor missing": drop_a_tensor,
    "another shape": reshape,
    "no config": lambda folder: (folder / "config.json").unlink(),
    "a config cut off": lambda folder: (folder / "config.json").write_text('{"hidden_size": 16,'),
    "a config that is a list": lambda folder: (folder / "config.json").write_text("[]"),
    "a config without a key": forget_a_key,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint_is_named(damage: Callable[[Path], Any], tmp_path: Path) -> None:
    folder = save(base_model(), tmp_path / "checkpoint")
    damage(folder)
    with pytest.raises(UserError, match=f"^{folder}: not a readable Qwen2 checkpoint"):
        load_checkpoint(folder)


# --- problems as tensors


def test_problems_are_encoded_with_their_end_and_lengths() -> None:
    table = pd.DataFrame({"prompt": ["3 f0 =", "7 f1 f0 ="], "answer": ["4 1", "2"]})
    encoded = encode_problems(table, 18, None)
    assert encoded.prompts.tolist() == [[5, 16, 12, PAD], [9, 17, 16, 12]]
    assert encoded.prompt_lengths.tolist() == [3, 4]
    assert encoded.answers.tolist() == [[6, 3, EOS], [4, EOS, PAD]]
    assert encoded.answer_lengths.tolist() == [3, 2]
    assert encoded.take(np.array([1])).answers.tolist() == [[4, EOS, PAD]]


def test_longer_answers_may_be_allowed_but_not_shorter_than_the_right_ones() -> None:
    table = pd.DataFrame({"prompt": ["3 f0 ="], "answer": ["4 1"]})
    assert encode_problems(table, 18, 5).answers.tolist() == [[6, 3, EOS, PAD, PAD]]
    with pytest.raises(UserError, match=r"max_new_tokens is 2, but a right answer needs 3 tokens"):
        encode_problems(table, 18, 2)


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
    assert not torch.equal(trained(short)[0].embedding, trained(short, seed=1)[0].embedding)


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
