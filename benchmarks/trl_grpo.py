"""GRPO beside TRL's `GRPOTrainer`: the same base models, problems, groups, objective and optimiser, one CPU thread.

Every run is a process of its own, ours and TRL's by turns, so that a busy hour of the machine hits both. A step's cost
is the CPU time between two steps' ends, the median over a run without its first steps; start-up does not count.
"ours" computes all groups, as TRL does; "ours, flat skipped" is the trainer as it is: a group whose rewards are all
equal has no gradient. The seed of a repeat moves problems and sampling; no side starts further processes. TRL needs an
environment of its own: envs/bench.txt says how to make it. Run: .venv-trl/bin/python benchmarks/trl_grpo.py
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats

from rlscale.ladder import Supervised, scaled_learning_rate
from rlscale.models.checkpoint import save_checkpoint
from rlscale.models.qwen2 import Architecture
from rlscale.models.supervised import new_model, train_on_corpus
from rlscale.task_spec import SkillsTask
from rlscale.tasks.skills import SkillsProblems
from rlscale.tasks.vocabulary import EOS
from rlscale.trainers import TrainingJob
from rlscale.trainers.local import trainer as local

SIZES = {"12k": (24, 2, 2, 48), "83k": (64, 2, 4, 128), "494k": (128, 3, 4, 256)}  # width, layers, heads, ffn
# The ladder mini's supervised stage, shortened: about a tenth of a base model's rewards are 1.
STAGE = Supervised(steps=600, batch_size=96, learning_rate=0.16, warmup_steps=50)
BASE_SEED = 0
PROMPTS, GROUP_SIZE, ANSWER_TOKENS = 64, 8, 3  # two digits and the end token
BETAS, CLIP_NORM, CLIP_RANGE = (0.9, 0.95), 1.0, 0.2
WARMUP = 5  # first steps of a run, which do not count
LAST = 10  # steps that the final reward is the mean of
OURS, SKIPPING, TRL = "ours", "ours, flat skipped", "TRL"
ARMS = (OURS, TRL, SKIPPING)
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
QUIET = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
NO_TRL = (
    "TRL is no part of the project's environment; make one that has it: python3 -m venv .venv-trl && "
    ".venv-trl/bin/pip install -r envs/core.txt -r envs/bench.txt && .venv-trl/bin/pip install --no-deps -e . , "
    "then run .venv-trl/bin/python benchmarks/trl_grpo.py"
)


@dataclass
class Trace:
    """A run: the process's CPU seconds at the end of each step, and each step's mean reward."""

    cpu: list[float] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)

    @property
    def step_seconds(self) -> float:
        """Median CPU seconds of a step in steady state."""
        return float(np.median(np.diff(self.cpu)[WARMUP - 1 :]))

    @property
    def final_reward(self) -> float:
        """Mean reward of the last steps."""
        return statistics.fmean(self.rewards[-LAST:])


@dataclass(frozen=True)
class Run:
    """What one process does."""

    arm: str
    size: str
    base: str
    seed: int
    steps: int
    folder: str

    @property
    def learning_rate(self) -> float:
        """The study mini's rate for this width; constant."""
        return scaled_learning_rate(0.0016, -0.7, SIZES[self.size][0], 24)

    @property
    def problems(self) -> pd.DataFrame:
        """Fresh problems for all steps, in order."""
        return source().train(["chain"], 1.0, self.seed, self.steps * PROMPTS)


def source() -> SkillsProblems:
    """Return the source of all problems."""
    return SkillsProblems(SkillsTask(kind="skills"))


def make_base(size: str, folder: Path) -> None:
    """Train a base model and write it as a Hugging Face directory."""
    width, layers, heads, ffn = SIZES[size]
    problems = source()
    shape = Architecture(width, layers, heads, heads, ffn, len(problems.vocabulary))
    model = new_model(shape, BASE_SEED)
    stage = STAGE.model_copy(update={"learning_rate": STAGE.learning_rate / width})
    train_on_corpus(model, problems, stage, seed=BASE_SEED, instruct=False, report=lambda _: None)
    save_checkpoint(model, folder, tokenizer=problems.vocabulary.tokenizer_json(), identity={"step": 0})


def compute_flat_groups() -> list[int]:
    """Make our trainer compute all groups; the one place that knows its inside. Return where it counts them."""
    update = local._Run._update
    counts: list[int] = []

    def update_all(self: Any, step: int, batch: Any, active: torch.Tensor) -> Any:
        counts.append(len(active))
        return update(self, step, batch, torch.ones_like(active))

    local._Run._update = update_all  # type: ignore[method-assign]
    return counts


def run_ours(run: Run) -> Trace:
    """Train with the local trainer."""
    trace = Trace()

    def report(progress: Any) -> None:
        trace.cpu.append(time.process_time())
        trace.rewards.append(progress.reward_mean)

    training = {
        "prompts_per_step": PROMPTS,
        "learning_rate": run.learning_rate,
        "clip_range": CLIP_RANGE,
        "kl_coefficient": 0.0,
        "temperature": 1.0,
        "minibatches": 1,
        "warmup_steps": 0,
        "max_gradient_norm": CLIP_NORM,
        "adam_betas": list(BETAS),
        "weight_decay": 0.0,
        "max_prompt_tokens": None,
        "max_new_tokens": ANSWER_TOKENS,
    }
    identity = {"unique_problems": None, "group_size": GROUP_SIZE, "reward_accuracy": 1.0, "seed": run.seed}
    folder = Path(run.folder)
    job = TrainingJob(
        run_id="benchmark",
        fingerprint="benchmark",
        budgets=(run.steps,),
        identity=identity | {"training": training},
        base=Path(run.base),
        problems=run.problems,
        checkpoint=lambda step: folder / f"step-{step}",
        resume=folder / "resume",
        report=report,
    )
    counts = compute_flat_groups() if run.arm == OURS else None
    table = local.LocalTrainer().train(job)
    if counts is not None and sum(counts) != table["samples"].iloc[-1]:
        raise RuntimeError("the trainer did not compute the groups that it was made to compute")
    return trace


def run_trl(run: Run) -> Trace:
    """Train with TRL."""
    import trl  # type: ignore[import-not-found]
    from datasets import Dataset  # type: ignore[import-not-found]
    from transformers import AutoTokenizer, TrainerCallback

    trace = Trace()
    vocabulary, problems = source().vocabulary, run.problems
    prompts = problems["prompt"].tolist()
    tokenizer = AutoTokenizer.from_pretrained(run.base)
    if tokenizer(text=prompts)["input_ids"] != vocabulary.encode(prompts)[0].tolist():
        raise RuntimeError("TRL's tokenizer and ours read the prompts differently")
    answers = vocabulary.encode(problems["answer"].tolist(), end=True)[0].tolist()

    def reward(completion_ids: list[list[int]], answer: list[list[int]], **_: Any) -> list[float]:
        right = [float(given == wanted) for given, wanted in zip(completion_ids, answer, strict=True)]
        trace.rewards.append(statistics.fmean(right))
        return right

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            trace.cpu.append(time.process_time())

    settings = trl.GRPOConfig(
        output_dir=run.folder,
        seed=run.seed,
        max_steps=run.steps,
        # the same batch, in the same order, one update on all of it
        per_device_train_batch_size=PROMPTS * GROUP_SIZE,
        num_iterations=1,
        num_generations=GROUP_SIZE,
        shuffle_dataset=False,
        max_completion_length=ANSWER_TOKENS,
        temperature=1.0,
        # the same objective: summed over tokens, over the batch's number of tokens
        loss_type="dapo",
        scale_rewards="group",
        beta=0.0,
        epsilon=CLIP_RANGE,
        # the same optimiser
        optim="adamw_torch_fused",
        learning_rate=run.learning_rate,
        lr_scheduler_type="constant",
        warmup_steps=0,
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        weight_decay=0.0,
        max_grad_norm=CLIP_NORM,
        # single precision on a CPU, and nothing that takes time beside
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = trl.GRPOTrainer(
        model=run.base,
        reward_funcs=reward,
        args=settings,
        train_dataset=Dataset.from_dict({"prompt": prompts, "answer": answers}),
        processing_class=tokenizer,
        callbacks=[Clock()],
    )
    if trainer.model.dtype != torch.float32 or trainer.eos_token_ids != [EOS]:
        raise RuntimeError("TRL trains in another precision or ends answers with another token")
    trainer.train()
    return trace


def work(run: Run) -> None:
    """Do one run in this process and leave its trace in its folder."""
    torch.set_num_threads(1)
    trace = run_trl(run) if run.arm == TRL else run_ours(run)
    if not len(trace.cpu) == len(trace.rewards) == run.steps:
        raise RuntimeError(f"{run.arm}: {len(trace.cpu)} steps and {len(trace.rewards)} rewards, not {run.steps}")
    (Path(run.folder) / "trace.json").write_text(json.dumps(asdict(trace)))


def in_a_process(run: Run) -> Trace:
    """Do one run in a fresh process."""
    folder = Path(run.folder)
    folder.mkdir(parents=True)
    command = [sys.executable, __file__, "--worker", json.dumps(asdict(run))]
    done = subprocess.run(command, env=os.environ | ONE_THREAD | QUIET, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{run.arm}, {run.size}, seed {run.seed} failed:\n{done.stderr[-4000:]}")
    return Trace(**json.loads((folder / "trace.json").read_text()))


def print_size(size: str, traces: dict[str, list[Trace]]) -> None:
    """Print the table's rows for one size."""
    seconds = {arm: [trace.step_seconds for trace in runs] for arm, runs in traces.items()}
    rewards = {arm: [trace.final_reward for trace in runs] for arm, runs in traces.items()}
    for arm in ARMS:
        cost = statistics.median(seconds[arm])
        ratios = [one / other for one, other in zip(seconds[arm], seconds[TRL], strict=True)]
        over = "1" if arm == TRL else f"{statistics.median(ratios):.3g} ({min(ratios):.3g} to {max(ratios):.3g})"
        reward = f"{statistics.fmean(rewards[arm]):.4f} ± {np.std(rewards[arm], ddof=1):.4f}"
        gap = "" if arm == TRL else difference(rewards[arm], rewards[TRL])
        cells = (size, arm, f"{cost:.4f}", f"{PROMPTS / cost:.0f}", f"{PROMPTS * GROUP_SIZE / cost:.0f}")
        print("| " + " | ".join((*cells, over, reward, gap)) + " |", flush=True)


def difference(ours: list[float], peer: list[float]) -> str:
    """Return the difference of the means with its 95 % interval by Welch's t."""
    interval = stats.ttest_ind(ours, peer, equal_var=False).confidence_interval(0.95)
    verdict = "within noise" if interval.low <= 0 <= interval.high else "beyond noise"
    gap = statistics.fmean(ours) - statistics.fmean(peer)
    return f"{gap:+.4f} ({interval.low:+.4f} to {interval.high:+.4f}), {verdict}"


def compare(sizes: Sequence[str], repeats: int, steps: int) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("trl", "transformers", "torch"))
    print(f"{versions}; {PROMPTS} prompts × {GROUP_SIZE} answers, {steps} steps, {repeats} repeats, one thread\n")
    print("| size | trainer | CPU s a step | prompts / s | rollouts / s | CPU over TRL's | final reward | less TRL's |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as place:
        for size in sizes:
            base = Path(place) / size / "base"
            make_base(size, base)
            traces: dict[str, list[Trace]] = {arm: [] for arm in ARMS}
            for seed in range(repeats):
                for arm in ARMS if seed % 2 == 0 else reversed(ARMS):
                    folder = Path(place) / size / f"{seed}-{ARMS.index(arm)}"
                    traces[arm].append(in_a_process(Run(arm, size, str(base), seed, steps, str(folder))))
                    trace = traces[arm][-1]
                    line = f"{size}, seed {seed}, {arm}: {trace.step_seconds:.4f} s, reward {trace.rewards[0]:.3f} to "
                    print(f"{line}{trace.final_reward:.3f}", file=sys.stderr, flush=True)
            print_size(size, traces)


def main() -> None:
    """Compare, or do one run of the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), help="sizes of the models")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each trainer at each size, at least 2")
    parser.add_argument("--steps", type=int, default=60, help=f"steps of a run, at least {WARMUP + LAST}")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if importlib.util.find_spec("trl") is None:
        raise SystemExit(NO_TRL)
    if options.worker:
        work(Run(**json.loads(options.worker)))
        return
    if options.repeats < 2 or options.steps < WARMUP + LAST:
        parser.error(f"--repeats must be at least 2 and --steps at least {WARMUP + LAST}")
    compare(options.sizes, options.repeats, options.steps)


if __name__ == "__main__":
    main()
