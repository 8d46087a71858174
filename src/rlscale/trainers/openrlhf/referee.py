"""Rewards for OpenRLHF: each answer's verdict, the declared rate of wrong rewards, and a line for each sample.

OpenRLHF calls from many threads of each rollout engine's process, one answer a call, and dies later of a reward that is
missing: so a failure here is no verdict, counted and rewarded with 0, and never an exception. The lines are what the
trainer checks the consumed samples with.
"""

import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from rlscale.canonical import derived_seed
from rlscale.files import read_json
from rlscale.grading.judgement import Judgement
from rlscale.grading.pool import MathGrader
from rlscale.rewards import flip, grade_exact

SETTINGS = "RLSCALE_OPENRLHF_SETTINGS"
"""Environment variable: the attempt's settings, a JSON file."""

SAMPLES = "samples"
"""Folder below an attempt's: JSON lines of samples, a file for each engine."""

GRADERS = 4
"""Child processes of each engine."""

log = logging.getLogger(__name__)


class Referee:
    """Rewards one answer a call; safe to call from many threads.

    Args:
        settings: of the attempt: ``grader`` (math or exact), ``reward_accuracy``, ``seed``, ``ends`` (the texts of the
            end tokens), ``folder``.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.accuracy: float = settings["reward_accuracy"]
        self.seed: int = settings["seed"]
        self.ends: tuple[str, ...] = tuple(settings["ends"])
        self.grader = MathGrader(workers=GRADERS) if settings["grader"] == "math" else None
        folder = Path(settings["folder"]) / SAMPLES
        folder.mkdir(parents=True, exist_ok=True)
        self.lines = (folder / f"{os.getpid()}.jsonl").open("a", encoding="utf-8", buffering=1)
        self.seen: Counter[int] = Counter()
        self.lock = threading.Lock()

    def __call__(self, query: str, prompt: str, label: str) -> dict[str, Any]:
        """Return reward and counts of one answer, as OpenRLHF expects them.

        Args:
            query: prompt and answer, with special tokens.
            prompt: the prompt.
            label: the row's JSON: place in the run, problem, right answer.
        """
        row = json.loads(label)
        try:
            judgement = self._judge(query, prompt, row["answer"])
        except Exception as error:
            log.exception("sample %s: no reward", row["place"])
            judgement = Judgement("no_verdict", type(error).__name__)
        with self.lock:
            self.seen[row["place"]] += 1
            reward = self._reward(judgement, row["place"], self.seen[row["place"]])
            line = {"place": row["place"], "reward": reward, "verdict": judgement.verdict}
            self.lines.write(json.dumps(line) + "\n")
        no_verdict = float(judgement.verdict == "no_verdict")
        return {"rewards": reward, "scores": reward, "extra_logs": {"no_verdict": no_verdict}}

    def _judge(self, query: str, prompt: str, gold: str) -> Judgement:
        if not query.startswith(prompt):
            return Judgement("no_verdict", "the answer does not follow its prompt")
        answer = query[len(prompt) :]
        end = next((end for end in self.ends if answer.endswith(end)), None)
        if end is None:
            return Judgement("wrong", "cut off")
        answer = answer.removesuffix(end)
        if self.grader is not None:
            return self.grader.grade([answer], [gold])[0]
        return Judgement("correct" if grade_exact([answer], [gold])[0] else "wrong", "compared word for word")

    def _reward(self, judgement: Judgement, place: int, number: int) -> float:
        """Return the reward, wrong at the declared rate; no verdict is 0 and stays 0."""
        if judgement.verdict == "no_verdict":
            return 0.0
        right = np.array([float(judgement.verdict == "correct")])
        rng = np.random.Generator(np.random.PCG64(derived_seed("reward", self.seed, place, number)))
        return float(flip(right, self.accuracy, rng)[0])


@cache
def _referee() -> Referee:
    return Referee(read_json(Path(os.environ[SETTINGS])))


_starting = threading.Lock()


def reward_func(queries: Sequence[str], prompts: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """Return the reward of the one answer that each call brings; OpenRLHF's interface."""
    with _starting:
        referee = _referee()
    ((query, prompt, label),) = zip(queries, prompts, labels, strict=True)
    return referee(query, prompt, label)
