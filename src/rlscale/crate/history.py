"""What made a study: the jobs behind its results, from the first to the last, and every file they read or wrote.

It is walked from the results backwards, from record to record, so that what lies about and made nothing stays out.
Where two records speak of one file they must agree, and the study's file must still say what its jobs were told: a
history that contradicts itself is refused, not exported.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rlscale.config import load_expanded
from rlscale.crate.kinds import DATA, kind_of
from rlscale.errors import UserError
from rlscale.files import read_json, read_object
from rlscale.paths import LADDERS, StudyPaths, producing_record
from rlscale.provenance import DROPPED, file_digest
from rlscale.records import Described, FolderDigest, StoredRecord, read_record
from rlscale.specifications import Specifications
from rlscale.stage_versions import STAGE_VERSION
from rlscale.study import Study

SNAKEFILE = Path("Snakefile")
RULES = Path("workflow/rules")
_RULE = re.compile(r'^rule (\w+):\n    """(.*?)"""', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Rule:
    """A rule of the workflow: where it stands, and what it says of itself."""

    name: str
    file: Path
    description: str


@dataclass(frozen=True)
class Job:
    """One job that has ended well: its record, where that stands, and the rule that asked for it."""

    path: Path
    record: StoredRecord
    rule: str

    @property
    def label(self) -> str:
        """Stage and name, as in `train q5k_base_b0_s0`."""
        return f"{self.record.stage} {self.record.name}".strip()

    @property
    def made(self) -> list[str]:
        """What it wrote, its record last."""
        return [*self.record.outputs, str(self.path)]


@dataclass(frozen=True)
class History:
    """The jobs behind the results of a study.

    Attributes:
        paths: where its files lie.
        file: the study's own.
        ladder_file: that of its sizes, if it names any.
        study: its values.
        jobs: in an order in which each comes after those that it depends on.
        results: the last jobs' records: nothing in the study is made of what they made, or people read it.
        rules: all rules of the workflow, by name.
    """

    paths: StudyPaths
    file: Path
    ladder_file: Path | None
    study: Study
    jobs: list[Job]
    results: set[Path]
    rules: dict[str, Rule]

    @cached_property
    def contents(self) -> dict[str, Described]:
        """Size and digest of everything that a job wrote or read, records included."""
        found: dict[str, tuple[Described, Job]] = {str(job.path): (file_digest(job.path), job) for job in self.jobs}
        for job, path, described in self._told():
            known, by = found.setdefault(path, (described, job))
            if known != described and not _is_dropped(described):
                raise UserError(
                    f"{path}: the records of {by.label} and {job.label} give it different contents: "
                    f"the study is not up to date; run `snakemake {self.paths.study}`"
                )
        return {path: described for path, (described, _) in found.items()}

    def _told(self) -> Iterator[tuple[Job, str, Described]]:
        for name in ("outputs", "inputs"):  # what a file is, its maker knows best
            for job in self.jobs:
                for path, described in getattr(job.record, name).items():
                    yield job, path, described

    @cached_property
    def data(self) -> list[str]:
        """What jobs read and the study neither made nor told them."""
        return sorted(path for path in self.contents if kind_of(path, self.paths.study) is DATA)

    @cached_property
    def made_by(self) -> dict[str, Job]:
        """The job that wrote each file or folder, records included."""
        return {path: job for job in self.jobs for path in job.made}


def read_history(file: Path) -> History:
    """Read the history of the study of a YAML file.

    Raises:
        UserError: the study is wrong, has not ended, or has changed since it ran; a record of it is damaged; or this
            is not the root of the repository.
    """
    paths = StudyPaths(file.stem)
    study, ladder, grid = load_expanded(file)
    specifications = Specifications(paths, study, ladder, grid)
    again = f"run `snakemake {paths.study}`"
    results = [*paths.results, *(paths.figure(name, "svg") for name in specifications.figures)]
    last = {record for path in results if (record := producing_record(path))}
    records = _records(last, again)
    told = {path for record in records.values() for path in record.inputs}
    for path, text in specifications.texts():
        if str(path) in told and read_object(path) != json.loads(text):
            raise UserError(f"{file}: the study has changed since it ran ({path}): {again}")
    return History(
        paths=paths,
        file=file,
        ladder_file=LADDERS / f"{study.ladder}.yaml" if study.ladder else None,
        study=study,
        jobs=sorted((Job(path, record, _rule(record)) for path, record in records.items()), key=_order),
        results=last,
        rules={rule.name: rule for rule in _rules()},
    )


def _records(last: set[Path], again: str) -> dict[Path, StoredRecord]:
    """Return the given records and all that they depend on, by path."""
    found: dict[Path, StoredRecord] = {}
    waiting = sorted(last)
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        try:
            found[path] = read_record(path)
        except FileNotFoundError:
            raise UserError(f"there is no record {path}: the study has not run to its end here; {again}") from None
        used = [record for name in found[path].inputs if (record := producing_record(Path(name)))]
        waiting += [record for record in used if record not in found]
    return found


def _rule(record: StoredRecord) -> str:
    """Return the rule that asks for a job; each kind of figure has one of its own."""
    if record.stage != "figure":
        return record.stage
    return f"figure_{read_json(StudyPaths(record.study).spec('figures', record.name))['kind']}"


def _rules() -> Iterator[Rule]:
    if not SNAKEFILE.is_file():
        raise UserError(f"there is no {SNAKEFILE} in {Path.cwd()}: run this in the root of the repository")
    for file in sorted(RULES.glob("*.smk")):
        for name, says in _RULE.findall(file.read_text(encoding="utf-8")):
            yield Rule(name, file, " ".join(says.split()))


def _order(job: Job) -> tuple[int, str, str]:
    """Stages stand in the order in which they depend on each other."""
    return list(STAGE_VERSION).index(job.record.stage), job.rule, job.record.name


def _is_dropped(described: Described) -> bool:
    """Return whether a folder was described after its weights were dropped: what it held, its maker's record says."""
    return isinstance(described, FolderDigest) and DROPPED in described.files
