"""All that the Snakefile imports: which studies there are, what each is made of, and what a job needs.

Opening a study expands its grid once and writes the specification of every job, each only if its content changed. The
specifications are inputs of the jobs, so a changed value, and not a touched or re-spelt file, runs again exactly the
jobs that depend on it.
"""

import json
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from rlscale.config import find_study, load_grid, load_ladder, load_study, shipped_studies
from rlscale.errors import UserError, did_you_mean
from rlscale.files import write_if_changed
from rlscale.grid import Grid, Run
from rlscale.identity import RUN_ATTRIBUTES, Coordinates
from rlscale.ladder import HubLadder, Ladder
from rlscale.model_base import FULL_SUPERVISION
from rlscale.needs import RESOURCES, Needs, Resource, evaluation_needs, training_needs
from rlscale.paths import LADDERS, StudyPaths, record_of
from rlscale.price import Price, grid_price
from rlscale.provenance import STAGE_VERSION
from rlscale.slurm import SlurmSilentError, refuse_live_jobs, status_command
from rlscale.software import read_software
from rlscale.study import PublishedStudy, TrainedStudy

DEFAULT_STUDY = "mini"
CONFIG_KEYS = ("study", "software")
FACTORS = ("group_size", "reward_accuracy", "skill_share", "variant")

__all__ = ["STAGE_VERSION", "OpenStudy", "Studies", "cancel_timers", "check_cluster"]


def cancel_timers() -> None:
    """Cancel the timers that Snakemake's scheduler left, so that the process need not wait for them at its end."""
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()


def check_cluster(settings: Any) -> None:
    """Check, before the first job starts, that no earlier job of this folder lives; choose how jobs are followed.

    Args:
        settings: those of the executor; None where jobs run on this machine.

    Raises:
        UserError: jobs live, or Slurm is to run jobs and cannot tell how one ended, or does not answer.
    """
    is_slurm = hasattr(settings, "status_command")
    try:
        refuse_live_jobs()
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

        def asked(name: str) -> Callable[[Any, int], Resource]:
            return lambda wildcards, attempt: (
                self.open(wildcards.study).needs(stage, wildcards.run).resources(attempt)[name]
            )

        return {name: asked(name) for name in RESOURCES}

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
        """Return the study of this name, with its specifications written.

        Raises:
            UserError: there is none, or its file is wrong.
        """
        if name not in self.files:
            raise UserError(f"results/{name}: no study of this name; give its file: --config study=PATH")
        return OpenStudy(name, self.files[name])


class OpenStudy:
    """One expanded study: where its files lie and which jobs make them."""

    def __init__(self, name: str, file: Path) -> None:
        self.paths = StudyPaths(name)
        self.study = load_study(file)
        self.grid: Grid | None = None
        self.ladder: Ladder | None = None
        if isinstance(self.study, TrainedStudy):
            self.study, self.ladder, self.grid = load_grid(file)
        self.figures = self._figures()
        self._write_specs()

    def targets(self) -> list[str]:
        """Return the files that make the study complete."""
        figures = [self.paths.figure(name, suffix) for name in self.figures for suffix in ("svg", "png")]
        return [str(path) for path in (*self._results(), *figures)]

    def _results(self) -> tuple[Path, ...]:
        paths = self.paths
        return (paths.curves_csv, paths.fit, paths.ranking, paths.sensitivity, paths.findings)

    def training_inputs(self, run_id: str) -> dict[str, str]:
        """Return what training a run needs: its cell, the record of its base, its problems."""
        run = self._run(run_id)
        return {
            "cell": str(self.paths.cell(run_id)),
            "base": str(record_of(self.paths.base(run.base_id))),
            "pool": str(self.paths.pool(run.pool_id)),
        }

    def environment(self, stage: str) -> str:
        """Return the file of a stage's software environment, relative to the rules."""
        names = {("train", "openrlhf"): "train", ("evaluate", "vllm"): "eval"}
        adapter = ""
        if isinstance(self.study, TrainedStudy):
            adapter = self.study.trainer if stage == "train" else self.study.evaluator
        return f"../../envs/{names.get((stage, adapter), 'core')}.yaml"

    @cached_property
    def price(self) -> Price | None:
        """What the study costs; None where it trains nothing."""
        if not (isinstance(self.study, TrainedStudy) and self.ladder and self.grid):
            return None
        return grid_price(self.study, self.ladder, self.grid)

    @cache  # noqa: B019 - one instance lives as long as the process
    def needs(self, stage: str, run_id: str) -> Needs:
        """Return what training (`train`) or evaluation (`evaluate`) of a run asks a cluster for."""
        run = self._run(run_id)
        if not (isinstance(self.study, TrainedStudy) and self.ladder and self.price):
            raise TypeError("published points have no runs")
        if stage == "train":
            return training_needs(run, self.ladder, self.price)
        return evaluation_needs(run, self.ladder, self.study.evaluator)

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

    def _measure(self) -> dict[str, object]:
        """Return which score test loss is made of."""
        if not isinstance(self.study, TrainedStudy):
            raise TypeError("published points do not say what they measure")
        return {"suite": self.study.evaluation.suites[0], "mode": self.study.evaluation.primary}

    def _non_embedding(self) -> dict[str, int] | None:
        """Return the parameters without embeddings by nominal size, where a ladder of downloaded models gives them."""
        ladder = load_ladder(LADDERS / f"{self.study.ladder}.yaml") if self.study.ladder else None
        if not isinstance(ladder, HubLadder):
            return None
        return {str(model.params): model.non_embedding_params for model in ladder.models.values()}

    def _findings_spec(self) -> dict[str, object]:
        law = self.study.law
        reuse = self.study.reuse if isinstance(self.study, PublishedStudy) else None
        return {
            "x": list(law.x),
            "loss": law.loss[0],
            "first_step": law.first_step,
            "reuse": reuse,
            "scores": self.grid is not None,
        }

    def _runs(self) -> dict[str, Run]:
        return self.grid.runs if self.grid else {}

    def _run(self, run_id: str) -> Run:
        try:
            return self._runs()[run_id]
        except KeyError:
            raise UserError(f"study {self.paths.study} has no run {run_id}: `rlscale cells` lists them") from None

    def _figures(self) -> dict[str, dict[str, object]]:
        """Return the figures that the study can have, and how to draw each."""
        law = self.study.law
        common = {"block": self._block(), "first_step": law.first_step}
        figures: dict[str, dict[str, object]] = {}
        for x in law.x:
            drawn = {"x": x, "fit": f"{x}_{law.loss[0]}", **common}
            figures[f"loss_{x}"] = {"kind": "loss", **drawn}
            figures[f"slope_{x}"] = {"kind": "slope", **drawn}
            figures[f"forecast_{x}"] = {"kind": "forecast", "x": x}
            figures[f"tournament_{x}"] = {"kind": "tournament", "x": x}
            if law.intervals == "profile":
                figures[f"profile_{x}"] = {"kind": "profile", "fit": f"{x}_{law.loss[0]}"}
        runs = self._runs().values()
        if _varies_alone(runs, "tau"):
            figures["reuse"] = {"kind": "reuse"}
        for name in FACTORS:
            if _varies_alone(runs, name):
                figures[name] = {"kind": "factor", "factor": name}
        if _has_controls(runs):
            figures["controls"] = {"kind": "controls", "first_step": law.first_step}
        return figures

    def _block(self) -> str | None:
        return self.study.law.block if self.grid else None

    def _specs(self) -> Iterator[tuple[Path, object]]:
        law = self.study.law.model_dump(mode="json", exclude={"gates", "block"}) | {"block": self._block()}
        measure = self._measure() if self.grid else None
        yield self.paths.spec("study", "law"), law | {"measure": measure, "non_embedding_params": self._non_embedding()}
        yield self.paths.spec("study", "findings"), self._findings_spec()
        for name, figure in self.figures.items():
            yield self.paths.spec("figures", name), figure
        if isinstance(self.study, PublishedStudy):
            yield self.paths.spec("study", "curves"), {"kind": "published", "points": self.study.points}
        if isinstance(self.study, TrainedStudy) and self.grid:
            yield from self._training_specs(self.study, self.grid)

    def _training_specs(self, study: TrainedStudy, grid: Grid) -> Iterator[tuple[Path, object]]:
        yield self.paths.spec("study", "suites"), grid.suites
        yield self.paths.spec("study", "retention"), {"keep_checkpoints": study.keep_checkpoints}
        yield self.paths.spec("study", "evaluation"), {"evaluator": study.evaluator, "settings": grid.evaluation}
        measure = self._measure() | {"gates": study.law.gates.model_dump(mode="json")}
        runs = [{"run": run.run_id, **_attributes(run)} for run in grid.runs.values()]
        yield self.paths.spec("study", "curves"), {"kind": "trained", "measure": measure, "runs": runs}
        for pool in grid.pools.values():
            yield self.paths.spec("pools", pool.pool_id), pool.spec
        for base in grid.bases.values():
            yield self.paths.spec("bases", base.base_id), base.spec
        for model in sorted({run.model for run in grid.runs.values()}):
            placement = self.ladder.placement_of(model) if self.ladder else None
            if placement is not None:
                yield self.paths.spec("placements", model), placement.model_dump(mode="json")
        for run in grid.runs.values():
            yield self.paths.cell(run.run_id), run.cell_spec() | {"base": run.base_id, "pool": run.pool_id}

    def _write_specs(self) -> None:
        for path, content in self._specs():
            write_if_changed(path, json.dumps(content, indent=1, sort_keys=True) + "\n")


def _attributes(run: Run) -> dict[str, object]:
    return {name: getattr(run, name) for name in RUN_ATTRIBUTES}


def _has_controls(runs: Iterable[Run]) -> bool:
    """Return whether three sizes have one supervision other than full, or one size has three, all else being equal."""
    sizes: dict[tuple[object, ...], set[object]] = {}
    levels: dict[tuple[object, ...], set[object]] = {}
    apart = {"model", "params", "supervision", "base_seed", "seed"}
    for run in runs:
        others = tuple(getattr(run, name) for name in Coordinates.__annotations__ if name not in apart)
        levels.setdefault((*others, run.params), set()).add(run.supervision)
        if run.supervision != FULL_SUPERVISION:
            sizes.setdefault((*others, run.supervision), set()).add(run.params)
    return any(len(found) >= 3 for found in (*sizes.values(), *levels.values()))


def _varies_alone(runs: Iterable[Run], axis: str) -> bool:
    """Return whether two runs differ in ``axis`` and in nothing else."""
    seen: dict[tuple[object, ...], object] = {}
    for run in runs:
        others = tuple(getattr(run, name) for name in Coordinates.__annotations__ if name != axis)
        if seen.setdefault(others, getattr(run, axis)) != getattr(run, axis):
            return True
    return False
