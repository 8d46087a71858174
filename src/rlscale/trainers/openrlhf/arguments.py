"""A run as the command line of OpenRLHF 0.11.2 (``openrlhf.cli.train_ppo_ray``): GRPO, all models on all GPUs in turn.

Every number comes from the run's identity or from its placement. Nothing here imports OpenRLHF; a test puts the command
line of every run of every shipped study through its real parser.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlscale.canonical import derived_seed
from rlscale.placement import Placement

REWARD_FILE = Path(__file__).with_name("reward.py")
KEPT_STATES = 2
"""With one, the old state would be gone before the new one stands."""

EVENTS = "events"
"""Folder below an attempt's in which TensorBoard's events are written."""


@dataclass(frozen=True)
class Limits:
    """Longest prompt and longest answer, in tokens."""

    prompt: int
    answer: int


@dataclass(frozen=True)
class Attempt:
    """One start of OpenRLHF for a run.

    Attributes:
        folder: its own folder, for events and samples.
        state: the folder of weights and optimiser, which all attempts share.
        prompts: JSON lines of every sample of the run, in order.
        first_step: the step that it begins with, from 1.
    """

    folder: Path
    state: Path
    prompts: Path
    first_step: int


def arguments(
    identity: Mapping[str, Any], *, base: Path, limits: Limits, placement: Placement, attempt: Attempt, last_step: int
) -> list[str]:
    """Return the arguments for a run.

    Args:
        identity: as in ``cell.json``.
        base: checkpoint of step 0.
        limits: longest prompt and answer.
        placement: the GPUs.
        attempt: which start of the run this is.
        last_step: last budget.
    """
    words: list[str] = []
    for name, value in (
        *_models(base, placement),
        *_algorithm(identity, last_step),
        *_rollouts(identity, limits, attempt, placement),
        *_files(attempt),
    ):
        words.append(f"--{name}")
        if value is not True:
            words += [str(part) for part in value] if isinstance(value, tuple) else [str(value)]
    return words


Options = Iterator[tuple[str, object]]
"""Names without their dashes, and values; True for a flag."""


def _models(base: Path, placement: Placement) -> Options:
    yield "actor.model_name_or_path", base
    for model in ("actor", "ref"):
        yield f"{model}.num_nodes", placement.nodes
        yield f"{model}.num_gpus_per_node", placement.gpus_per_node
    yield "train.colocate_all", True
    yield "ds.zero_stage", placement.zero_stage
    if placement.offload_optimizer:
        yield "ds.adam_offload", True
    yield "vllm.num_engines", placement.gpus // placement.engine_gpus
    yield "vllm.tensor_parallel_size", placement.engine_gpus
    yield "vllm.gpu_memory_utilization", placement.engine_memory
    if placement.device == "cpu":
        yield "vllm.sync_backend", "gloo"
        yield "vllm.enforce_eager", True
        yield "ds.attn_implementation", "eager"
    else:
        yield "vllm.sync_backend", "nccl"
        yield "vllm.enable_sleep", True
        yield "vllm.enable_prefix_caching", True  # a group's prompts are one prompt
        yield "ds.enable_sleep", True
        yield "actor.gradient_checkpointing_enable", True


def _algorithm(identity: Mapping[str, Any], last_step: int) -> Options:
    training = identity["training"]
    yield "algo.advantage.estimator", "group_norm"
    yield "algo.kl.init_coef", training["kl_coefficient"]
    if training["kl_coefficient"] > 0:
        yield "algo.kl.use_loss", True
        yield "algo.kl.estimator", "k3"
    yield "actor.eps_clip", training["clip_range"]
    yield "actor.loss_agg_mode", "token-mean"
    yield "actor.max_norm", training["max_gradient_norm"]
    yield "actor.adam.lr", training["learning_rate"]
    yield "actor.adam.betas", tuple(training["adam_betas"])
    yield "actor.adam.weight_decay", training["weight_decay"]
    warmup = training["warmup_steps"]
    yield "actor.lr_scheduler", "constant_with_warmup" if warmup else "constant"
    yield "actor.lr_warmup_ratio", warmup / last_step


def _rollouts(identity: Mapping[str, Any], limits: Limits, attempt: Attempt, placement: Placement) -> Options:
    training, group = identity["training"], identity["group_size"]
    prompts = training["prompts_per_step"]
    yield "rollout.batch_size", prompts
    yield "rollout.n_samples_per_prompt", group
    yield "rollout.micro_batch_size", placement.micro_batch
    yield "rollout.temperature", training["temperature"]
    yield "rollout.max_new_tokens", limits.answer
    yield "data.max_len", limits.prompt + limits.answer
    yield "train.batch_size", prompts * group // training["minibatches"]
    yield "train.micro_batch_size", placement.micro_batch
    # vLLM starts from its seed at each attempt: another one, or a resumed run would see the first steps' noise again.
    yield "train.seed", derived_seed("openrlhf", identity["seed"], attempt.first_step) % 2**31


def _files(attempt: Attempt) -> Options:
    yield "reward.remote_url", REWARD_FILE
    yield "data.prompt_dataset", attempt.prompts
    yield "data.input_key", "prompt"
    yield "data.label_key", "label"
    yield "ckpt.path", attempt.state
    yield "ckpt.output_dir", attempt.state / "unused"
    yield "ckpt.save_steps", 1  # the strategy narrows it to the budgets
    yield "ckpt.save_hf", True
    yield "ckpt.max_num", KEPT_STATES
    yield "ckpt.load_enable", True
    yield "ckpt.best_metric_key", "none"
    yield "logger.tensorboard_dir", attempt.folder
    yield "logger.wandb.run_name", EVENTS
