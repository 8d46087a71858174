"""Grading of free-form answers: math-verify's verdicts, and what a hostile answer may not do."""

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest
from math_verify import parse, verify

from rlscale.errors import UserError
from rlscale.files import write_table, write_text
from rlscale.grading.judgement import Judgement
from rlscale.grading.pool import MathGrader
from rlscale.grading.rewards import math_rewards
from rlscale.paths import StudyPaths
from rlscale.stages.runs import grade

RIGHT = ("so the answer is $\\boxed{42}$.", "42")


@pytest.fixture(scope="module")
def grader() -> Iterator[MathGrader]:
    with MathGrader(deadline=20) as one:
        yield one


@pytest.fixture(params=["gsm8k", "math__math_500", "aime2024", "amc2023"])
def golds(request: pytest.FixtureRequest, reference_folder: Path) -> list[str]:
    """Return the golds of a real suite."""
    path = reference_folder / "data" / "guru" / f"{request.param}.parquet"
    return [str(row["ground_truth"]) for row in pq.read_table(path)["reward_model"].to_pylist()][:150]


@pytest.mark.parametrize(
    ("answer", "gold", "verdict"),
    [
        ("We get \\boxed{\\frac{1}{2}}", "0.5", "correct"),
        ("We get \\boxed{\\dfrac12}", "\\frac{1}{2}", "correct"),
        ("\\frac{1}{2}", "1/2", "correct"),
        ("$x = 3$ or so; finally \\boxed{4}", "4", "correct"),
        ("First \\boxed{3}, no: \\boxed{4}", "3", "wrong"),
        ("The answer is 1,234.", "1234", "correct"),
        ("\\boxed{(1, 2)}", "(1,2)", "correct"),
        ("\\boxed{(1, 2)}", "(2,1)", "wrong"),
        ("\\boxed{\\{3, 1\\}}", "\\{1, 3\\}", "correct"),
        ("\\boxed{x^2 + 2x + 1}", "(x+1)^2", "correct"),
        ("\\boxed{\\text{Evelyn}}", "\\text{Evelyn}", "correct"),
        ("\\$36", "36", "correct"),
        ("\\$36", "\\$36", "correct"),
        ("2k", "2", "wrong"),
        ("2k", "2k", "correct"),
        ("5 dollars", "5", "correct"),
        ("\\begin{pmatrix} -2 \\\\ 7 \\end{pmatrix}", "\\begin{pmatrix} -2 \\\\ 7 \\end{pmatrix}", "correct"),
        ("p - q", "-q + p", "correct"),
        ("\\text{Evelyn}", "\\text{Evelyn}", "correct"),
        ("It cannot be done", "4", "wrong"),
        ("", "4", "wrong"),
        ("42 " * 100_000 + "\\boxed{7}", "7", "correct"),
    ],
)
def test_answers_that_mean_the_gold_are_right(grader: MathGrader, answer: str, gold: str, verdict: str) -> None:
    assert grader.grade([answer], [gold])[0].verdict == verdict


def test_verdicts_come_in_order_with_reasons(grader: MathGrader) -> None:
    answers = [f"\\boxed{{{number}}}" for number in range(40)]
    found = grader.grade([*answers, "no idea"], [str(number // 2 * 2) for number in range(40)] + ["1"])
    assert [one.verdict for one in found[:-1]] == ["correct", "wrong"] * 20
    assert found[0] == Judgement("correct", "equal to the gold")
    assert found[1] == Judgement("wrong", "not equal to the gold")
    assert found[-1].verdict == "wrong"
    assert grader.grade([""], ["1"]) == [Judgement("wrong", "no answer found")]
    assert grader.grade([], []) == []
    with pytest.raises(ValueError, match="2 answers, 1 golds"):
        grader.grade(["1", "2"], ["1"])


def test_a_gold_that_says_nothing_gives_no_verdict(grader: MathGrader) -> None:
    assert grader.grade(["\\boxed{1}"], [""])[0] == Judgement("no_verdict", "the gold cannot be read as mathematics")


def test_real_golds_equal_themselves_boxed_and_bare(grader: MathGrader, golds: list[str]) -> None:
    for answers in ([f"Therefore \\boxed{{{gold}}}." for gold in golds], golds):
        verdicts = [one.verdict for one in grader.grade(answers, golds)]
        assert verdicts.count("correct") >= 0.995 * len(golds)


def test_shuffled_golds_get_the_verdict_of_math_verify(grader: MathGrader, golds: list[str]) -> None:
    answers = [f"\\boxed{{{gold}}}" for gold in random.Random(0).sample(golds, len(golds))]
    expected = [verify(parse(f"\\boxed{{{gold}}}"), parse(answer)) for gold, answer in zip(golds, answers, strict=True)]
    assert [one.verdict == "correct" for one in grader.grade(answers, golds)] == expected


@pytest.fixture(scope="module")
def strict() -> Iterator[MathGrader]:
    """Return a grader of one process with a short deadline, which every hostile answer meets in turn."""
    with MathGrader(workers=1, deadline=3) as one:
        yield one


@pytest.mark.parametrize(
    "answer",
    [
        "9^{9^{9^{9}}}",
        "\\boxed{9^{9^{9^{9}}}}",
        "\\boxed{" * 100_000 + "1" + "}" * 100_000,
        "{" * 100_000,
        "x" * 3_000_000,
        "\\boxed{" + "7" * 1_000_000 + "}",
        "\0\0",
        "\\x00",
        "\\boxed{\0}",
        "\\boxed{٤٢}",
        "\\boxed{\\sum_{n=1}^{\\infty} \\sin(n!)}",
        "\\boxed{" + "\\frac{1}{" * 150 + "2" + "}" * 150 + "}",
        "\\boxed{" + "\\frac{1}{" * 3_000 + "2" + "}" * 3_000 + "}",
        "(" * 50_000,
        "$" * 20_000,
        "1+" * 20_000 + "1",
        "\\boxed{99999999!}",
        "\ud800",
        '"}\n{"answer": "42", "gold": "42"}',
    ],
    ids=lambda answer: ascii(answer[:25]),
)
def test_a_hostile_answer_costs_its_own_verdict_only(strict: MathGrader, answer: str) -> None:
    hostile, after = strict.grade([answer, RIGHT[0]], ["42", RIGHT[1]])
    assert hostile.verdict in ("wrong", "no_verdict")
    assert after.verdict == "correct"


@pytest.mark.parametrize("form", ["{}", "\\boxed{{{}}}", "${}$", "1+{}", "\\text{{{}}}"])
def test_nothing_in_an_answer_is_executed(grader: MathGrader, tmp_path: Path, form: str) -> None:
    mark = tmp_path / "executed"
    for code in (f"__import__('os').system('touch {mark}')", f"open('{mark}','w')", f"exec(\"open('{mark}','w')\")"):
        assert grader.grade([form.format(code)], ["42"])[0].verdict != "correct"
    assert not mark.exists()


def test_an_answer_gets_its_deadline_and_no_more() -> None:
    with MathGrader(workers=1, deadline=1) as quick:
        assert quick.grade(["\\boxed{9^{9^{9^{9}}}}"], ["42"])[0] == Judgement("no_verdict", "no verdict within 1 s")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Return what makes graders import another math-verify, given its `parse`."""

    def install(parse: str) -> None:
        names = "ExprExtractionConfig = LatexExtractionConfig = lambda **options: None"
        (tmp_path / "math_verify.py").write_text(f"{names}\nverify = lambda *ones, **options: True\n{parse}\n")
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")

    return install


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("bytearray(10**10)", "needs more than 700 MiB"),
        ("parse(answer)", "nested too deeply"),
        ("__import__('os')._exit(1)", "the grader died of it"),
        ("__import__('os').kill(__import__('os').getpid(), 11)", "the grader died of it"),
    ],
)
def test_what_bursts_or_dies_gets_no_verdict(stand_in: Callable[[str], None], body: str, reason: str) -> None:
    stand_in(f"parse = lambda answer, *rest, **options: {body} if 'evil' in answer else [answer]")
    with MathGrader(workers=1, memory_mib=700) as one:
        found = one.grade(["good", "evil", "good"], ["1", "1", "1"])
    assert [each.verdict for each in found] == ["correct", "no_verdict", "correct"]
    assert found[1].reason == reason


def test_what_a_parser_prints_is_no_verdict(stand_in: Callable[[str], None]) -> None:
    stand_in("def parse(answer, *rest, **options):\n    print('{}', flush=True)\n    return [answer]")
    with MathGrader(workers=1) as one:
        assert one.grade(["1"], ["1"]) == [Judgement("correct", "equal to the gold")]


def test_no_process_is_left_behind() -> None:
    before = _children()
    with MathGrader(workers=2, deadline=1) as one:
        one.grade([RIGHT[0], "\\boxed{9^{9^{9^{9}}}}"], [RIGHT[1], "1"])
        own = _children() - before
        assert own
    assert not own & _children()


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def test_a_grader_that_cannot_start_says_so(stand_in: Callable[[str], None]) -> None:
    stand_in("raise ImportError('math-verify is broken here')")
    with pytest.raises(UserError, match="the grader does not start: ImportError: math-verify is broken here"):
        MathGrader(workers=1)


def test_the_command_grades_a_file_in_order(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    rows = [{"answer": "\\boxed{1}", "gold": "1"}, {"answer": "\\boxed{1}", "gold": 2}, {"answer": "", "gold": "3"}]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    code, out, err = run("grade", str(path))
    assert code == 0
    assert [line.split("\t")[0] for line in out.splitlines()] == ["correct", "wrong", "wrong"]
    assert "3 answers: 1 correct, 2 wrong, 0 no_verdict" in err
    found = json.loads(run("grade", str(path), "--json")[1])
    assert found["counts"] == {"correct": 1, "wrong": 2}
    assert found["rows"][2] == {"verdict": "wrong", "reason": "no answer found"}


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("{", "answers.jsonl:2: not JSON"),
        ("[" * 100_000, "answers.jsonl:2: not JSON"),
        ("[1]", 'answers.jsonl:2: each line must be an object with "answer" and "gold", got [1]'),
        ('{"answer": "1", "golds": "1"}', "answers.jsonl:2: no gold; it has answer, golds; did you mean gold?"),
        ('{"answer": 1, "gold": "1"}', "answers.jsonl:2: answer must be a text, got 1"),
        ('{"answer": "1", "gold": null}', "answers.jsonl:2: gold must be a text or a number, got null"),
    ],
)
def test_a_bad_line_is_named(run: Any, tmp_path: Path, line: str, error: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"answer": "1", "gold": "1"}\n' + line + "\n")
    code, out, err = run("grade", str(path))
    assert (code, out) == (2, "")
    assert error in err
    assert len(err.splitlines()) == 1
    assert run("grade", str(tmp_path / "none.jsonl"))[0] == 2


def test_rewards_are_one_zero_or_none_and_a_cut_off_answer_earns_nothing() -> None:
    answers, golds = ["\\boxed{1}", "\\boxed{2}", "\\boxed{1}", "\\boxed{1}"], ["1", "1", "", "1"]
    assert math_rewards(answers, golds, [True, True, True, False]).tolist() == pytest.approx(
        [1, 0, float("nan"), 0], nan_ok=True
    )
    with pytest.raises(ValueError, match="finished has shape"):
        math_rewards(answers, golds, [True])


def test_the_job_grades_texts_by_meaning_and_counts_what_has_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = StudyPaths("any")
    write_text(paths.cell("run"), json.dumps({"identity": {"task": {"kind": "parquet"}}}))
    suite = pd.DataFrame({"suite": "math500", "answer": ["1/2", "4", ""]})
    answers = pd.DataFrame(
        {
            "step": 8,
            "suite": "math500",
            "mode": "sampled",
            "problem": [0, 0, 1, 2],
            "answer": ["\\boxed{\\frac{1}{2}}", "\\boxed{2}", "so \\boxed{4.0}", "\\boxed{4}"],
            "finished": True,
            "probability": np.nan,
        }
    )
    write_table(suite, paths.suites)
    write_table(answers, paths.rollouts("run"))
    grade("any", "run")
    (row,) = pd.read_parquet(paths.scores("run")).to_dict("records")
    assert row["score"] == pytest.approx((0.5 + 1) / 2)
    assert (row["problems"], row["samples"], row["no_verdict"]) == (2, 4, 1)
