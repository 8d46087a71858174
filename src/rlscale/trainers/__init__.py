"""Trainers: a run's specification in, checkpoints and a table of steps out.

This is the only place that knows a reinforcement-learning framework. Every trainer obeys one protocol: it leaves a
checkpoint at each budget, keeps its state where a killed job finds it again, and returns one row per step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from rlscale.adapters import TRAINERS
from rlscale.errors import UserError, did_you_mean
from rlscale.placement import Placement


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    step: int
    last_step: int
    reward_mean: float
    seconds_left: float


def _unheard(_step: int) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True)
class TrainingJob:
    """What a trainer is given.

    Attributes:
        run_id: name of the run, for messages.
        fingerprint: digest of the identity; state and checkpoints of another fingerprint are never used.
        budgets: steps to leave a checkpoint at, rising.
        identity: all that the weights depend on, as in ``cell.json``.
        base: checkpoint of step 0.
        problems: training problems (columns problem, prompt, answer) in the order of a fresh stream.
        checkpoint: the place of the checkpoint of a step.
        resume: folder of the trainer's state; outlives a killed job.
        report: called after each step.
        placement: the GPUs, for trainers that use them.
        resumed: called before the first step with the step that training goes on from, 0 for the beginning.
    """

    run_id: str
    fingerprint: str
    budgets: tuple[int, ...]
    identity: dict[str, Any]
    base: Path
    problems: pd.DataFrame
    checkpoint: Callable[[int], Path]
    resume: Path
    report: Callable[[Progress], None]
    placement: Placement | None = None
    resumed: Callable[[int], None] = _unheard


class Trainer(Protocol):
    """Trains one run."""

    def train(self, job: TrainingJob) -> pd.DataFrame:
        """Train up to the last budget and return one row per step, from the first (columns: see the README)."""
        ...


def trainer_named(name: str) -> Trainer:
    """Return the trainer that a study names.

    Raises:
        UserError: there is no trainer of this name here.
    """
    if name not in TRAINERS:
        raise UserError(f"no trainer {name!r}; there are {' and '.join(TRAINERS)}{did_you_mean(name, TRAINERS)}")
    module, _, trainer = TRAINERS[name].entry.partition(":")
    made: Trainer = getattr(import_module(module), trainer)()
    return made
