"""Expansion of a study: which runs there are, what they are called, and what their identity depends on."""

import json
from typing import Any

import pytest
from tests.studies import hub_values, ladder_values, study_values

from rlscale.canonical import canonical_json
from rlscale.grid import Grid, GridError, expand
from rlscale.ladder import BuiltLadder, HubLadder
from rlscale.study import TrainedStudy


def grid_of(ladder: dict[str, Any] | None = None, **changes: Any) -> Grid:
    return expand(
        TrainedStudy.model_validate(study_values(**changes)), BuiltLadder.model_validate(ladder or ladder_values())
    )


def supervised(**supervisions: Any) -> dict[str, Any]:
    return ladder_values() | {"supervisions": supervisions}


def fingerprints(grid: Grid) -> dict[str, str]:
    return {run_id: run.fingerprint for run_id, run in grid.runs.items()}


def test_ids_show_factors_only_where_they_are_not_the_default():
    factors = {
        "models": ["small"], "variant": ["instruct"], "tau": [4], "group_size": [16], "reward_accuracy": [0.75],
        "families": [["sum", "chain"]], "skill_share": [0.5], "supervision": ["half"], "base_seed": [3], "seed": [2],
    }  # fmt: skip
    grid = grid_of(supervised(half=0.5), grid={"law": {}, "all": factors})
    assert list(grid.runs) == [
        "large_base_b0_s0",
        "small_base_b0_s0",
        "small_instruct_tau004_g16_acc075_fam-chain+sum_skill050_sup-half_b3_s2",
    ]
    assert list(grid.pools) == ["chain", "chain+sum_skill050"]
    assert list(grid.bases) == ["large_base_b0", "small_base_b0", "small_instruct_sup-half_b3"]


def test_a_run_in_two_blocks_is_trained_once():
    grid = grid_of(grid={"law": {}, "reuse": {"models": ["small"], "tau": [1, 4]}})
    assert len(grid.runs) == 3
    assert grid.runs["small_base_b0_s0"].blocks == ("law", "reuse")
    assert [run.run_id for run in grid.runs_in("reuse")] == ["small_base_b0_s0", "small_base_tau004_b0_s0"]
    assert len(list(grid.cells())) == 9


def test_the_order_of_families_is_no_difference():
    grid = grid_of(grid={"law": {"models": ["small"], "families": [["sum", "chain"], ["chain", "sum"]]}})
    assert len(grid.runs) == 1
    assert grid.runs["small_base_fam-chain+sum_b0_s0"].blocks == ("law",)


def test_exclusions_take_runs_out_and_keep_the_reason():
    where = {"model": "large", "base_seed": 1}
    grid = grid_of(
        grid={"law": {"base_seed": [0, 1]}}, exclude=[{"where": where, "reason": "too slow"}], seed_offset=10
    )
    assert list(grid.runs) == ["large_base_b10_s10", "small_base_b10_s10", "small_base_b11_s10"]
    assert grid.excluded == [("large_base_b11_s10", "too slow")]
    assert "large_base_b11" not in grid.bases


@pytest.mark.parametrize(
    ("changes", "place", "message"),
    [
        ({"exclude": [{"where": {"tau": 4}, "reason": "x"}]}, ("exclude", 0, "where"), "matches no run"),
        ({"exclude": [{"where": {"model": "smal"}, "reason": "x"}]}, ("exclude", 0, "where", "model"), "mean small?"),
        ({"exclude": [{"where": {"tau": 1}, "reason": "x"}]}, ("law", "block"), "no run left"),
        ({"grid": {"law": {"models": ["small", "lrge"]}}}, ("grid", "law", "models", 1), "did you mean large?"),
        ({"per_model": {"tiny": {}}}, ("per_model", "tiny"), 'no model "tiny"; the ladder ladder has small, large'),
        ({"grid": {"law": {"skill_share": [0.501, 0.502]}}}, ("grid", "law"), "two different runs"),
    ],
)
def test_misfits_are_named_with_their_place(changes: dict[str, Any], place: tuple[str | int, ...], message: str):
    with pytest.raises(GridError) as error:
        grid_of(**changes)
    assert [problem.at for problem in error.value.problems] == [place]
    assert message in error.value.problems[0].message


def test_a_learning_rate_is_scaled_by_width_unless_overridden():
    rates = {
        run.model: run.identity["training"]["learning_rate"]  # type: ignore[index]
        for run in grid_of(per_model={"large": {"learning_rate": 0.3}}).runs.values()
    }
    assert rates == {"small": pytest.approx(0.01 * (8 / 24) ** -0.5, rel=1e-11), "large": 0.3}


def test_an_override_changes_that_size_only():
    before, after = fingerprints(grid_of()), fingerprints(grid_of(per_model={"large": {"learning_rate": 0.3}}))
    assert before["small_base_b0_s0"] == after["small_base_b0_s0"]
    assert before["large_base_b0_s0"] != after["large_base_b0_s0"]


PLACEMENT = {"gpus_per_node": 2, "reason": "A test."}
PLACED = {"models": {name: {**shape, "placement": PLACEMENT} for name, shape in ladder_values()["models"].items()}}


@pytest.mark.parametrize(
    "changes",
    [
        {"description": "Other words."},
        {"budgets": [1, 2, 4, 7]},
        {"budgets": {"first": 1, "last": 8, "count": 4}},
        {"evaluation": {"samples": 4}},
        {"evaluation": {"exact": False, "primary": "sampled"}, "evaluator": "vllm", "ladder_changes": PLACED},
        {"ladder_changes": PLACED},
        {"law": {"first_step": 2}},
        {"grid": {"law": {}, "more": {"tau": [2]}}},
    ],
)
def test_what_weights_do_not_depend_on_is_no_part_of_the_identity(changes: dict[str, Any]):
    grid = {"law": {"tau": [1, 4]}} | changes.pop("grid", {"law": {"tau": [1, 4]}})
    before = fingerprints(grid_of(grid={"law": {"tau": [1, 4]}}))
    ladder = ladder_values() | changes.pop("ladder_changes", {})
    after = fingerprints(grid_of(ladder, **changes, grid=grid | {"law": {"tau": [1, 4]}}))
    assert before.items() <= after.items()


@pytest.mark.parametrize("changes", [{"trainer": "openrlhf"}, {"evaluator": "vllm"}])
def test_gpus_need_a_placement(changes: dict[str, Any]):
    values = {"evaluation": {"exact": False, "primary": "sampled"}} | changes
    with pytest.raises(GridError, match="needs a placement; the ladder ladder states none for small, large"):
        grid_of(**values)
    assert grid_of(ladder_values() | PLACED, **values).runs


def change_training(key: str, value: object) -> dict[str, Any]:
    return {"training": study_values()["training"] | {key: value}}


@pytest.mark.parametrize(
    "changes",
    [
        change_training("clip_range", 0.3),
        change_training("temperature", 0.9),
        change_training("prompts_per_step", 2),
        change_training("max_new_tokens", 9),
        {"trainer": "openrlhf"},
        {"task": {"kind": "skills", "operators": 16}},
    ],
)
def test_what_weights_depend_on_changes_every_fingerprint(changes: dict[str, Any]):
    ladder = ladder_values() | PLACED
    before, after = fingerprints(grid_of(ladder)), fingerprints(grid_of(ladder, **changes))
    assert before.keys() == after.keys()
    assert all(before[run_id] != after[run_id] for run_id in before)


def test_the_supervised_stage_is_part_of_a_runs_identity():
    ladder = ladder_values()
    ladder["instruct"]["steps"] = 6
    blocks = {"law": {"variant": ["base", "instruct"], "models": ["small"]}}
    before, after = fingerprints(grid_of(grid=blocks)), fingerprints(grid_of(ladder, grid=blocks))
    assert before["small_base_b0_s0"] == after["small_base_b0_s0"]
    assert before["small_instruct_b0_s0"] != after["small_instruct_b0_s0"]


def test_a_longer_last_budget_extends_fresh_runs_and_renews_reused_data_only_without_train_problems():
    blocks = {"law": {"models": ["small"], "tau": [1, 2]}}
    training = {"prompts_per_step": 4, "learning_rate": 0.01}
    before = fingerprints(grid_of(grid=blocks, training=training, budgets=[4, 8]))
    after = fingerprints(grid_of(grid=blocks, training=training, budgets=[4, 8, 16]))
    assert before["small_base_b0_s0"] == after["small_base_b0_s0"]
    assert before["small_base_tau002_b0_s0"] != after["small_base_tau002_b0_s0"]


def test_unique_problems():
    grid = grid_of(grid={"law": {"models": ["small"], "tau": [1, 3]}})
    unique = {run.tau: run.identity["unique_problems"] for run in grid.runs.values()}
    assert unique == {1: None, 3: 10}


def test_specs_are_canonical_json_and_carry_the_moved_seeds():
    grid = grid_of(seed_offset=7)
    run = grid.runs["small_base_b7_s7"]
    spec = json.loads(canonical_json(run.cell_spec()))
    assert spec["fingerprint"] == run.fingerprint
    assert spec["budgets"] == [1, 2, 8]
    assert (spec["identity"]["seed"], spec["identity"]["base"]["seed"], spec["identity"]["task"]["seed"]) == (7, 7, 7)
    assert grid.pools["chain"].spec["seed"] == 7
    assert grid.pools["chain"].spec["problems"] == 32
    assert (grid.suites["seed"], grid.evaluation["seed"]) == (7, 7)
    assert json.loads(canonical_json(grid.bases["small_base_b7"].spec))["seed"] == 7


def test_the_fingerprint_of_a_known_run_stays():
    """A change of this value retrains everybody's runs: raise the trainer's version or mean it."""
    assert fingerprints(grid_of())["small_base_b0_s0"] == "cac454e5cdb6dcee"


def supervised_steps(grid: Grid) -> dict[str, int]:
    return {name: base.spec["supervised"]["steps"] for name, base in grid.bases.items()}  # type: ignore[index]


def test_supervision_is_a_share_of_the_supervised_steps():
    ladder = supervised(half=0.5, double=2, least=0.16, matched={"small": 0.74, "large": 0.25})
    levels = ["full", "half", "double", "least", "matched"]
    grid = grid_of(ladder, grid={"law": {"supervision": levels, "base_seed": [3]}})
    shares = {"": 10, "half": 5, "double": 20, "least": 2}
    expected = {
        f"{model}_base_{f'sup-{level}_' if level else ''}b3": steps
        for model in ("small", "large")
        for level, steps in shares.items()
    }
    # 0.25 of 10 steps: Python rounds halves to even.
    assert supervised_steps(grid) == {**expected, "small_base_sup-matched_b3": 7, "large_base_sup-matched_b3": 2}
    runs = grid.runs
    whole, half = (
        runs[name].identity["base"]["supervised"]  # type: ignore[index]
        for name in ("small_base_b3_s0", "small_base_sup-half_b3_s0")
    )
    assert {**whole, "steps": 5} == half
    assert {run.supervision for run in runs.values()} == set(levels)
    assert len(set(fingerprints(grid).values())) == len(runs) == 10


def test_a_share_never_leaves_less_than_a_step():
    ladder = supervised(tiny=0.001)
    ladder["supervised"]["warmup_steps"] = 0
    grid = grid_of(ladder, grid={"law": {"models": ["small"], "supervision": ["tiny"]}})
    assert supervised_steps(grid) == {"small_base_sup-tiny_b0": 1}


def test_supervisions_are_no_part_of_the_identity_of_runs_that_do_not_use_them():
    blocks = {"law": {"supervision": ["full", "half"]}}
    before = fingerprints(grid_of(supervised(half=0.5), grid=blocks))
    after = fingerprints(grid_of(supervised(half=0.4, double=2), grid=blocks))
    assert {name for name in before if before[name] != after[name]} == {
        "small_base_sup-half_b0_s0",
        "large_base_sup-half_b0_s0",
    }
    assert fingerprints(grid_of()).items() <= before.items()


@pytest.mark.parametrize(
    ("changes", "place", "message"),
    [
        (
            {"grid": {"law": {"supervision": ["full", "halff"]}}},
            ("grid", "law", "supervision", 1),
            'no supervision "halff"; the ladder ladder has full, half, matched; did you mean half?',
        ),
        (
            {"grid": {"law": {}, "more": {"supervision": ["matched"]}}},
            ("grid", "more", "supervision", 0),
            "matched has no share for large in the ladder ladder",
        ),
        (
            {"exclude": [{"where": {"supervision": "match"}, "reason": "x"}]},
            ("exclude", 0, "where", "supervision"),
            "did you mean matched?",
        ),
    ],
)
def test_a_supervision_that_the_ladder_lacks_is_named_with_its_place(
    changes: dict[str, Any], place: tuple[str | int, ...], message: str
):
    with pytest.raises(GridError) as error:
        grid_of(supervised(half=0.5, matched={"small": 0.5}), **changes)
    assert [problem.at for problem in error.value.problems] == [place]
    assert message in error.value.problems[0].message


def test_a_supervision_can_be_excluded_and_needs_shares_of_the_sizes_used_only():
    where = {"supervision": "matched", "base_seed": 1}
    grid = grid_of(
        supervised(matched={"small": 0.5}),
        grid={"law": {}, "matched": {"models": ["small"], "supervision": ["matched"], "base_seed": [0, 1]}},
        exclude=[{"where": where, "reason": "enough"}],
    )
    assert grid.excluded == [("small_base_sup-matched_b1_s0", "enough")]
    assert "small_base_sup-matched_b0_s0" in grid.runs


def hub_study(**changes: Any) -> TrainedStudy:
    task = {"kind": "parquet", "train": ["a.parquet"], "suites": {"math": "b.parquet"}}
    training = {"prompts_per_step": 4, "learning_rate": 1e-6, "max_prompt_tokens": 8, "max_new_tokens": 8}
    evaluation = {"exact": False, "primary": "sampled", "suites": ["math"]}
    values = {"task": task, "training": training, "evaluation": evaluation, "trainer": "openrlhf"}
    return TrainedStudy.model_validate(study_values(**(values | changes)))


def test_a_hub_ladder_names_repositories():
    grid = expand(hub_study(grid={"law": {"variant": ["base", "instruct"]}}), HubLadder.model_validate(hub_values()))
    assert list(grid.runs) == ["small_base_s0", "small_instruct_s0"]
    run = grid.runs["small_instruct_s0"]
    assert (run.params, run.non_embedding_params, run.families, run.pool_id) == (1000, 900, (), "all")
    assert run.identity["base"] == {"repo": "org/instruct", "revision": None}
    assert grid.bases["small_base"].spec == {"id": "small_base", "repo": "org/base", "revision": None}


def test_a_hub_ladder_refuses_what_only_built_models_have():
    study = hub_study(trainer="local", grid={"law": {"base_seed": [0, 1], "supervision": ["full", "half"]}})
    with pytest.raises(GridError) as error:
        expand(study, HubLadder.model_validate(hub_values()))
    assert [problem.at for problem in error.value.problems] == [
        *(("trainer",), ("grid", "law", "base_seed"), ("grid", "law", "supervision")),
    ]


def test_task_and_ladder_must_be_of_one_kind():
    with pytest.raises(GridError, match="ladder is hub; a skills task needs a built ladder"):
        expand(TrainedStudy.model_validate(study_values()), HubLadder.model_validate(hub_values()))
    with pytest.raises(GridError, match="ladder is built; a parquet task needs a hub ladder"):
        expand(hub_study(), BuiltLadder.model_validate(ladder_values()))
