"""Where a figure's numbers come from: the chain of jobs behind it as records tell it, and the commands that check it.

Of records, only what decides the bytes is told (stage, version, derivation, inputs and outputs): times, machines and
commits change where no number does, and `rlscale audit` has them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rlscale.report.material import Material
from rlscale.report.words import count, link

_MOST = 6  # inputs of one job that are named; more are counted by kind


@dataclass(frozen=True)
class Source:
    """A file that a figure was made from: path, relative link, SHA-256, size [bytes] and link to its record."""

    path: str
    href: str | None
    sha256: str
    bytes: str
    record: str | None


@dataclass(frozen=True)
class Job:
    """A job of the chain: stage with version, derivation, what it made and what from."""

    stage: str
    version: int
    derivation: str
    record: str
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Drawer:
    """The provenance of one figure.

    Attributes:
        sources: files it was made from.
        jobs: that made these and, in turn, what they were made from; as far as the page's own inputs go.
        commands: pairs of what a command does and the command.
    """

    sources: tuple[Source, ...]
    jobs: tuple[Job, ...]
    commands: tuple[tuple[str, str], ...]


def drawer(material: Material, names: Iterable[str], picture: str = "") -> Drawer:
    """Return the provenance of what was made from the files of these names.

    Args:
        material: of the page.
        names: keys of `Material.files`; ``steps`` stands for those of all runs.
        picture: name of the study's picture of the same.
    """
    files = [material.files[name] for name in names if name in material.files]
    jobs = list(_chain(material.records, files))
    page = f"{material.root}/report.html"
    commands = [("every record behind this page, against the bytes", f"rlscale audit {page}")]
    commands.append(("the page once more from stored scores, byte for byte", f"rlscale audit {page} --rebuild"))
    if picture in material.told["figures"]:
        shown = f"{material.root}/figures/{picture}.svg"
        commands.append(("the study's picture of the same", f"rlscale audit {shown} --rebuild"))
    commands.append(("made again by the workflow", f"snakemake {page} --forcerun {files[0]}"))
    return Drawer(tuple(_sources(material, files)), tuple(jobs), tuple(commands))


def _sources(material: Material, files: Iterable[str]) -> Iterator[Source]:
    made = {path: (record, values) for record, values in material.records.items() for path in values["outputs"]}
    for path in files:
        if path not in made:
            continue
        record, values = made[path]
        one = values["outputs"][path]
        yield Source(path, _href(material, path), one["sha256"], count(one["bytes"]), _href(material, record))


def _chain(records: Mapping[str, Mapping[str, Any]], files: Iterable[str]) -> Iterator[Job]:
    """Yield the jobs behind files, the last first, those of runs left out: there may be thousands."""
    made = {path: record for record, values in records.items() for path in values["outputs"]}
    waiting, seen = list(files), set()
    while waiting:
        record = made.get(waiting.pop(0))
        if record is None or record in seen:
            continue
        seen.add(record)
        values = records[record]
        yield Job(
            values["stage"], values["stage_version"], values["derivation"], record, tuple(_named(values["inputs"]))
        )
        waiting += sorted(values["inputs"])


def _named(inputs: Mapping[str, Any]) -> Iterator[str]:
    """Name the inputs of a job with their digests; many of a kind are counted."""
    kinds = Counter(_kind(path) for path in inputs)
    for path, one in sorted(inputs.items()):
        if kinds[_kind(path)] <= _MOST and "sha256" in one:
            yield f"{path}  sha256 {one['sha256'][:16]}…"
    for kind, how_many in sorted(kinds.items()):
        if how_many > _MOST:
            yield f"{how_many} × {kind}"


def _kind(path: str) -> str:
    parts = path.split("/")
    return "/".join((*parts[:3], "RUN", *parts[4:])) if len(parts) > 4 and parts[2] == "runs" else path


def _href(material: Material, path: str) -> str | None:
    """Return a path relative to the page; None of what lies elsewhere."""
    inside = path.removeprefix(f"{material.root}/")
    return link(inside) if inside != path else None
