"""The lint of training and test files: what it must find, on made-up files and on the published subsets."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlscale.tasks.parquet import read_problems
from rlscale.tasks.protocol_lint import Observation, lint_protocol

ASK = "You are a helpful assistant for mathematics. Think step by step."
STORIES = [
    f"{name} has {count} boxes of {thing}, sells {count // 2} at the market of {town} and buys {count + 3} more."
    for name in ("Ann", "Bo", "Cy", "Di", "Eve", "Fay", "Gus", "Hal", "Ida", "Jo")
    for count, thing, town in ((12, "red apples", "Rome"), (30, "old coins", "Kyoto"), (8, "wet bricks", "Lima"))
]


def problems(stories: Sequence[str], rates: Sequence[float | None]) -> pd.DataFrame:
    extra = [json.dumps({"extra_info": {"qwen2.5_7b_pass_rate": rate} if rate is not None else {}}) for rate in rates]
    return pd.DataFrame({"prompt": [f"{ASK}\n\n{story}" for story in stories], "extra": extra})


def found(
    train: Mapping[str, pd.DataFrame], suites: Mapping[str, pd.DataFrame], check: str, **options: Any
) -> list[Observation]:
    return [one for one in lint_protocol(train, suites, **options) if one.check == check]


def test_a_test_problem_that_is_trained_on_is_found_whatever_its_case_and_spaces() -> None:
    train = {"all": problems(STORIES[:20], [0.5] * 20)}
    clean, leaky = problems(STORIES[20:], [0.5] * 10), problems([STORIES[25], STORIES[3].upper() + "  "], [0.5] * 2)
    one, other = found(train, {"clean": clean, "leaky": leaky}, "overlap")
    assert (one.verdict, one.facts["rows"]) == ("ok", [])
    assert (other.verdict, other.facts["rows"], other.facts["problems"]) == ("warning", [1], 2)


def test_a_reworded_problem_is_a_near_duplicate_and_shared_instructions_are_none() -> None:
    long = " ".join(STORIES[4:8])
    train = {"all": problems([*STORIES[:12], long], [0.5] * 13)}
    suites = {"clean": problems(STORIES[15:], [0.5] * 15), "leaky": problems([long + " How many now?"], [0.5])}
    clean, leaky = found(train, suites, "near_duplicates")
    assert (clean.verdict, clean.facts["rows"]) == ("ok", [])
    assert (leaky.verdict, leaky.facts["rows"]) == ("warning", [0])
    (half,) = found(train, {"half": problems([" ".join(STORIES[6:10])], [0.5])}, "near_duplicates")
    assert half.verdict == "ok"  # the other half is another problem


def test_difficulty_is_compared_and_a_missing_rate_is_hard() -> None:
    train = {"all": problems(STORIES[:10], [0.9, 0.3, 0.29, None, 0.0, 0.1, 0.1, 0.1, 0.1, 0.1])}
    suites = {"same": problems(STORIES[10:20], [0.5] * 2 + [0.0] * 8), "easy": problems(STORIES[20:], [1.0] * 10)}
    same, easy = found(train, suites, "difficulty")
    assert same.facts["train_easy"] == pytest.approx(0.2)
    assert (same.verdict, same.facts["easy"]) == ("ok", pytest.approx(0.2))
    assert (easy.verdict, easy.facts["easy"]) == ("warning", pytest.approx(1.0))
    assert found(train, {"unknown": problems(STORIES[20:], [None] * 10)}, "difficulty") == []


def test_subsets_are_nested_or_not() -> None:
    whole, half = problems(STORIES, [0.5] * 30), problems(STORIES[:15], [0.5] * 15)
    other = problems([*STORIES[10:15], "A problem of its own."], [0.5] * 6)
    first, second = found({"whole": whole, "half": half, "other": other}, {}, "nesting")
    assert (first.facts["small"], first.verdict, first.facts["shared"]) == ("other", "warning", 5)
    assert (second.facts["small"], second.verdict) == ("half", "ok")


def test_an_order_from_easy_to_hard_is_a_curriculum() -> None:
    falling = [1 - index / 30 for index in range(30)]
    mixed = [falling[(7 * index) % 30] for index in range(30)]
    one, other = found({"sorted": problems(STORIES, falling), "mixed": problems(STORIES, mixed)}, {}, "curriculum")
    assert one.verdict == "warning"
    assert one.facts["rank_correlation"] == pytest.approx(-1)
    assert other.verdict == "ok"


def test_reuse_must_fill_the_samples_exactly() -> None:
    train = {"a": problems(STORIES[:10], [0.5] * 10), "b": problems(STORIES[:7], [0.5] * 7)}
    one, other = found(train, {}, "reuse", samples=100)
    assert (one.verdict, one.facts["tau"]) == ("ok", 10)
    assert (other.verdict, other.facts["tau"]) == ("warning", 14)
    assert found(train, {}, "reuse") == []


def test_the_published_subsets(reference_folder: Path) -> None:
    """GURU's subsets of the study: half of the 500 test problems are easy, 22.6 % of training; subsets are nested."""
    guru = reference_folder / "data" / "guru"
    names = ("math__sampled_1_25_2048", "math__sampled_1_50_1024", "math__sampled_1_100_512")
    train = {name: read_problems(guru / f"{name}.parquet") for name in names}
    test = {"test": read_problems(guru / "math__full_difficulty_ordered_test_500.parquet")}
    all_found = lint_protocol(train, test, samples=51_200)
    by_check = {check: [one for one in all_found if one.check == check] for check in {one.check for one in all_found}}
    (difficulty,) = by_check["difficulty"]
    assert difficulty.facts["easy"] == 0.5
    assert difficulty.facts["train"][names[0]] == pytest.approx(0.226, abs=0.0005)
    assert difficulty.facts["train_easy"] == pytest.approx(0.226, abs=0.001)
    assert [one.verdict for one in by_check["nesting"]] == ["ok", "ok"]
    assert [one.verdict for one in by_check["reuse"]] == ["ok"] * 3
    assert [one.facts["tau"] for one in by_check["reuse"]] == [25, 50, 100]
    assert [one.verdict for one in by_check["curriculum"]] == ["warning"] * 3
    assert [one.facts["rows"] for one in by_check["overlap"]] == [[]]


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = []
    for name, stories in (("train", STORIES[:20]), ("test", STORIES[18:24])):
        rows = [
            {
                "prompt": [{"role": "user", "content": story}],
                "reward_model": {"ground_truth": "1"},
                "data_source": "made up",
                "extra_info": {"qwen2.5_7b_pass_rate": 0.5},
            }
            for story in stories
        ]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
        paths.append(str(tmp_path / f"{name}.parquet"))
    return paths


def test_the_command_reads_files(run: Any, files: list[str]) -> None:
    code, out, _ = run("lint", "--train", files[0], "--suite", files[1], "--samples", "40")
    assert code == 0
    assert "WARNING overlap: 2 of 6 problems of test are training problems word for word (rows 0, 1)" in out
    assert "OK      reuse: train: 20 problems 2 times are 40 of 40 samples" in out
    shown = json.loads(run("lint", "--train", files[0], "--suite", files[1], "--json")[1])["observations"]
    assert {one["check"] for one in shown} == {"overlap", "near_duplicates", "difficulty"}


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        ((), "lint needs either a STUDY, or files"),
        (("mini", "--train", "x.parquet"), "lint needs either a STUDY, or files"),
        (("mini",), "task.kind is skills: only problems from files (parquet) can be linted"),
        (("paper-54",), "no such parquet file"),
        (("--train", "none.parquet"), "none.parquet: no such parquet file"),
        (("--train", "a/x.parquet", "--train", "b/x.parquet"), "files must differ in name"),
    ],
)
def test_bad_input_is_one_sentence(run: Any, argv: tuple[str, ...], error: str) -> None:
    code, out, err = run("lint", *argv)
    assert (code, out) == (2, "")
    assert error in err
    assert len(err.splitlines()) == 1
