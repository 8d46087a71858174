"""Checkpoints as Hugging Face directories: safetensors, config, tokenizer.

``transformers`` reads them with the same logits; this module writes and reads them without importing it, since jobs
that last seconds cannot spend two on an import. ``checkpoint.json`` adds what a file format cannot say: which run,
which step, and the digest of the weights.
"""

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from rlscale.errors import UserError
from rlscale.files import atomic_folder, read_json
from rlscale.models.qwen2 import NORM_EPSILON, ROPE_THETA, Architecture, Qwen2
from rlscale.provenance import IDENTITY
from rlscale.tasks.vocabulary import EOS, PAD

WEIGHTS = "model.safetensors"
MAX_POSITIONS = 128  # what the configuration declares; rotary positions have no limit of their own


def save_checkpoint(model: Qwen2, path: Path, *, tokenizer: str, identity: dict[str, object]) -> None:
    """Write ``model`` as a Hugging Face directory, all or nothing.

    Args:
        model: the weights to write.
        path: the directory; an older one is replaced.
        tokenizer: text of ``tokenizer.json``.
        identity: what ``checkpoint.json`` says beside the digest of the weights.
    """
    weights = save(_to_hugging_face(model), metadata={"format": "pt"})
    identity = {**identity, "weights_sha256": hashlib.sha256(weights).hexdigest()}
    with atomic_folder(path) as folder:
        (folder / WEIGHTS).write_bytes(weights)
        (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
        for name, content in {
            "config.json": _config(model.shape),
            "generation_config.json": {"do_sample": True, "eos_token_id": EOS, "pad_token_id": PAD},
            "tokenizer_config.json": {
                "tokenizer_class": "TokenizersBackend",
                # transformers 5 reads every model of type qwen2 with Qwen's own byte pairs, whatever the class above
                # says; an (empty) map keeps AutoTokenizer to tokenizer.json.
                "auto_map": {"AutoTokenizer": [None, None]},
                "eos_token": "<eos>",
                "pad_token": "<pad>",
                "padding_side": "left",
                "clean_up_tokenization_spaces": False,
            },
            IDENTITY: identity,
        }.items():
            (folder / name).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load_checkpoint(path: Path) -> Qwen2:
    """Read a model written by :func:`save_checkpoint`.

    Raises:
        UserError: the directory is not a complete checkpoint of a Qwen2 model.
    """
    try:
        shape = read_architecture(path)
        weights = load((path / WEIGHTS).read_bytes())
        model = Qwen2(shape)
        state = _from_hugging_face(weights, shape)
        for name, weight in model.named_weights().items():
            weight.copy_(state[name].view(weight.shape))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{path}: not a readable Qwen2 checkpoint ({error})") from error
    return model


def read_architecture(path: Path) -> Architecture:
    """Return the shape that a checkpoint's ``config.json`` states.

    Raises:
        OSError, ValueError, KeyError: the file is not there, no JSON, or lacks a size.
    """
    config = read_json(path / "config.json")
    return Architecture(
        width=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        kv_heads=config["num_key_value_heads"],
        ffn=config["intermediate_size"],
        vocabulary=config["vocab_size"],
    )


def read_tokenizer(path: Path) -> str:
    """Return the text of a checkpoint's ``tokenizer.json``, for the checkpoints that follow from it."""
    return (path / "tokenizer.json").read_text(encoding="utf-8")


def _config(shape: Architecture) -> dict[str, object]:
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "dtype": "float32",
        "hidden_act": "silu",
        "hidden_size": shape.width,
        "intermediate_size": shape.ffn,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": MAX_POSITIONS,
        "rms_norm_eps": NORM_EPSILON,
        "rope_parameters": {"rope_theta": ROPE_THETA, "rope_type": "default"},
        "tie_word_embeddings": True,
        "use_sliding_window": False,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
    }


def _to_hugging_face(model: Qwen2) -> dict[str, Tensor]:
    shape, weights = model.shape, model.named_weights()
    kv_width = shape.kv_heads * shape.head_width
    sections = [shape.width, kv_width, kv_width]
    tensors = {"model.embed_tokens.weight": weights["embedding"], "model.norm.weight": weights["final_norm"]}
    for index in range(shape.layers):
        prefix = f"model.layers.{index}"
        for kind in ("weight", "bias"):
            stacked = weights[f"{index}.qkv_{kind}"]
            for letter, part in zip("qkv", torch.split(stacked, sections), strict=True):
                tensors[f"{prefix}.self_attn.{letter}_proj.{kind}"] = part
        gate, up = weights[f"{index}.gate_up_weight"].chunk(2)
        tensors[f"{prefix}.self_attn.o_proj.weight"] = weights[f"{index}.output_weight"]
        tensors[f"{prefix}.mlp.gate_proj.weight"] = gate
        tensors[f"{prefix}.mlp.up_proj.weight"] = up
        tensors[f"{prefix}.mlp.down_proj.weight"] = weights[f"{index}.down_weight"]
        tensors[f"{prefix}.input_layernorm.weight"] = weights[f"{index}.input_norm"]
        tensors[f"{prefix}.post_attention_layernorm.weight"] = weights[f"{index}.ffn_norm"]
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _from_hugging_face(tensors: dict[str, Tensor], shape: Architecture) -> dict[str, Tensor]:
    state = {"embedding": tensors["model.embed_tokens.weight"], "final_norm": tensors["model.norm.weight"]}
    for index in range(shape.layers):
        source, target = f"model.layers.{index}", f"{index}"
        for kind in ("weight", "bias"):
            parts = [tensors[f"{source}.self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
            state[f"{target}.qkv_{kind}"] = torch.cat(parts)
        gate_up = [tensors[f"{source}.mlp.{part}_proj.weight"] for part in ("gate", "up")]
        state[f"{target}.gate_up_weight"] = torch.cat(gate_up)
        state[f"{target}.output_weight"] = tensors[f"{source}.self_attn.o_proj.weight"]
        state[f"{target}.down_weight"] = tensors[f"{source}.mlp.down_proj.weight"]
        state[f"{target}.input_norm"] = tensors[f"{source}.input_layernorm.weight"]
        state[f"{target}.ffn_norm"] = tensors[f"{source}.post_attention_layernorm.weight"]
    return state
