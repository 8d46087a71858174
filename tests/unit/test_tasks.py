"""The procedural task: its configuration, vocabulary, goldens, suites, corpus and errors."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from rlscale.errors import UserError
from rlscale.task_spec import ParquetTask, SkillsTask, TaskSpec
from rlscale.tasks import SkillsProblems, load_task
from rlscale.tasks.vocabulary import EOS, PAD, Vocabulary

SPEC = SkillsTask(kind="skills")
ADAPTER: TypeAdapter[SkillsTask | ParquetTask] = TypeAdapter(TaskSpec)


@pytest.fixture(scope="module")
def source() -> SkillsProblems:
    return SkillsProblems(SPEC)


# --- configuration


def test_defaults_are_the_frozen_design() -> None:
    weights = (np.arange(1, SPEC.operators + 1) + SPEC.operator_shift) ** -SPEC.operator_exponent
    assert SPEC.operators * 10 == 2560
    assert weights[0] == 4**-1.5
    assert SPEC.reliability == (0.1, 0.9)
    assert SPEC.held_out_share == 1 / 8


def test_a_task_survives_json() -> None:
    spec = ADAPTER.validate_python({"kind": "skills", "operator_shift": 2, "reliability": [0.2, 0.8]})
    assert ADAPTER.validate_json(spec.model_dump_json()) == spec
    assert ADAPTER.validate_python(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sed": 1}, "Extra inputs"),
        ({"seed": True}, "valid integer"),
        ({"operators": 1}, "greater than or equal to 2"),
        ({"reliability": [0.9, 0.1]}, "low <= high"),
        ({"reliability": ["0.1", 0.9]}, "valid number"),
        ({"long_chain_length": 2}, "must exceed chain_length"),
        ({"corpus": {"chain": 0.4}}, "sum to 1"),
        ({"corpus": {"chain": 1.5, "sum": -0.5}}, "greater than 0"),
        ({"corpus": {}}, "sum to 1"),
        ({"corpus": {"chian": 1.0}}, "'chain', 'long', 'sum' or 'equation'"),
        ({"format_noise": float("nan")}, "finite number"),
    ],
)
def test_a_wrong_task_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        ADAPTER.validate_python({"kind": "skills", **values})


# --- vocabulary


def test_ids_and_texts_of_a_chain() -> None:
    vocabulary = Vocabulary(256)
    tokens, lengths = vocabulary.encode(["7 f12 f200 =", "", "3 5"], end=True)
    assert tokens.tolist() == [[9, 28, 216, 12, EOS], [EOS, PAD, PAD, PAD, PAD], [5, 7, EOS, PAD, PAD]]
    assert lengths.tolist() == [5, 1, 3]
    assert len(vocabulary) == 272


def test_decoding_stops_at_the_end_and_says_whether_it_came() -> None:
    texts, ended = Vocabulary(2).decode(np.array([[5, EOS, 6], [5, 6, 7], [5, PAD, PAD], [PAD, 6, EOS]]))
    assert texts == ["3", "3 4 5", "3", "<pad> 4"]
    assert ended.tolist() == [True, False, False, True]


def test_nothing_to_encode_or_decode() -> None:
    vocabulary = Vocabulary(2)
    assert vocabulary.encode([])[0].shape == (0, 0)
    assert vocabulary.encode([], end=True)[0].shape == (0, 1)
    assert vocabulary.decode(np.zeros((2, 0), np.int64))[0] == ["", ""]


def test_an_unknown_word_is_named_with_its_text() -> None:
    with pytest.raises(UserError, match=r"unknown word 'f2' in '1 f2 ='.*f0 to f1$"):
        Vocabulary(2).encode(["1 f1 =", "1 f2 ="])


@pytest.mark.parametrize("token", [-1, 18])
def test_an_id_outside_the_vocabulary_is_refused(token: int) -> None:
    with pytest.raises(ValueError, match=r"0\.\.17"):
        Vocabulary(2).decode(np.array([[token]]))


def test_the_tokenizer_has_the_same_ids_and_texts(tmp_path: Path, source: SkillsProblems) -> None:
    from transformers import PreTrainedTokenizerFast

    file = tmp_path / "tokenizer.json"
    file.write_text(source.vocabulary.tokenizer_json())
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_file=str(file), **{"pad_token": "<pad>", "eos_token": "<eos>"}
    )
    prompts = source.train(["chain", "long", "sum", "equation"], 1.0, 0, 500)["prompt"].tolist()
    tokens, lengths = source.vocabulary.encode(prompts)
    assert len(tokenizer) == len(source.vocabulary)
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (PAD, EOS)
    assert tokenizer(prompts)["input_ids"] == [row[:n].tolist() for row, n in zip(tokens, lengths, strict=True)]
    assert tokenizer.batch_decode(tokens, skip_special_tokens=True) == prompts
    assert tokenizer.decode([5, EOS]) == "3 <eos>"
    with pytest.raises(Exception, match="UNK"):
        tokenizer("7 f256 =")


# --- goldens: a change here changes every study's data and with it every result


def test_golden_problems(source: SkillsProblems) -> None:
    table = source.train(["chain", "sum", "equation"], 1.0, 0, 6)
    assert table[["problem", "prompt", "answer"]].to_numpy().tolist() == GOLDEN_TRAIN
    assert source.suite("heldout", 3, 0)["prompt"].tolist() == GOLDEN_HELD_OUT
    tokens, _ = next(source.corpus(0, 4, 1, format_noise=0.1))
    assert source.vocabulary.decode(tokens)[0] == GOLDEN_CORPUS


GOLDEN_TRAIN = [
    ["bf4fa16eddb761f9", "7 * ? + 1 = 7", "8"],
    ["a1d8db9f2080abdb", "3 f47 f67 =", "7 3"],
    ["524d19d3a25925ba", "1 * ? + 6 = 1", "5"],
    ["422c886095ec744e", "1 f39 f0 =", "9 3"],
    ["c73f9cd3b6c2327b", "9 * ? + 4 = 4", "0"],
    ["b79be0bdec630240", "6 4 + 2 4 =", "8 8 0"],
]
GOLDEN_HELD_OUT = ["8 f29 f16 =", "7 f91 f6 =", "4 f0 f4 ="]
GOLDEN_CORPUS = ["0 f4 f0 = 2 5", "5 f6 f105 = 6 4", "5 f0 f1 = 0 8", "4 f180 f29 = 6 3 4"]


# --- tables, suites and corpus


def test_columns_are_texts_and_ids_are_of_the_problem(source: SkillsProblems) -> None:
    table = source.train(["chain", "long"], 1.0, 0, 5000)
    assert list(table.columns) == ["problem", "family", "prompt", "answer"]
    assert set(table["family"]) == {"chain", "long"}
    assert table["problem"].nunique() == table["prompt"].nunique()
    assert table["family"].value_counts(normalize=True)["long"] == pytest.approx(0.5, abs=0.03)


def test_the_same_prompt_under_other_skills_is_another_problem(source: SkillsProblems) -> None:
    other = SkillsProblems(SkillsTask(kind="skills", seed=1)).train(["chain"], 1.0, 0, 2000)
    both = source.train(["chain"], 1.0, 0, 2000).merge(other, on="prompt")
    differs = both["answer_x"] != both["answer_y"]
    assert differs.any()
    assert np.array_equal(both["problem_x"] != both["problem_y"], differs)


def test_seeds_move_draws_but_not_skills(source: SkillsProblems) -> None:
    left, right = (source.train(["chain"], 1.0, seed, 3000) for seed in (0, 1))
    assert left["prompt"].tolist() != right["prompt"].tolist()
    both = left.drop_duplicates("prompt").merge(right.drop_duplicates("prompt"), on="prompt")
    assert len(both) > 100
    assert both["answer_x"].equals(both["answer_y"])


def test_operators_are_drawn_by_their_weights() -> None:
    task = SkillsProblems(SkillsTask(kind="skills", operators=8, held_out_share=0.01))
    words = task.train(["chain"], 1.0, 0, 40_000)["prompt"].str.split().explode()
    seen = words[words.str.startswith("f")].value_counts(normalize=True)
    weights = np.arange(4.0, 12.0) ** -1.5
    for i, share in enumerate(weights / weights.sum()):
        assert seen[f"f{i}"] == pytest.approx(share, abs=0.015)  # the split itself moves shares by up to about .01


@pytest.mark.parametrize(("family", "size"), [("sum", 10_000), ("equation", 400)])
def test_both_sides_of_the_split_cover_a_small_family(source: SkillsProblems, family: str, size: int) -> None:
    train = set(source.train([family], 1.0, 0, 100_000)["prompt"])
    suite = set(source.suite(family, 20_000, 0)["prompt"])
    assert len(train) + len(suite) >= 0.999 * size
    assert len(suite) / size == pytest.approx(0.125, abs=4 * (0.125 * 0.875 / (size / 2)) ** 0.5)


def test_a_sum_and_its_mirror_image_are_on_one_side(source: SkillsProblems) -> None:
    suite = set(source.suite("sum", 30_000, 0)["prompt"])
    train = set(source.train(["sum"], 1.0, 0, 30_000)["prompt"])
    mirrored = {" ".join([*words[3:5], "+", *words[:2], "="]) for words in map(str.split, suite)}
    assert not mirrored & train


@pytest.mark.parametrize(
    ("name", "message"),
    [("chain", "held-out chains are the suite heldout"), ("hedlout", r"did you mean heldout\?")],
)
def test_an_unknown_suite_is_refused(source: SkillsProblems, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        source.suite(name, 10, 0)


@pytest.mark.parametrize(
    ("families", "share", "n", "message"),
    [
        (["chains"], 1.0, 1, r"unknown family 'chains'.*did you mean chain\?"),
        ([], 1.0, 1, "at least one family"),
        (["sum", "sum"], 1.0, 1, "none twice"),
        (["chain"], 0.001, 1, "keeps none of the 256 operators"),
        (["chain"], 1.5, 1, "skill_share must lie in"),
        (["chain"], 1.0, 0, "at least 1"),
    ],
)
def test_a_pool_that_cannot_be_is_refused(
    source: SkillsProblems, families: list[str], share: float, n: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        source.train(families, share, 0, n)


def test_a_task_without_held_out_problems_says_so() -> None:
    task = SkillsProblems(SkillsTask(kind="skills", seed=1, operators=2, chain_length=1, held_out_share=0.01))
    with pytest.raises(UserError, match=r"too few held-out problems.*raise operators \(2\)"):
        task.suite("heldout", 10, 0)


@pytest.mark.parametrize("corpus", [{"chain": 1.0}, {"chain": 0.5, "long": 0.2, "sum": 0.2, "equation": 0.1}])
def test_corpus_targets_are_the_answer_and_its_end(corpus: dict[str, float]) -> None:
    task = SkillsProblems(SkillsTask.model_validate({"kind": "skills", "corpus": corpus}))
    lengths = {"chain": (4, 3), "long": (5, 4), "sum": (6, 4), "equation": (7, 2)}  # prompt; answer with its end
    seen: Counter[tuple[int, int]] = Counter()
    for tokens, is_target in task.corpus(0, 4, 2000, format_noise=0.0):
        prompt = int(np.argmax(is_target[0]))
        seen[prompt, tokens.shape[1] - prompt] += 1
        assert tokens.shape == is_target.shape
        assert np.array_equal(is_target, np.arange(tokens.shape[1]) >= np.full((4, 1), prompt))
        assert np.all(tokens[:, -1] == EOS)
        assert not np.any(tokens == PAD)
    for name, pair in lengths.items():  # 2,000 batches: a standard error of at most .011
        assert seen[pair] / 2000 == pytest.approx(corpus.get(name, 0.0), abs=0.04)


def test_format_noise_puts_a_digit_where_the_end_belongs(source: SkillsProblems) -> None:
    last = np.concatenate([tokens[:, -1] for tokens, _ in source.corpus(0, 128, 100, format_noise=0.25)])
    assert np.mean(last != EOS) == pytest.approx(0.25, abs=0.02)
    digits, counts = np.unique(last[last != EOS], return_counts=True)
    assert digits.tolist() == list(range(2, 12))
    assert counts.min() > 200


def test_corpus_batches_are_the_first_of_more(source: SkillsProblems) -> None:
    few = list(source.corpus(3, 8, 5, format_noise=0.1))
    many = list(source.corpus(3, 8, 130, format_noise=0.1))
    assert (len(few), len(many)) == (5, 130)
    for (left, left_mask), (right, right_mask) in zip(few, many, strict=False):
        assert np.array_equal(left, right)
        assert np.array_equal(left_mask, right_mask)
    assert not np.array_equal(many[0][0], many[64][0])


def test_load_task_makes_the_source_of_a_spec() -> None:
    assert isinstance(load_task(SPEC), SkillsProblems)
