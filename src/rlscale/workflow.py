"""All that the Snakefile imports: which studies there are, what each is made of, and what a job needs.

Opening a study expands its grid once and writes the specification of every job, each only if its content changed. The
specifications are inputs of the jobs, so a changed value, and not a touched or re-spelt file, runs again exactly the
jobs that depend on it. All of this is planning: the process of a job asks `rlscale.planned` instead.
"""

import json
import re
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

from rlscale.config import config_files, find_study, load_expanded, shipped_studies
from rlscale.errors import UserError, did_you_mean
from rlscale.files import write_changed
from rlscale.grid import Run
from rlscale.ladder import HubLadder
from rlscale.needs import Needs, Resource, evaluation_needs, resource_functions, training_needs
from rlscale.paths import StudyPaths
from rlscale.planned import PlannedStudies, runs_by_needs, training_inputs
from rlscale.price import Price, grid_price
from rlscale.provenance import file_digest
from rlscale.slurm import SlurmSilentError, comment_of, refuse_live_jobs, status_command
from rlscale.snapshot import restore_snapshot
from rlscale.software import read_software
from rlscale.specifications import Specifications
from rlscale.stage_versions import STAGE_VERSION
from rlscale.study import PublishedStudy, TrainedStudy
from rlscale.task_spec import ParquetTask

DEFAULT_STUDY = "mini"
CONFIG_KEYS = ("study", "software")

__all__ = ["STAGE_VERSION", "OpenStudy", "PlannedStudies", "Studies", "cancel_timers", "check_cluster"]


def cancel_timers() -> None:
    """Cancel the timers that Snakemake's scheduler left, so that the process need not wait for them at its end."""
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()


def check_cluster(settings: Any, jobs: Iterable[Any]) -> None:
    """Check, before the first job starts, that none of them lives already; choose how jobs are followed.

    Args:
        settings: those of the executor; None where jobs run on this machine.
        jobs: Snakemake's, that are about to be started.

    Raises:
        UserError: jobs live, or Slurm is to run jobs and cannot tell how one ended, or does not answer.
    """
    is_slurm = hasattr(settings, "status_command")
    try:
        refuse_live_jobs({comment_of(job.rule.name, *job.wildcards) for job in jobs})
    except SlurmSilentError as error:
        if is_slurm:
            raise
        # Whoever computes here need not care whether Slurm is up; a run has one writer in any case.
        print(f"{error}; whether it has jobs of this folder is not known", file=sys.stderr)  # noqa: T201
    if is_slurm:
        settings.status_command = status_command(settings.init_seconds_before_status_checks)
        print(f"Slurm jobs are followed with {settings.status_command}.", file=sys.stderr)  # noqa: T201


class Studies:
    """The studies that this invocation of Snakemake knows: the shipped ones, and one given with ``--config study=``."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Find the studies; a given one is read at once, others when they are needed.

        Raises:
            UserError: the given study does not exist, is wrong, or takes the name of a shipped one; or the
                configuration has a key that nobody reads.
        """
        for key in config:
            if key not in CONFIG_KEYS:
                allowed = f"allowed are {', '.join(CONFIG_KEYS)}{did_you_mean(key, CONFIG_KEYS)}"
                raise UserError(f"--config {key}: unknown key; {allowed}")
        self.software = read_software(config)
        self.files = shipped_studies()
        given = find_study(str(config.get("study", DEFAULT_STUDY)))
        self.default = given.stem
        shipped = self.files.get(self.default)
        if shipped is not None and shipped.resolve() != given.resolve():
            raise UserError(f"{given}: a shipped study is called {self.default} ({shipped}): rename the file")
        self.files[self.default] = given
        if "study" in config:
            self.open(self.default)  # read here, its errors end Snakemake without a traceback

    def planned_gpus(self, argv: Sequence[str]) -> str:
        """Return what a dry run adds to Snakemake's list of jobs: the GPUs, hours and disk of the studies asked for.

        Args:
            argv: Snakemake's arguments; empty text where they ask for no dry run, or no study is placed on GPUs.
        """
        if not any(re.fullmatch(r"--dry-?run|-[A-Za-z]*n[A-Za-z]*", word) for word in argv):
            return ""
        asked = [word for word in argv if word in self.files] or [self.default]
        prices = {name: self.open(name).price for name in asked}
        return "\n".join(f"{name}:\n{price.gpu_table()}" for name, price in prices.items() if price and price.placed)

    def resources(self, stage: str) -> dict[str, Callable[[Any, int], Resource]]:
        """Return for each resource the function of a job's wildcards and attempt that says how much it asks for.

        Args:
            stage: train or evaluate.
        """
        return resource_functions(lambda study, run: self.open(study).needs(stage, run))

    def targets(self, name: str) -> list[str]:
        """Return the files that make a study complete, those of its companions included.

        Raises:
            UserError: there is no such study, or a companion of it is none.
        """
        study = self.open(name)
        own = study.study
        companions = own.companions if isinstance(own, TrainedStudy) else ()
        for other in companions:
            if other not in self.files or other == name:
                near = did_you_mean(other, self.files)
                raise UserError(
                    f'study {name}: companions: no other study "{other}"; there are {", ".join(self.files)}{near}'
                )
        return [*study.targets(), *(path for other in companions for path in self.open(other).targets())]

    @cache  # noqa: B019 - one instance lives as long as the process
    def open(self, name: str) -> "OpenStudy":
        """Return the study of this name, with its specifications written and what Snakemake remembers of it restored.

        Raises:
            UserError: there is none, its file is wrong, or its snapshot is.
        """
        if name not in self.files:
            raise UserError(f"results/{name}: no study of this name; give its file: --config study=PATH")
        if restored := restore_snapshot(StudyPaths(name)):
            print(f"{name}: restored what Snakemake remembers of {restored} outputs", file=sys.stderr)  # noqa: T201
        return OpenStudy(name, self.files[name])


class OpenStudy:
    """One expanded study: where its files lie and which jobs make them."""

    def __init__(self, name: str, file: Path) -> None:
        self.paths = StudyPaths(name)
        self.study, self.ladder, self.grid = load_expanded(file)
        specifications = Specifications(self.paths, self.study, self.ladder, self.grid)
        self.figures = list(specifications.figures)
        read = {str(path): file_digest(path).sha256 for path in config_files(file, self.study)}
        texts = dict(specifications.texts())
        planned = {"study": str(file), "files": read, "specifications": sorted(map(str, texts))}
        plans = {self.paths.spec("study", "jobs"): self._plan(), self.paths.planned_files: planned}
        texts |= {path: json.dumps(plan, sort_keys=True) + "\n" for path, plan in plans.items()}
        write_changed(texts.items())

    def targets(self) -> list[str]:
        """Return the files that make the study complete."""
        figures = [self.paths.figure(name, suffix) for name in self.figures for suffix in ("svg", "png")]
        return [str(path) for path in (*self.paths.results, *figures)]

    def training_inputs(self, run_id: str) -> dict[str, str]:
        """Return what training a run needs: its cell, the record of its base, its problems."""
        run = self._run(run_id)
        return training_inputs(self.paths, run_id, run.base_id, run.pool_id)

    def environment(self, stage: str) -> str:
        """Return the file of a stage's software environment, relative to the rules."""
        names = {("train", "openrlhf"): "train", ("evaluate", "vllm"): "eval"}
        adapter = ""
        if isinstance(self.study, TrainedStudy):
            adapter = self.study.trainer if stage == "train" else self.study.evaluator
        return f"../../envs/{names.get((stage, adapter), 'core')}.yaml"

    @cached_property
    def price(self) -> Price | None:
        """What the study costs on the GPUs that its ladder states; None where it states none, or nothing is trained."""
        is_placed = isinstance(self.ladder, HubLadder) and self.ladder.gpu is not None
        if not (is_placed and isinstance(self.study, TrainedStudy) and self.ladder and self.grid):
            return None
        return grid_price(self.study, self.ladder, self.grid)

    def needs(self, stage: str, run_id: str) -> Needs:
        """Return what training (`train`) or evaluation (`evaluate`) of a run asks a cluster for."""
        run = self._run(run_id)
        if not (isinstance(self.study, TrainedStudy) and self.ladder):
            raise TypeError("published points have no runs")
        if stage == "train":
            return training_needs(run, self.ladder, self.price)
        return evaluation_needs(run, self.ladder, self.study.evaluator)

    def problem_inputs(self, kind: str, name: str) -> list[str]:
        """Return what problems are made from: a specification, and the files of the task that are there."""
        return [str(self.paths.spec(kind, name)), *self._problem_files()]

    def curve_inputs(self) -> list[str]:
        """Return what the study's tables are gathered from."""
        spec = str(self.paths.spec("study", "curves"))
        if isinstance(self.study, PublishedStudy):
            return [spec, self.study.points]
        runs = self._runs()
        tables = [str(path(run_id)) for run_id in runs for path in (self.paths.scores, self.paths.steps)]
        return [spec, *tables]

    def law_inputs(self) -> list[str]:
        """Return what the law is fitted on; the scores of problems too, where runs were evaluated here."""
        needed = [self.paths.spec("study", "law"), self.paths.curves]
        if self.study.law.intervals != "none":
            needed += [self.paths.problem_scores(run_id) for run_id in self._runs()]
        return list(map(str, needed))

    def findings_inputs(self) -> list[str]:
        """Return what the study's claims are tested on."""
        needed = [str(path) for path in (self.paths.spec("study", "findings"), self.paths.curves, self.paths.fit)]
        reuse = self.study.reuse if isinstance(self.study, PublishedStudy) else None
        return [*needed, reuse] if reuse else needed

    def report_inputs(self) -> list[str]:
        """Return what the study's page is made of: every result, and what its runs cost."""
        paths = self.paths
        made = (paths.spec("study", "report"), paths.curves, paths.law_points, paths.fit, paths.comparison)
        more = (paths.ranking, paths.forecasts, paths.findings, paths.sensitivity)
        return list(map(str, (*made, *more, *map(paths.steps, self._runs()))))

    def _plan(self) -> dict[str, object]:
        """Return what `rlscale.planned` tells the processes of jobs; no job depends on it."""
        stages = ("train", "evaluate")
        return {
            "environments": {stage: self.environment(stage) for stage in stages},
            "inputs": {
                "problems": self._problem_files(),
                "curves": self.curve_inputs(),
                "law": self.law_inputs(),
                "findings": self.findings_inputs(),
                "report": self.report_inputs(),
            },
            "needs": {stage: runs_by_needs(self._runs(), partial(self.needs, stage)) for stage in stages},
        }

    def _problem_files(self) -> list[str]:
        task = self.study.task if isinstance(self.study, TrainedStudy) else None
        return [path for path in task.local_files() if Path(path).is_file()] if isinstance(task, ParquetTask) else []

    def _runs(self) -> dict[str, Run]:
        return self.grid.runs if self.grid else {}

    def _run(self, run_id: str) -> Run:
        try:
            return self._runs()[run_id]
        except KeyError:
            raise UserError(f"study {self.paths.study} has no run {run_id}: `rlscale cells` lists them") from None
