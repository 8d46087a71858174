"""What happened when a workflow ran: an action for each job, for Snakemake's part in it, and for the whole."""

from rlscale.canonical import digest
from rlscale.crate.graph import Graph, Ref
from rlscale.crate.history import SNAKEFILE, History, Job
from rlscale.crate.steps import JOB_ID, SITES, Steps

COMPLETED = "http://schema.org/CompletedActionStatus"
CPU_TIME = "https://qudt.org/vocab/quantitykind/Time"
SECOND = "https://qudt.org/vocab/unit/SEC"


class Runs:
    """The retrospective half of a crate.

    Args:
        graph: where entities go.
        history: what happened.
        steps: what was to happen.
        places: the entity of each file, folder and record, by path.
        agent: who ran it, if that is said.
    """

    def __init__(self, graph: Graph, history: History, steps: Steps, places: dict[str, Ref], agent: Ref | None) -> None:
        self._graph = graph
        self._history = history
        self._steps = steps
        self._places = places
        self._agent = agent

    def describe(self, inputs: list[Ref]) -> list[Ref]:
        """Add every action; return those that the crate mentions.

        Args:
            inputs: what the workflow as a whole was given.
        """
        jobs = self._history.jobs
        study = self._history.paths.study
        times = {
            "startTime": min(job.record.started for job in jobs),
            "endTime": max(job.record.ended for job in jobs),
        }
        actions = [self._job(job) for job in jobs]
        data = [self._places[path] for path in self._history.data]
        results = [path for job in jobs if job.path in self._history.results for path in job.record.outputs]
        whole = self._graph.add(
            f"#run/{study}",
            "CreateAction",
            name=f"run of study {study}",
            description=f"snakemake {study}: {len(jobs)} jobs, of which some may be of earlier invocations",
            instrument={"@id": str(SNAKEFILE)},
            object=[*inputs, *data],
            result=[self._places[path] for path in results],
            agent=self._agent,
            actionStatus=COMPLETED,
            **times,
        )
        organised = self._graph.add(
            f"#organize/{study}",
            "OrganizeAction",
            name=f"Snakemake runs study {study}",
            instrument=self._engine(),
            object=[self._control(job, action) for job, action in zip(jobs, actions, strict=True)],
            result=whole,
            agent=self._agent,
            actionStatus=COMPLETED,
            **times,
        )
        return [whole, organised, *actions]

    def _job(self, job: Job) -> Ref:
        record = job.record
        environment = []
        if record.slurm_job_id is not None:
            environment.append(
                self._graph.value("environment", JOB_ID, record.slurm_job_id, exampleOfWork=self._steps.job_id())
            )
        return self._graph.add(
            f"#run/{self._history.paths.study}/{_slug(job)}",
            "CreateAction",
            name=f"run of {job.label}",
            description=f"command: {' '.join(record.argv)}",
            startTime=record.started,
            endTime=record.ended,
            instrument=self._steps.tools[str(job.path)],
            object=[self._places[path] for path in record.inputs],
            result=[self._places[path] for path in job.made],
            agent=self._agent,
            actionStatus=COMPLETED,
            environment=environment,
            resourceUsage=self._graph.value(
                f"usage/{_slug(job)}", "cpu_seconds", record.cpu_seconds, propertyID=CPU_TIME, unitCode=SECOND
            ),
            additionalProperty=self._facts(job),
        )

    def _facts(self, job: Job) -> list[Ref]:
        """Add what a record says and no term of the profile does."""
        record = job.record
        said = {
            "git_commit": record.git.commit,
            "git_uncommitted_sha256": record.git.uncommitted_sha256,
            "lock": record.environment.lock,
            "lock_sha256": record.environment.lock_sha256,
            "sources_sha256": digest(record.sources),
            "derivation": record.derivation,
            "device": record.device,
            "adapter": record.adapter,
            **record.facts,
        }
        return [self._graph.value("fact", name, value) for name, value in said.items() if value is not None]

    def _control(self, job: Job, action: Ref) -> Ref:
        return self._graph.add(
            f"#control/{_slug(job)}",
            "ControlAction",
            name=f"orchestrate {job.label}",
            instrument=self._steps.steps[job.rule],
            object=action,
            actionStatus=COMPLETED,
        )

    def _engine(self) -> Ref:
        versions = sorted({job.record.environment.libraries.get("snakemake", "unknown") for job in self._history.jobs})
        return self._graph.add(
            SITES["snakemake"],
            "SoftwareApplication",
            name="Snakemake",
            url=SITES["snakemake"],
            softwareVersion=", ".join(versions),
        )


def _slug(job: Job) -> str:
    return job.label.replace(" ", "/")
