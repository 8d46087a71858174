"""Removes what a plan of retention says, while no job can be at it.

Whoever is asked may take an hour to answer: each run's records and files are looked at once more when its locks are
held, and weights that are not as they were then stay.
"""

from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path

from rlscale.errors import UserError
from rlscale.files import remove_folder
from rlscale.paths import StudyPaths
from rlscale.provenance import drop_weights
from rlscale.retention import Plan, Weights, items, seen
from rlscale.specifications import Specifications
from rlscale.writers import is_held, only_writer

WRITING_STAGES = ("train", "evaluate", "grade")


def refuse_busy(paths: StudyPaths, runs: Collection[str]) -> None:
    """Refuse where a process of this study is at a run.

    Raises:
        UserError: one is.
    """
    for run_id in runs:
        for stage in WRITING_STAGES:
            if is_held(paths.lock(stage, run_id)):
                raise UserError(f"{stage} of {run_id} is going on: nothing was removed; try again when it is over")


def known_runs(specifications: Specifications) -> list[str]:
    """Return the runs of a study, and those that have left a trainer state."""
    planned = specifications.grid.runs if specifications.grid else {}
    return sorted({*planned, *(folder.name for folder in items(specifications.paths.root / "resume"))})


def carry_out(paths: StudyPaths, what: Plan, reason: str) -> list[Weights]:
    """Remove what the plan says; each run's weights while no job of it can begin.

    Returns:
        Weights that were left alone, since something they depend on has changed since the plan was made.

    Raises:
        UserError: a job of a run has begun, and goes on.
    """
    left = []
    for run_id in dict.fromkeys(one.run_id for one in what.removals):
        with ExitStack() as locks:
            for stage in ("train", "evaluate"):
                locks.enter_context(only_writer(paths.lock(stage, run_id), f"gc of {run_id}"))
            for weights in (one for one in what.weights if one.run_id == run_id):
                if seen(paths, weights.run_id, weights.path) == weights.seen:
                    drop_weights(weights.path, reason)
                else:
                    left.append(weights)
            for orphan in (one for one in what.orphans if one.run_id == run_id):
                _remove(orphan.path)
    return left


def _remove(path: Path) -> None:
    if path.is_dir():
        remove_folder(path)
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
    else:
        path.unlink(missing_ok=True)
