"""The entities of a crate, each added once, and which file of this machine goes where in it.

RO-Crate 1.1 with the terms of Workflow Run Crate. What is described and not carried has an identifier that begins
with "#", as the specification wants of what is not in the crate.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rocrate.model import ComputationalWorkflow, ContextEntity
from rocrate.rocrate import ROCrate

from rlscale.canonical import canonical_json, digest
from rlscale.crate.kinds import media_type
from rlscale.records import FileDigest

METADATA = "ro-crate-metadata.json"
TERMS = "https://w3id.org/ro/terms/workflow-run/context"
EXTRA_TERMS = {"buildInstructions": "https://codemeta.github.io/terms/buildInstructions"}
"""A term of the profile that neither context has."""

Ref = dict[str, str]


class Graph:
    """A crate under construction; every method that adds an entity returns a reference to it.

    Attributes:
        carried: the files in the crate, by the path that they have in it: where they stand, and what they must be.
        texts: what the crate says itself, by the path that it has there.
        described: the files that are not in it, by path, with their bytes.
    """

    def __init__(self) -> None:
        self.crate = ROCrate(version="1.1")
        self.crate.metadata.extra_contexts.append(TERMS)
        self.crate.metadata.extra_terms.update(EXTRA_TERMS)
        self.carried: dict[Path, tuple[Path, FileDigest]] = {}
        self.texts: dict[Path, str] = {}
        self.described: dict[Path, int] = {}

    def add(self, identifier: str, kind: str | Sequence[str], **properties: object) -> Ref:
        """Add an entity with its type and properties, once."""
        if identifier not in self.crate:
            self.crate.add(ContextEntity(self.crate, identifier, properties={"@type": kind, **_compact(properties)}))
        return {"@id": identifier}

    def value(self, group: str, name: str, value: object, **properties: object) -> Ref:
        """Add a named value; its identifier follows from ``group``, the name and the value."""
        said = value if isinstance(value, bool | int | float | str) else canonical_json(value)
        identifier = f"#{group}/{name}/{digest(value)[:12]}"
        return self.add(identifier, "PropertyValue", name=name, value=said, **properties)

    def file(
        self,
        path: Path | str,
        one: FileDigest,
        *,
        carry: bool,
        source: Path | None = None,
        kind: str | list[str] = "File",
        **more: Any,
    ) -> Ref:
        """Add a file by its path from the repository's root: carried in the crate, or described only.

        Args:
            path: where it lies, in the crate too.
            one: what it is.
            carry: whether it comes with the crate.
            source: where it lies here, if elsewhere.
            kind: its types.
            more: its further properties.
        """
        described = {"name": str(path), **_content(path, one), **more}
        if not carry:
            self.described[Path(path)] = one.bytes
            return self.add(f"#{path}", kind, **described)
        self.carried[Path(path)] = (source or Path(path), one)
        entity = self.crate.add_file(path, path, properties={"@type": kind, **_compact(described)})
        return {"@id": entity.id}

    def text(self, path: Path, text: str, media_type: str, **more: Any) -> None:
        """Add a file that is written for the crate."""
        self.texts[path] = text
        self.crate.add_file(path, path, properties={"name": str(path), "encodingFormat": media_type, **_compact(more)})

    def folder(self, path: str, parts: list[Ref], *, carry: bool, **more: Any) -> Ref:
        """Add a folder whose files have been added."""
        described = {"name": path, "hasPart": parts, **more}
        if not carry:
            return self.add(f"#{path}/", "Dataset", **described)
        return {"@id": self.crate.add_dataset(dest_path=path, properties=_compact(described)).id}

    def workflow(self, path: Path, one: FileDigest, **properties: object) -> Ref:
        """Add the main workflow, which Snakemake runs."""
        self.carried[path] = (path, one)
        described = {"@type": [*ComputationalWorkflow.TYPES, "HowTo"], **_compact(_content(path, one) | properties)}
        entity = self.crate.add_workflow(path, path, main=True, lang="snakemake", properties=described)
        return {"@id": entity.id}

    def describe_root(self, **properties: object) -> None:
        """Set properties of the crate as a whole."""
        for name, value in _compact(properties).items():
            self.crate.root_dataset[name] = value

    def metadata(self) -> str:
        """Return the text of the crate's metadata file."""
        return json.dumps(self.crate.metadata.generate(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _content(path: Path | str, one: FileDigest) -> dict[str, Any]:
    return {"contentSize": str(one.bytes), "sha256": one.sha256, "encodingFormat": media_type(str(path))}


def _compact(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the properties that have a value, one by itself rather than in a list."""
    given = {name: value for name, value in properties.items() if value is not None and value != []}
    return {name: value[0] if isinstance(value, list) and len(value) == 1 else value for name, value in given.items()}
