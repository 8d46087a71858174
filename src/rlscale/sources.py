"""Which of the project's own code a stage's results depend on: a static closure of imports, the same everywhere.

It begins at the stage's function in `rlscale.stages`, follows what that function calls in its own file, and then every
import of this package, those inside functions included. So an edit of the planner or of a page taints no result, and
one of a grader taints the scores. Templates, styles and scripts beside its modules count too. Trainers and evaluators
are chosen by name: only the one that was used counts, with what it imports.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
ADAPTERS = ("trainers", "evaluators")
"""Packages of which a job uses one part, which the study names."""

ASSETS = ("*.css", "*.j2", "*.js", "*/*.js")

BOOKKEEPING = frozenset(
    {
        *("adapters", "attempts", "errors", "job", "paths", "provenance", "records", "slurm", "sources"),
        *("stage_versions", "writers"),
    }
)
"""Modules that say and remember what happens, and have no part in what comes out."""


@cache
def stage_sources(stage: str, adapter: str | None = None) -> dict[str, str]:
    """Return the SHA-256 of all code of a stage, by module (``rlscale/fit.py``) and, first, by its own functions.

    Args:
        stage: the name of a function of `rlscale.stages`, whose key is ``rlscale/stages/FILE.py:STAGE``.
        adapter: the trainer or evaluator that the stage uses, as a study names it.
    """
    home = next(file for file in sorted((PACKAGE / "stages").glob("*.py")) if stage in _functions(file))
    own = _used_by(home, stage)
    files = sorted(_closure(_modules(own, adapter), adapter) - {home})
    files += sorted(asset for file in files if file.name == "__init__.py" for asset in _assets(file.parent))
    modules = {_name(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    return {f"{_name(home)}:{stage}": _text_digest(home, own)} | modules


def _assets(package: Path) -> Iterator[Path]:
    """Yield what of a package is no Python and yet in what comes out: templates, styles, scripts."""
    return (file for kind in ASSETS for file in package.glob(kind)) if package != PACKAGE else iter(())


def function_digest(module: str, function: str) -> str | None:
    """Return the SHA-256 of a stage's function and all that it uses of its own file; None where there is none."""
    home = PACKAGE.parent / module
    try:
        return _text_digest(home, _used_by(home, function)) if function in _functions(home) else None
    except (OSError, SyntaxError, ValueError):
        return None


def source_file(name: str) -> Path:
    """Return where the code of that name lies; relative to the working directory, if it is below that."""
    path = PACKAGE.parent / name.partition(":")[0]
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _text_digest(file: Path, nodes: Sequence[ast.stmt]) -> str:
    lines = file.read_bytes().splitlines(keepends=True)
    text = b"".join(line for node in nodes for line in lines[_first_line(node) - 1 : node.end_lineno])
    return hashlib.sha256(text).hexdigest()


def _first_line(node: ast.stmt) -> int:
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef) else []
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _name(file: Path) -> str:
    return file.relative_to(PACKAGE.parent).as_posix()


def _closure(begin: Iterable[Path], adapter: str | None) -> set[Path]:
    seen: set[Path] = set()
    waiting = list(begin)
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            waiting += _modules([_tree(file)], adapter)
    return seen


def _used_by(file: Path, function: str) -> list[ast.stmt]:
    """Return the imports of a module, and a function with those that it uses in turn, as they stand in the file."""
    own = _functions(file)
    seen, waiting = set(), [function]
    while waiting:
        name = waiting.pop()
        if name in own and name not in seen:
            seen.add(name)
            waiting += _global_names(own[name])
    used = [own[name] for name in seen]
    return [node for node in _tree(file).body if isinstance(node, ast.Import | ast.ImportFrom) or node in used]


def _global_names(function: ast.FunctionDef) -> set[str]:
    """Return the names that a function uses and does not bind itself."""
    nodes = list(ast.walk(function))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    bound = {node.arg for node in nodes if isinstance(node, ast.arg)}
    bound |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
    return {node.id for node in names} - bound


def _functions(file: Path) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in _tree(file).body if isinstance(node, ast.FunctionDef)}


def _modules(nodes: Sequence[ast.AST], adapter: str | None) -> Iterator[Path]:
    """Yield the files that the nodes name, with the ``__init__`` of the packages that these lie in."""
    for name in _named(nodes):
        parts = name.split(".")[1:]
        if not parts or parts[0] in BOOKKEEPING:
            continue
        if parts[0] in ADAPTERS and len(parts) > 1 and adapter:
            yield from _adapter_files(PACKAGE / parts[0], parts[1], adapter)
            continue
        for depth in range(len(parts) + 1):
            stem = PACKAGE.joinpath(*parts[:depth])
            yield from (file for file in (stem / "__init__.py", stem.with_suffix(".py")) if file.is_file())


def _adapter_files(package: Path, part: str, adapter: str) -> Iterator[Path]:
    """Yield all of the adapter that is used, and of the package what is imported and is not another evaluator."""
    yield package / "__init__.py"
    for name in (adapter, part):
        if package.name == "trainers" or name.startswith(adapter):
            yield from sorted((package / name).glob("*.py"))
            yield from (file for file in [package / f"{name}.py"] if file.is_file())


def _named(nodes: Sequence[ast.AST]) -> Iterator[str]:
    """Yield the dotted names below this package that are imported, or given to a child process as a string."""
    for found in (found for node in nodes for found in ast.walk(node)):
        if isinstance(found, ast.Import):
            names = [alias.name for alias in found.names]
        elif isinstance(found, ast.ImportFrom) and found.module:
            # A name may be a module of the package; of anything else there is no such file.
            names = [f"{found.module}.{alias.name}" for alias in found.names]
        elif isinstance(found, ast.Constant) and isinstance(found.value, str):
            names = [found.value]
        else:
            continue
        yield from (name for name in names if name.startswith(f"{PACKAGE.name}.") and name.isprintable())


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_bytes())
