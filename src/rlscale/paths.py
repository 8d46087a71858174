"""The one place that knows where a file of a study lies.

Everything made for a study stands under ``results/<study>``. Paths are relative to the working directory, which is the
repository root for Snakemake and the command line alike, so that no record names a machine.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

RESULTS = Path("results")
STUDIES = Path("config/studies")
LADDERS = Path("config/models")
CELL = "cell.json"
RECORD_SUFFIX = ".record.json"
_MADE = frozenset({"data", "models", "resume", "runs", "tables", "law", "figures"})
_MADE_WITH = {
    "checkpoints": "steps.parquet",
    "rollout-shards": "rollouts.parquet",
    "problem_scores.parquet": "scores.parquet",
    "curves.csv": "tables/curves.parquet",
    "scores.csv": "tables/curves.parquet",
    "ranking.csv": "law/compare.json",
    "forecasts.json": "law/compare.json",
    "points.csv": "law/fit.json",
}
"""What a job makes beside the file that its record is named after: within a run's folder, or within the study's."""


@dataclass(frozen=True)
class StudyPaths:
    """Files and folders of one study, by what they hold."""

    study: str

    @cached_property
    def root(self) -> Path:
        """Everything of the study."""
        return RESULTS / self.study

    @property
    def crate(self) -> Path:
        """The study as an RO-Crate, beside what it is made of."""
        return RESULTS / f"{self.study}.crate.zip"

    def spec(self, kind: str, name: str) -> Path:
        """Resolved configuration of a job, and an input of it; ``kind`` is pools, bases, figures or study."""
        return self.root / "specs" / kind / f"{name}.json"

    @property
    def planned_files(self) -> Path:
        """The study and the ladder that the specifications were last written from, with their digests."""
        return self.spec("study", "files")

    @property
    def audit(self) -> Path:
        """What audits leave: the digests that they found, and a page."""
        return self.root / "audit"

    def pool(self, pool_id: str) -> Path:
        """Training problems of a pool, in the order in which a fresh stream consumes them."""
        return self.root / "data" / "pools" / f"{pool_id}.parquet"

    @property
    def suites(self) -> Path:
        """Problems of all evaluation suites."""
        return self.root / "data" / "suites.parquet"

    def base(self, base_id: str) -> Path:
        """Base model: the checkpoint of step 0."""
        return self.root / "models" / base_id

    def run(self, run_id: str) -> Path:
        """Everything of one run."""
        return self.root / "runs" / run_id

    def cell(self, run_id: str) -> Path:
        """The run's scientific identity and budgets; an input of its training."""
        return self.run(run_id) / CELL

    def checkpoints(self, run_id: str) -> Path:
        """Folder of the run's checkpoints."""
        return self.run(run_id) / "checkpoints"

    def checkpoint(self, run_id: str, step: int) -> Path:
        """Weights at a planned budget, a Hugging Face directory."""
        return self.checkpoints(run_id) / checkpoint_name(step)

    def resume(self, run_id: str, fingerprint: str) -> Path:
        """Trainer state; keyed by the fingerprint, so that a changed run never continues from another's."""
        return self.root / "resume" / run_id / fingerprint

    def steps(self, run_id: str) -> Path:
        """One row per optimiser step of a run."""
        return self.run(run_id) / "steps.parquet"

    def rollout_shards(self, run_id: str) -> Path:
        """Rollouts per checkpoint, kept so that only new checkpoints are evaluated."""
        return self.run(run_id) / "rollout-shards"

    def rollouts(self, run_id: str) -> Path:
        """Raw answers of every checkpoint of a run to every suite."""
        return self.run(run_id) / "rollouts.parquet"

    def scores(self, run_id: str) -> Path:
        """Graded rollouts: scores with standard errors."""
        return self.run(run_id) / "scores.parquet"

    def problem_scores(self, run_id: str) -> Path:
        """Score of every problem, from which intervals draw the problems anew."""
        return self.run(run_id) / "problem_scores.parquet"

    @property
    def curves(self) -> Path:
        """One row per run and evaluated step."""
        return self.root / "tables" / "curves.parquet"

    @property
    def curves_csv(self) -> Path:
        """The same table for people."""
        return self.root / "tables" / "curves.csv"

    @property
    def all_scores(self) -> Path:
        """Every score of the study, one row per run, step, suite and metric."""
        return self.root / "tables" / "scores.csv"

    @property
    def fit(self) -> Path:
        """The fitted law, for each X and loss space that the study asks for."""
        return self.root / "law" / "fit.json"

    @property
    def law_points(self) -> Path:
        """The points that the law was fitted on, in the form that `rlscale fit` reads."""
        return self.root / "law" / "points.csv"

    @property
    def comparison(self) -> Path:
        """Every law under every forecast protocol."""
        return self.root / "law" / "compare.json"

    @property
    def ranking(self) -> Path:
        """The ranking of that tournament, for people."""
        return self.root / "tables" / "ranking.csv"

    @property
    def forecasts(self) -> Path:
        """Forecasts of sealed sizes with their bands, by protocol and X: what the figures draw."""
        return self.root / "law" / "forecasts.json"

    @property
    def sensitivity(self) -> Path:
        """How the law's numbers move with choices that could have been made otherwise."""
        return self.root / "tables" / "sensitivity.csv"

    @property
    def metrics(self) -> Path:
        """The study's main numbers, for comparing versions."""
        return self.root / "tables" / "metrics.json"

    @property
    def snapshot(self) -> Path:
        """What Snakemake remembers of the study's outputs."""
        return self.root / "snakemake-metadata.tar"

    @property
    def findings(self) -> Path:
        """The study's claims with their verdicts."""
        return self.root / "law" / "findings.json"

    @property
    def report(self) -> Path:
        """The page of the study: one file with its figures, planner and provenance."""
        return self.root / "report.html"

    @property
    def results(self) -> tuple[Path, ...]:
        """What makes a study complete, apart from its figures."""
        return (self.curves_csv, self.fit, self.ranking, self.sensitivity, self.findings, self.metrics, self.report)

    def figure(self, name: str, suffix: str) -> Path:
        """A figure; ``suffix`` is svg or png."""
        return self.root / "figures" / f"{name}.{suffix}"

    def log(self, stage: str, name: str) -> Path:
        """Log of one job."""
        return self.root / "logs" / stage / f"{name}.log"

    def lock(self, stage: str, name: str) -> Path:
        """Lock that one job at a time holds; never removed, since whoever waits for it has opened this very file."""
        return self.root / "locks" / stage / f"{name}.lock"


def checkpoint_name(step: int) -> str:
    """Return the name of the checkpoint of a step."""
    return f"step-{step:06d}"


def record_of(artefact: Path) -> Path:
    """Return the path of the record that stands beside an artefact."""
    return artefact.with_name(f"{artefact.name}{RECORD_SUFFIX}")


def producing_record(path: Path) -> Path | None:
    """Return where the record stands of the job that made a file or folder; None for what no job of a study makes."""
    if path.name.endswith(RECORD_SUFFIX):
        return path
    if len(path.parts) == 3 and path == StudyPaths(path.parts[1]).report:
        return record_of(path)
    if len(path.parts) < 4 or path.parts[0] != RESULTS.name or path.parts[2] not in _MADE or path.name == CELL:
        return None
    paths, (kind, *inside) = StudyPaths(path.parts[1]), path.parts[2:]
    if kind in {"models", "resume"}:
        return record_of(paths.base(inside[0]) if kind == "models" else paths.steps(inside[0]))
    if kind == "runs" and len(inside) > 1:
        return record_of(paths.run(inside[0]) / _MADE_WITH.get(inside[1], inside[1]))
    beside = path.with_suffix(".svg") if path.suffix == ".png" else path
    return record_of(paths.root / _MADE_WITH.get(path.name, beside.relative_to(paths.root)))
