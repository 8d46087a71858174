"""Reading and writing files; writing is all or nothing.

A file or folder is made under a temporary name beside its place, flushed to the disk and renamed: whoever looks sees
the old one or the new one, never half of it.
"""

import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

FLUSHES_AT_ONCE = 8


@contextmanager
def atomic_file(path: Path, *, flush: bool = True) -> Iterator[Path]:
    """Yield a temporary path to write; on success it takes the place of ``path``.

    Args:
        path: the file's place.
        flush: wait until it is on the disk; else a lost machine may leave it empty, and only a reader is safe.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if flush:
            _flush(temporary)
        temporary.replace(path)
        if flush:
            _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; on success it takes the place of the folder ``path``."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    remove_folder(temporary)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        move_folder(temporary, path)
    finally:
        remove_folder(temporary)


def move_folder(source: Path, path: Path) -> None:
    """Give a finished folder of files, which is flushed to the disk first, the place of the folder ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for item in source.iterdir():
        _flush(item)
    _flush(source)
    remove_folder(path)
    source.rename(path)
    _flush(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, all or nothing."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data``, all or nothing."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def write_table(table: "pd.DataFrame", path: Path) -> None:
    """Write a table as Parquet, without its index, all or nothing."""
    with atomic_file(path) as temporary:
        table.to_parquet(temporary, index=False)


def write_csv(table: "pd.DataFrame", path: Path) -> None:
    """Write a table as CSV, without its index, all or nothing."""
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False)


def write_json(path: Path, value: object) -> None:
    """Write a value as JSON for people, keys sorted, all or nothing."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    """Return the value of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file that may be missing or half written; empty where there is no whole one."""
    try:
        value = read_json(path)
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def append_line(path: Path, line: str) -> None:
    """Append a line of UTF-8 and flush it to the disk; half a line that a lost machine left before it stays apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as stream:
        stream.seek(max(0, stream.tell() - 1))
        begin = "" if stream.read() in {b"", b"\n"} else "\n"
        stream.write(f"{begin}{line}\n".encode())
        stream.flush()
        os.fsync(stream.fileno())


def write_changed(texts: Iterable[tuple[Path, str]]) -> list[Path]:
    """Write each text that its file does not hold already, so that a time stamp means a change.

    Every file is all or nothing. All are flushed to the disk together: one by one, thousands of them take minutes.

    Returns:
        The files that were written.
    """
    changed = [(path, text) for path, text in texts if not _holds(path, text)]
    with ThreadPoolExecutor(FLUSHES_AT_ONCE) as pool:
        with ExitStack() as renames:
            temporaries = [renames.enter_context(atomic_file(path, flush=False)) for path, _ in changed]
            for temporary, (_, text) in zip(temporaries, changed, strict=True):
                temporary.write_text(text, encoding="utf-8")
            list(pool.map(_flush, temporaries))
        list(pool.map(_flush, {path.parent for path, _ in changed}))
    return [path for path, _ in changed]


def remove_folder(path: Path) -> None:
    """Remove a folder and all below it, if it is there; renamed first, so that no half of it keeps its name."""
    if path.is_dir():
        doomed = path.with_name(f".{path.name}.{os.getpid()}.gone")
        if doomed.is_dir():
            shutil.rmtree(doomed)  # left by a killed process that had the same number
        path.rename(doomed)
        shutil.rmtree(doomed)


def remove_others(folder: Path, keep: Collection[Path]) -> None:
    """Remove what stands in ``folder`` and is not to be kept."""
    for item in folder.iterdir():
        if item in keep:
            continue
        if item.is_dir():
            remove_folder(item)
        else:
            item.unlink()


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode()
    except FileNotFoundError:
        return False


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
