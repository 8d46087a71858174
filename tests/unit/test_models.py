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
from tests.tiny import SHAPE, base_model, problems, random_model, same_weights, save

from rlscale.config import load_ladder
from rlscale.errors import UserError
from rlscale.ladder import BuiltLadder
from rlscale.models.checkpoint import WEIGHTS, load_checkpoint, read_tokenizer, save_checkpoint
from rlscale.models.encoding import encode_problems
from rlscale.models.generate import generate
from rlscale.models.qwen2 import Architecture, Qwen2
from rlscale.models.scoring import ScoredAnswers
from rlscale.models.supervised import architecture, new_model
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
    return sum(weight.numel() for name, weight in model.named_weights().items() if name != "embedding")


# --- size


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_params_counts_all_weights_but_the_embedding(shape: Architecture) -> None:
    assert shape.params == non_embedding(Qwen2(shape))


def test_shipped_ladders_declare_the_sizes_that_are_built() -> None:
    built = [ladder for ladder in map(load_ladder, LADDERS) if isinstance(ladder, BuiltLadder)]
    models = [model for ladder in built for model in ladder.models.values()]
    assert len(models) >= 5
    for model in models:
        shape = architecture(model.model_dump(), vocabulary=18)
        assert model.non_embedding_params == shape.params == non_embedding(Qwen2(shape))


def test_new_weights_follow_from_seed_and_shape() -> None:
    assert same_weights(new_model(SHAPE, 3), new_model(SHAPE, 3))
    assert not torch.equal(new_model(SHAPE, 3).flat, new_model(SHAPE, 4).flat)
    wider = Architecture(**SHAPE.to_json() | {"ffn": SHAPE.ffn + 1})
    assert not torch.equal(new_model(SHAPE, 3).flat, new_model(wider, 3).flat)


# --- checkpoints


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def scores_of_all_tokens(model: Qwen2, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Return log-probabilities [B, V, L] of every word after every place."""
    everything = torch.arange(model.shape.vocabulary).repeat(len(tokens), 1)[..., None]
    at = [
        ScoredAnswers(tokens, lengths.clamp(max=place + 1), everything, torch.ones_like(everything[..., 0])).logprobs(
            model, 1.0
        )
        for place in range(tokens.shape[1])
    ]
    return torch.cat(at, dim=2)


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
    scored = scores_of_all_tokens(model, tokens, lengths)
    greedy = generate(
        model, tokens, lengths, answers=1, max_new_tokens=6, end=EOS, temperature=1.0, generator=None
    ).tokens[:, 0]
    for row, (prompt, length) in enumerate(zip(PROMPTS, lengths.tolist(), strict=True)):
        encoded = tokenizer(prompt, return_tensors="pt")
        assert encoded["input_ids"][0].tolist() == tokens[row, :length].tolist()
        with torch.no_grad():
            expected = theirs(**encoded).logits[0]
        torch.testing.assert_close(scored[row, :, :length], expected.log_softmax(-1).T, rtol=1e-5, atol=1e-5)
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
