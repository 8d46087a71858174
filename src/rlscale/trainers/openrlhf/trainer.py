"""Runs OpenRLHF to a run's last budget, from where it stands, and turns what it leaves into checkpoints and a table.

The prompts of all steps are written out in the planned order before the first. Each start is an attempt with a folder
of its own; the table takes every step from the last attempt that made it, and is refused where the samples that were
rewarded are not the planned ones.
"""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rlscale.canonical import derived_seed
from rlscale.errors import UserError
from rlscale.files import read_json, remove_folder, write_json, write_text
from rlscale.models.prompts import end_texts, prompt_texts, token_counts
from rlscale.provenance import checkpoint_fingerprint
from rlscale.trainers import Progress, TrainingJob
from rlscale.trainers.openrlhf.arguments import Attempt, Limits, arguments
from rlscale.trainers.openrlhf.cluster import ray_cluster
from rlscale.trainers.openrlhf.events import Events
from rlscale.trainers.openrlhf.process import RunningProcess
from rlscale.trainers.openrlhf.states import States, keep_checkpoint
from rlscale.trainers.openrlhf.steps import PastAttempt, steps_table
from rlscale.trainers.order import order_seed, problems_of_run

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 5.0
FIRST_STEP = "first_step"


class OpenRlhfTrainer:
    """GRPO by OpenRLHF on the GPUs of the job's placement."""

    def train(self, job: TrainingJob) -> pd.DataFrame:
        """Train one run; see :class:`rlscale.trainers.Trainer`.

        Raises:
            UserError: a prompt or the tokenizer does not fit the study.
            RuntimeError: OpenRLHF failed, stood still, or did not consume the planned samples.
        """
        return _Run(job).train()


class _Run:
    """One run's files and position."""

    def __init__(self, job: TrainingJob) -> None:
        if job.placement is None:
            raise UserError(f"{job.run_id}: its ladder states no placement, which trainer openrlhf needs")
        self.job, self.placement = job, job.placement
        self.training: dict[str, Any] = job.identity["training"]
        self.states = States(job.resume / "state")
        self.prompts = job.resume / "prompts.jsonl"
        self.attempts = job.resume / "attempts"

    def train(self) -> pd.DataFrame:
        self._collect()
        if missing := self._missing():
            # What a killed attempt left running would write into the same folders.
            RunningProcess.end_leftovers(self.job.fingerprint)
            self.states.drop_weights()
            step = self.states.rewind(before=missing[0])
            self.job.resumed(step)
            for budget in self.job.budgets:
                if budget > step:  # sampled anew: a checkpoint of the old attempt would not belong to the new steps
                    remove_folder(self.job.checkpoint(budget))
            self._attempt(step + 1)
            if missing := self._missing():
                raise RuntimeError(f"{self.job.run_id}: OpenRLHF ended without a checkpoint of step {missing[0]}")
            self.states.rewind(before=None)  # the last state is kept, to go on from where budgets are added
        return steps_table(self.job, self._past())

    def _attempt(self, first_step: int) -> None:
        job = self.job
        limits = self._write_prompts()
        folder = self.attempts / f"{len(self._past()):03d}"
        folder.mkdir(parents=True, exist_ok=True)
        nodes, gpus = self.placement.nodes, self.placement.cuda_per_node
        with ray_cluster(nodes, gpus, folder / "ray.txt", job.fingerprint) as ray:
            self._run_attempt(folder, first_step, limits, ray)

    def _run_attempt(self, folder: Path, first_step: int, limits: Limits, ray: dict[str, str]) -> None:
        job = self.job
        settings = {
            FIRST_STEP: first_step,
            "budgets": list(job.budgets),
            "folder": str(folder.resolve()),
            "grader": "math" if job.identity["task"]["kind"] == "parquet" else "exact",
            "reward_accuracy": job.identity["reward_accuracy"],
            "seed": derived_seed("attempt", job.identity["seed"], first_step),
            "ends": end_texts(job.base),
            "ray": ray,
            "gpus": self.placement.gpus,
        }
        write_json(folder / "settings.json", settings)
        attempt = Attempt(folder.resolve(), self.states.folder.resolve(), self.prompts.resolve(), first_step)
        words = arguments(
            job.identity,
            base=job.base.resolve(),
            limits=limits,
            placement=self.placement,
            attempt=attempt,
            last_step=job.budgets[-1],
        )
        log.info("%s: OpenRLHF starts with step %d; its log is %s", job.run_id, first_step, folder / "log.txt")
        extensions = job.resume / "extensions"
        with RunningProcess(
            folder / "settings.json", words, folder / "log.txt", fingerprint=job.fingerprint, extensions=extensions
        ) as process:
            self._watch(process, Events(folder), first_step)

    def _watch(self, process: RunningProcess, events: Events, first_step: int) -> None:
        """Wait for the end; report steps, keep checkpoints, and end what stands still.

        Raises:
            RuntimeError: it failed or stood still.
        """
        last, seen, runs = self.job.budgets[-1], first_step - 1, True
        while runs:
            runs = process.runs(SECONDS_BETWEEN_LOOKS)
            steps = events.steps()
            newest = max(steps, default=seen)
            if newest > seen:
                process.moved()
                left = process.seconds / (newest - first_step + 1) * (last - newest)
                self.job.report(Progress(newest, last, steps[newest]["rollout/reward_mean"], left))
            seen = newest
            self._collect()
            if runs and process.seconds_still > 60 * self.placement.stall_minutes:
                raise RuntimeError(
                    f"{self.job.run_id}: no step within {self.placement.stall_minutes:g} min after step {seen}; ended"
                )
        if process.returncode:
            raise RuntimeError(f"{self.job.run_id}: OpenRLHF failed with {process.returncode}: {process.last_words()}")

    def _write_prompts(self) -> Limits:
        """Write the samples of all steps, in order; return the longest lengths.

        Raises:
            UserError: a prompt is longer than the study allows, or the pool is too small.
        """
        job = self.job
        unique, prompts = job.identity["unique_problems"], self.training["prompts_per_step"]
        needed = unique or job.budgets[-1] * prompts
        if len(job.problems) < needed:
            raise UserError(f"{job.run_id}: the pool has {len(job.problems)} problems, but the run needs {needed}")
        problems = job.problems.head(needed)
        texts = prompt_texts(problems, job.base)
        lengths = np.array(token_counts(texts, job.base))
        longest = int(lengths.max())
        most = self.training["max_prompt_tokens"] or longest
        if longest > most:
            name = problems["problem"].iloc[int(lengths.argmax())]
            raise UserError(
                f"{job.run_id}: training.max_prompt_tokens is {most}, but problem {name} has {longest} tokens"
            )
        answers = problems["answer"].astype("str").tolist()
        seed = order_seed(job.identity)
        rows = problems_of_run(job.budgets[-1], prompts=prompts, unique=unique, seed=seed).tolist()
        lines = (
            json.dumps({"prompt": texts[row], "label": json.dumps({"place": place, "answer": answers[row]})})
            for place, row in enumerate(rows)
        )
        write_text(self.prompts, "\n".join(lines) + "\n")
        longest_answer = self.training["max_new_tokens"] or max(token_counts(answers, job.base)) + 1  # and its end
        return Limits(most, longest_answer)

    def _collect(self) -> None:
        """Turn the whole folders of weights into checkpoints."""
        for step in self._missing():
            weights = self.states.weights(step)
            if weights is not None:
                identity: dict[str, object] = {"run": self.job.run_id, "fingerprint": self.job.fingerprint}
                keep_checkpoint(weights, self.job.checkpoint(step), identity | {"step": step})

    def _missing(self) -> list[int]:
        job = self.job
        return [step for step in job.budgets if checkpoint_fingerprint(job.checkpoint(step)) != job.fingerprint]

    def _past(self) -> list[PastAttempt]:
        """Return the attempts so far, in order."""
        files = sorted(self.attempts.glob("*/settings.json"))
        return [PastAttempt(file.parent, read_json(file)[FIRST_STEP]) for file in files]
