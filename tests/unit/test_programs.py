"""The task of small programs: its interpreter by hand-worked examples, its configuration, goldens and errors."""

import re
from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from tests.tiny import SHAPE, STAGE, silent

from rlscale.errors import UserError
from rlscale.models.supervised import new_model, train_on_corpus
from rlscale.task_spec import ProgramsTask, TaskSpec
from rlscale.tasks import ProgramProblems, load_task, make_problems
from rlscale.tasks.interpreter import Action, Guard, Line, all_strings, run, string_numbers

ADAPTER: TypeAdapter[ProgramsTask] = TypeAdapter(TaskSpec)


def line(action: Action, guard: Guard = "always", letter: int = 3) -> Line:
    return Line(guard=guard, letter=letter, action=action, place=0, other=2, written=1)


def result(*program: Line, of: str, step_limit: int = 12) -> str:
    strings = np.array([[int(letter) for letter in of]])
    return "".join(map(str, run(program, strings, 4, step_limit)[0]))


# --- interpreter


@pytest.mark.parametrize(
    ("action", "before", "after"),
    [
        ("rotate", "023", "230"),
        ("reverse", "023", "320"),
        ("swap", "023", "320"),
        ("copy", "023", "323"),
        ("put", "023", "123"),
        ("raise", "323", "023"),
        ("replace", "313", "111"),  # the guard's letter 3 becomes 1
    ],
)
def test_each_action_by_hand(action: Action, before: str, after: str) -> None:
    assert result(line(action), of=before) == after


def test_a_guard_looks_at_the_first_letter() -> None:
    assert result(line("raise", "if", 2), of="200") == "300"
    assert result(line("raise", "if", 2), of="020") == "020"
    assert result(line("raise", "until", 2), of="300") == "200"  # 3 to 0 to 1 to 2
    assert result(line("raise", "until", 2), of="200") == "200"


def test_lines_follow_one_another() -> None:
    assert result(line("rotate"), line("raise"), line("reverse"), of="012") == "022"  # 120, 220, 022


def test_a_run_out_of_steps_halts_with_the_string_as_it_stands() -> None:
    never = line("rotate", "until", 3)
    assert [result(never, of="012", step_limit=limit) for limit in (1, 2, 3, 4)] == ["120", "201", "012", "120"]
    assert result(never, line("put"), of="012", step_limit=4) == "120"  # no step is left for the second line
    assert result(never, line("put"), of="302", step_limit=4) == "102"


def test_each_string_has_steps_of_its_own() -> None:
    strings = np.array([[0, 1, 2], [0, 0, 3]])
    assert run((line("rotate", "until", 3), line("put")), strings, 4, 4).tolist() == [[1, 2, 0], [1, 0, 0]]
    assert strings.tolist() == [[0, 1, 2], [0, 0, 3]]  # the input is left as it was


def test_strings_are_numbered_in_their_order() -> None:
    strings = all_strings(3, 2)
    assert strings[:4].tolist() == [[0, 0], [0, 1], [0, 2], [1, 0]]
    assert string_numbers(strings, 3).tolist() == list(range(9))


# --- configuration


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"letters": 11}, "less than or equal to 10"),
        ({"step_limit": 0}, "greater than or equal to 1"),
        ({"string_length": 2, "fact_letters": 3}, "fact_letters must not exceed string_length (2)"),
        ({"corpus": {"chain": 0.5, "sum": 0.5}}, "corpus names the family sum; the task has chain, long"),
        ({"reliability": [0.9, 0.1]}, "low <= high"),
        ({"steps": 3}, "Extra inputs"),
    ],
)
def test_a_wrong_task_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        ADAPTER.validate_python({"kind": "programs", **values})


def test_a_task_survives_json() -> None:
    spec = ADAPTER.validate_python({"kind": "programs", "letters": 5, "reliability": [0.2, 0.8]})
    assert ADAPTER.validate_json(spec.model_dump_json()) == spec


def test_more_routines_than_there_are_functions_are_refused() -> None:
    spec = ProgramsTask(kind="programs", letters=2, string_length=2, lines=1, operators=20)
    with pytest.raises(UserError, match=r"only \d+ of 20 different routines were found: lower operators, or raise"):
        ProgramProblems(spec)


# --- problems


@pytest.fixture(scope="module")
def source() -> ProgramProblems:
    return ProgramProblems(ProgramsTask(kind="programs"))


def test_golden_problems() -> None:  # a change here changes the study's data and with it every result
    task = ProgramProblems(ProgramsTask(kind="programs"))
    table = task.train(["chain", "long"], 1.0, 0, 3)
    assert table[["problem", "prompt", "answer"]].to_numpy().tolist() == [
        ["38e6324e2c6f9166", "2 1 2 f19 f7 f0 =", "2 1 2 2 2 1 1 2 2"],
        ["de90bd08572f3a71", "1 2 0 f24 f30 =", "0 2 0 2 1 0"],
        ["16c1678a53f86908", "0 2 0 f21 f0 =", "0 0 2 1 1 2"],
    ]
    assert task.suite("heldout", 2, 0)["prompt"].tolist() == ["1 1 1 f8 f1 =", "3 1 0 f0 f19 ="]
    tokens, _ = next(task.corpus(0, 4, 1, format_noise=0.1))
    assert task.vocabulary.decode(tokens)[0][1:] == [
        "2 0 2 f4 f40 = 0 2 2 3 2 0",
        "2 0 1 f0 f1 = 1 0 2 2 0 1",
        "1 3 0 f54 f17 = 3 0 1 3 1 0 1",
    ]


def test_load_task_makes_the_source_of_a_spec() -> None:
    assert isinstance(load_task(ProgramsTask(kind="programs", operators=4)), ProgramProblems)
    assert isinstance(make_problems(ProgramsTask(kind="programs", operators=4)), ProgramProblems)


def test_suites_and_families_are_the_chains_only(source: ProgramProblems) -> None:
    with pytest.raises(UserError, match="unknown suite 'sum': allowed are heldout, long"):
        source.suite("sum", 1, 0)
    with pytest.raises(UserError, match="unknown family 'equation': allowed are chain, long"):
        source.train(["equation"], 1.0, 0, 1)


def test_a_decoder_learns_from_the_corpus() -> None:
    task = ProgramProblems(ProgramsTask(kind="programs", operators=4, fact_letters=0, reliability=(1.0, 1.0)))
    model = new_model(replace(SHAPE, vocabulary=len(task.vocabulary)), seed=0)
    loss = train_on_corpus(model, task, STAGE, seed=0, instruct=True, report=silent)
    assert loss < 6 / 7 * np.log(4)  # six letters guessed blindly, and an end that is sure


def test_format_noise_is_a_letter_of_the_alphabet(source: ProgramProblems) -> None:
    last = np.concatenate([tokens[:, -1] for tokens, _ in source.corpus(0, 128, 20, format_noise=0.25)])
    words = np.array(source.vocabulary.words)[last]
    assert set(words) == {"<eos>", "0", "1", "2", "3"}
    assert np.mean(words != "<eos>") == pytest.approx(0.25, abs=0.04)
