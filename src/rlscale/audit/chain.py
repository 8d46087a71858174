"""The chain of a study as its records tell it: which job made what from what, from the figures back to the problems.

What should be there is not asked of the records but of the plan: a record that is gone, together with all that it spoke
of, is missed all the same.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from rlscale.config import load_expanded
from rlscale.errors import UserError
from rlscale.files import read_object
from rlscale.paths import RECORD_SUFFIX, StudyPaths, producing_record, record_of
from rlscale.records import DamagedRecordError, Described, FileDigest, FolderDigest, StoredRecord, read_record
from rlscale.sources import source_file
from rlscale.specifications import Specifications


@dataclass
class Chain:
    """The records of a study.

    Attributes:
        paths: where its files lie.
        planned: the study and ladder that were planned, as `StudyPaths.planned_files` has them.
        expected: paths of the records that the study, as it was planned, should have.
        records: those that are there and whole, by path.
        damaged: why others cannot be read, by path.
        specifications: the text that each specification should have by the study as it is now; None where that cannot
            be read.
        study_error: why it cannot.
    """

    paths: StudyPaths
    planned: Mapping[str, Any]
    expected: frozenset[str]
    records: dict[str, StoredRecord]
    damaged: dict[str, str]
    specifications: dict[str, str] | None
    study_error: str | None = None
    _consumers: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def __post_init__(self) -> None:
        for path, record in self.records.items():
            for source in (*record.inputs, *record.parents):
                self._consumers[source].add(path)

    @cached_property
    def outputs(self) -> dict[str, dict[str, FileDigest]]:
        """The outputs of each record, files of folders one by one."""
        return {path: flat(record.outputs) for path, record in self.records.items()}

    @cached_property
    def makers(self) -> dict[str, str]:
        """The record that names each file among its outputs."""
        return {file: path for path, outputs in self.outputs.items() for file in outputs}

    def upstream(self, targets: Iterable[str]) -> frozenset[str]:
        """Return the records that ``targets`` (records) come from, themselves included."""
        return frozenset(_reached(targets, lambda path: self.records[path].parents if path in self.records else ()))

    def figures_from(self, path: str) -> tuple[str, ...]:
        """Return the names of the figures that depend on a file, a record, a module or a lock."""
        if path in self.expected:
            first = {path, *self._consumers[path]}
        else:
            around = [path, *map(str, Path(path).parents)]  # a folder is an input as a whole
            first = {record for source in around for record in self._consumers.get(source, ())}
            first |= {record for record, values in self.records.items() if uses(values, path)}
            if path in self.makers and self.records[self.makers[path]].stage == "figure":
                first.add(self.makers[path])
        return self.figures(_reached(first, lambda record: self._consumers.get(record, ())))

    def figures(self, records: Iterable[str]) -> tuple[str, ...]:
        """Return the names of those records that are of figures."""
        folder = self.paths.figure("any", "svg").parent
        return tuple(sorted(Path(path).name.split(".svg")[0] for path in records if Path(path).parent == folder))


def flat(described: Mapping[str, Described]) -> dict[str, FileDigest]:
    """Return the digests of all files, those of folders one by one."""
    found: dict[str, FileDigest] = {}
    for path, one in described.items():
        if isinstance(one, FolderDigest):
            found |= {f"{path}/{name}": digest for name, digest in one.files.items()}
        else:
            found[path] = one
    return found


def read_chain(study: str) -> Chain:
    """Read the records of a study, and what it should have.

    Raises:
        UserError: nothing was ever made of it.
    """
    paths = StudyPaths(study)
    planned = read_object(paths.planned_files)
    if not paths.root.is_dir():
        raise UserError(f"no folder {paths.root}: the study has no results")
    specifications = error = None
    try:
        specifications = expanded(paths, planned)
    except UserError as found:
        error = str(found)
    names = planned.get("specifications")
    # What was planned, since the study may have been changed after that.
    expected = _expected(paths, names if isinstance(names, list) else specifications or ())
    records, damaged = {}, {}
    for path in sorted(expected):
        try:
            record = read_record(Path(path))
        except DamagedRecordError as found:
            damaged[path] = str(found).removeprefix(f"{path}: ")
        except OSError:
            continue  # missed by whoever asks for what is expected
        else:
            if path.removesuffix(RECORD_SUFFIX) in record.outputs:
                records[path] = record
            else:
                damaged[path] = f"it is the record of {record.stage} {record.name}".strip()
    return Chain(paths, planned, frozenset(expected), records, damaged, specifications, error)


def expanded(paths: StudyPaths, planned: Mapping[str, object]) -> dict[str, str]:
    """Return the specifications that the study has now, by path.

    Raises:
        UserError: where the study lies is not known, or it is wrong.
    """
    file = planned.get("study")
    if not isinstance(file, str):
        raise UserError(f"{paths.planned_files}: does not say where the study lies; `snakemake -n` writes it anew")
    texts = Specifications(paths, *load_expanded(Path(file))).texts()
    return {str(path): text for path, text in texts}


def _expected(paths: StudyPaths, specifications: Iterable[str]) -> set[str]:
    """Return the records that belong to specifications."""
    found = {record for path in paths.results if (record := producing_record(path))}
    for text in specifications:
        path = Path(text)
        kind = path.parent.name
        if path == paths.cell(kind):
            found |= {record_of(one(kind)) for one in (paths.steps, paths.rollouts, paths.scores)}
        elif kind == "pools":
            found.add(record_of(paths.pool(path.stem)))
        elif kind == "bases":
            found.add(record_of(paths.base(path.stem)))
        elif kind == "figures":
            found.add(record_of(paths.figure(path.stem, "svg")))
        elif path == paths.spec("study", "suites"):
            found.add(record_of(paths.suites))
    return set(map(str, found))


def uses(record: StoredRecord, path: str) -> bool:
    """Return whether a record names a module or a lock, given as a path."""
    return path == record.environment.lock or path in _modules(tuple(record.sources))


@cache
def _modules(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(str(source_file(name)) for name in names)


def _reached(start: Iterable[str], following: Callable[[str], Iterable[str]]) -> Iterator[str]:
    seen, waiting = set(), list(start)
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            yield path
            waiting += following(path)


def record_for(file: str) -> str | None:
    """Return the path of the record that should speak of a file."""
    found = producing_record(Path(file))
    return None if found is None else str(found)
