"""What must hold for the procedural problems of any seed."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rlscale.task_spec import SkillsTask
from rlscale.tasks import SkillsProblems
from rlscale.tasks.vocabulary import Vocabulary

FAMILIES = ["chain", "long", "sum", "equation"]
seeds = st.integers(0, 2**40)


def skills(seed: int, **values: object) -> SkillsProblems:
    return SkillsProblems(SkillsTask.model_validate({"kind": "skills", "seed": seed, **values}))


def chain_steps(prompt: str, answer: str) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield ((operator, digit in), digit out) of every step that a chain's text shows."""
    digit, *operators, equals = prompt.split()
    assert equals == "="
    for operator, result in zip(operators, answer.split(), strict=True):
        yield (operator, digit), result
        digit = result


def expected(family: str, prompt: str) -> str:
    """Return the answer of a sum or an equation, by schoolbook arithmetic on its text."""
    w = prompt.split()
    if family == "sum":
        return " ".join(reversed(f"{int(w[0] + w[1]) + int(w[3] + w[4]):03d}"))
    fits = [x for x in range(10) if (int(w[0]) * x + int(w[4])) % 10 == int(w[6])]
    assert len(fits) == 1
    return str(fits[0])


@settings(max_examples=8)
@given(seed=seeds, draws=seeds)
def test_no_held_out_problem_is_ever_in_training_or_in_the_corpus(seed: int, draws: int) -> None:
    task = skills(seed, operators=12, corpus={"chain": 0.4, "long": 0.2, "sum": 0.2, "equation": 0.2})
    held_out = {p for suite in ("heldout", "long", "sum", "equation") for p in task.suite(suite, 2000, draws)["prompt"]}
    assert not held_out & set(task.train(FAMILIES, 1.0, draws, 8000)["prompt"])
    for tokens, is_target in task.corpus(draws, 500, 10, format_noise=0.2):
        shown = set(task.vocabulary.decode(np.where(is_target, 0, tokens))[0])
        assert not held_out & shown


@given(seed=seeds)
def test_a_long_training_chain_contains_no_held_out_chain(seed: int) -> None:
    task = skills(seed, operators=4, operator_exponent=0.0)  # 160 chains: the suite holds every held-out one
    held_out = set(task.suite("heldout", 3000, 0)["prompt"])

    def windows(prompt: str, answer: str) -> set[str]:
        digit, first, second, third, _ = prompt.split()
        return {f"{digit} {first} {second} =", f"{answer.split()[0]} {second} {third} ="}

    train, suite = task.train(["long"], 1.0, 0, 2000), task.suite("long", 2000, 0)
    assert not any(windows(p, a) & held_out for p, a in zip(train["prompt"], train["answer"], strict=True))
    assert all(windows(p, a) & held_out for p, a in zip(suite["prompt"], suite["answer"], strict=True))


@given(seed=seeds, few=st.integers(1, 5000), more=st.integers(0, 5000))
def test_the_first_rows_do_not_depend_on_how_many_are_asked_for(seed: int, few: int, more: int) -> None:
    task = skills(seed % 7)
    many = task.train(["chain", "sum"], 0.5, seed, few + more)
    assert len(many) == few + more
    assert task.train(["sum", "chain"], 0.5, seed, few).equals(many.head(few))
    assert task.suite("long", few, seed).equals(task.suite("long", few + more, seed).head(few))


@given(seed=seeds)
def test_the_same_seeds_give_the_same_problems(seed: int) -> None:
    left, right = skills(seed), skills(seed)
    assert left.train(FAMILIES, 0.5, seed, 300).equals(right.train(FAMILIES, 0.5, seed, 300))
    assert left.suite("heldout", 300, seed).equals(right.suite("heldout", 300, seed))
    for (a, _), (b, _) in zip(*(task.corpus(seed, 50, 2, format_noise=0.1) for task in (left, right)), strict=True):
        assert np.array_equal(a, b)


@given(seed=seeds)
def test_right_answers_are_right(seed: int) -> None:
    task = skills(seed, operators=20)
    facts: dict[tuple[str, str], str] = {}
    for family, prompt, answer in task.train(FAMILIES, 1.0, seed, 6000)[["family", "prompt", "answer"]].to_numpy():
        if family in ("sum", "equation"):
            assert answer == expected(family, prompt)
            continue
        for fact, result in chain_steps(prompt, answer):  # chain and long share one table
            assert facts.setdefault(fact, result) == result
    results = defaultdict(set)
    for (operator, _), result in facts.items():
        results[operator].add(result)
    for operator, images in results.items():  # a permutation: no two digits go to the same one
        assert len(images) == sum(fact[0] == operator for fact in facts)


@given(seed=seeds, share=st.sampled_from([0.01, 0.1, 0.3, 0.5, 0.99]), larger=st.sampled_from([1.0, 1.5, 4.0]))
def test_smaller_skill_pools_are_nested_and_nothing_outside_appears(seed: int, share: float, larger: float) -> None:
    task = skills(seed)
    pool = set(task.operators(share).tolist())
    assert len(pool) == round(256 * share)
    assert pool <= set(task.operators(min(1.0, share * larger)).tolist())
    prompts = task.train(["chain", "long", "sum"], share, seed, 1000)["prompt"]
    used = {word for prompt in prompts for word in prompt.split() if word.startswith("f")}
    assert used <= {f"f{i}" for i in pool}
    assert used


def shown_steps(task: SkillsProblems, seed: int, rows: int) -> Iterator[tuple[tuple[str, str], str]]:
    for tokens, is_target in task.corpus(seed, rows, 1, format_noise=0.0):
        prompts = task.vocabulary.decode(np.where(is_target, 0, tokens))[0]
        for prompt, document in zip(prompts, task.vocabulary.decode(tokens)[0], strict=True):
            yield from chain_steps(prompt, document.removeprefix(prompt))


def right_facts(task: SkillsProblems) -> dict[tuple[str, str], str]:
    table = task.train(["chain"], 1.0, 0, 6000)
    pairs = zip(table["prompt"], table["answer"], strict=True)
    return {fact: result for prompt, answer in pairs for fact, result in chain_steps(prompt, answer)}


@settings(max_examples=8)
@given(seed=seeds, share=st.sampled_from([0.0, 0.35, 0.8, 1.0]))
def test_a_fact_is_shown_right_as_often_as_it_is_reliable_and_else_as_one_wrong_digit(seed: int, share: float) -> None:
    task = skills(seed, operators=3, reliability=[share, share])
    right = right_facts(task)
    shown = defaultdict(list)
    for fact, result in shown_steps(task, seed, 3000):
        shown[fact].append(result)
    assert len(shown) == len(right) == 30
    is_right = [result == right[fact] for fact, results in shown.items() for result in results]
    # 6,000 steps: a standard error of at most .0065
    assert abs(np.mean(is_right) - share) <= (0.03 if 0 < share < 1 else 0.0)
    for fact, results in shown.items():
        assert len(set(results) - {right[fact]}) <= 1


@settings(max_examples=8)
@given(seed=seeds)
def test_reliabilities_differ_between_facts_and_lie_between_their_bounds(seed: int) -> None:
    task = skills(seed, operators=3, operator_exponent=0.0)
    right = right_facts(task)
    shown = defaultdict(list)
    for fact, result in shown_steps(task, seed, 9000):
        shown[fact].append(result == right[fact])
    shares = np.array([np.mean(results) for results in shown.values()])
    errors = np.array([0.5 / len(results) ** 0.5 for results in shown.values()])
    assert np.all(shares > 0.1 - 5 * errors)
    assert np.all(shares < 0.9 + 5 * errors)
    assert 0.3 < shares.mean() < 0.7  # 30 draws from U(.1, .9): a standard error of .042
    assert shares.std() > 0.12  # its standard deviation is .23


@settings(max_examples=8)
@given(seed=seeds)
def test_a_sum_shows_wrong_digits_but_carries_right(seed: int) -> None:
    task = skills(seed, reliability=[0.0, 0.0], corpus={"sum": 1.0})
    wrong: dict[tuple[int, int, int], int] = {}
    (tokens, _), *_ = task.corpus(seed, 3000, 1, format_noise=0.0)
    for a1, a0, _, b1, b0, _, low, middle, high, _ in (tokens - 2).tolist():
        carry = int(a0 + b0 > 9)
        second = int(a1 + b1 + carry > 9)
        for fact, digit in (((a0, b0, 0), low), ((a1, b1, carry), middle), ((0, 0, second), high)):
            assert digit != sum(fact) % 10
            assert wrong.setdefault(fact, digit) == digit


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), word_lists(n))), st.booleans())
def test_encoding_and_decoding_undo_each_other(case: tuple[int, list[list[str]]], end: bool) -> None:
    operators, rows = case
    vocabulary = Vocabulary(operators)
    texts = [" ".join(row) for row in rows]
    tokens, lengths = vocabulary.encode(texts, end=end)
    decoded, ended = vocabulary.decode(tokens)
    assert decoded == texts
    assert lengths.tolist() == [len(row) + end for row in rows]
    assert ended.tolist() == [end] * len(rows)


def word_lists(operators: int) -> st.SearchStrategy[list[list[str]]]:
    words = [*"0123456789=+*?", *(f"f{i}" for i in range(operators))]
    return st.lists(st.lists(st.sampled_from(words), max_size=9), max_size=6)
