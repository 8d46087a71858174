"""A study and its parts: what is accepted, what is refused, and what follows from it."""

from itertools import pairwise

import pytest
from pydantic import ValidationError
from tests.studies import ladder_values, study_values

from rlscale.ladder import BuiltLadder, BuiltModel, scaled_learning_rate
from rlscale.study import TrainedStudy
from rlscale.study_parts import Axes, Budgets, LogSpaced, Training, Where


def test_strict_types_do_not_convert_silently():
    for values in ({"seed": [True]}, {"tau": ["4"]}, {"tau": [4.0]}, {"reward_accuracy": [float("nan")]}, {"tau": 4}):
        with pytest.raises(ValidationError):
            Axes.model_validate(values)


def test_a_whole_number_is_taken_for_a_float():
    training = Training.model_validate({"prompts_per_step": 4, "learning_rate": 1})
    assert training.learning_rate == 1.0
    assert type(training.learning_rate) is float


def test_models_are_frozen():
    with pytest.raises(ValidationError):
        Axes().tau = (2,)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ([1, 5, 9], (1, 5, 9)),
        ({"first": 1, "last": 16, "count": 5}, (1, 2, 4, 8, 16)),
        ({"first": 1, "last": 4, "count": 4}, (1, 2, 3, 4)),
        ({"first": 3, "last": 5, "count": 2}, (3, 5)),
    ],
)
def test_budgets_are_a_list_or_log_spaced(values: object, steps: tuple[int, ...]):
    assert Budgets.model_validate(values).steps == steps


@pytest.mark.parametrize(
    "values",
    [[], [0, 1], [2, 1], [1, 1], [1, True], 5, {"first": 1, "last": 9}, {"first": 9, "last": 1, "count": 2},
     {"first": 1, "last": 3, "count": 4}, {"first": 1, "last": 9, "count": 1}],
)  # fmt: skip
def test_impossible_budgets_are_refused(values: object):
    with pytest.raises(ValidationError):
        Budgets.model_validate(values)


def test_log_spacing_of_the_default_study():
    steps = LogSpaced(first=1, last=500, count=20).steps
    assert len(steps) == 20
    ratios = [later / earlier for earlier, later in pairwise(steps[8:])]
    assert max(ratios) / min(ratios) < 1.1


# Non-embedding parameters of the prototype's models, counted there by torch.
PARAMS = [(12, 2, 24, 3012), (16, 2, 32, 5296), (24, 2, 48, 11784), (40, 2, 80, 32440), (64, 2, 128, 82624),
          (96, 3, 192, 185376), (128, 4, 256, 329088)]  # fmt: skip


@pytest.mark.parametrize(("width", "heads", "ffn", "params"), PARAMS)
def test_non_embedding_parameters(width: int, heads: int, ffn: int, params: int):
    model = BuiltModel(width=width, layers=2, heads=heads, kv_heads=heads, ffn=ffn)
    assert model.non_embedding_params == params


def test_grouped_key_value_heads_have_fewer_parameters():
    full = BuiltModel(width=64, layers=2, heads=4, kv_heads=4, ffn=8)
    grouped = BuiltModel(width=64, layers=2, heads=4, kv_heads=1, ffn=8)
    assert full.non_embedding_params - grouped.non_embedding_params == 2 * 2 * 48 * 65


@pytest.mark.parametrize("change", [{"heads": 3}, {"heads": 12}, {"kv_heads": 3}, {"width": 0}, {"layers": True}])
def test_impossible_shapes_are_refused(change: dict[str, object]):
    with pytest.raises(ValidationError):
        BuiltModel.model_validate({"width": 12, "layers": 2, "heads": 2, "kv_heads": 2, "ffn": 24} | change)


def test_two_models_of_one_size_are_refused():
    values = ladder_values()
    values["models"]["twin"] = values["models"]["small"]
    with pytest.raises(ValidationError, match=r"models\.twin: has .* as many as small"):
        BuiltLadder.model_validate(values)


def test_scaled_learning_rate():
    assert scaled_learning_rate(0.16, -1, 64, 1) == 0.0025
    assert scaled_learning_rate(0.0016, -0.7, 24, 24) == 0.0016
    assert scaled_learning_rate(0.0016, -0.7, 48, 24) == pytest.approx(0.0016 * (24 / 48) ** 0.7, rel=1e-11)


def test_an_override_replaces_exactly():
    study = TrainedStudy.model_validate(study_values(per_model={"small": {"learning_rate": 0.5}}))
    assert study.resolved_training("small").learning_rate == 0.5
    assert study.resolved_training("small").learning_rate_width_exponent == 0.0
    assert study.resolved_training("small").prompts_per_step == study.training.prompts_per_step
    assert study.resolved_training("large") == study.training


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"law": {"block": "lwa"}}, r'law.block: is "lwa"; blocks of the grid: law; did you mean law\?'),
        ({"law": {"first_step": 99}}, "law.first_step: is 99; the last budget is 8"),
        ({"budgets": [1, 9]}, "train_problems is 32; the last budget needs 9 steps × 4 prompts = 36"),
        ({"grid": {"law": {"tau": [16]}}}, r"grid.law.tau\[0\]: 16 leaves 2 of 32 problems"),
        ({"per_model": {"small": {"prompts_per_step": 8}}}, "per_model.small: train_problems is 32; .* 64"),
        ({"per_model": {"small": {"minibatches": 3}}}, "per_model.small: minibatches: is 3"),
        ({"per_model": {"small": {"train_problems": 3}}}, "Extra inputs"),
        ({"evaluation": {"suites": ["heldut"]}}, r'no suite "heldut"; allowed: heldout, .*; did you mean heldout\?'),
        ({"evaluation": {"exact": False}}, 'primary: is "exact", but exact is false'),
        ({"evaluation": {"problems": 10}}, "sampled_problems: is 1024; at most problems"),
        ({"grid": {}}, "at least 1 item"),
        ({"grid": {"Law,": {}}}, "should match pattern"),
        ({"seed_offset": -1}, "greater than or equal to 0"),
        ({"exclude": [{"where": {}, "reason": "x"}]}, "names no axis"),
        ({"exclude": [{"where": {"tau": 1}, "reason": ""}]}, "at least 1 character"),
    ],
)
def test_parts_must_agree(change: dict[str, object], message: str):
    with pytest.raises(ValidationError, match=message):
        TrainedStudy.model_validate(study_values(**change))


def parquet(**changes: object) -> dict[str, object]:
    task = {"kind": "parquet", "train": ["a.parquet"], "suites": {"math": "b.parquet"}}
    evaluation = {"exact": False, "primary": "sampled", "suites": ["math"]}
    return study_values(**({"task": task, "evaluation": evaluation} | changes))


def test_a_parquet_task_needs_lengths_and_has_no_exact_score():
    with pytest.raises(ValidationError) as error:
        TrainedStudy.model_validate(parquet(evaluation={"suites": ["math"]}, grid={"law": {"skill_share": [0.5]}}))
    for key in ("evaluation.exact", "training.max_prompt_tokens", "training.max_new_tokens", "grid.law.skill_share"):
        assert f"{key}: " in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"evaluation": {"suites": ["sum"]}}, 'no suite "sum"; allowed: heldout, long'),
        (
            {"grid": {"law": {"families": [["chain", "sum"]]}}},
            r'law.families\[0\]: no family "sum"; a programs task has',
        ),
    ],
)
def test_a_programs_task_has_chains_only(change: dict[str, object], message: str):
    with pytest.raises(ValidationError, match=message):
        TrainedStudy.model_validate(study_values(**({"task": {"kind": "programs"}} | change)))


def test_where_gives_its_axes():
    assert Where(tau=4, seed=0).axes == {"tau": 4, "seed": 0}


def test_a_limit_of_the_prompt_is_for_files_only() -> None:
    values = study_values()
    values["training"]["max_prompt_tokens"] = 8
    with pytest.raises(ValidationError, match="is for parquet tasks"):
        TrainedStudy.model_validate(values)
