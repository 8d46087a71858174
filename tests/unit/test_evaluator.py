"""The local evaluator: three kinds of score of one checkpoint, and that they agree with each other."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tests.plain_qwen2 import plain_logprobs
from tests.tiny import SHAPE, base_model, pool, problems, random_model, save

from rlscale.errors import UserError
from rlscale.evaluators import EvaluationSettings, evaluator_named
from rlscale.evaluators import local as local_module
from rlscale.evaluators.local import LocalEvaluator
from rlscale.evaluators.vllm import VllmEvaluator
from rlscale.models.encoding import encode_problems
from rlscale.models.generate import generate
from rlscale.placement import Placement
from rlscale.rewards import grade_exact
from rlscale.tasks.vocabulary import EOS

SETTINGS = EvaluationSettings(temperature=1.0, samples=3, greedy=True, exact=True, sampled_problems=40, seed=0)
COLUMNS = ["problem", "mode", "sample", "answer", "finished", "probability"]


def evaluate(checkpoint: Path, suite: pd.DataFrame, settings: EvaluationSettings) -> pd.DataFrame:
    """Return the rollouts of one suite."""
    rollouts = LocalEvaluator().evaluate(checkpoint, suite.assign(suite="heldout"), settings)
    assert set(rollouts["suite"]) == {"heldout"}
    return rollouts.drop(columns="suite")


def settings(**changes: Any) -> EvaluationSettings:
    return replace(SETTINGS, **changes)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(base_model(), tmp_path_factory.mktemp("base") / "checkpoint")


@pytest.fixture(scope="module")
def suite() -> pd.DataFrame:
    """Problems with answers of one to three digits."""
    return pd.concat(
        [pool().head(50), problems().suite("long", 30, 0), problems().suite("sum", 20, 0)], ignore_index=True
    ).sample(frac=1.0, random_state=0, ignore_index=True)


def mode(rollouts: pd.DataFrame, name: str) -> pd.DataFrame:
    return rollouts[rollouts["mode"] == name].reset_index(drop=True)


def test_rollouts_have_a_row_for_each_answer(checkpoint: Path, suite: pd.DataFrame) -> None:
    rollouts = evaluate(checkpoint, suite, SETTINGS)
    assert list(rollouts) == COLUMNS
    assert rollouts["mode"].value_counts().to_dict() == {"sampled": 120, "exact": 100, "greedy": 40}
    assert mode(rollouts, "sampled")["problem"].tolist() == [place for place in range(40) for _ in range(3)]
    assert mode(rollouts, "sampled")["sample"].tolist() == [0, 1, 2] * 40
    assert mode(rollouts, "greedy")["problem"].tolist() == list(range(40))
    exact = mode(rollouts, "exact")
    assert exact["problem"].tolist() == list(range(100))
    assert exact["answer"].isna().all()
    assert exact["probability"].between(0, 1).all()
    assert rollouts.loc[rollouts["mode"] != "exact", "probability"].isna().all()


def test_only_what_is_asked_for_is_answered(checkpoint: Path, suite: pd.DataFrame) -> None:
    rollouts = evaluate(checkpoint, suite, settings(greedy=False, exact=False, sampled_problems=999))
    assert set(rollouts["mode"]) == {"sampled"}
    assert rollouts["problem"].nunique() == len(suite)


def test_the_same_seed_gives_the_same_answers(checkpoint: Path, suite: pd.DataFrame) -> None:
    one, same, other = (evaluate(checkpoint, suite, settings(seed=seed)) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(one, same, check_exact=True)
    assert not mode(one, "sampled")["answer"].equals(mode(other, "sampled")["answer"])
    pd.testing.assert_frame_equal(mode(one, "exact"), mode(other, "exact"), check_exact=True)
    pd.testing.assert_frame_equal(mode(one, "greedy"), mode(other, "greedy"), check_exact=True)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_the_exact_score_is_the_probability_of_the_right_tokens(
    checkpoint: Path, suite: pd.DataFrame, temperature: float
) -> None:
    exact = mode(evaluate(checkpoint, suite, settings(temperature=temperature)), "exact")
    vocabulary = problems().vocabulary
    texts = zip(suite["prompt"].tolist(), suite["answer"].tolist(), strict=True)
    for (question, truth), probability in zip(texts, exact["probability"], strict=True):
        prompt, answer = vocabulary.encode([question])[0][0], vocabulary.encode([truth], end=True)[0][0]
        logprobs = plain_logprobs(base_model(), torch.from_numpy(prompt), torch.from_numpy(answer), temperature)
        assert probability == pytest.approx(logprobs.sum().exp().item(), rel=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_many_samples_pass_as_often_as_the_exact_score_says(checkpoint: Path, temperature: float) -> None:
    few = pool().drop_duplicates("problem").head(12).reset_index(drop=True)
    many = evaluate(checkpoint, few, settings(samples=600, temperature=temperature))
    sampled, exact = mode(many, "sampled"), mode(many, "exact")["probability"].to_numpy(dtype=float)
    right = grade_exact(sampled["answer"], few["answer"].iloc[sampled["problem"]], sampled["finished"])
    rates = right.reshape(12, 600).mean(1)
    standard_errors = np.sqrt(exact * (1 - exact) / 600)
    assert (np.abs(rates - exact) < 4 * standard_errors + 1e-9).all()
    assert abs(rates.mean() - exact.mean()) < 4 * np.sqrt((standard_errors**2).sum()) / 12
    assert 0.2 < exact.mean() < 0.95  # neither certain nor hopeless


def test_a_greedy_answer_is_the_likeliest_and_does_not_depend_on_temperature(
    checkpoint: Path, suite: pd.DataFrame
) -> None:
    """Wherever the right answer has more than half of the probability, it is the greedy one."""
    cold, warm = (evaluate(checkpoint, suite, settings(temperature=t)) for t in (0.2, 1.0))
    pd.testing.assert_frame_equal(mode(cold, "greedy"), mode(warm, "greedy"))
    greedy = mode(warm, "greedy")
    right = grade_exact(greedy["answer"], suite["answer"][:40], greedy["finished"])
    certain = mode(warm, "exact")["probability"][:40] > 0.5
    assert certain.sum() >= 5
    assert right[certain].all()
    assert 0 < right.sum() < 40


def test_grading_texts_agrees_with_comparing_tokens(suite: pd.DataFrame) -> None:
    """Also for a model that writes nonsense, padding included."""
    batch = encode_problems(suite, SHAPE.vocabulary, None)
    agreed = 0.0
    for model in (base_model(), random_model(SHAPE, seed=1).requires_grad_(False)):
        rollouts = generate(
            model, batch.prompts, batch.prompt_lengths, answers=20, max_new_tokens=batch.answers.shape[1], end=EOS,
            temperature=1.0, generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        by_token = (rollouts.tokens == batch.answers[:, None]).all(-1).flatten().numpy()
        texts, _ = problems().vocabulary.decode(rollouts.tokens.flatten(0, 1).numpy())
        by_text = grade_exact(texts, suite["answer"].repeat(20), rollouts.finished.flatten().numpy())
        assert by_text.tolist() == by_token.astype(float).tolist()
        agreed += by_text.sum()
    assert agreed > 100


def test_batches_do_not_change_a_score(checkpoint: Path, suite: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluate(checkpoint, suite, SETTINGS)
    monkeypatch.setattr(local_module, "BATCH", 7)
    parts = evaluate(checkpoint, suite, SETTINGS)
    np.testing.assert_allclose(mode(parts, "exact")["probability"], mode(whole, "exact")["probability"], rtol=1e-4)
    assert mode(parts, "greedy").equals(mode(whole, "greedy"))
    assert len(parts) == len(whole)


def test_no_checkpoint_is_a_user_error(tmp_path: Path, suite: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="not a readable Qwen2 checkpoint"):
        evaluate(tmp_path, suite, SETTINGS)


def test_evaluators_are_found_by_name() -> None:
    assert isinstance(evaluator_named("local"), LocalEvaluator)
    assert isinstance(evaluator_named("vllm", Placement(gpus_per_node=1, reason="a test")), VllmEvaluator)
    with pytest.raises(UserError, match="evaluator vllm needs a placement"):
        evaluator_named("vllm")
    with pytest.raises(UserError, match=r"no evaluator 'vlm'; there are local and vllm.*did you mean vllm"):
        evaluator_named("vlm")
