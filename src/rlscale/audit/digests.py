"""Digests of files, read by several threads at once, and remembered by size, times and inode for a quick audit.

A full audit trusts nothing and reads every byte. A quick one takes the digest of last time where size, modification
time, change time and inode are those of last time; nobody can set a file's change time back.
"""

import json
import os
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import ValidationError

from rlscale.errors import UserError
from rlscale.files import read_object, write_text
from rlscale.provenance import file_digest
from rlscale.records import FileDigest

Stamp = list[int]


class Digests:
    """The digests of files; each is looked up once.

    Args:
        memory: the file that remembers them from one audit to the next.
        quick: believe the memory.

    Attributes:
        hashed_bytes: of the files that were read.
    """

    def __init__(self, memory: Path, *, quick: bool) -> None:
        self._memory, self._is_quick = memory, quick
        self._remembered = read_object(memory)
        self._found: dict[str, FileDigest | None] = {}
        self._stamps: dict[str, Stamp] = {}
        self.hashed_bytes = 0

    def look_up(self, paths: Iterable[str]) -> None:
        """Look up all of these at once.

        Raises:
            UserError: a file cannot be read.
        """
        unread = []
        for path in dict.fromkeys(paths):
            if path in self._found:
                continue
            known = self._recall(path)
            if known is None:
                unread.append(path)
            else:
                self._found[path] = known
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for path, found in zip(unread, pool.map(self._digest, unread), strict=True):
                self._found[path] = found
                self.hashed_bytes += found.bytes if found else 0

    def __getitem__(self, path: str) -> FileDigest | None:
        """Return the digest of a file; None where there is no file."""
        if path not in self._found:
            self.look_up([path])
        return self._found[path]

    def __len__(self) -> int:
        return sum(found is not None for found in self._found.values())

    def remember(self) -> None:
        """Write down what was found, for the next quick audit; of files that were not looked up, what was known."""
        kept = {path: known for path, known in self._remembered.items() if path not in self._found}
        kept |= {path: [*self._stamps[path], found.sha256] for path, found in self._found.items() if found}
        write_text(self._memory, json.dumps(kept) + "\n")

    def _recall(self, path: str) -> FileDigest | None:
        known = self._remembered.get(path) if self._is_quick else None
        if not isinstance(known, list):
            return None
        try:
            is_same = known[:-1] == self._stamp(path)
            return FileDigest(bytes=known[0], sha256=known[-1]) if is_same else None
        except (OSError, ValidationError):  # no such file; no digest, but what was damaged or forged
            return None

    def _digest(self, path: str) -> FileDigest | None:
        try:
            self._stamp(path)
            return file_digest(Path(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from error

    def _stamp(self, path: str) -> Stamp:
        status = os.stat(path)  # noqa: PTH116 - thousands of files, and a Path for each takes as long as the call
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(path)  # a device that a forged record names would be read for ever
        self._stamps[path] = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        return self._stamps[path]
