"""The evaluator for models of the built ladders: torch on one CPU thread, the whole suite in a few large batches."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from rlscale.canonical import derived_seed
from rlscale.evaluators import EvaluationSettings
from rlscale.models.checkpoint import load_checkpoint
from rlscale.models.encoding import EncodedProblems, encode_problems
from rlscale.models.generate import generate
from rlscale.models.qwen2 import Qwen2
from rlscale.models.scoring import ScoredAnswers
from rlscale.tasks.vocabulary import EOS, OPERATOR, Vocabulary

BATCH = 1024


class LocalEvaluator:
    """Sampled, greedy and exact answers on one CPU thread; see :class:`rlscale.evaluators.Evaluator`."""

    def evaluate(self, checkpoint: Path, problems: pd.DataFrame, settings: EvaluationSettings) -> pd.DataFrame:
        """Return the rollouts of all suites."""
        torch.set_num_threads(1)
        model = load_checkpoint(checkpoint).requires_grad_(False)
        answers = [
            _suite_answers(model, suite, settings).assign(suite=name)
            for name, suite in problems.groupby("suite", sort=False)
        ]
        return pd.concat(answers, ignore_index=True)


def _suite_answers(model: Qwen2, suite: pd.DataFrame, settings: EvaluationSettings) -> pd.DataFrame:
    problems = encode_problems(suite, model.shape.vocabulary, settings.max_new_tokens)
    first = np.arange(min(settings.sampled_problems, len(suite)))
    tables = [_answers(model, problems.take(first), settings, greedy=False)]
    if settings.greedy:
        tables.append(_answers(model, problems.take(first), settings, greedy=True))
    if settings.exact:
        tables.append(_exact(model, problems, settings.temperature))
    return pd.concat(tables, ignore_index=True)


def _answers(model: Qwen2, problems: EncodedProblems, settings: EvaluationSettings, *, greedy: bool) -> pd.DataFrame:
    # The same noise for every checkpoint: differences between them are then the weights' doing.
    generator = None if greedy else torch.Generator().manual_seed(derived_seed("evaluation", settings.seed))
    samples = 1 if greedy else settings.samples
    words = Vocabulary(model.shape.vocabulary - OPERATOR)
    texts: list[str] = []
    finished: list[np.ndarray] = []
    for places in _batches(len(problems.prompts)):
        batch = problems.take(places)
        rollouts = generate(
            model,
            batch.prompts,
            batch.prompt_lengths,
            answers=samples,
            max_new_tokens=problems.answers.shape[1],
            end=EOS,
            temperature=settings.temperature,
            generator=generator,
        )
        texts += words.decode(rollouts.tokens.flatten(0, 1).numpy())[0]
        finished.append(rollouts.finished.flatten().numpy())
    count = len(problems.prompts)
    return pd.DataFrame(
        {
            "problem": np.repeat(np.arange(count, dtype=np.int32), samples),
            "mode": "greedy" if greedy else "sampled",
            "sample": np.tile(np.arange(samples, dtype=np.int16), count),
            "answer": texts,
            "finished": np.concatenate(finished),
            "probability": np.full(count * samples, np.nan, dtype=np.float32),
        }
    )


def _exact(model: Qwen2, problems: EncodedProblems, temperature: float) -> pd.DataFrame:
    probabilities = []
    for places in _batches(len(problems.prompts)):
        batch = problems.take(places)
        answers, lengths = batch.answers[:, None], batch.answer_lengths[:, None]
        scored = ScoredAnswers(batch.prompts, batch.prompt_lengths, answers, lengths)
        probabilities.append(scored.logprobs(model, temperature).sum((1, 2)).exp().numpy())
    count = len(problems.prompts)
    return pd.DataFrame(
        {
            "problem": np.arange(count, dtype=np.int32),
            "mode": "exact",
            "sample": np.zeros(count, dtype=np.int16),
            "answer": None,
            "finished": True,
            "probability": np.concatenate(probabilities),
        }
    )


def _batches(count: int) -> list[np.ndarray]:
    return np.array_split(np.arange(count), -(-count // BATCH))
