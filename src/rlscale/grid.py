"""From a study and its ladder to cells and runs.

The grid is the union of named blocks, each a product of axes, minus the named exclusions. A run that several blocks
reach is trained once. Here the study meets its ladder, so here it is checked that the two fit.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import product
from typing import Any

from rlscale.canonical import digest
from rlscale.errors import UserError, did_you_mean
from rlscale.identity import (
    Coordinates,
    base_name,
    base_spec,
    pool_name,
    pool_spec,
    run_identity,
    run_name,
    task_values,
)
from rlscale.ladder import BuiltLadder, HubModel, Ladder
from rlscale.model_base import FULL_SUPERVISION, Place, Problem, dotted
from rlscale.study import TrainedStudy
from rlscale.study_parts import Axes, Where


class GridError(UserError):
    """A study that does not fit its ladder; `problems` say where in the study."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(f"{dotted(problem.at)}: {problem.message}" for problem in problems))
        self.problems = problems


@dataclass(frozen=True, kw_only=True)
class Cell(Coordinates):
    """One point of the grid: the run ``run_id`` at a budget of ``step`` optimiser steps."""

    run_id: str
    step: int


@dataclass(frozen=True, kw_only=True)
class Run(Coordinates):
    """One training: the cells that differ in the budget only.

    Attributes:
        run_id: readable and unique within the study.
        blocks: names of the grid's blocks that reach this run, sorted: their order in a study means nothing.
        budgets: planned checkpoints in optimiser steps, rising.
        base_id: the model that the run starts from.
        pool_id: the problems that it draws on.
        non_embedding_params: true parameters without embeddings, for FLOPs.
        prompts_per_step: samples of one step.
        identity: what the weights depend on, apart from the budget.
    """

    run_id: str
    blocks: tuple[str, ...]
    budgets: tuple[int, ...]
    base_id: str
    pool_id: str
    non_embedding_params: int
    prompts_per_step: int
    identity: dict[str, object]

    @cached_property
    def fingerprint(self) -> str:
        """The first 16 hexadecimal digits of the identity's digest."""
        return digest(self.identity)[:16]

    def cell_spec(self) -> dict[str, object]:
        """Return what training reads: the run's id, fingerprint, budgets and identity."""
        budgets = list(self.budgets)
        return {"run": self.run_id, "fingerprint": self.fingerprint, "budgets": budgets, "identity": self.identity}

    def cells(self) -> Iterator[Cell]:
        """Yield one cell a budget, budgets rising."""
        for step in self.budgets:
            yield Cell(**_axis_values(self), run_id=self.run_id, step=step)


@dataclass(frozen=True)
class Base:
    """A model that runs start from: built from ``spec``, or downloaded."""

    base_id: str
    spec: dict[str, object]

    @cached_property
    def fingerprint(self) -> str:
        """The first 16 hexadecimal digits of the spec's digest."""
        return digest(self.spec)[:16]


@dataclass(frozen=True)
class Pool:
    """Training problems that runs draw on: ``spec`` has the task, families, skill share, seed and count."""

    pool_id: str
    spec: dict[str, object]


@dataclass(frozen=True)
class Grid:
    """The runs of a study and what they share.

    Attributes:
        runs: by id, sorted.
        bases: models that the runs start from, by id, sorted.
        pools: training problems, by id, sorted.
        suites: what the evaluation suites are made from: task, suites (names), problems (a suite), seed.
        evaluation: how a checkpoint answers them: temperature, samples, greedy, exact, sampled_problems, seed.
        excluded: (run id, reason), sorted by id.
    """

    runs: dict[str, Run]
    bases: dict[str, Base]
    pools: dict[str, Pool]
    suites: dict[str, object]
    evaluation: dict[str, object]
    excluded: list[tuple[str, str]]

    def cells(self) -> Iterator[Cell]:
        """Yield every cell: run by run, budgets rising."""
        for run in self.runs.values():
            yield from run.cells()

    def runs_in(self, block: str) -> list[Run]:
        """Return the runs of one block of the grid, sorted by id."""
        return [run for run in self.runs.values() if block in run.blocks]


def expand(study: TrainedStudy, ladder: Ladder) -> Grid:
    """Return the grid of ``study`` over ``ladder``.

    Raises:
        GridError: the study names what the ladder lacks, two runs would share an id, an exclusion matches nothing, or
            no run is left for the law.
    """
    _raise_any(_misfits(study, ladder))
    blocks = _blocks_by_point(study, ladder)
    names = {point: run_name(point, ladder) for point in blocks}
    reasons = {point: _exclusion(study, point) for point in blocks}
    kept = [point for point in sorted(blocks, key=names.__getitem__) if reasons[point] is None]
    _raise_any(
        [*_shared_names(names, blocks), *_idle_exclusions(study, list(blocks)), *_missing_law(study, kept, blocks)]
    )

    runs = {names[point]: _run(study, ladder, point, tuple(sorted(blocks[point]))) for point in kept}
    bases = {run.base_id: run for run in runs.values()}
    pools = {run.pool_id: run for run in runs.values()}
    seed = study.evaluation.seed + study.seed_offset
    suites = {"suites": list(study.evaluation.suites), "problems": study.evaluation.problems, "seed": seed}
    evaluation = study.evaluation.model_dump(mode="json", exclude={"suites", "problems", "primary"})
    return Grid(
        runs=runs,
        bases={name: Base(name, base_spec(study, ladder, bases[name])) for name in sorted(bases)},
        pools={name: Pool(name, pool_spec(study, pools[name])) for name in sorted(pools)},
        suites={"task": task_values(study), **suites},
        evaluation={**evaluation, "seed": seed},
        excluded=sorted((names[point], reason) for point, reason in reasons.items() if reason is not None),
    )


def _run(study: TrainedStudy, ladder: Ladder, point: Coordinates, blocks: tuple[str, ...]) -> Run:
    shape = ladder.models[point.model]
    return Run(
        **_axis_values(point),
        run_id=run_name(point, ladder),
        blocks=blocks,
        budgets=study.budgets.steps,
        base_id=base_name(point, ladder),
        pool_id=pool_name(point),
        non_embedding_params=shape.non_embedding_params,
        prompts_per_step=study.resolved_training(point.model).prompts_per_step,
        identity=run_identity(study, ladder, point),
    )


def _axis_values(point: Coordinates) -> dict[str, Any]:
    return {field.name: getattr(point, field.name) for field in fields(Coordinates)}


def _blocks_by_point(study: TrainedStudy, ladder: Ladder) -> dict[Coordinates, list[str]]:
    blocks: dict[Coordinates, list[str]] = {}
    for block, axes in study.grid.items():
        for point in dict.fromkeys(_points(study, ladder, axes)):
            blocks.setdefault(point, []).append(block)
    return blocks


def _points(study: TrainedStudy, ladder: Ladder, axes: Axes) -> Iterator[Coordinates]:
    offset = study.seed_offset
    models = ladder.models if axes.models is None else axes.models
    families = [tuple(sorted(chosen)) for chosen in axes.families] if study.task.families else [()]
    factors = (axes.variant, axes.tau, axes.group_size, axes.reward_accuracy, families, axes.skill_share)
    for model, variant, tau, group_size, accuracy, chosen, share, supervision, base_seed, seed in product(
        models, *factors, axes.supervision, axes.base_seed, axes.seed
    ):
        shape = ladder.models[model]
        yield Coordinates(
            model=model,
            params=shape.params if isinstance(shape, HubModel) else shape.non_embedding_params,
            variant=variant,
            tau=tau,
            group_size=group_size,
            reward_accuracy=accuracy,
            families=chosen,
            skill_share=share,
            supervision=supervision,
            base_seed=base_seed + offset,
            seed=seed + offset,
        )


def _matches(where: Where, point: Coordinates, seed_offset: int) -> bool:
    for axis, wanted in where.axes.items():
        value = getattr(point, axis)
        if axis in {"base_seed", "seed"}:
            value -= seed_offset
        if value != (tuple(sorted(where.families or ())) if axis == "families" else wanted):
            return False
    return True


def _exclusion(study: TrainedStudy, point: Coordinates) -> str | None:
    """Return the reason of the first exclusion that names the run, or None."""
    matching = (exclusion for exclusion in study.exclude if _matches(exclusion.where, point, study.seed_offset))
    return next((exclusion.reason for exclusion in matching), None)


def _raise_any(problems: Iterable[Problem]) -> None:
    if found := list(problems):
        raise GridError(found)


def _misfits(study: TrainedStudy, ladder: Ladder) -> Iterator[Problem]:
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
    else:
        yield from _supervision_misfits(study, ladder)


def _model_references(study: TrainedStudy) -> Iterator[tuple[Place, str]]:
    for name in study.per_model:
        yield ("per_model", name), name
    for block, axes in study.grid.items():
        for index, name in enumerate(axes.models or ()):
            yield ("grid", block, "models", index), name
    for index, exclusion in enumerate(study.exclude):
        if exclusion.where.model is not None:
            yield ("exclude", index, "where", "model"), exclusion.where.model


def _hub_misfits(study: TrainedStudy) -> Iterator[Problem]:
    if study.trainer == "local":
        yield Problem(("trainer",), f'is "local", which trains built models only; the ladder {study.ladder} is hub')
    if study.training.learning_rate_width_exponent:
        yield Problem(("training", "learning_rate_width_exponent"), "must be 0: a hub ladder states no widths")
    for block, axes in study.grid.items():
        for name in ("base_seed", "supervision"):
            if getattr(axes, name) != getattr(Axes(), name):
                yield Problem(("grid", block, name), "is an axis of built ladders only")


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


def _shared_names(names: dict[Coordinates, str], blocks: dict[Coordinates, list[str]]) -> Iterator[Problem]:
    first: dict[str, Coordinates] = {}
    for point, name in names.items():
        if first.setdefault(name, point) != point:
            message = f'two different runs would be called "{name}": ids show shares to two decimals'
            yield Problem(("grid", blocks[point][0]), message)
            return


def _idle_exclusions(study: TrainedStudy, points: list[Coordinates]) -> Iterator[Problem]:
    for index, exclusion in enumerate(study.exclude):
        if not any(_matches(exclusion.where, point, study.seed_offset) for point in points):
            yield Problem(("exclude", index, "where"), "matches no run of the grid")


def _missing_law(
    study: TrainedStudy, kept: list[Coordinates], blocks: dict[Coordinates, list[str]]
) -> Iterator[Problem]:
    if not any(study.law.block in blocks[point] for point in kept):
        yield Problem(("law", "block"), f'"{study.law.block}" has no run left: all are excluded')
