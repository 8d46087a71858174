"""Which files of a study may go: weights whose scores stand, and what no run of the study owns any more.

Nothing goes that is needed to make a result again or to extend a run: weights only if the records say that this very
checkpoint was asked and graded and its answers would be found again, never a base model, and of trainer states only
those of fingerprints that no run has.
"""

import hashlib
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rlscale.answers import answer_shard, superfluous
from rlscale.errors import UserError
from rlscale.paths import StudyPaths, record_of
from rlscale.provenance import DROPPED, IDENTITY, checkpoint_fingerprint, described, file_digest
from rlscale.records import FileDigest, FolderDigest, Record, read_record
from rlscale.specifications import Specifications


@dataclass(frozen=True)
class Weights:
    """A checkpoint whose weights are to be dropped.

    Attributes:
        run_id: its run.
        step: its step.
        path: its folder.
        bytes: of what goes.
        seen: size and time stamp of all that the decision rests on.
    """

    run_id: str
    step: int
    path: Path
    bytes: int
    seen: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Orphan:
    """A file or folder that no run of the study owns; ``what`` is trainer state or rollout shard."""

    run_id: str
    what: str
    path: Path
    bytes: int


@dataclass(frozen=True)
class Plan:
    """What goes, and what stays although it was not to be kept, with the reason by run and step."""

    weights: list[Weights]
    orphans: list[Orphan]
    withheld: dict[str, dict[int, str]]

    @property
    def removals(self) -> "list[Weights | Orphan]":
        """All that goes."""
        return [*self.weights, *self.orphans]

    @property
    def bytes(self) -> int:
        """Of all that goes."""
        return sum(one.bytes for one in self.removals)


def plan(specifications: Specifications, keep: str | Collection[int]) -> Plan:
    """Return what may go of a study; nothing is changed.

    Args:
        specifications: what the study's jobs are told, as its file is now.
        keep: last, all, none, or the steps whose weights stay.

    Raises:
        UserError: a step to keep is no budget of any run.
    """
    study = _Study(specifications)
    budgets = {step for run in study.runs.values() for step in run["budgets"]}
    if not isinstance(keep, str) and (unknown := sorted(set(keep) - budgets)):
        steps = ", ".join(map(str, sorted(budgets)))
        raise UserError(f"--keep: step {unknown[0]} is no budget of {study.paths.study}; there are {steps}")
    weights: list[Weights] = []
    withheld: dict[str, dict[int, str]] = {}
    for run_id in study.runs:
        run = _EvaluatedRun(study, run_id)
        for step in superfluous(run.steps_with_weights, keep):
            reason = run.why_not(step)
            if reason is None:
                weights.append(run.weights(step))
            else:
                withheld.setdefault(run_id, {})[step] = reason
    return Plan(weights, [*study.stray_states(), *study.stray_shards()], withheld)


class _Study:
    """A study as its file is now, and what stands of it."""

    def __init__(self, specifications: Specifications) -> None:
        self.paths = specifications.paths
        self.texts = dict(specifications.texts())
        grid = specifications.grid
        self.runs = {run: self._planned(self.paths.cell(run)) for run in (grid.runs if grid else {})}
        self.evaluation = self._planned(self.paths.spec("study", "evaluation"))

    def _planned(self, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self.texts[path])
        return values

    @cached_property
    def suites(self) -> FileDigest | None:
        """The problems; None where they do not stand, or are not those that the study asks for now."""
        path, spec = self.paths.suites, self.paths.spec("study", "suites")
        record = _record(path)
        if record is None or not path.is_file():
            return None
        asked_for = self.texts[spec].encode()
        told = FileDigest(bytes=len(asked_for), sha256=hashlib.sha256(asked_for).hexdigest())
        found = file_digest(path)
        return found if record.inputs.get(str(spec)) == told and record.outputs.get(str(path)) == found else None

    def checkpoints(self, run_id: str) -> list[Path]:
        """Return the folders of a run's checkpoints."""
        return [place for place in items(self.paths.checkpoints(run_id)) if place.name.startswith("step-")]

    def stray_states(self) -> Iterator[Orphan]:
        """Yield the trainer states of runs that the study has no longer, and of fingerprints that no record names."""
        for run in items(self.paths.root / "resume"):
            own = set()
            if run.name in self.runs:
                record = _record(self.paths.steps(run.name))
                own = {self.runs[run.name]["fingerprint"], record.facts.get("fingerprint") if record else None}
            for state in items(run):
                if state.name not in own:
                    yield Orphan(run.name, "trainer state", state, _bytes(state))

    def stray_shards(self) -> Iterator[Orphan]:
        """Yield answers that no record names, and that the evaluation as it is planned now would not find again."""
        for run_id, cell in self.runs.items():
            record = _record(self.paths.rollouts(run_id))
            named = set(map(Path, record.outputs)) if record else set()
            if self.suites is not None:
                steps = [0, *(_step(place) for place in self.checkpoints(run_id))]
                spec, suites = self.evaluation, self.suites
                named |= {answer_shard(self.paths, cell, step, spec=spec, suites=suites) for step in steps}
            for shard in items(self.paths.rollout_shards(run_id)):
                if shard not in named:
                    yield Orphan(run_id, "rollout shard", shard, _bytes(shard))


class _EvaluatedRun:
    """One run: its checkpoints, and what the records say of their evaluation."""

    def __init__(self, study: _Study, run_id: str) -> None:
        self.study, self.paths, self.run_id = study, study.paths, run_id
        self.cell = study.runs[run_id]

    @cached_property
    def steps_with_weights(self) -> list[int]:
        """Steps that have weights of the run as it is planned now; a drop that was cut short leaves some."""
        own = [
            place
            for place in self.study.checkpoints(self.run_id)
            if checkpoint_fingerprint(place) == self.cell["fingerprint"]
        ]
        return sorted(_step(place) for place in own if _weights_of(place))

    @cached_property
    def record(self) -> Record | None:
        """The record of the evaluation."""
        return _record(self.paths.rollouts(self.run_id))

    @cached_property
    def scored(self) -> set[int]:
        """Steps whose scores stand: graded from the answers that the evaluation's record names."""
        import pandas as pd

        rollouts, scores = self.paths.rollouts(self.run_id), self.paths.scores(self.run_id)
        grade = _record(scores)
        if self.record is None or grade is None or not (rollouts.is_file() and scores.is_file()):
            return set()
        answers = file_digest(rollouts)
        if self.record.outputs.get(str(rollouts)) != answers or grade.inputs.get(str(rollouts)) != answers:
            return set()
        if grade.outputs.get(str(scores)) != file_digest(scores):
            return set()
        return set(pd.read_parquet(scores, columns=["step"])["step"])

    def why_not(self, step: int) -> str | None:
        """Return why the weights of a step must stay; None where they may go."""
        if self.record is None or step not in self.scored:
            return "no scores that stand"
        if self.record.inputs.get(str(self._checkpoint(step))) != self._description(step):
            return "its record names other weights"
        suites = self.study.suites
        if suites is None:
            return "the suites have changed"
        if not answer_shard(self.paths, self.cell, step, spec=self.study.evaluation, suites=suites).is_file():
            return "the evaluation has changed: it would be asked again"
        return None

    def weights(self, step: int) -> Weights:
        """Return what goes of a step."""
        path = self._checkpoint(step)
        size = sum(file.stat().st_size for file in _weights_of(path))
        return Weights(self.run_id, step, path, size, seen(self.paths, self.run_id, path))

    def _checkpoint(self, step: int) -> Path:
        return self.paths.checkpoint(self.run_id, step)

    def _description(self, step: int) -> FolderDigest:
        if step not in self._descriptions:
            self._descriptions[step] = FolderDigest.model_validate(described(self._checkpoint(step)))
        return self._descriptions[step]

    @cached_property
    def _descriptions(self) -> dict[int, FolderDigest]:
        return {}


def _record(artefact: Path) -> Record | None:
    """Return the record of an artefact; None where there is no record.

    Raises:
        DamagedRecordError: it cannot be read.
    """
    try:
        return read_record(record_of(artefact))
    except FileNotFoundError:
        return None


def seen(paths: StudyPaths, run_id: str, checkpoint: Path) -> tuple[tuple[int, int], ...]:
    """Return size and time stamp of the records of a run's scores, and of the files of a checkpoint."""
    records = [record_of(paths.rollouts(run_id)), record_of(paths.scores(run_id))]
    stats = (path.stat() for path in (*records, *sorted(checkpoint.rglob("*"))))
    return tuple((stat.st_size, stat.st_mtime_ns) for stat in stats)


def items(folder: Path) -> list[Path]:
    """Return what stands in a folder, sorted; nothing half-written."""
    return sorted(path for path in folder.glob("*") if not path.name.startswith("."))


def _weights_of(checkpoint: Path) -> list[Path]:
    """Return the files of a checkpoint that dropping removes."""
    return [file for file in checkpoint.rglob("*") if file.is_file() and file.name not in {IDENTITY, DROPPED}]


def _step(place: Path) -> int:
    return int(place.name.removeprefix("step-"))


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
