"""The one word list of the procedural problems, and the way between text and token ids.

A text is words separated by single spaces, one word a token: `7 f12 f200 =`. The list is two specials, the ten digits,
four signs and the operators `f0`, `f1`, ...; there is no word for the unknown, so a stray word is an error.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from rlscale.errors import UserError

Tokens = NDArray[np.int64]

PAD, EOS = 0, 1
DIGIT = 2  # id of the digit 0; the digit d is DIGIT + d
EQUALS, PLUS, TIMES, BLANK = 12, 13, 14, 15
OPERATOR = 16  # id of the operator f0; the operator i is OPERATOR + i

_FIXED_WORDS = ("<pad>", "<eos>", *"0123456789", "=", "+", "*", "?")


class Vocabulary:
    """Words by id and ids by word, for tasks with `operators` operators."""

    def __init__(self, operators: int) -> None:
        self.words: tuple[str, ...] = (*_FIXED_WORDS, *(f"f{i}" for i in range(operators)))
        self._ids = {word: i for i, word in enumerate(self.words)}
        self._table = np.array(self.words, dtype=object)

    def __len__(self) -> int:
        """Return the number of words, specials included."""
        return len(self.words)

    def encode(self, texts: Sequence[str], *, end: bool = False) -> tuple[Tokens, Tokens]:
        """Return ids [texts, longest], padded on the right with PAD, and lengths [texts] in tokens.

        Args:
            texts: words separated by white space; an empty text has no words.
            end: append EOS to each text (and count it).

        Raises:
            UserError: a word is not in the vocabulary.
        """
        rows = [text.split() for text in texts]
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        try:
            ids = np.fromiter(map(self._ids.__getitem__, chain.from_iterable(rows)), np.int64, int(lengths.sum()))
        except KeyError as error:
            word = error.args[0]
            text = next(text for text, row in zip(texts, rows, strict=True) if word in row)
            raise UserError(
                f"unknown word {word!r} in {text!r}: the task has digits, the signs = + * ? and the operators f0 to "
                f"{self.words[-1]}"
            ) from None
        tokens = np.full((len(rows), int(lengths.max(initial=0)) + end), PAD, np.int64)
        tokens[np.arange(tokens.shape[1]) < lengths[:, None]] = ids
        if end:
            tokens[np.arange(len(rows)), lengths] = EOS
        return tokens, lengths + end

    def decode(self, tokens: Tokens) -> tuple[list[str], NDArray[np.bool_]]:
        """Return the texts of ids [texts, length] up to their first EOS, and whether EOS was seen [texts].

        Padding at the end of a row is dropped; PAD in front of a word is spelled out, because a model that wrote it
        wrote something wrong.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        if tokens.size and not (tokens.min() >= 0 and tokens.max() < len(self)):
            raise ValueError(f"token ids must lie in 0..{len(self) - 1}, got {tokens.min()}..{tokens.max()}")
        length = tokens.shape[1]
        is_end = tokens == EOS
        ended = is_end.any(axis=1)
        last_word = np.max(np.where(tokens != PAD, np.arange(1, length + 1), 0), axis=1, initial=0)
        stops = np.where(ended, np.argmax(is_end, axis=1) if length else 0, last_word).tolist()
        rows = self._table[tokens].tolist()
        return [" ".join(row[:stop]) for row, stop in zip(rows, stops, strict=True)], ended

    def tokenizer_json(self) -> str:
        """Return the same vocabulary as a `tokenizer.json` that transformers' `PreTrainedTokenizerFast` loads.

        It splits on white space, adds nothing at either end, joins words with single spaces, and refuses a word it
        does not know.
        """
        from tokenizers import Tokenizer
        from tokenizers.models import WordLevel
        from tokenizers.pre_tokenizers import WhitespaceSplit

        tokenizer = Tokenizer(WordLevel(self._ids, unk_token="<unk>"))  # noqa: S106  (no such word, on purpose)
        tokenizer.pre_tokenizer = WhitespaceSplit()
        tokenizer.add_special_tokens([self.words[PAD], self.words[EOS]])
        return str(tokenizer.to_str(pretty=True))
