"""A ladder: the model sizes of a study, smallest to largest.

A *built* ladder describes small Qwen2-architecture decoders and the supervised stages that make base models of them on
the task's own corpus. A *hub* ladder names published checkpoints.
"""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from rlscale.errors import did_you_mean
from rlscale.model_base import FULL_SUPERVISION, NAME, Betas, Model, Problem, Share, refuse
from rlscale.placement import Decoder, Gpu, Placement, Shape

ModelName = Annotated[str, Field(pattern=NAME)]
SupervisionName = Annotated[str, Field(pattern=NAME)]
StepShare = Annotated[float, Field(gt=0.0)]


def _share_tag(value: object) -> str:
    return "by_size" if isinstance(value, dict) else "every_size"


StepShares = Annotated[
    Annotated[StepShare, Tag("every_size")]
    | Annotated[dict[ModelName, StepShare], Field(min_length=1), Tag("by_size")],
    Discriminator(_share_tag),
]
"""Share of the supervised steps: one for every size, or one by size."""


def scaled_learning_rate(rate: float, exponent: float, width: int, reference_width: int) -> float:
    """Return ``rate * (width / reference_width) ** exponent``, to 12 significant digits.

    The rounding keeps the value, which enters identities, free of the last bit in which mathematics libraries differ.
    """
    return float(f"{rate * (width / reference_width) ** exponent:.12g}")


class BuiltModel(Decoder):
    """The shape of one Qwen2-architecture decoder with tied embeddings, and where it is trained."""

    placement: Placement | None = Field(
        None, description="What its training asks a cluster for; trainer openrlhf and evaluator vllm need one."
    )

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        problems = []
        if self.width % (2 * self.heads):
            allowed = f"width {self.width} must be a multiple of 2 × heads (rotary embeddings need an even head size)"
            problems.append(Problem(("heads",), f"is {self.heads}; {allowed}"))
        if self.heads % self.kv_heads:
            problems.append(Problem(("kv_heads",), f"is {self.kv_heads}; it must divide heads ({self.heads})"))
        refuse(problems)
        return self


class Supervised(Model):
    """One supervised stage: AdamW, linear warm-up, constant rate, linear decay to zero at the end."""

    steps: int = Field(ge=1, description="Optimiser steps, the same for every size.")
    batch_size: int = Field(128, ge=1, description="Sequences a step.")
    learning_rate: float = Field(gt=0.0, description="Peak learning rate of a model of reference_width.")
    learning_rate_width_exponent: float = Field(
        0.0, description="A model's rate is learning_rate × (width / reference_width)^this."
    )
    reference_width: int = Field(24, ge=1, description="The width at which learning_rate holds as written.")
    warmup_steps: int = Field(50, ge=0, description="Steps over which the rate rises linearly.")
    decay_share: Share = Field(0.4, description="Last share of the steps, over which the rate falls linearly to zero.")
    adam_betas: Betas = Field((0.9, 0.98), description="AdamW's decay rates.")
    weight_decay: float = Field(0.0, ge=0.0, description="AdamW's weight decay.")

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        if self.warmup_steps > self.steps:
            refuse([Problem(("warmup_steps",), f"is {self.warmup_steps}; at most steps ({self.steps})")])
        return self


class BuiltLadder(Model):
    """Sizes that the workflow builds itself."""

    kind: Literal["built"] = Field(description="The base models are made here, from random weights.")
    description: str = Field(min_length=1, description="What this ladder is for.")
    models: dict[ModelName, BuiltModel] = Field(min_length=1, description="Shape of each size, by name.")
    supervised: Supervised = Field(description="The stage that makes a base model on the task's noisy corpus.")
    instruct: Supervised = Field(description="The further stage that makes an instruct model of a base model.")
    supervisions: dict[SupervisionName, StepShares] = Field(
        {},
        description="Base models that got another share of the supervised steps than `full`, which is 1 for every size "
        "and always there: by the name that a grid's axis `supervision` gives, one share for every size, or one by "
        "size. The learning rate decays over the steps that are left.",
    )

    @model_validator(mode="after")
    def _sizes_differ(self) -> Self:
        _refuse_equal_sizes({name: model.non_embedding_params for name, model in self.models.items()})
        return self

    @model_validator(mode="after")
    def _supervisions_fit(self) -> Self:
        refuse([problem for level in self.supervisions for problem in self._supervision_problems(level)])
        return self

    def supervised_share(self, supervision: str, model: str) -> float | None:
        """Return the share of the supervised steps that a base model gets; None where the ladder states none."""
        shares = 1.0 if supervision == FULL_SUPERVISION else self.supervisions.get(supervision)
        return shares.get(model) if isinstance(shares, dict) else shares

    def supervised_stage(self, supervision: str, model: str) -> Supervised:
        """Return the stage that makes a base model: its share of the steps, rounded, and at least one.

        Raises:
            KeyError: the ladder states no such share.
        """
        share = self.supervised_share(supervision, model)
        if share is None:
            raise KeyError(f"{supervision} of {model}")
        return self.supervised.model_copy(update={"steps": _share_of(self.supervised.steps, share)})

    def _supervision_problems(self, level: str) -> Iterator[Problem]:
        if level == FULL_SUPERVISION:
            said = "is the name of the whole stage, which every ladder has; choose another"
            yield Problem(("supervisions", level), said)
            return
        shares = self.supervisions[level]
        by_size = shares if isinstance(shares, dict) else {None: shares}
        for model, share in by_size.items():
            place = ("supervisions", level) if model is None else ("supervisions", level, model)
            steps = _share_of(self.supervised.steps, share)
            if model is not None and model not in self.models:
                allowed = f"the ladder has {', '.join(self.models)}{did_you_mean(model, self.models)}"
                yield Problem(place, f'no model "{model}"; {allowed}')
            elif steps < self.supervised.warmup_steps:
                need = f"fewer than the {self.supervised.warmup_steps} of the warm-up"
                yield Problem(place, f"is {share:g}: {steps} of {self.supervised.steps} steps, {need}")


class HubModel(Model):
    """One published size: its two checkpoints."""

    params: int = Field(ge=1, description="Nominal number of parameters: the size's name in tables and figures.")
    non_embedding_params: int = Field(ge=1, description="True number of parameters without embeddings, for FLOPs.")
    base: str = Field(min_length=1, description="Hub repository of the base model.")
    instruct: str = Field(min_length=1, description="Hub repository of the instruct model.")
    base_revision: str | None = Field(
        None, min_length=1, description="Commit of the base repository; null: not pinned yet."
    )
    instruct_revision: str | None = Field(
        None, min_length=1, description="Commit of the instruct repository; null: not pinned yet."
    )
    shape: Shape | None = Field(None, description="Its shape, from which the memory that it needs is estimated.")
    placement: Placement | None = Field(None, description="The GPUs that train it.")


class HubLadder(Model):
    """Sizes that are downloaded."""

    kind: Literal["hub"] = Field(description="The base models are published checkpoints.")
    description: str = Field(min_length=1, description="What this ladder is for.")
    gpu: Gpu | None = Field(None, description="The kind of GPU that the placements are made for.")
    models: dict[ModelName, HubModel] = Field(min_length=1, description="Checkpoints of each size, by name.")

    @model_validator(mode="after")
    def _sizes_differ(self) -> Self:
        _refuse_equal_sizes({name: model.params for name, model in self.models.items()})
        return self


def _share_of(steps: int, share: float) -> int:
    return max(1, round(share * steps))


Ladder = Annotated[BuiltLadder | HubLadder, Field(discriminator="kind")]


def _refuse_equal_sizes(params: dict[str, int]) -> None:
    """Tables are keyed by size, so that two models of one size would be one."""
    first: dict[int, str] = {}
    problems = [
        Problem(("models", name), f"has {count} parameters, as many as {first[count]}; sizes must differ")
        for name, count in params.items()
        if first.setdefault(count, name) != name
    ]
    refuse(problems)
