"""From a study and its ladder to cells and runs.

The grid is the union of named blocks, each a product of axes, minus the named exclusions. A run that several blocks
reach is trained once.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import product
from typing import Any

from rlscale.canonical import digest
from rlscale.errors import UserError
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
from rlscale.ladder import HubModel, Ladder
from rlscale.misfits import misfits
from rlscale.model_base import Problem, dotted
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
    _raise_any(misfits(study, ladder))
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
