"""Curves of a study in mid-run: rewards so far from the trainers' states, and the runs that have ended and are scored.

Test scores come only after a run's last step; before it, the table of steps beside the trainer's state is all there is.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rlscale.curves import run_curve
from rlscale.grid import Grid, Run
from rlscale.laws import Array
from rlscale.paths import StudyPaths
from rlscale.study import TrainedStudy

_SAME = ("variant", "tau", "group_size", "reward_accuracy", "families", "skill_share", "supervision")
"""What comparable runs have in common."""


@dataclass(frozen=True)
class Running:
    """A run that has begun and not ended.

    Attributes:
        run: the run.
        rewards: mean reward by step, from the first.
        compute: FLOPs (6·N·T) of these steps.
    """

    run: Run
    rewards: Array
    compute: float


def running(name: str, grid: Grid) -> list[Running]:
    """Return the runs of a study that have a table of steps and are not at their end."""
    paths, found = StudyPaths(name), []
    for run in grid.runs.values():
        if paths.steps(run.run_id).is_file():
            continue
        table = _newest_state(paths.resume(run.run_id, run.fingerprint))
        if table is not None and 0 < len(table) < run.budgets[-1]:
            rewards = table["reward_mean"].to_numpy(dtype=np.float64)
            found.append(Running(run, rewards, float(table["compute_flops"].sum())))
    return found


def ended(name: str, study: TrainedStudy, grid: Grid) -> dict[str, tuple[Array, pd.DataFrame]]:
    """Return rewards by step and the curve of every run that has ended and is scored, by run."""
    paths, found = StudyPaths(name), {}
    for run in grid.runs.values():
        steps, scores = paths.steps(run.run_id), paths.scores(run.run_id)
        if not (steps.is_file() and scores.is_file()):
            continue
        table = pd.read_parquet(steps)
        curve = run_curve(
            {"run": run.run_id, **{key: value for key, value in asdict(run).items() if key != "run_id"}},
            table,
            pd.read_parquet(scores),
            suite=study.evaluation.suites[0],
            mode=study.evaluation.primary,
            gates=study.law.gates.model_dump(),
        )
        if curve["step"].max() == run.budgets[-1] and not curve["excluded"].iloc[0]:
            found[run.run_id] = table["reward_mean"].to_numpy(dtype=np.float64), curve
    return found


def kind_of(run: Run) -> str:
    """Return all that tells a run from others but its size and seeds."""
    return " ".join(f"{name}={getattr(run, name)}" for name in _SAME)


def _newest_state(folder: Path) -> pd.DataFrame | None:
    for place in sorted(folder.glob("step-*/steps.parquet"), reverse=True):
        return pd.read_parquet(place)
    return None
