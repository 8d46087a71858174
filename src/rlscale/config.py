"""Read studies and ladders from YAML 1.2, and say exactly where one is wrong.

A file is read twice: once for its values, once as a tree of nodes that know their line. An error is one line,
``FILE:LINE:COLUMN: KEY: what is wrong; what is allowed; the near match``, and all errors of a file are reported.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from rlscale.config_errors import problems_of, shown
from rlscale.errors import UserError, did_you_mean
from rlscale.grid import Grid, GridError, expand
from rlscale.ladder import BuiltLadder, HubLadder, Ladder
from rlscale.model_base import Place, Problem, dotted
from rlscale.paths import LADDERS, STUDIES
from rlscale.study import PublishedStudy, TrainedStudy

M = TypeVar("M", bound=BaseModel)
FILE_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


class Document:
    """A YAML file: its values, and where each stands."""

    def __init__(self, path: Path) -> None:
        """Read ``path``.

        Raises:
            UserError: it cannot be read, is not UTF-8, is not YAML, or does not hold a mapping.
        """
        self.path = path
        text = _text(path)
        try:
            self.root: Node | None = _yaml().compose(text)
            self.values: object = _yaml().load(text)
        except MarkedYAMLError as error:
            raise UserError(self._syntax(error)) from None
        except YAMLError as error:
            raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
        if self.root is None or self.values is None:
            raise UserError(f"{path}: the file is empty; a mapping of keys is needed")
        if not isinstance(self.values, dict):
            raise self.error([Problem((), f"is {shown(self.values)}; a mapping of keys is needed")])

    def error(self, problems: Iterable[Problem]) -> UserError:
        """Return one error for all ``problems``, each with its file, line and column, in the order of the file."""
        located = sorted({(*self._position(at), dotted(at), message) for at, message in problems})
        lines = (
            f"{self.path}:{line}:{column}: {f'{key}: ' if key else ''}{message}"
            for line, column, key, message in located
        )
        return UserError("\n".join(lines))

    def parse(self, models: dict[str, type[M]]) -> M:
        """Return the values as the model that their ``kind`` names.

        Raises:
            UserError: with every problem, one a line.
        """
        values = self.values if isinstance(self.values, dict) else {}
        allowed = ", ".join(models)
        if "kind" not in values:
            raise self.error([Problem(("kind",), f"missing; one of {allowed}")])
        kind = values["kind"]
        if not isinstance(kind, str) or kind not in models:
            raise self.error([Problem(("kind",), f"is {shown(kind)}; allowed: {allowed}{did_you_mean(kind, models)}")])
        try:
            return models[kind].model_validate(values)
        except ValidationError as error:
            raise self.error(problems_of(error, values, models[kind])) from None

    def _position(self, at: Place) -> tuple[int, int]:
        """Return line and column, from 1, of the deepest key or item on the way to ``at`` that is in the file."""
        node, mark = self.root, self.root.start_mark if self.root else None
        for key in at:
            node, found = _step(node, key)
            if found is None:
                break
            mark = found.start_mark
        return (mark.line + 1, mark.column + 1) if mark else (1, 1)

    def _syntax(self, error: MarkedYAMLError) -> str:
        mark = error.problem_mark or error.context_mark
        what = " ".join((error.problem or error.context or "not YAML").split())
        if "'\\t'" in what:
            what = "a tab; indent with spaces"
        elif "duplicate key" in what:
            what = f"{what.split(' with ')[0].removeprefix('found ')}; give each key once"
        elif "another document" in what:
            what = "a second document; a file holds one"
        elif "constructor for the tag" in what:
            what = f"the tag {what.rsplit(' ', 1)[-1]} is not allowed; write a plain value"
        return f"{self.path}:{mark.line + 1}:{mark.column + 1}: {what}" if mark else f"{self.path}: {what}"


def shipped_studies() -> dict[str, Path]:
    """Return the studies under ``config/studies`` of the current directory, by name."""
    return {path.stem: path for path in sorted(STUDIES.glob("*.yaml"), key=lambda path: path.stem)}


def find_study(name_or_path: str) -> Path:
    """Return the file of a study, given the name of a shipped one or a path.

    Raises:
        UserError: there is none; with the nearest match.
    """
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} or len(path.parts) > 1:
        if not path.exists():
            raise UserError(f"no file {path}{did_you_mean(path, map(str, shipped_studies().values()))}")
        return path
    shipped = shipped_studies()
    if name_or_path in shipped:
        return shipped[name_or_path]
    there = f"shipped: {', '.join(shipped)}" if shipped else f"there is no {STUDIES} in {Path.cwd()}"
    raise UserError(
        f'no study "{name_or_path}"{did_you_mean(name_or_path, shipped)}; {there}; or give the path of a file'
    )


def load_study(path: Path) -> TrainedStudy | PublishedStudy:
    """Return the study of a YAML file, checked by itself (`load_grid` checks it against its ladder).

    Raises:
        UserError: the file or a value in it is wrong; with file, line, column, key, value and what is allowed.
    """
    return _study(_document(path))


def load_ladder(path: Path) -> Ladder:
    """Return the ladder of a YAML file.

    Raises:
        UserError: the file or a value in it is wrong; with file, line, column, key, value and what is allowed.
    """
    models: dict[str, type[BuiltLadder | HubLadder]] = {"built": BuiltLadder, "hub": HubLadder}
    return Document(path).parse(models)


def load_grid(path: Path) -> tuple[TrainedStudy, Ladder, Grid]:
    """Return the trained study of a YAML file, its ladder and its grid.

    Raises:
        UserError: the study, its ladder, or the two together are wrong; or the study trains nothing.
    """
    study, ladder, grid = load_expanded(path)
    if not (isinstance(study, TrainedStudy) and ladder and grid):
        raise UserError(f"{path}: this study trains nothing (its kind is published), so it has no runs")
    return study, ladder, grid


def load_expanded(path: Path) -> tuple[TrainedStudy | PublishedStudy, Ladder | None, Grid | None]:
    """Return the study of a YAML file, its ladder, and its grid, which a study that trains nothing lacks.

    Raises:
        UserError: the study, its ladder, or the two together are wrong.
    """
    document = _document(path)
    study = _study(document)
    ladder = _ladder_of(study, document)
    if not (isinstance(study, TrainedStudy) and ladder):
        return study, ladder, None
    try:
        return study, ladder, expand(study, ladder)
    except GridError as error:
        raise document.error(error.problems) from None


def config_files(path: Path, study: TrainedStudy | PublishedStudy) -> list[Path]:
    """Return the files that a study is written in: its own, and that of its ladder."""
    return [path, LADDERS / f"{study.ladder}.yaml"] if study.ladder else [path]


def _ladder_of(study: TrainedStudy | PublishedStudy, document: Document) -> Ladder | None:
    if study.ladder is None:
        return None
    path = LADDERS / f"{study.ladder}.yaml"
    if not path.is_file():
        ladders = sorted(found.stem for found in LADDERS.glob("*.yaml"))
        allowed = f"ladders in {LADDERS}: {', '.join(ladders) or 'none'}{did_you_mean(study.ladder, ladders)}"
        raise document.error([Problem(("ladder",), f'is "{study.ladder}"; {allowed}')])
    return load_ladder(path)


def _document(path: Path) -> Document:
    if not FILE_NAME.match(path.stem):
        raise UserError(f'{path}: "{path.stem}" names no study: use letters, digits, ".", "_" and "-"')
    return Document(path)


def _study(document: Document) -> TrainedStudy | PublishedStudy:
    models: dict[str, type[TrainedStudy | PublishedStudy]] = {"trained": TrainedStudy, "published": PublishedStudy}
    study = document.parse(models)
    if isinstance(study, PublishedStudy) and not Path(study.points).is_file():
        raise document.error([Problem(("points",), f'no file "{study.points}" under {Path.cwd()}')])
    return study


def _yaml() -> YAML:
    return YAML(typ="safe", pure=True)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"no file {path}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def _step(node: Node | None, key: str | int) -> tuple[Node | None, Node | None]:
    """Return the value under ``key``, and the node whose line a reader looks for: the key, or the item."""
    if isinstance(node, MappingNode):
        for name, value in node.value:
            if name.value == str(key):
                return value, name
    if isinstance(node, SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key], node.value[key]
    return None, None
