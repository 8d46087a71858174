"""Where a study and its ladder do not fit: names that the ladder lacks, and values that its kind does not allow."""

from collections.abc import Iterable, Iterator

from rlscale.errors import did_you_mean
from rlscale.ladder import BuiltLadder, HubLadder, Ladder
from rlscale.model_base import FULL_SUPERVISION, Place, Problem
from rlscale.placement import memory_problems
from rlscale.study import TrainedStudy
from rlscale.study_parts import Axes


def misfits(study: TrainedStudy, ladder: Ladder) -> Iterator[Problem]:
    """Yield each problem of ``study`` with ``ladder``, at its place in the study."""
    if (study.task.kind == "parquet") != (ladder.kind == "hub"):
        needed = "a hub" if study.task.kind == "parquet" else "a built"
        yield Problem(("ladder",), f"{study.ladder} is {ladder.kind}; a {study.task.kind} task needs {needed} ladder")
        return
    for place, name in _model_references(study):
        if name not in ladder.models:
            allowed = f"the ladder {study.ladder} has {', '.join(ladder.models)}"
            yield Problem(place, f'no model "{name}"; {allowed}{did_you_mean(name, ladder.models)}')
    if ladder.kind == "hub":
        yield from _hub_misfits(study)
        if study.trainer == "openrlhf":
            yield from _placement_misfits(study, ladder)
    else:
        yield from _supervision_misfits(study, ladder)
        homeless = [name for name in _models_used(study, ladder) if ladder.models[name].placement is None]
        for name, adapter in (("trainer", study.trainer), ("evaluator", study.evaluator)):
            if adapter != "local" and homeless:
                said = f"the ladder {study.ladder} states none for {', '.join(homeless)}"
                yield Problem((name,), f"is {adapter}, which needs a placement; {said}")


def _model_references(study: TrainedStudy) -> Iterator[tuple[Place, str]]:
    for name in study.per_model:
        yield ("per_model", name), name
    for block, axes in study.grid.items():
        for index, name in enumerate(axes.models or ()):
            yield ("grid", block, "models", index), name
    for index, exclusion in enumerate(study.exclude):
        if exclusion.where.model is not None:
            yield ("exclude", index, "where", "model"), exclusion.where.model


def _models_used(study: TrainedStudy, ladder: Ladder) -> list[str]:
    """Return the ladder's models that the grid names, each once."""
    named = (name for axes in study.grid.values() for name in (axes.models or ladder.models))
    return [name for name in dict.fromkeys(named) if name in ladder.models]


def _hub_misfits(study: TrainedStudy) -> Iterator[Problem]:
    if study.trainer == "local":
        yield Problem(("trainer",), f'is "local", which trains built models only; the ladder {study.ladder} is hub')
    if study.training.learning_rate_width_exponent:
        yield Problem(("training", "learning_rate_width_exponent"), "must be 0: a hub ladder states no widths")
    for block, axes in study.grid.items():
        for name in ("base_seed", "supervision"):
            if getattr(axes, name) != getattr(Axes(), name):
                yield Problem(("grid", block, name), "is an axis of built ladders only")


def _placement_misfits(study: TrainedStudy, ladder: HubLadder) -> Iterator[Problem]:
    """Yield each model of the study whose GPUs, where they are stated, cannot hold it or share its rollouts evenly."""
    for name in _models_used(study, ladder):
        model, training = ladder.models[name], study.resolved_training(name)
        place = ("ladder",)
        if ladder.gpu is None or model.shape is None or model.placement is None:
            continue
        tokens = (training.max_prompt_tokens or 0) + (training.max_new_tokens or 0)
        for said in memory_problems(model.shape, model.placement, tokens, ladder.gpu.memory_gib):
            yield Problem(place, f"{study.ladder} places {name} where it does not fit: {said}")
        at_once = model.placement.gpus * model.placement.micro_batch
        for size in sorted({size for axes in study.grid.values() for size in axes.group_size}):
            update = training.prompts_per_step // training.minibatches * size
            if update % at_once:
                said = f"{update} rollouts an update (group size {size}) are no multiple of the {at_once} at once"
                yield Problem(place, f"{study.ladder} places {name} on {model.placement.gpus} GPUs, but {said}")


def _supervision_misfits(study: TrainedStudy, ladder: BuiltLadder) -> Iterator[Problem]:
    known = [FULL_SUPERVISION, *ladder.supervisions]
    named: list[tuple[Place, str, Iterable[str]]] = [
        (("grid", block, "supervision", index), level, axes.models or ladder.models)
        for block, axes in study.grid.items()
        for index, level in enumerate(axes.supervision)
    ]
    for index, exclusion in enumerate(study.exclude):
        if exclusion.where.supervision is not None:
            named.append((("exclude", index, "where", "supervision"), exclusion.where.supervision, ()))
    for place, level, models in named:
        if level not in known:
            allowed = f"the ladder {study.ladder} has {', '.join(known)}{did_you_mean(level, known)}"
            yield Problem(place, f'no supervision "{level}"; {allowed}')
            continue
        without = [name for name in models if name in ladder.models and ladder.supervised_share(level, name) is None]
        if without:
            yield Problem(place, f"{level} has no share for {', '.join(without)} in the ladder {study.ladder}")
