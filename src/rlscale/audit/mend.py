"""The one command that mends a fault."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from rlscale.config import shipped_studies
from rlscale.paths import RECORD_SUFFIX, StudyPaths

KEPT_FOLDERS = {"checkpoints": 6, "rollout-shards": 5, "models": 4, "resume": 4}
"""Folders whose content a job takes for good, and how many parts the path has of what must go."""


class Mends:
    """Commands for one study.

    Args:
        paths: where its files lie.
        file: the study's YAML file, if it is known.
    """

    def __init__(self, paths: StudyPaths, file: str | None) -> None:
        self._paths = paths
        is_shipped = file is None or shipped_studies().get(paths.study) == Path(file)
        self.study = f"snakemake {paths.study}" if is_shipped else f"snakemake --config study={file}"

    def plan(self) -> str:
        """Return the command that writes the specifications anew."""
        return f"{self.study} -n"

    def again(self, record: str, broken: str | None = None) -> str:
        """Return the command that makes an artefact again.

        Args:
            record: its record.
            broken: a file that the job would take for good, and that must go first.
        """
        first = f"rm -r {broken} && " if broken else ""
        return f"{first}{self.study} --forcerun {self._target(record)}"

    def again_all(self, stages: Mapping[str, str]) -> str:
        """Return the command that runs every job of some stages again.

        Args:
            stages: by record. Rules are named like stages; figures have several rules, so they are named themselves.
        """
        targets = {self._target(path) if stage == "figure" else stage for path, stage in stages.items()}
        return f"{self.study} --forcerun {' '.join(sorted(targets))}"

    def _target(self, record: str) -> str:
        """Return the output of a job that Snakemake knows."""
        artefact = record.removesuffix(RECORD_SUFFIX)
        return record if Path(artefact).parent == self._paths.base("any").parent else artefact

    def of_source(self, file: str) -> str:
        """Return the command for a file that no job makes, the problems of a task say: the repository's, or DVC's."""
        return f"git checkout -- {file}" if is_tracked(file) else f"dvc checkout {file}"

    def of_output(self, record: str, file: str) -> str:
        """Return the command for an output that is not as its record says."""
        path = Path(file)
        for folder, depth in KEPT_FOLDERS.items():
            if folder in path.parts:
                return self.again(record, str(Path(*path.parts[:depth])))
        return self.again(record)


def is_tracked(file: str) -> bool:
    """Return whether git knows a file."""
    command = ["git", "ls-files", "--error-unmatch", "--", file]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0  # noqa: S603
    except OSError:
        return False
