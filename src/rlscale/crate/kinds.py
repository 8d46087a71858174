"""What a file of a study is, by where it lies: the name of the parameter as which jobs read and write it.

Names are those of `rlscale.paths`, which says where each lies.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePath

from rlscale.paths import RECORD_SUFFIX, StudyPaths

MEDIA_TYPES = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".safetensors": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}


@dataclass(frozen=True)
class Kind:
    """A kind of file or folder.

    Attributes:
        name: of the parameter.
        title: for people.
        is_bulky: belongs to the weights or repeats other files, and is described without being copied by default.
    """

    name: str
    title: str
    is_bulky: bool = False


DATA = Kind("data", "data that the study reads")
OTHER = Kind("file", "a file of the study")


def kind_of(path: str, study: str) -> Kind:
    """Return what a file or folder is, given its path relative to the repository's root."""
    if not path.startswith(f"{StudyPaths(study).root}/"):
        return DATA
    return next((kind for pattern, kind in _kinds(study) if fnmatchcase(path, pattern)), OTHER)


def media_type(path: str) -> str:
    """Return the media type of a file, by the end of its name; text for what has none of its own."""
    return MEDIA_TYPES.get(PurePath(path).suffix, "text/plain")


@cache
def _kinds(study: str) -> list[tuple[str, Kind]]:
    paths = StudyPaths(study)
    patterns: list[tuple[Path, Kind]] = [
        (paths.root / f"*{RECORD_SUFFIX}", Kind("record", "the record of a job")),
        (paths.spec("*", "*"), Kind("specification", "what a job is told: its part of the study")),
        (paths.cell("*"), Kind("cell", "a run's scientific identity and its budgets")),
        (paths.pool("*"), Kind("pool", "training problems in their order")),
        (paths.suites, Kind("suites", "problems of the evaluation suites")),
        (paths.base("*"), Kind("base_model", "a base model", is_bulky=True)),
        (paths.checkpoints("*") / "*", Kind("checkpoint", "weights at a planned budget", is_bulky=True)),
        (paths.resume("*", "*") / "*", Kind("trainer_state", "trainer state at the last budget", is_bulky=True)),
        (paths.rollout_shards("*") / "*", Kind("rollout_shard", "raw answers of one checkpoint", is_bulky=True)),
        (paths.steps("*"), Kind("steps", "one row per optimiser step of a run")),
        (paths.rollouts("*"), Kind("rollouts", "raw answers of a run's checkpoints")),
        (paths.scores("*"), Kind("scores", "scores of a run with standard errors")),
        (paths.problem_scores("*"), Kind("problem_scores", "scores of each problem")),
        (paths.curves, Kind("curves", "one row per run and evaluated step")),
        (paths.curves_csv, Kind("curves_csv", "the curves, for people")),
        (paths.all_scores, Kind("all_scores", "every score of the study")),
        (paths.fit, Kind("fit", "the fitted law")),
        (paths.law_points, Kind("law_points", "the points that the law was fitted on")),
        (paths.comparison, Kind("comparison", "every law under every forecast protocol")),
        (paths.ranking, Kind("ranking", "the laws by their errors on what they had not seen")),
        (paths.forecasts, Kind("forecasts", "forecasts of sealed sizes")),
        (paths.sensitivity, Kind("sensitivity", "how the law's numbers move with choices")),
        (paths.findings, Kind("findings", "the study's claims with their verdicts")),
        (paths.metrics, Kind("metrics", "the study's main numbers")),
        (paths.report, Kind("report", "the page of the study")),
        (paths.figure("*", "svg"), Kind("figure", "a figure")),
        (paths.figure("*", "png"), Kind("figure_png", "a figure as pixels")),
    ]
    return [(str(pattern), kind) for pattern, kind in patterns]
