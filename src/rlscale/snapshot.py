"""What Snakemake remembers of a study's outputs, as one tar beside them, so that it travels with them.

Snakemake keeps a small file for each output below ``.snakemake``, named by the output's path in base64: which inputs
with which checksums it was made from. A clone gets the results and none of these files, and time stamps in the order of
the download. With the tar's files in their place, Snakemake compares contents and finds nothing to do.
"""

import base64
import binascii
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

from rlscale.errors import UserError
from rlscale.files import atomic_file, write_text
from rlscale.paths import StudyPaths
from rlscale.provenance import file_digest

METADATA = Path(".snakemake/metadata")
KNOWN = Path(".snakemake/snapshots")
"""Digest of the snapshot of each study that was last taken or restored here."""

LONGEST = 254
"""Snakemake splits longer names into folders whose names begin with an @."""


def take_snapshot(paths: StudyPaths) -> int:
    """Write the snapshot of a study, from what Snakemake remembers of the outputs that exist; return their number.

    The same memory gives the same bytes.

    Raises:
        UserError: Snakemake remembers no output of the study.
    """
    entries = dict(sorted(_remembered(paths)))
    if not entries:
        raise UserError(f"study {paths.study}: Snakemake remembers no output of it here; run it first")
    with atomic_file(paths.snapshot) as temporary, tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, entry in entries.items():
            data = entry.read_bytes()
            member = tarfile.TarInfo(name)  # owner 0, time 0
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    write_text(_known(paths), _digest(paths))
    return len(entries)


def restore_snapshot(paths: StudyPaths) -> int:
    """Put a snapshot that came from elsewhere into Snakemake's memory; return the number of outputs.

    One that was taken here, or restored before, is left alone. Entries that exist are replaced: the snapshot came with
    the outputs that lie beside it, and what is remembered is of those that lay there before.

    Raises:
        UserError: the file is damaged, or no snapshot of this study.
    """
    if not paths.snapshot.is_file():
        return 0
    digest, known = _digest(paths), _known(paths)
    if known.is_file() and known.read_text(encoding="utf-8") == digest:
        return 0
    entries = list(_entries(paths))  # all are looked at before the first is written
    for name, data in entries:
        path = _place(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)  # in place, as Snakemake does: half of it is restored again
    write_text(known, digest)
    return len(entries)


def _entries(paths: StudyPaths) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the snapshot's members; nothing is unpacked.

    Raises:
        UserError: the file is damaged, or no snapshot of this study.
    """
    wrong = f"{paths.snapshot}: damaged, or no snapshot of study {paths.study}"
    again = f"get it again with `dvc checkout --force {paths.snapshot}`"
    whole = paths.snapshot.read_bytes()
    if not whole.endswith(bytes(2 * tarfile.BLOCKSIZE)):  # tarfile takes one that was cut between members for whole
        raise UserError(f"{wrong} (cut): {again}")
    try:
        with tarfile.open(fileobj=io.BytesIO(whole), mode="r:") as tar:
            for member in tar:
                stream = tar.extractfile(member) if member.isreg() else None
                data = stream.read() if stream else b""
                if not (_is_of(paths, _output(member.name)) and isinstance(json.loads(data), dict)):
                    raise UserError(f"{wrong} ({member.name}): {again}")
                yield member.name, data
    except (tarfile.TarError, ValueError) as error:
        raise UserError(f"{wrong}: {again}") from error


def _remembered(paths: StudyPaths) -> Iterator[tuple[str, Path]]:
    """Yield name and file of what Snakemake remembers of the study's outputs that exist."""
    for entry in METADATA.rglob("*"):
        name = "".join(part.removeprefix("@") for part in entry.relative_to(METADATA).parts)
        output = _output(name) if entry.is_file() else None
        if _is_of(paths, output) and Path(str(output)).exists():
            yield name, entry


def _output(name: str) -> str | None:
    """Return the output that an entry is of; None where the name is none that Snakemake gives."""
    try:
        output = base64.b64decode(name, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError):
        return None
    return output if base64.urlsafe_b64encode(output.encode()).decode() == name else None


def _is_of(paths: StudyPaths, output: str | None) -> bool:
    return output is not None and output.startswith(f"{paths.root}/")


def _place(name: str) -> Path:
    """Return where Snakemake looks for the entry of this name."""
    pieces = [name[start : start + LONGEST] for start in range(0, len(name), LONGEST)]
    return METADATA.joinpath(*(f"@{piece}" for piece in pieces[:-1]), pieces[-1])


def _known(paths: StudyPaths) -> Path:
    return KNOWN / f"{paths.study}.sha256"


def _digest(paths: StudyPaths) -> str:
    return file_digest(paths.snapshot).sha256
