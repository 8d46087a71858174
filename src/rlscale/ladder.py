"""A ladder: the model sizes of a study, smallest to largest.

A *built* ladder describes small Qwen2-architecture decoders and the supervised stages that make base models of them on
the task's own corpus. A *hub* ladder names published checkpoints.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rlscale.model_base import NAME, Betas, Model, Problem, Share, refuse

ModelName = Annotated[str, Field(pattern=NAME)]


def scaled_learning_rate(rate: float, exponent: float, width: int, reference_width: int) -> float:
    """Return ``rate * (width / reference_width) ** exponent``, to 12 significant digits.

    The rounding keeps the value, which enters identities, free of the last bit in which mathematics libraries differ.
    """
    return float(f"{rate * (width / reference_width) ** exponent:.12g}")


class BuiltModel(Model):
    """The shape of one Qwen2-architecture decoder with tied embeddings."""

    width: int = Field(ge=2, description="Size of the residual stream.")
    layers: int = Field(ge=1, description="Number of decoder layers.")
    heads: int = Field(ge=1, description="Attention heads. vLLM needs heads of size 32 or more (width / heads).")
    kv_heads: int = Field(ge=1, description="Key-value heads; a divisor of heads.")
    ffn: int = Field(ge=1, description="Hidden size of the gated feed-forward block.")

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

    @property
    def non_embedding_params(self) -> int:
        """Parameters without the (tied) embedding: attention with q, k, v biases, gated feed-forward, norms."""
        kv_width = self.width // self.heads * self.kv_heads
        attention = 2 * self.width * self.width + self.width + 2 * kv_width * (self.width + 1)
        return self.layers * (attention + 3 * self.width * self.ffn + 2 * self.width) + self.width


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

    @model_validator(mode="after")
    def _sizes_differ(self) -> Self:
        _refuse_equal_sizes({name: model.non_embedding_params for name, model in self.models.items()})
        return self


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


class HubLadder(Model):
    """Sizes that are downloaded."""

    kind: Literal["hub"] = Field(description="The base models are published checkpoints.")
    description: str = Field(min_length=1, description="What this ladder is for.")
    models: dict[ModelName, HubModel] = Field(min_length=1, description="Checkpoints of each size, by name.")

    @model_validator(mode="after")
    def _sizes_differ(self) -> Self:
        _refuse_equal_sizes({name: model.params for name, model in self.models.items()})
        return self


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
