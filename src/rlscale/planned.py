"""A study as the jobs of a running workflow see it: read from what its planning wrote, and never planned again.

Where jobs run elsewhere, each has a Snakemake process of its own. It neither reads the study, which may have been
edited since, nor expands the grid, nor writes a specification: it looks up what concerns its own job.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from rlscale.errors import UserError
from rlscale.files import read_json
from rlscale.needs import Needs, Resource, resource_functions
from rlscale.paths import StudyPaths, record_of
from rlscale.software import read_software


def training_inputs(paths: StudyPaths, run_id: str, base_id: str, pool_id: str) -> dict[str, str]:
    """Return what training a run needs: its cell, the record of its base, its problems."""
    return {
        "cell": str(paths.cell(run_id)),
        "base": str(record_of(paths.base(base_id))),
        "pool": str(paths.pool(pool_id)),
    }


def runs_by_needs(run_ids: Iterable[str], needs: Callable[[str], Needs]) -> list[dict[str, object]]:
    """Return the needs of runs as plain values: few differ, so each stands once, with its runs."""
    runs: dict[Needs, list[str]] = defaultdict(list)
    for run_id in run_ids:
        runs[needs(run_id)].append(run_id)
    return [{"needs": asdict(one), "runs": of} for one, of in runs.items()]


class PlannedStudies:
    """The studies in the process of a job: each is read when the job asks for it, and none is a target."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Read which software the cluster has, and nothing of a study.

        Raises:
            UserError: what the configuration says of software is wrong.
        """
        self.files: dict[str, Path] = {}
        self.software = read_software(config)

    @cache  # noqa: B019 - one instance lives as long as the process
    def open(self, name: str) -> "PlannedStudy":
        """Return the study of this name, as it was planned.

        Raises:
            UserError: it never was.
        """
        return PlannedStudy(name)

    def resources(self, stage: str) -> dict[str, Callable[[Any, int], Resource]]:
        """Return for each resource the function of a job's wildcards and attempt that says how much it asks for."""
        return resource_functions(lambda study, run: self.open(study).needs(stage, run))


class PlannedStudy:
    """One study: answers what its jobs ask, as `rlscale.workflow.OpenStudy` answered when it was planned."""

    def __init__(self, name: str) -> None:
        self.paths = StudyPaths(name)
        plan = self.paths.spec("study", "jobs")
        if not plan.is_file():
            raise UserError(f"no file {plan}: Snakemake writes it when it plans the study, before any job")
        self._plan = read_json(plan)

    def training_inputs(self, run_id: str) -> dict[str, str]:
        """Return what training a run needs: its cell, the record of its base, its problems."""
        cell = read_json(self.paths.cell(run_id))
        return training_inputs(self.paths, run_id, cell["base"], cell["pool"])

    def environment(self, stage: str) -> str:
        """Return the file of a stage's software environment, relative to the rules."""
        return str(self._plan["environments"][stage])

    def needs(self, stage: str, run_id: str) -> Needs:
        """Return what training (`train`) or evaluation (`evaluate`) of a run asks a cluster for."""
        groups = self._plan["needs"][stage]
        return Needs(**next(group["needs"] for group in groups if run_id in group["runs"]))

    def problem_inputs(self, kind: str, name: str) -> list[str]:
        """Return what problems are made from: a specification, and the files of the task that were there."""
        return [str(self.paths.spec(kind, name)), *self._inputs("problems")]

    def curve_inputs(self) -> list[str]:
        """Return what the study's tables are gathered from."""
        return self._inputs("curves")

    def law_inputs(self) -> list[str]:
        """Return what the law is fitted on."""
        return self._inputs("law")

    def findings_inputs(self) -> list[str]:
        """Return what the study's claims are tested on."""
        return self._inputs("findings")

    def report_inputs(self) -> list[str]:
        """Return what the study's page is made of."""
        return self._inputs("report")

    def _inputs(self, stage: str) -> list[str]:
        return list(self._plan["inputs"][stage])
