"""Prompts as texts that a model reads: chat messages through the checkpoint's own template, other prompts as they are.

Trainer and evaluator both take them from here, so that a model is asked in the same words in training and in tests.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from tokenizers import Tokenizer

from rlscale.errors import UserError
from rlscale.files import read_json


def prompt_texts(problems: pd.DataFrame, checkpoint: Path) -> list[str]:
    """Return the prompts of ``problems``; those from files (column extra) become a chat that awaits its answer.

    Raises:
        UserError: the checkpoint's tokenizer has no chat template.
    """
    if "extra" not in problems:
        return list(map(str, problems["prompt"]))
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True, trust_remote_code=False)
    if tokenizer.chat_template is None:
        raise UserError(f"{checkpoint}: its tokenizer has no chat template, which prompts from files need")
    messages = [json.loads(extra)["messages"] for extra in problems["extra"]]
    return [str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)) for chat in messages]


def token_counts(texts: Sequence[str], checkpoint: Path) -> list[int]:
    """Return the number of tokens of each text, special tokens as they stand in it."""
    encoded = _tokenizer(checkpoint).encode_batch(list(texts), add_special_tokens=False)
    return [len(one.ids) for one in encoded]


def end_texts(checkpoint: Path) -> list[str]:
    """Return the texts of the tokens that end an answer, as ``generation_config.json`` names them.

    Raises:
        UserError: it names none.
    """
    ends = read_json(checkpoint / "generation_config.json").get("eos_token_id")
    if ends is None:
        raise UserError(f"{checkpoint}/generation_config.json: no eos_token_id, so that no answer would ever end")
    tokenizer = _tokenizer(checkpoint)
    return [tokenizer.id_to_token(end) for end in (ends if isinstance(ends, list) else [ends])]


def _tokenizer(checkpoint: Path) -> Tokenizer:
    return Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
