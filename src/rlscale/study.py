"""A study: one validated configuration, and what must hold between its parts.

A *trained* study spans a grid of runs over a ladder of models; a *published* study fits the law on points from a file.
What needs the ladder as well (do the models exist, does an exclusion match) is checked by `rlscale.grid.expand`.
"""

from collections.abc import Collection, Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from rlscale.adapters import TrainerName
from rlscale.errors import did_you_mean
from rlscale.model_base import NAME, Many, Model, Place, Problem, refuse
from rlscale.study_parts import Axes, Budgets, Evaluation, Exclusion, Law, Training, TrainingOverride
from rlscale.task_spec import ParquetTask, TaskSpec

BlockName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]


class PublishedStudy(Model):
    """A study that trains nothing: the law on published points."""

    kind: Literal["published"] = Field(description="No training: the points are read from a file.")
    description: str = Field(min_length=1, description="What this study asks.")
    points: str = Field(min_length=1, description="CSV or Parquet of points, relative to the repository root.")
    reuse: str | None = Field(None, description="CSV of a data-reuse experiment (tau, step, test_loss, kind).")
    ladder: str | None = Field(
        None, pattern=NAME, description="Ladder that gives the sizes' parameters without embeddings."
    )
    source: str = Field(min_length=1, description="Citation: where the points come from.")
    law: Law = Field(Law(), description="What is fitted.")


class TrainedStudy(Model):
    """A study that trains every run of its grid."""

    kind: Literal["trained"] = Field(description="Every run of the grid is trained.")
    description: str = Field(min_length=1, description="What this study asks.")
    trainer: TrainerName = Field(description="local: torch on the CPU. openrlhf: a cluster.")
    evaluator: Literal["local", "vllm"] = Field(description="local: torch on the CPU. vllm: a GPU.")
    ladder: str = Field(pattern=NAME, description="The model sizes: stem of a file in config/models.")
    seed_offset: int = Field(0, ge=0, description="Added to every seed: a fresh replication of the whole study.")
    task: TaskSpec = Field(description="The problems.")
    training: Training = Field(description="Reinforcement learning.")
    per_model: dict[str, TrainingOverride] = Field(
        {}, description="Training values for single sizes; they replace the above exactly (no scaling by width)."
    )
    budgets: Budgets = Field(description="Planned lengths in optimiser steps: each is a checkpoint of every run.")
    grid: dict[BlockName, Axes] = Field(
        min_length=1, description="Named blocks, each a product of axes; a run in several blocks is trained once."
    )
    exclude: Annotated[tuple[Exclusion, ...], Field(strict=False)] = Field(
        (), description="Runs left out, with reasons."
    )
    evaluation: Evaluation = Field(description="How checkpoints are scored.")
    keep_checkpoints: Literal["all", "last"] = Field(
        "all", description="Checkpoints whose weights stay once they are evaluated; others cannot be asked again."
    )
    law: Law = Field(Law(), description="What is fitted.")
    companions: Many[str] = Field(
        (), description="Shipped studies that are made along with this one, each with results of its own."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        refuse([*self._law_problems(), *self._training_problems(), *self._task_problems()])
        return self

    def resolved_training(self, model: str) -> Training:
        """Return the training values of ``model``, with its overrides in place."""
        override = self.per_model.get(model)
        if override is None:
            return self.training
        values = {name: value for name, value in override if value is not None}
        if "learning_rate" in values:
            values["learning_rate_width_exponent"] = 0.0
        return Training.model_validate({**dict(self.training), **values})

    @property
    def train_problems(self) -> int:
        """Problems that a run with tau = 1 goes through once."""
        return self.training.train_problems or self.budgets.steps[-1] * self.training.prompts_per_step

    def _law_problems(self) -> Iterator[Problem]:
        if self.law.block not in self.grid:
            near = did_you_mean(self.law.block, self.grid)
            allowed = f"blocks of the grid: {', '.join(self.grid)}"
            yield Problem(("law", "block"), f'is "{self.law.block}"; {allowed}{near}')
        last = self.budgets.steps[-1]
        if self.law.first_step > last:
            yield Problem(("law", "first_step"), f"is {self.law.first_step}; the last budget is {last}")

    def _training_problems(self) -> Iterator[Problem]:
        prompts: dict[Place, int] = {(): self.training.prompts_per_step}
        for name in self.per_model:
            try:
                prompts["per_model", name] = self.resolved_training(name).prompts_per_step
            except ValidationError as error:
                yield from (Problem(("per_model", name), _reason(detail)) for detail in error.errors())
        last, pool = self.budgets.steps[-1], self.train_problems
        for place, count in prompts.items():
            if last * count > pool:
                needed = f"the last budget needs {last} steps × {count} prompts = {last * count} problems"
                yield Problem(place or ("training", "train_problems"), f"train_problems is {pool}; {needed}")
        most = max(prompts.values())
        for block, axes in self.grid.items():
            for index, tau in enumerate(axes.tau):
                if tau > 1 and pool // tau < most:
                    few = f"leaves {pool // tau} of {pool} problems, fewer than one step's {most} prompts"
                    yield Problem(("grid", block, "tau", index), f"{tau} {few}")

    def _task_problems(self) -> Iterator[Problem]:
        if self.evaluator == "vllm" and self.evaluation.exact:
            yield Problem(("evaluation", "exact"), "must be false: vLLM samples answers, it gives no probabilities")
        if isinstance(self.task, ParquetTask):
            yield from self._parquet_problems()
        else:
            yield from self._procedural_problems(self.task.families)
        allowed = self.task.suites
        for index, suite in enumerate(self.evaluation.suites):
            if suite not in allowed:
                message = f'no suite "{suite}"; allowed: {", ".join(allowed)}{did_you_mean(suite, allowed)}'
                yield Problem(("evaluation", "suites", index), message)

    def _procedural_problems(self, known: Collection[str]) -> Iterator[Problem]:
        if self.training.max_prompt_tokens is not None:
            yield Problem(("training", "max_prompt_tokens"), "is for parquet tasks: prompts made from a seed are short")
        for block, axes in self.grid.items():
            for index, chosen in enumerate(axes.families):
                if absent := [name for name in chosen if name not in known]:
                    message = f'no family "{absent[0]}"; a {self.task.kind} task has {", ".join(known)}'
                    yield Problem(("grid", block, "families", index), message)

    def _parquet_problems(self) -> Iterator[Problem]:
        if self.evaluation.exact:
            yield Problem(("evaluation", "exact"), "must be false: a parquet task has no single right token sequence")
        for name in ("max_prompt_tokens", "max_new_tokens"):
            if getattr(self.training, name) is None:
                yield Problem(("training", name), "is needed for a parquet task, whose texts have no fixed length")
        for block, axes in self.grid.items():
            for name in ("families", "skill_share"):
                if getattr(axes, name) != Axes.model_fields[name].default:
                    yield Problem(("grid", block, name), "is an axis of tasks made from a seed only")


Study = Annotated[TrainedStudy | PublishedStudy, Field(discriminator="kind")]


def _reason(detail: object) -> str:
    message = detail["msg"] if isinstance(detail, dict) else detail
    return str(message)
