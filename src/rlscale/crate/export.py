"""Writes the crate of a study: a folder or a zip file, whole or not at all.

Every file is hashed while it is copied, and must be what the records say. Nothing but the study and its records decides
the metadata: no clock, no random identifier.
"""

import hashlib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from rlscale.crate.describe import Options, describe_study
from rlscale.crate.graph import METADATA
from rlscale.crate.history import read_history
from rlscale.errors import UserError
from rlscale.files import atomic_file, atomic_folder
from rlscale.records import FileDigest

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The date of every file of a zip file: the earliest that it can state."""

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        path: the folder or file.
        jobs: how many there are in the history.
        files: how many the crate carries, and ``bytes`` of them.
        described: how many it describes only, and ``described_bytes`` of them.
    """

    path: Path
    jobs: int
    files: int
    bytes: int
    described: int
    described_bytes: int

    def to_json(self) -> dict[str, object]:
        """Return everything as JSON-native values."""
        return asdict(self) | {"path": str(self.path)}


def export_crate(study: Path, out: Path, options: Options) -> Export:
    """Write the crate of the study of a YAML file.

    Args:
        study: the file.
        out: a folder, or a file that ends in .zip; an older crate in its place is replaced.
        options: what the user decides.

    Raises:
        UserError: the study has no history to export (see `read_history`), a file is not what its record says, or
            something that is no crate stands in the place of the new one.
    """
    _refuse_to_replace(out)
    history = read_history(study)
    graph = describe_study(history, options)
    with _zip_file(out) if out.suffix == ".zip" else _folder(out) as place:
        for path, (source, one) in sorted(graph.carried.items()):
            _copy(source, place(path), one)
        for path, text in {**graph.texts, Path(METADATA): graph.metadata()}.items():
            with place(path) as stream:
                stream.write(text.encode())
    return Export(
        path=out,
        jobs=len(history.jobs),
        files=len(graph.carried),
        bytes=sum(one.bytes for _, one in graph.carried.values()),
        described=len(graph.described),
        described_bytes=sum(graph.described.values()),
    )


def _copy(source: Path, target: IO[bytes], one: FileDigest) -> None:
    """Copy a file, which must be what its record says.

    Raises:
        UserError: it is another, or missing.
    """
    seen = hashlib.sha256()
    try:
        with target, source.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                seen.update(chunk)
                target.write(chunk)
    except FileNotFoundError:
        raise UserError(f"{source}: missing, though a record tells of it: `rlscale audit` says what mends it") from None
    if seen.hexdigest() != one.sha256:
        raise UserError(f"{source}: not what the records tell of: `rlscale audit` says what mends it")


def _refuse_to_replace(out: Path) -> None:
    """Refuse to write where something stands that is no crate of this form, or an empty folder."""
    if not out.name:
        raise UserError(f"--out {out}: give the folder a name")
    if out.exists() and not (_is_zipped_crate(out) if out.suffix == ".zip" else _is_crate_folder(out)):
        raise UserError(f"{out}: something that is no crate stands there; give another place by --out")


def _is_crate_folder(out: Path) -> bool:
    return out.is_dir() and ((out / METADATA).is_file() or not any(out.iterdir()))


def _is_zipped_crate(out: Path) -> bool:
    try:
        with zipfile.ZipFile(out) as archive:
            return METADATA in archive.namelist()
    except (zipfile.BadZipFile, IsADirectoryError):
        return False


@contextmanager
def _folder(out: Path) -> Iterator[Callable[[Path], IO[bytes]]]:
    with atomic_folder(out) as temporary:

        def place(path: Path) -> IO[bytes]:
            (temporary / path).parent.mkdir(parents=True, exist_ok=True)
            return (temporary / path).open("wb")

        yield place


@contextmanager
def _zip_file(out: Path) -> Iterator[Callable[[Path], IO[bytes]]]:
    with atomic_file(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:

        def place(path: Path) -> IO[bytes]:
            entry = zipfile.ZipInfo(path.as_posix(), _LONG_AGO)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            return archive.open(entry, "w", force_zip64=True)

        yield place
