"""Problems as tensors: prompts and right answers, padded, with the end token."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rlscale.errors import UserError
from rlscale.tasks.vocabulary import OPERATOR, Vocabulary


@dataclass(frozen=True)
class EncodedProblems:
    """``prompts`` [n, P] with ``prompt_lengths`` [n]; ``answers`` [n, A] with their end token, and their lengths."""

    prompts: Tensor
    prompt_lengths: Tensor
    answers: Tensor
    answer_lengths: Tensor

    def take(self, places: np.ndarray) -> "EncodedProblems":
        """Return the problems at ``places``."""
        index = torch.from_numpy(places)
        return EncodedProblems(
            self.prompts[index], self.prompt_lengths[index], self.answers[index], self.answer_lengths[index]
        )


def encode_problems(problems: pd.DataFrame, vocabulary: int, max_new_tokens: int | None) -> EncodedProblems:
    """Encode the columns prompt and answer.

    Args:
        problems: at least one row.
        vocabulary: number of words that the model knows.
        max_new_tokens: longest answer that may be generated; None: the longest right answer and its end.

    Raises:
        UserError: a word is unknown, or a right answer does not fit.
    """
    words = Vocabulary(vocabulary - OPERATOR)
    prompts, prompt_lengths = words.encode(problems["prompt"].tolist())
    answers, answer_lengths = words.encode(problems["answer"].tolist(), end=True)
    needed = answers.shape[1]
    if max_new_tokens is not None:
        if max_new_tokens < needed:
            raise UserError(f"training.max_new_tokens is {max_new_tokens}, but a right answer needs {needed} tokens")
        answers = np.pad(answers, ((0, 0), (0, max_new_tokens - needed)))
    return EncodedProblems(*map(torch.from_numpy, (prompts, prompt_lengths, answers, answer_lengths)))
