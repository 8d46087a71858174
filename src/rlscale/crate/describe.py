"""Puts a study into a graph of entities: its files, its settings, what the workflow is, and what happened."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlscale.crate.graph import Graph, Ref
from rlscale.crate.history import RULES, SNAKEFILE, History
from rlscale.crate.kinds import kind_of
from rlscale.crate.readme import README, readme
from rlscale.crate.runs import Runs
from rlscale.crate.steps import Steps
from rlscale.errors import UserError
from rlscale.files import read_object
from rlscale.provenance import DROPPED, file_digest
from rlscale.records import Described, FileDigest

LARGE_BYTES = 64 << 20
"""A file of more bytes is described and not carried, unless all are asked for."""

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
LOCK_FORMAT = "https://pip.pypa.io/en/stable/reference/requirements-file-format/"
ORCID = "https://orcid.org/"
LICENCES = "https://spdx.org/licenses/"


@dataclass(frozen=True)
class Options:
    """What the user decides of a crate.

    Attributes:
        with_checkpoints: carry weights, trainer state and large files too.
        agent: name of who ran the study; None where that is not said.
        orcid: URL of their ORCID.
        licence: of the crate: an SPDX identifier, or a URL.
    """

    with_checkpoints: bool = False
    agent: str | None = None
    orcid: str | None = None
    licence: str = "Apache-2.0"


def orcid_url(orcid: str | None, agent: str | None) -> str | None:
    """Return the URL of an ORCID, which may be given as one.

    Raises:
        UserError: it is none, a digit of it is wrong, or it belongs to nobody.
    """
    if orcid is None:
        return None
    number = orcid.removeprefix(ORCID)
    if agent is None:
        raise UserError(f"--orcid {orcid}: whose? give their name too, by --agent")
    if not re.fullmatch(r"(\d{4}-){3}\d{3}[\dX]", number):
        raise UserError(f"--orcid {orcid}: no ORCID, which is like 0000-0002-1825-0097")
    *digits, check = list(number.replace("-", ""))
    total = 0
    for digit in digits:
        total = (total + int(digit)) * 2
    if (12 - total % 11) % 11 != (10 if check == "X" else int(check)):  # ISO 7064, MOD 11-2
        raise UserError(f"--orcid {orcid}: a digit of it is wrong: its last one does not match the others")
    return f"{ORCID}{number}"


def describe_study(history: History, options: Options) -> Graph:
    """Return the graph of a study."""
    graph = Graph()
    steps = Steps(graph, history)
    agent = None
    if options.agent is not None:
        agent = graph.add(options.orcid or "#agent", "Person", name=options.agent)
    source = _workflow_files(graph, history)
    given = _given(graph, history, steps)
    places = _Files(graph, history, steps, options, based_on=given).places()
    given += [_setting(graph, steps, name, value) for name, value in _leaves(history.study.model_dump(mode="json"))]
    graph.workflow(SNAKEFILE, file_digest(SNAKEFILE), name="Snakefile of rlscale", **source, **steps.workflow())
    actions = Runs(graph, history, steps, places, agent).describe(given)
    graph.text(README, readme(history, graph), "text/markdown", about={"@id": "./"})
    graph.describe_root(
        name=f"Study {history.paths.study} of rlscale",
        description=history.study.description or "A study of how reinforcement-learning post-training scales.",
        datePublished=max(job.record.ended for job in history.jobs),
        license=_licence(graph, options.licence),
        author=agent,
        conformsTo=[graph.add(url, "CreativeWork", name=name, version=no) for url, (name, no) in PROFILES.items()],
        mentions=actions,
    )
    return graph


def _workflow_files(graph: Graph, history: History) -> dict[str, object]:
    """Add the rules and the locks; return the properties of the workflow that say so."""
    versions = {job.record.environment.libraries.get("rlscale", "unknown") for job in history.jobs}
    version = ", ".join(sorted(versions))
    for path in sorted(RULES.glob("*.smk")):
        kind = ["File", "SoftwareSourceCode"]
        more: dict[str, Any] = {"version": version, "isPartOf": {"@id": str(SNAKEFILE)}}
        graph.file(path, file_digest(path), carry=True, kind=kind, **more)
    locks = {(job.record.environment.lock, job.record.environment.lock_sha256) for job in history.jobs}
    carried = []
    for name, sha256 in sorted(locks, key=str):
        # A lock that has changed since is not what the jobs ran with; their facts keep the digest of the one that was.
        if Path(name).is_file() and (one := file_digest(Path(name))).sha256 == sha256:
            meant = graph.add(LOCK_FORMAT, "WebPage", name="Requirements file format of pip")
            carried.append(graph.file(name, one, carry=True, conformsTo=meant))
    return {"version": version, "buildInstructions": carried}


def _given(graph: Graph, history: History, steps: Steps) -> list[Ref]:
    """Add the files that the user wrote: the study and the ladder of its sizes."""
    wrote = {"study": (history.file, "the study")}
    if history.ladder_file:
        wrote["ladder"] = (history.ladder_file, "the sizes of its models")
    given = []
    for name, (path, title) in wrote.items():
        role = steps.input(name, title)
        place = path if _is_inside(path) else Path("config/studies", path.name)
        given.append(graph.file(place, file_digest(path), carry=True, source=path, exampleOfWork=role))
    return given


def _setting(graph: Graph, steps: Steps, name: str, value: object) -> Ref:
    """Add one value of the study, and the parameter that it is a value of."""
    types = {bool: "Boolean", int: "Integer", float: "Float"}
    role = steps.input(name, "a setting of the study", types.get(type(value), "Text"), "setting")
    return graph.value("setting", name, value, exampleOfWork=role)


def _leaves(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", value


def _licence(graph: Graph, licence: str) -> Ref:
    url = licence if "://" in licence else f"{LICENCES}{licence}"
    return graph.add(url, "CreativeWork", name=licence, url=url)


def _is_inside(path: Path) -> bool:
    """Return whether a path stays below the repository's root, so that a crate can hold it there."""
    return not path.is_absolute() and ".." not in path.parts


@dataclass(frozen=True)
class _Files:
    """Adds what jobs read and wrote."""

    graph: Graph
    history: History
    steps: Steps
    options: Options
    based_on: list[Ref]

    def places(self) -> dict[str, Ref]:
        """Add every file and folder; return them by path."""
        return {path: self._add(path, described) for path, described in self.history.contents.items()}

    def _add(self, path: str, described: Described) -> Ref:
        kind = kind_of(path, self.history.paths.study)
        told = kind.name in {"specification", "cell"}
        more: dict[str, Any] = {
            "description": kind.title,
            "exampleOfWork": self.steps.roles.get(path),
            "isBasedOn": self.based_on if told else None,
        }
        if isinstance(described, FileDigest):
            return self.graph.file(path, described, carry=self._carries(path, described, kind.is_bulky), **more)
        dropped = read_object(Path(path, DROPPED))
        if dropped:
            more["description"] = f"{kind.title}, removed on purpose: {dropped.get('reason')}"
        carries = not dropped and self.options.with_checkpoints
        parts = [
            self.graph.file(f"{path}/{name}", one, carry=carries and _is_inside(Path(path)))
            for name, one in sorted(described.files.items())
        ]
        return self.graph.folder(path, parts, carry=carries and _is_inside(Path(path)), **more)

    def _carries(self, path: str, one: FileDigest, is_bulky: bool) -> bool:
        return _is_inside(Path(path)) and (self.options.with_checkpoints or not (is_bulky or one.bytes > LARGE_BYTES))
