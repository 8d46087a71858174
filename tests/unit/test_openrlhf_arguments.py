"""The command line of OpenRLHF: what its own parser makes of every run of every shipped study."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.openrlhf_parser import parsed

from rlscale.config import load_grid, shipped_studies
from rlscale.grid import Grid, Run
from rlscale.ladder import Ladder
from rlscale.placement import Placement
from rlscale.study import TrainedStudy
from rlscale.trainers.openrlhf.arguments import REWARD_FILE, Attempt, Limits, arguments

CPU = Placement(gpus_per_node=1, zero_stage=2, device="cpu", engine_memory=0.1, reason="a test")


@cache
def loaded(study: str) -> tuple[TrainedStudy, Ladder, Grid]:
    return load_grid(shipped_studies()[study])


def trained_studies() -> list[str]:
    return [name for name, path in sorted(shipped_studies().items()) if "kind: trained" in path.read_text()]


def command(run: Run, ladder: Ladder, first_step: int = 1, **changes: Any) -> list[str]:
    training = run.identity["training"]
    assert isinstance(training, dict)
    limits = Limits(training["max_prompt_tokens"] or 9, training["max_new_tokens"] or 5)
    values: dict[str, Any] = {
        "base": Path("/base"),
        "limits": limits,
        "placement": ladder.models[run.model].placement or CPU,
        "attempt": Attempt(Path("/attempt"), Path("/state"), Path("/prompts.jsonl"), first_step),
        "last_step": run.budgets[-1],
    }
    return arguments(run.identity, **(values | changes))


@pytest.mark.parametrize("study", trained_studies())
def test_openrlhf_accepts_every_run_of_every_shipped_study(study: str) -> None:
    _, ladder, grid = loaded(study)
    for run in grid.runs.values():
        args = parsed(command(run, ladder))
        identity: Any = run.identity
        training = identity["training"]
        placement = ladder.models[run.model].placement or CPU
        assert args.algo.advantage.estimator == "group_norm"
        assert args.rollout.batch_size == run.prompts_per_step
        assert args.rollout.n_samples_per_prompt == run.group_size
        assert args.train.batch_size * training["minibatches"] == run.prompts_per_step * run.group_size
        # What DeepSpeed asserts later: the batch of an update is a whole number of micro-batches on each GPU.
        assert args.train.batch_size % (args.train.micro_batch_size * placement.gpus) == 0
        assert args.vllm.num_engines * args.vllm.tensor_parallel_size == placement.gpus
        assert (args.actor.num_nodes, args.actor.num_gpus_per_node) == (placement.nodes, placement.gpus_per_node)
        assert args.actor.adam.lr == training["learning_rate"]
        assert args.train.num_episodes == args.train.max_epochs == 1


@pytest.mark.parametrize("study", ["paper-54", "paper-63"])
def test_the_papers_runs_have_the_papers_hyper_parameters(study: str) -> None:
    """As in the authors' run scripts (arXiv 2509.25300)."""
    _, ladder, grid = loaded(study)
    args = parsed(command(grid.runs["qwen2.5-7b_base_s0"], ladder))
    assert (args.rollout.batch_size, args.rollout.n_samples_per_prompt) == (512, 8)
    assert args.train.batch_size == 128 * 8
    assert (args.actor.adam.lr, args.actor.lr_scheduler, args.actor.lr_warmup_ratio) == (1e-6, "constant", 0.0)
    assert args.algo.kl.use_loss
    assert (args.algo.kl.init_coef, args.algo.kl.estimator) == (0.001, "k3")
    assert tuple(args.actor.eps_clip_low_high) == (0.2, 0.2)
    assert (args.data.max_len, args.rollout.max_new_tokens) == (6144, 4096)
    assert (args.rollout.temperature, args.rollout.top_p) == (1.0, 1.0)
    assert args.reward.remote_url == [str(REWARD_FILE)]
    assert REWARD_FILE.is_file()
    assert args.train.colocate_all
    assert args.vllm.enable_sleep
    assert args.ds.enable_sleep


def test_without_kl_there_is_no_reference_model() -> None:
    _, ladder, grid = loaded("smoke")
    args = parsed(command(next(iter(grid.runs.values())), ladder))
    assert args.algo.kl.init_coef == 0
    assert not args.algo.kl.use_loss


def test_a_resumed_run_samples_with_another_seed() -> None:
    _, ladder, grid = loaded("paper-54")
    run = grid.runs["qwen2.5-7b_base_s0"]
    seeds = [parsed(command(run, ladder, first)).train.seed for first in (1, 2, 50)]
    assert len(set(seeds)) == 3
    assert seeds[0] == parsed(command(run, ladder, 1)).train.seed


@pytest.mark.parametrize("words", [["--actor_learning_rate", "1"], ["--algo.advantage.estimator", "grpo"]])
def test_the_parser_of_these_tests_refuses(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(words)


def test_the_asserts_of_these_tests_refuse() -> None:
    _, ladder, grid = loaded("smoke")
    run = next(iter(grid.runs.values()))
    with pytest.raises(AssertionError, match="requires n_samples_per_prompt > 1"):
        parsed([*command(run, ladder), "--rollout.n_samples_per_prompt", "1"])
