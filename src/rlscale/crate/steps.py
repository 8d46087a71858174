"""What a workflow is before it runs: its steps, their tools, the parameters of each and what flows between them.

Tools and parameters are those that the history shows: a tool has the inputs that some job of its stage read.
"""

from collections.abc import Iterable

from rlscale.canonical import digest
from rlscale.crate.graph import Graph, Ref
from rlscale.crate.history import SNAKEFILE, History, Job
from rlscale.crate.kinds import DATA, kind_of
from rlscale.records import FolderDigest

JOB_ID = "SLURM_JOB_ID"
WORKFLOW = "workflow"
SITES = {
    "Python": "https://www.python.org",
    "matplotlib": "https://matplotlib.org",
    "numpy": "https://numpy.org",
    "pandas": "https://pandas.pydata.org",
    "scipy": "https://scipy.org",
    "snakemake": "https://snakemake.github.io",
    "torch": "https://pytorch.org",
}
"""Where software is at home, as far as a record names it."""


class Steps:
    """The prospective half of a crate.

    Attributes:
        roles: the parameters that a file, folder or record stands for, by path.
        tools: the tool that each job ran, by the job's record.
        steps: the step that each rule is, by its name.
    """

    def __init__(self, graph: Graph, history: History) -> None:
        self.roles: dict[str, list[Ref]] = {}
        self.tools: dict[str, Ref] = {}
        self.steps: dict[str, Ref] = {}
        self._graph = graph
        self._history = history
        self._study = history.paths.study
        self._parameters: dict[tuple[str, str], list[Ref]] = {}
        self._flows: dict[str, list[Ref]] = {}
        for job in history.jobs:
            self._connect(job)
        for job in history.jobs:
            self.tools[str(job.path)] = self._tool(job)
        self._add_steps()

    def workflow(self) -> dict[str, object]:
        """Return the properties of the workflow that lead to its tools, steps and parameters."""
        return {
            "hasPart": _once(self.tools.values()),
            "step": _once(self.steps.values()),
            "connection": self._flows.get(WORKFLOW, []),
            "input": [ref for way in ("input", "setting") for ref in self._parameters.get((WORKFLOW, way), [])],
            "output": self._parameters.get((WORKFLOW, "output"), []),
        }

    def input(self, name: str, title: str, additional: str = "File", way: str = "input") -> Ref:
        """Add an input of the workflow as a whole: a file, or a setting in one."""
        return self._parameter(WORKFLOW, way, name, title, additional)

    def job_id(self) -> Ref:
        """Add the environment variable by which Slurm tells a job its number."""
        return self._graph.add(f"#environment/{JOB_ID}", "FormalParameter", name=JOB_ID, additionalType="Text")

    def _connect(self, job: Job) -> None:
        """Add the parameters of a job's tool, and how they hang together with those of others."""
        for path in job.record.inputs:
            target = self._play(path, job.rule, "input")
            if path in self._history.made_by:
                maker = self._history.made_by[path]
                self._flow(job.rule, self._play(path, maker.rule, "output"), target)
            elif kind_of(path, self._study) is DATA:
                self._flow(job.rule, self._play(path, WORKFLOW, "input"), target)
        for path in job.made:
            source = self._play(path, job.rule, "output")
            if job.path in self._history.results and path in job.record.outputs:
                self._flow(WORKFLOW, source, self._play(path, WORKFLOW, "output"))

    def _play(self, path: str, owner: str, way: str) -> Ref:
        """Let a path stand for a parameter, which it has by its kind."""
        kind = kind_of(path, self._study)
        is_folder = isinstance(self._history.contents.get(path), FolderDigest)
        role = self._parameter(owner, way, kind.name, kind.title, "Dataset" if is_folder else "File")
        _append(self.roles.setdefault(path, []), role)
        return role

    def _parameter(self, owner: str, way: str, name: str, title: str, additional: str) -> Ref:
        parameter = self._graph.add(
            f"#{owner}/{way}/{name}", "FormalParameter", name=name, description=title, additionalType=additional
        )
        _append(self._parameters.setdefault((owner, way), []), parameter)
        return parameter

    def _flow(self, step: str, source: Ref, target: Ref) -> None:
        """Add a connection, which belongs to the step that receives."""
        said = f"{source['@id'].removeprefix('#')} to {target['@id'].removeprefix('#')}"
        flow = self._graph.add(
            f"#connection/{step}/{said.replace(' ', '-')}",
            "ParameterConnection",
            name=said,
            sourceParameter=source,
            targetParameter=target,
        )
        _append(self._flows.setdefault(step, []), flow)

    def _tool(self, job: Job) -> Ref:
        """Add the tool that a job ran: one stage of the command line, at a version, with the software under it."""
        record = job.record
        software = record.environment
        rule = self._history.rules.get(job.rule)
        return self._graph.add(
            f"#tool/{job.rule}/{record.stage_version}-{digest(software.model_dump())[:8]}",
            "SoftwareApplication",
            name=f"rlscale stage {record.stage}",
            description=rule.description if rule else None,
            softwareVersion=f"{software.libraries.get('rlscale', 'unknown')}, stage version {record.stage_version}",
            softwareRequirements=[
                self._software(name, version)
                for name, version in [("Python", software.python), *sorted(software.libraries.items())]
            ],
            input=self._parameters.get((job.rule, "input")),
            output=self._parameters.get((job.rule, "output")),
            environment=None if record.slurm_job_id is None else self.job_id(),
        )

    def _software(self, name: str, version: str) -> Ref:
        return self._graph.add(
            f"#software/{name}/{version}",
            "SoftwareApplication",
            name=name,
            softwareVersion=version,
            url=SITES.get(name),
        )

    def _add_steps(self) -> None:
        """Add the steps in the order of their jobs, in which each comes after those that it depends on."""
        tools: dict[str, list[Ref]] = {}
        for job in self._history.jobs:
            _append(tools.setdefault(job.rule, []), self.tools[str(job.path)])
        for position, (name, used) in enumerate(tools.items(), start=1):
            rule = self._history.rules.get(name)
            self.steps[name] = self._graph.add(
                f"{rule.file if rule else SNAKEFILE}#{name}",
                "HowToStep",
                name=name,
                description=rule.description if rule else None,
                position=str(position),
                workExample=used,
                connection=self._flows.get(name),
            )


def _append(refs: list[Ref], ref: Ref) -> None:
    if ref not in refs:
        refs.append(ref)


def _once(refs: Iterable[Ref]) -> list[Ref]:
    return [{"@id": identifier} for identifier in dict.fromkeys(ref["@id"] for ref in refs)]
