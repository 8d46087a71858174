"""What must hold for small programs of any seed: they do what they say, and their problems never leak."""

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlscale.task_spec import ProgramsTask
from rlscale.tasks import ProgramProblems
from rlscale.tasks.interpreter import ACTIONS, GUARDS, Line, Program, all_strings, run

seeds = st.integers(0, 2**40)


def programs(seed: int, **values: object) -> ProgramProblems:
    return ProgramProblems(ProgramsTask.model_validate({"kind": "programs", "seed": seed, **values}))


@cache
def halted(program: Program, text: str, letters: int, steps: int) -> str:
    """Run one program on one text, letter by letter: the same machine, written a second time."""
    for line in program:
        while True:
            if steps == 0:
                return text
            found = text[0] == str(line.letter)
            if (line.guard == "if" and not found) or (line.guard == "until" and found):
                break
            text = acted(line, text, letters)
            steps -= 1
            if line.guard != "until":
                break
    return text


def acted(line: Line, text: str, letters: int) -> str:
    before, here, after = text[: line.place], text[line.place], text[line.place + 1 :]
    swapped = list(text)
    swapped[line.place], swapped[line.other] = swapped[line.other], swapped[line.place]
    return {
        "rotate": text[1:] + text[0],
        "reverse": "".join(reversed(text)),
        "swap": "".join(swapped),
        "copy": before + text[line.other] + after,
        "put": f"{before}{line.written}{after}",
        "raise": f"{before}{(int(here) + 1) % letters}{after}",
        "replace": text.replace(str(line.letter), str(line.written)),
    }[line.action]


@st.composite
def machines(draw: st.DrawFn) -> tuple[Program, int, int, int]:
    letters, length = draw(st.integers(2, 5)), draw(st.integers(2, 4))
    letter, place = st.integers(0, letters - 1), st.integers(0, length - 1)
    line = st.builds(
        Line,
        guard=st.sampled_from(GUARDS),
        letter=letter,
        action=st.sampled_from(ACTIONS),
        place=place,
        other=place,
        written=letter,
    )
    return tuple(draw(st.lists(line, max_size=5))), letters, length, draw(st.integers(1, 15))


@given(machines())
def test_the_interpreter_does_what_a_plain_one_does(machine: tuple[Program, int, int, int]) -> None:
    program, letters, length, limit = machine
    strings = all_strings(letters, length)
    results = run(program, strings, letters, limit)
    for before, after in zip(strings.tolist(), results.tolist(), strict=True):
        assert halted(program, "".join(map(str, before)), letters, limit) == "".join(map(str, after))


@settings(max_examples=6, deadline=None)
@given(seed=seeds, letters=st.integers(3, 5), lines=st.integers(2, 4))
def test_routines_are_different_functions_and_so_are_their_twins(seed: int, letters: int, lines: int) -> None:
    task = programs(seed, letters=letters, lines=lines, operators=12)
    texts = ["".join(map(str, string)) for string in all_strings(letters, 3).tolist()]
    tables = [[halted(routine.program, text, letters, 12) for text in texts] for routine in task.routines]
    assert len({tuple(table) for table in tables}) == len(task.routines) == 12
    for routine, table in zip(task.routines, tables, strict=True):
        assert sum(left != right for left, right in zip(routine.program, routine.twin, strict=True)) == 1
        assert sum(left != right for left, right in zip(table, texts, strict=True)) >= len(texts) / 2
        assert len(set(table)) >= len(texts) / 2
        wrong = [halted(routine.twin, text, letters, 12) for text in texts]
        assert sum(left != right for left, right in zip(table, wrong, strict=True)) >= len(texts) / 2


def chain_steps(prompt: str, answer: str) -> Iterator[tuple[int, str, str]]:
    """Yield (operator, string in, string out) of every step that a chain's text shows."""
    words = prompt.removesuffix(" =").split()
    text, shown = "".join(words[:3]), answer.replace(" ", "")
    for i, operator in enumerate(words[3:]):
        result = shown[3 * i : 3 * i + 3]
        yield int(operator.removeprefix("f")), text, result
        text = result
    assert len(shown) == 3 * len(words[3:])


@settings(max_examples=10, deadline=None)
@given(seed=seeds, step_limit=st.integers(1, 12))
def test_every_answer_is_what_its_routines_make_of_the_string(seed: int, step_limit: int) -> None:
    task = programs(seed, operators=12, step_limit=step_limit)
    tables = [task.train(["chain", "long"], 1.0, seed, 300), task.suite("long", 100, seed)]
    for table in tables:
        for prompt, answer in zip(table["prompt"], table["answer"], strict=True):
            for operator, text, result in chain_steps(prompt, answer):
                assert halted(task.routines[operator].program, text, 4, step_limit) == result


@settings(max_examples=6, deadline=None)
@given(seed=seeds)
def test_no_training_problem_contains_a_held_out_one(seed: int) -> None:
    task = programs(seed, operators=3, operator_exponent=0.0, corpus={"chain": 0.6, "long": 0.4})  # 576 chains
    held_out = set(task.suite("heldout", 4000, 0)["prompt"])

    def parts(prompt: str, answer: str) -> set[str]:
        steps = list(chain_steps(prompt, answer))
        pairs = pairwise(steps)
        return {f"{' '.join(text)} f{first} f{second} =" for (first, text, _), (second, _, _) in pairs}

    train = task.train(["chain", "long"], 1.0, 0, 4000)
    assert not any(parts(*row) & held_out for row in zip(train["prompt"], train["answer"], strict=True))
    suite = task.suite("long", 500, 0)
    assert all(parts(*row) & held_out for row in zip(suite["prompt"], suite["answer"], strict=True))
    both_held_out = held_out | set(suite["prompt"])
    for tokens, is_target in task.corpus(1, 200, 20, format_noise=0.2):
        assert not both_held_out & set(task.vocabulary.decode(np.where(is_target, 0, tokens))[0])


@settings(max_examples=10, deadline=None)
@given(seed=seeds, few=st.integers(1, 5000), more=st.integers(0, 5000))
def test_the_first_rows_do_not_depend_on_how_many_are_asked_for(seed: int, few: int, more: int) -> None:
    task = programs(seed % 5, operators=8)
    many = task.train(["chain", "long"], 0.5, seed, few + more)
    assert len(many) == few + more
    assert task.train(["long", "chain"], 0.5, seed, few).equals(many.head(few))
    assert task.suite("long", few, seed).equals(task.suite("long", few + more, seed).head(few))


@settings(max_examples=6, deadline=None)
@given(seed=seeds)
def test_the_same_seeds_give_the_same_routines_and_problems(seed: int) -> None:
    left, right = (programs(seed, operators=8) for _ in range(2))
    assert [(one.program, one.twin) for one in left.routines] == [(one.program, one.twin) for one in right.routines]
    assert left.train(["chain"], 0.5, seed, 300).equals(right.train(["chain"], 0.5, seed, 300))
    for (a, _), (b, _) in zip(*(task.corpus(seed, 50, 2, format_noise=0.1) for task in (left, right)), strict=True):
        assert np.array_equal(a, b)


def shown_right(task: ProgramProblems, seed: int, rows: int) -> dict[tuple[int, str], list[bool]]:
    """Return, by operator and string in, whether the corpus showed the routine's result and not the twin's."""
    shown = defaultdict(list)
    tokens, is_target = next(iter(task.corpus(seed, rows, 1, format_noise=0.0)))
    prompts = task.vocabulary.decode(np.where(is_target, 0, tokens))[0]
    for prompt, document in zip(prompts, task.vocabulary.decode(tokens)[0], strict=True):
        for operator, text, result in chain_steps(prompt, document.removeprefix(prompt)):
            routine = task.routines[operator]
            right, wrong = (halted(program, text, 4, 12) for program in (routine.program, routine.twin))
            assert result in {right, wrong}
            if right != wrong:
                shown[operator, text].append(result == right)
    return shown


@pytest.mark.parametrize("share", [0.0, 0.35, 1.0])
@settings(max_examples=4, deadline=None)
@given(seed=seeds)
def test_the_corpus_shows_a_routine_as_often_as_it_is_reliable_and_else_its_twin(share: float, seed: int) -> None:
    shown = shown_right(programs(seed, operators=3, reliability=[share, share]), seed, 3000)
    seen = [right for results in shown.values() for right in results]
    # at least some 3,000 steps: a standard error of at most .009
    assert abs(np.mean(seen) - share) <= (0.04 if 0 < share < 1 else 0.0)


@settings(max_examples=4, deadline=None)
@given(seed=seeds, fact_letters=st.integers(0, 3))
def test_a_fact_is_an_operator_and_the_first_letters_of_its_string(seed: int, fact_letters: int) -> None:
    task = programs(seed, operators=4, operator_exponent=0.0, fact_letters=fact_letters)
    shown = {fact: results for fact, results in shown_right(task, seed, 12_000).items() if len(results) >= 20}
    facts = defaultdict(list)
    for (operator, text), results in shown.items():
        facts[operator, text[:fact_letters]].append(results)
    rates = {fact: np.mean([right for results in group for right in results]) for fact, group in facts.items()}
    for fact, group in facts.items():
        for results in group:  # within a fact every string has the same reliability
            assert abs(np.mean(results) - rates[fact]) < 5 * 0.5 / len(results) ** 0.5
    if fact_letters >= 2:  # at least 20 draws from U(.1, .9), whose standard deviation is .23
        assert np.std(list(rates.values())) > 0.12
