"""What data reuse keeps of a pool, in which order it is gone through, and the curriculum by pass rate."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from tests.unit.test_parquet_source import row, write

from rlscale.task_spec import ParquetTask
from rlscale.tasks import ParquetProblems
from rlscale.tasks.subsets import subset
from rlscale.trainers.order import order_seed, problems_of_run

POOL = pd.DataFrame({"problem": [f"p{i:04d}" for i in range(1000)]})


def names(count: int, how: str, tau: int, seed: int = 0) -> list[str]:
    kept = subset(POOL, count, how, tau=tau, seed=seed)  # type: ignore[arg-type]
    assert kept["problem"].is_monotonic_increasing  # the pool's order
    assert kept.index.tolist() == list(range(count))
    return kept["problem"].tolist()


def test_the_first_are_the_first() -> None:
    assert names(20, "first", 50) == POOL["problem"].tolist()[:20]


def test_nested_samples_are_nested_and_of_the_whole_pool() -> None:
    kept = {tau: names(1000 // tau, "nested", tau) for tau in (2, 5, 10, 50)}
    for smaller, larger in ((50, 10), (10, 5), (5, 2)):
        assert set(kept[smaller]) < set(kept[larger])
    places = [int(name[1:]) for name in kept[10]]
    assert 400 < np.mean(places) < 600
    assert kept[10] == names(100, "nested", 10)
    assert kept[10] != names(100, "nested", 10, seed=1)


def test_independent_samples_share_what_chance_shares() -> None:
    small, large = set(names(100, "independent", 10)), set(names(500, "independent", 2))
    assert 30 < len(small & large) < 70  # 50 expected
    assert sorted(small) == names(100, "independent", 10)


def test_a_curriculum_is_kept_in_every_epoch() -> None:
    seed = order_seed({"task": {"curriculum": True}, "seed": 0})
    assert seed is None
    assert problems_of_run(5, prompts=2, unique=4, seed=seed).tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    shuffled = order_seed({"task": {"kind": "parquet", "curriculum": False}, "seed": 0})
    again = problems_of_run(50, prompts=2, unique=50, seed=shuffled).reshape(2, 50)
    assert not (again[0] == again[1]).all()
    assert (np.sort(again) == np.arange(50)).all()


def test_training_goes_from_easy_to_hard_and_a_missing_rate_is_hard(tmp_path: Path) -> None:
    rates = [0.5, None, 0.9, 0.5, 0.0, float("nan")]
    rows = [row(f"problem {i}", extra_info={"rate": rate}) for i, rate in enumerate(rates)]
    train, suite = write(tmp_path / "train.parquet", rows), write(tmp_path / "quiz.parquet", [row("asked")])
    values = {"kind": "parquet", "train": [train], "suites": {"quiz": suite}}
    sorted_task = ParquetTask.model_validate({**values, "pass_rate": "rate", "curriculum": True})
    assert prompts(sorted_task) == [f"problem {i}" for i in (2, 0, 3, 1, 4, 5)]
    assert prompts(ParquetTask.model_validate(values)) == [f"problem {i}" for i in range(6)]
    with pytest.raises(ValidationError, match="curriculum needs pass_rate"):
        ParquetTask.model_validate({**values, "curriculum": True})


def prompts(task: ParquetTask) -> list[str]:
    table = ParquetProblems(task).train((), 1.0, 0, 6)
    return [str(prompt) for prompt in table["prompt"]]
