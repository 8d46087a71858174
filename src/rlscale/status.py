"""How far a study is: which planned checkpoints and scores are there."""

from dataclasses import dataclass
from pathlib import Path

from rlscale.grid import Grid, Run
from rlscale.paths import StudyPaths
from rlscale.provenance import checkpoint_fingerprint


@dataclass(frozen=True)
class RunStatus:
    """One run: what is planned and what is there.

    Attributes:
        run_id: the run.
        fingerprint: of the run as the study has it now.
        changed: there are checkpoints of another fingerprint; none of them counts.
        checkpoints: by planned step, whether its checkpoint is there.
        scores: by planned step, whether that checkpoint has a score.
    """

    run_id: str
    fingerprint: str
    changed: bool
    checkpoints: dict[int, bool]
    scores: dict[int, bool]


def study_status(name: str, grid: Grid) -> list[RunStatus]:
    """Return the status of every run of the study ``name``, sorted by run."""
    paths = StudyPaths(name)
    return [_run_status(paths, run) for run in grid.runs.values()]


def _run_status(paths: StudyPaths, run: Run) -> RunStatus:
    found = {step: checkpoint_fingerprint(paths.checkpoint(run.run_id, step)) for step in run.budgets}
    current = {step: fingerprint == run.fingerprint for step, fingerprint in found.items()}
    scored = _scored_steps(paths.scores(run.run_id))
    return RunStatus(
        run_id=run.run_id,
        fingerprint=run.fingerprint,
        changed=any(found[step] is not None and not current[step] for step in run.budgets),
        checkpoints=current,
        scores={step: current[step] and step in scored for step in run.budgets},
    )


def _scored_steps(scores: Path) -> set[int]:
    if not scores.is_file():
        return set()
    import pyarrow.parquet as pq

    return set(pq.read_table(scores, columns=["step"]).column("step").to_pylist())
