"""The parts of a study: budgets, axes, exclusions, training, evaluation, law.

Each field's description is the manual: the JSON Schema that editors read is written from these models.
"""

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, RootModel, Tag, model_validator

from rlscale.model_base import FULL_SUPERVISION, NAME, Betas, Distinct, Model, Problem, Share, refuse
from rlscale.task_spec import Family

Variant = Literal["base", "instruct"]
Positive = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
GroupSize = Annotated[int, Field(ge=2)]
SkillShare = Annotated[float, Field(gt=0.0, le=1.0)]
Supervision = Annotated[str, Field(pattern=NAME)]


class LogSpaced(Model):
    """Budgets spaced evenly in the logarithm."""

    first: Positive = Field(description="First budget, in optimiser steps.")
    last: Positive = Field(description="Last budget, in optimiser steps: the length of a run.")
    count: int = Field(ge=2, description="Number of budgets, both ends included.")

    @model_validator(mode="after")
    def _room(self) -> Self:
        problems = []
        if self.last <= self.first:
            problems.append(Problem(("last",), f"is {self.last}; it must exceed first ({self.first})"))
        elif self.count > self.last - self.first + 1:
            room = self.last - self.first + 1
            problems.append(Problem(("count",), f"is {self.count}; there are only {room} steps from first to last"))
        refuse(problems)
        return self

    @property
    def steps(self) -> tuple[int, ...]:
        """Exactly ``count`` different steps; where whole numbers are too coarse, one by one, then log-spaced."""
        steps = [self.first]
        for remaining in range(self.count - 1, 0, -1):
            ratio = (self.last / steps[-1]) ** (1 / remaining)
            steps.append(max(steps[-1] + 1, round(steps[-1] * ratio)))
        return tuple(steps)


Steps = Annotated[Distinct[Positive], Field(description="Budgets in optimiser steps, rising.")]


def _budgets_tag(value: object) -> str:
    return "spaced" if isinstance(value, dict | LogSpaced) else "steps"


class Budgets(
    RootModel[
        Annotated[Annotated[Steps, Tag("steps")] | Annotated[LogSpaced, Tag("spaced")], Discriminator(_budgets_tag)]
    ]
):
    """The planned lengths of training, in optimiser steps: a rising list, or first, last and count."""

    model_config = {"frozen": True, "strict": True}

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if isinstance(self.root, tuple) and list(self.root) != sorted(self.root):
            refuse([Problem((), f"is {list(self.root)}; budgets must rise")])
        return self

    @property
    def steps(self) -> tuple[int, ...]:
        """The budgets in optimiser steps, rising."""
        return self.root if isinstance(self.root, tuple) else self.root.steps


class Axes(Model):
    """One block of the grid: the product of these axes. An axis that is left out keeps its one default."""

    models: Distinct[str] | None = Field(None, description="Sizes of the ladder; null: all of them.")
    variant: Distinct[Variant] = Field(("base",), description="Start from the base or from the instruct model.")
    tau: Distinct[Positive] = Field(
        (1,),
        description="Data reuse: the run sees train_problems / tau different problems, each about tau times as often.",
    )
    group_size: Distinct[GroupSize] = Field((8,), description="Rollouts a prompt (G).")
    reward_accuracy: Distinct[Share] = Field((1.0,), description="Probability that a reward is right.")
    families: Distinct[Distinct[Family]] = Field((("chain",),), description="Families of problems trained on together.")
    skill_share: Distinct[SkillShare] = Field((1.0,), description="Share of the skills that training problems use.")
    supervision: Distinct[Supervision] = Field(
        (FULL_SUPERVISION,),
        description="How much of the supervised stage the base model got: full, or a level of the ladder's.",
    )
    base_seed: Distinct[Seed] = Field((0,), description="Seeds that make the base model.")
    seed: Distinct[Seed] = Field((0,), description="Seeds of the reinforcement learning.")


class Where(Model):
    """The runs that an exclusion names: those that agree with every axis given here. Seeds as written in the grid."""

    model: str | None = Field(None, description="A size of the ladder.")
    variant: Variant | None = Field(None, description="base or instruct.")
    tau: Positive | None = Field(None, description="Data reuse.")
    group_size: GroupSize | None = Field(None, description="Rollouts a prompt.")
    reward_accuracy: Share | None = Field(None, description="Probability that a reward is right.")
    families: Distinct[Family] | None = Field(None, description="Families trained on together, in any order.")
    skill_share: SkillShare | None = Field(None, description="Share of the skills.")
    supervision: Supervision | None = Field(None, description="How much of the supervised stage the base model got.")
    base_seed: Seed | None = Field(None, description="Seed of the base model, before seed_offset.")
    seed: Seed | None = Field(None, description="Seed of the run, before seed_offset.")

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.axes:
            refuse([Problem((), "names no axis, so it would exclude everything")])
        return self

    @property
    def axes(self) -> dict[str, object]:
        """The axes that are given, and their values."""
        return {name: value for name, value in self if value is not None}


class Exclusion(Model):
    """Runs of the product that are not trained, and why."""

    where: Where = Field(description="Axis values; a run that has them all is excluded.")
    reason: str = Field(min_length=1, description="Why these runs are not trained; shown wherever they are missing.")


class TrainingOverride(Model):
    """Training values for one size. They replace the study's exactly; a learning rate is not scaled by width."""

    prompts_per_step: Positive | None = Field(None, description="Prompts a step.")
    learning_rate: float | None = Field(None, gt=0.0, description="Learning rate of this size, as it is.")
    clip_range: float | None = Field(None, gt=0.0, description="Clip range of the policy ratio.")
    kl_coefficient: float | None = Field(None, ge=0.0, description="Weight of the KL to the base model.")
    temperature: float | None = Field(None, gt=0.0, description="Sampling temperature of the rollouts.")
    minibatches: Positive | None = Field(None, description="Optimiser updates a step.")
    warmup_steps: int | None = Field(None, ge=0, description="Warm-up of the learning rate.")
    max_gradient_norm: float | None = Field(None, gt=0.0, description="Gradient clipping.")
    adam_betas: Betas | None = Field(None, description="AdamW's decay rates.")
    weight_decay: float | None = Field(None, ge=0.0, description="AdamW's weight decay.")
    max_prompt_tokens: Positive | None = Field(None, description="Longest prompt.")
    max_new_tokens: Positive | None = Field(None, description="Longest answer.")


class Training(Model):
    """GRPO: groups of rollouts, normalised advantages, clipped objective, constant learning rate after warm-up."""

    prompts_per_step: Positive = Field(description="Prompts (samples) of one optimiser step's batch.")
    learning_rate: float = Field(gt=0.0, description="Learning rate, constant after warm-up; see the width exponent.")
    learning_rate_width_exponent: float = Field(
        0.0, description="Built ladders: a model's rate is learning_rate × (width / reference_width)^this."
    )
    reference_width: Positive = Field(24, description="The width at which learning_rate holds as written.")
    clip_range: float = Field(0.2, gt=0.0, description="The policy ratio is clipped to 1 ± this.")
    kl_coefficient: float = Field(
        0.0, ge=0.0, description="Weight of the KL (k3 estimator) to the base model; 0: none."
    )
    temperature: float = Field(1.0, gt=0.0, description="Sampling temperature of the rollouts.")
    minibatches: Positive = Field(1, description="Parts of a batch, one update each; 1: purely on-policy.")
    warmup_steps: int = Field(0, ge=0, description="Steps over which the learning rate rises linearly.")
    max_gradient_norm: float = Field(1.0, gt=0.0, description="Gradients are scaled down to this norm.")
    adam_betas: Betas = Field((0.9, 0.95), description="AdamW's decay rates.")
    weight_decay: float = Field(0.0, ge=0.0, description="AdamW's weight decay.")
    max_prompt_tokens: Positive | None = Field(None, description="Longest prompt; null: what the task needs.")
    max_new_tokens: Positive | None = Field(None, description="Longest answer; null: what the task needs.")
    train_problems: Positive | None = Field(
        None,
        description="Problems that tau = 1 goes through once; tau keeps train_problems / tau of them. "
        "null: last budget × prompts_per_step. Give it where budgets may grow, so that tau > 1 keeps its problems.",
    )

    @model_validator(mode="after")
    def _whole_minibatches(self) -> Self:
        if self.prompts_per_step % self.minibatches:
            allowed = f"it must divide prompts_per_step ({self.prompts_per_step})"
            refuse([Problem(("minibatches",), f"is {self.minibatches}; {allowed}")])
        return self


class Evaluation(Model):
    """How a checkpoint is scored."""

    temperature: float = Field(1.0, gt=0.0, description="Sampling temperature of the sampled and of the exact score.")
    samples: Positive = Field(1, description="Sampled answers a problem.")
    greedy: bool = Field(True, description="Also score the greedy answer.")
    exact: bool = Field(True, description="Also score the exact expected pass@1; needs one right answer a problem.")
    problems: Positive = Field(8192, description="Held-out problems drawn for each procedural suite.")
    sampled_problems: Positive = Field(1024, description="The first so many of them get sampled and greedy answers.")
    suites: Distinct[str] = Field(
        ("heldout",), description="Suites; the law is fitted on the first. Procedural: heldout, long, or a family."
    )
    primary: Literal["exact", "sampled", "greedy"] = Field("exact", description="The score that test loss is made of.")
    seed: Seed = Field(0, description="Seed of the sampled answers.")

    @model_validator(mode="after")
    def _primary_is_scored(self) -> Self:
        problems = []
        if self.primary != "sampled" and not getattr(self, self.primary):
            problems.append(Problem(("primary",), f'is "{self.primary}", but {self.primary} is false'))
        if self.sampled_problems > self.problems:
            message = f"is {self.sampled_problems}; at most problems ({self.problems})"
            problems.append(Problem(("sampled_problems",), message))
        refuse(problems)
        return self


class Gates(Model):
    """Rules that exclude a run from the law, declared before it is seen."""

    max_truncated: Share = Field(1.0, description="Exclude a run with a larger share of truncated rollouts; 1: never.")
    max_final_loss_rise: float | None = Field(
        None, gt=0.0, description="Exclude as collapsed a run whose last loss exceeds its lowest by more; null: never."
    )


class Law(Model):
    """What is fitted: log10 L = -k(N) log10 X + E."""

    x: Distinct[Literal["compute", "samples"]] = Field(
        ("compute", "samples"), description="X: training compute in FLOPs, samples, or both (one fit each)."
    )
    loss: Distinct[Literal["linear", "log"]] = Field(
        ("linear", "log"), description="Least squares on the loss itself (the paper's), on its logarithm, or both."
    )
    first_step: Positive = Field(1, description="Checkpoints before this step are not fitted on.")
    block: str = Field(
        "law", description="Block of the grid whose runs the law is fitted on; published points have none."
    )
    max_params: float | None = Field(None, gt=0.0, description="Sizes above this are not fitted on; null: all are.")
    gates: Gates = Field(Gates(), description="Rules that exclude a run from the law.")
    intervals: Literal["none", "bootstrap", "profile"] = Field(
        "profile", description="How intervals of K_max and N_0 are made; those of k(N) are quantiles of replicates."
    )
    draws: Positive = Field(1000, description="Replicates of the bootstrap.")
    seed: int = Field(0, ge=0, description="Of the bootstrap; not moved by seed_offset.")
