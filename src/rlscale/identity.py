"""Names and identities: what a run, a base model and a pool of problems are called, and all that they depend on.

An identity holds every value that the weights depend on and nothing else: no paths, no log cadence, no budgets (with a
constant learning rate each smaller budget is a prefix of the same training). Names are readable, sort well, and name
a factor only where it is not the default.
"""

from dataclasses import dataclass

from rlscale.adapters import TRAINERS
from rlscale.ladder import BuiltModel, HubModel, Ladder, Supervised, scaled_learning_rate
from rlscale.study import TrainedStudy
from rlscale.study_parts import Axes, Variant
from rlscale.task_spec import ProceduralTask

DEFAULT = Axes()


@dataclass(frozen=True, kw_only=True)
class Coordinates:
    """Where a run lies on the axes. Seeds include the study's seed_offset.

    Attributes:
        model: name of the size in the ladder.
        params: its size N: non-embedding parameters of a built model, nominal parameters of a published one.
        variant: base or instruct.
        tau: data reuse.
        group_size: rollouts a prompt.
        reward_accuracy: probability that a reward is right.
        families: families of problems, sorted; empty for a parquet task, which has none.
        skill_share: share of the skills that training problems use.
        supervision: how much of the supervised stage the base model got, by the ladder's name for it.
        base_seed: seed that makes the base model.
        seed: seed of the reinforcement learning.
    """

    model: str
    params: int
    variant: Variant
    tau: int
    group_size: int
    reward_accuracy: float
    families: tuple[str, ...]
    skill_share: float
    supervision: str
    base_seed: int
    seed: int


RUN_ATTRIBUTES = (*Coordinates.__annotations__, "blocks")
"""What tables say of a run beside its id: its coordinates, and the blocks of the grid that reach it."""


def run_name(point: Coordinates, ladder: Ladder) -> str:
    """Return for example ``q33k_base_tau004_b0_s0``; `_b` is left out where base models are downloaded."""
    parts = [point.model, point.variant]
    if point.tau != DEFAULT.tau[0]:
        parts.append(f"tau{point.tau:03d}")
    if point.group_size != DEFAULT.group_size[0]:
        parts.append(f"g{point.group_size:02d}")
    if point.reward_accuracy != DEFAULT.reward_accuracy[0]:
        parts.append(f"acc{round(100 * point.reward_accuracy):03d}")
    if point.families not in ((), DEFAULT.families[0]):
        parts.append(f"fam-{'+'.join(point.families)}")
    parts += [*_skill_part(point), *_supervision_part(point)]
    if ladder.kind == "built":
        parts.append(f"b{point.base_seed}")
    return "_".join([*parts, f"s{point.seed}"])


def base_name(point: Coordinates, ladder: Ladder) -> str:
    """Return for example ``q33k_base_b0``, or ``qwen2.5-7b_base`` where base models are downloaded."""
    parts = [point.model, point.variant, *_supervision_part(point)]
    return "_".join([*parts, f"b{point.base_seed}"] if ladder.kind == "built" else parts)


def pool_name(point: Coordinates) -> str:
    """Return for example ``chain`` or ``chain+sum_skill050``; ``all`` for a parquet task."""
    return "_".join(["+".join(point.families) or "all", *_skill_part(point)])


def task_values(study: TrainedStudy) -> dict[str, object]:
    """Return the task as plain values, its seed moved by seed_offset."""
    values: dict[str, object] = study.task.model_dump(mode="json")
    if isinstance(study.task, ProceduralTask):
        values["seed"] = study.task.seed + study.seed_offset
    return values


def training_values(study: TrainedStudy, ladder: Ladder, model: str) -> dict[str, object]:
    """Return the training values of one size: overrides in place, the learning rate as it will be used."""
    training = study.resolved_training(model)
    left_out = {"learning_rate_width_exponent", "reference_width", "train_problems"}
    values: dict[str, object] = training.model_dump(mode="json", exclude=left_out)
    shape = ladder.models[model]
    if isinstance(shape, BuiltModel):
        values["learning_rate"] = scaled_learning_rate(
            training.learning_rate, training.learning_rate_width_exponent, shape.width, training.reference_width
        )
    return values


def base_spec(study: TrainedStudy, ladder: Ladder, point: Coordinates) -> dict[str, object]:
    """Return what a base model is made from, or where it is downloaded from."""
    name = base_name(point, ladder)
    shape = ladder.models[point.model]
    if isinstance(shape, HubModel):
        return {"id": name, **_hub_checkpoint(shape, point.variant)}
    spec = {"id": name, "model": model_values(ladder, point.model), "task": task_values(study)}
    return spec | _built_checkpoint(ladder, point)


def pool_spec(study: TrainedStudy, point: Coordinates) -> dict[str, object]:
    """Return what a pool of training problems is made from."""
    return {"task": task_values(study), **_pool_values(study, point), "problems": study.train_problems}


def model_values(ladder: Ladder, model: str) -> dict[str, object]:
    """Return the name, size and shape of one model."""
    shape = ladder.models[model]
    if isinstance(shape, HubModel):
        return {"name": model, "params": shape.params, "non_embedding_params": shape.non_embedding_params}
    return {"name": model, "params": shape.non_embedding_params, **shape.model_dump(mode="json", exclude={"placement"})}


def run_identity(study: TrainedStudy, ladder: Ladder, point: Coordinates) -> dict[str, object]:
    """Return everything that the weights of a run depend on, apart from the budget."""
    shape = ladder.models[point.model]
    if isinstance(shape, HubModel):
        base = _hub_checkpoint(shape, point.variant)
    else:
        base = {"id": base_name(point, ladder), **_built_checkpoint(ladder, point)}
    return {
        "trainer": study.trainer,
        "trainer_version": TRAINERS[study.trainer].version,
        "model": model_values(ladder, point.model),
        "base": base,
        "task": task_values(study),
        "pool": _pool_values(study, point),
        "tau": point.tau,
        # A run without reuse draws from an endless stream, so that a longer last budget extends it.
        "unique_problems": None if point.tau == 1 else study.train_problems // point.tau,
        "training": training_values(study, ladder, point.model),
        "group_size": point.group_size,
        "reward_accuracy": point.reward_accuracy,
        "seed": point.seed,
    }


def _skill_part(point: Coordinates) -> list[str]:
    if point.skill_share == DEFAULT.skill_share[0]:
        return []
    return [f"skill{round(100 * point.skill_share):03d}"]


def _supervision_part(point: Coordinates) -> list[str]:
    return [] if point.supervision == DEFAULT.supervision[0] else [f"sup-{point.supervision}"]


def _pool_values(study: TrainedStudy, point: Coordinates) -> dict[str, object]:
    seed = study.seed_offset + (study.task.seed if isinstance(study.task, ProceduralTask) else 0)
    return {"families": list(point.families), "skill_share": point.skill_share, "seed": seed}


def _hub_checkpoint(shape: HubModel, variant: Variant) -> dict[str, object]:
    if variant == "base":
        return {"repo": shape.base, "revision": shape.base_revision}
    return {"repo": shape.instruct, "revision": shape.instruct_revision}


def _built_checkpoint(ladder: Ladder, point: Coordinates) -> dict[str, object]:
    if ladder.kind == "hub":
        raise TypeError("a hub ladder has no supervised stages")
    width = ladder.models[point.model].width
    return {
        "seed": point.base_seed,
        "variant": point.variant,
        "supervised": _stage_values(ladder.supervised_stage(point.supervision, point.model), width),
        "instruct": _stage_values(ladder.instruct, width) if point.variant == "instruct" else None,
    }


def _stage_values(stage: Supervised, width: int) -> dict[str, object]:
    values: dict[str, object] = stage.model_dump(
        mode="json", exclude={"learning_rate_width_exponent", "reference_width"}
    )
    values["learning_rate"] = scaled_learning_rate(
        stage.learning_rate, stage.learning_rate_width_exponent, width, stage.reference_width
    )
    return values
