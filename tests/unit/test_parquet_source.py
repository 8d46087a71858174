"""Problems from verl-style parquet files: made ones, broken ones, and the real ones of the reference folder."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlscale.errors import UserError
from rlscale.task_spec import ParquetTask
from rlscale.tasks import ParquetProblems, load_task
from rlscale.tasks.parquet import read_problems


def row(question: str, truth: object = "1", **more: object) -> dict[str, object]:
    return {
        "data_source": "made",
        "prompt": [{"role": "user", "content": question}],
        "reward_model": {"ground_truth": truth, "style": "rule"},
        **more,
    }


def write(path: Path, rows: list[dict[str, object]]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


def task(tmp_path: Path, train: list[dict[str, object]], suite: list[dict[str, object]]) -> ParquetProblems:
    train_file, suite_file = write(tmp_path / "train.parquet", train), write(tmp_path / "suite.parquet", suite)
    return ParquetProblems(ParquetTask(kind="parquet", train=[train_file], suites={"quiz": suite_file}))


def test_a_row_becomes_a_problem_with_all_it_had(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}]
    extra = {"index": 7, "pass_rate": float("nan")}
    path = write(tmp_path / "a.parquet", [row("", " 2", extra_info=extra) | {"prompt": messages}])
    (problem,) = read_problems(Path(path)).to_dict("records")
    assert len(problem.pop("problem")) == 16
    assert json.loads(problem.pop("extra")) == {"messages": messages, "extra_info": {"index": 7, "pass_rate": None}}
    assert problem == {"family": "made", "prompt": "Be brief.\n\n1 + 1?", "answer": " 2"}


def test_extra_info_may_be_absent_and_a_truth_may_be_a_number(tmp_path: Path) -> None:
    table = read_problems(Path(write(tmp_path / "key=value" / "a.parquet", [row("one", 1), row("two", 2)])))
    assert table["answer"].tolist() == ["1", "2"]
    assert table["problem"].is_unique


def test_training_keeps_the_order_of_the_files_and_drops_what_a_suite_asks(tmp_path: Path) -> None:
    source = task(tmp_path, [row(q) for q in ("c", "a", "x  y", "a", "b")], [row("x y"), row("z")])
    assert source.train(["chain"], 1.0, 0, 3)["prompt"].tolist() == ["c", "a", "b"]
    assert source.train(["chain"], 1.0, 0, 2).equals(source.train(["chain"], 1.0, 1, 3).head(2))
    assert source.dropped[["prompt", "reason"]].to_numpy().tolist() == [
        ["x  y", "part of the suite quiz"],
        ["a", "repeats an earlier row"],
    ]
    with pytest.raises(UserError, match=r"4 training problems are asked for, but .* hold 3 \(2 more were dropped"):
        source.train(["chain"], 1.0, 0, 4)
    with pytest.raises(UserError, match="skill_share must be 1"):
        source.train(["chain"], 0.5, 0, 1)


def test_a_suite_is_drawn_without_repeats_and_its_first_rows_are_fixed(tmp_path: Path) -> None:
    source = task(tmp_path, [row("t")], [row(str(i)) for i in range(50)])
    whole = source.suite("quiz", 8192, 0)
    assert sorted(whole["prompt"], key=int) == [str(i) for i in range(50)]
    assert source.suite("quiz", 10, 0).equals(whole.head(10))
    assert source.suite("quiz", 10, 1)["prompt"].tolist() != whole["prompt"].head(10).tolist()
    with pytest.raises(UserError, match=r"unknown suite 'quizz': allowed are quiz; did you mean quiz\?"):
        source.suite("quizz", 1, 0)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prompt": "hi"}], "has no column reward_model, data_source; it has prompt"),
        ([row("a"), row("b", None)], "row 1: reward_model.ground_truth must be a text or a number, got None"),
        ([row("a", "  ")], "row 0: reward_model.ground_truth"),
        ([row("a") | {"reward_model": "rule"}], "row 0: reward_model.ground_truth"),
        ([row("a") | {"prompt": "a"}], "row 0: prompt must be a list of messages with role and content, got 'a'"),
        ([row(" ")], "row 0: prompt must be a list"),
        ([row("a") | {"prompt": [{"role": "user"}]}], "row 0: prompt must be a list"),
        ([row("a") | {"data_source": None}], "row 0: data_source must be a text"),
    ],
)
def test_a_file_in_another_layout_is_refused(tmp_path: Path, rows: list[dict[str, object]], message: str) -> None:
    path = write(tmp_path / "bad.parquet", rows)
    with pytest.raises(UserError, match=message) as error:
        read_problems(Path(path))
    assert path in str(error.value)


def test_a_missing_a_broken_and_an_empty_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such parquet file"):
        load_task(ParquetTask(kind="parquet", train=[str(tmp_path / "no.parquet")], suites={"quiz": "no.parquet"}))
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"not a parquet file")
    with pytest.raises(UserError, match="cannot be read as a parquet file"):
        read_problems(broken)
    empty = tmp_path / "empty.parquet"
    pq.write_table(pa.Table.from_pylist([row("a")]).slice(0, 0), empty)
    with pytest.raises(UserError, match="has no rows"):
        read_problems(empty)


def test_every_real_file_is_read_whole(reference_folder: Path) -> None:
    files = sorted((reference_folder / "data" / "guru").glob("*.parquet"))
    assert files
    for file in files:
        table = read_problems(file)
        assert len(table) == pq.read_metadata(file).num_rows
        assert table["problem"].is_unique
        assert (table[["family", "prompt", "answer"]].map(str.strip) != "").all(axis=None)
        raw = pq.read_table(file, columns=["prompt", "reward_model"]).slice(len(table) - 1, 1).to_pylist()[0]
        last = table.iloc[-1]
        assert (last["prompt"], last["answer"]) == (raw["prompt"][0]["content"], raw["reward_model"]["ground_truth"])


def test_real_suites_are_taken_out_of_real_training_files(reference_folder: Path) -> None:
    folder = reference_folder / "data" / "guru"
    train, suite = folder / "math__sampled_1_25_2048.parquet", folder / "amc2023.parquet"
    source = ParquetProblems(ParquetTask(kind="parquet", train=[str(train)], suites={"amc": str(suite)}))
    # One question of the 2,048 is word for word in AMC 2023 (counted on the files themselves).
    assert source.dropped["reason"].tolist() == ["part of the suite amc"]
    assert len(source.train(["math"], 1.0, 0, 2047)) == 2047
