"""What every evaluator must do, whatever it answers with; a subclass gives the evaluator and a checkpoint."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rlscale.evaluators import EvaluationSettings, Evaluator
from rlscale.rewards import grade_exact
from tests.tiny import pool, problems

COLUMNS = ["problem", "mode", "sample", "answer", "finished", "probability", "suite"]
SETTINGS = EvaluationSettings(temperature=1.0, samples=3, greedy=True, exact=False, sampled_problems=40, seed=0)
SIZES = {"heldout": 50, "long": 30}


def suites() -> pd.DataFrame:
    """Return two suites of different lengths."""
    tables = [
        pool().head(SIZES["heldout"]).assign(suite="heldout"),
        problems().suite("long", SIZES["long"], 0).assign(suite="long"),
    ]
    return pd.concat(tables, ignore_index=True)


class EvaluatorProtocol:
    """The tests; a subclass has the fixtures ``evaluator`` and ``checkpoint``, both for the class."""

    @pytest.fixture(scope="class")
    @classmethod
    def rollouts(cls, evaluator: Evaluator, checkpoint: Path) -> pd.DataFrame:
        """Return the answers that most tests look at."""
        return evaluator.evaluate(checkpoint, suites(), SETTINGS)

    def test_there_is_a_row_for_each_answer(self, rollouts: pd.DataFrame) -> None:
        assert list(rollouts) == COLUMNS
        counts = {name: min(size, SETTINGS.sampled_problems) for name, size in SIZES.items()}
        for name, count in counts.items():
            one = rollouts[rollouts["suite"] == name]
            sampled, greedy = (one[one["mode"] == mode] for mode in ("sampled", "greedy"))
            assert sampled["problem"].tolist() == [place for place in range(count) for _ in range(3)]
            assert sampled["sample"].tolist() == [0, 1, 2] * count
            assert greedy["problem"].tolist() == list(range(count))
        assert set(rollouts["mode"]) == {"sampled", "greedy"}
        assert rollouts["probability"].isna().all()
        assert rollouts["answer"].notna().all()

    def test_the_same_seed_gives_the_same_answers(
        self, evaluator: Evaluator, checkpoint: Path, rollouts: pd.DataFrame
    ) -> None:
        same, other = (evaluator.evaluate(checkpoint, suites(), replace(SETTINGS, seed=seed)) for seed in (0, 1))
        pd.testing.assert_frame_equal(rollouts, same, check_exact=True)
        is_greedy = rollouts["mode"] == "greedy"
        assert rollouts["answer"][is_greedy].equals(other["answer"][is_greedy])
        assert not rollouts["answer"][~is_greedy].equals(other["answer"][~is_greedy])

    def test_samples_of_a_problem_differ(self, rollouts: pd.DataFrame) -> None:
        sampled = rollouts[rollouts["mode"] == "sampled"]
        different = sampled.groupby(["suite", "problem"])["answer"].nunique()
        assert (different > 1).any()

    def test_answers_that_do_not_fit_are_not_finished(self, evaluator: Evaluator, checkpoint: Path) -> None:
        one = suites().query("suite == 'heldout'").head(8)
        cut = evaluator.evaluate(checkpoint, one, replace(SETTINGS, greedy=False, max_new_tokens=2))
        assert cut["answer"].str.split().str.len().max() <= 2
        assert set(cut["finished"]) <= {True, False}
        assert (cut.loc[~cut["finished"], "answer"].str.split().str.len() == 2).all()


def greedy_agreement(one: pd.DataFrame, other: pd.DataFrame) -> float:
    """Return the share of problems to which two evaluators give the same greedy answer."""
    keys = ["suite", "problem"]
    answers = [
        table[table["mode"] == "greedy"].set_index(keys)["answer"].str.split().str.join(" ").sort_index()
        for table in (one, other)
    ]
    assert answers[0].index.equals(answers[1].index)
    return float((answers[0] == answers[1]).mean())


def share_right(rollouts: pd.DataFrame, asked: pd.DataFrame, mode: str) -> float:
    """Return the share of the answers of a mode that are right."""
    golds = {name: table["answer"].to_numpy() for name, table in asked.groupby("suite")}
    rows = rollouts[rollouts["mode"] == mode]
    truths = [golds[suite][place] for suite, place in zip(rows["suite"], rows["problem"], strict=True)]
    return float(np.mean(grade_exact(rows["answer"].tolist(), truths, rows["finished"])))
