"""What an audit says: of every edge of the chain whether it holds, and of every fault what it is and what mends it."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What is said of a file, or of an edge between two.

    ``ok``; ``dropped``: removed on purpose, as its folder says; ``stale``: its inputs, its code or its study have
    changed since; ``modified``: other bytes than its record says; ``missing``; ``dirty``: code that is in no commit;
    ``untracked``: no record knows it.
    """

    OK = "ok"
    DROPPED = "dropped"
    STALE = "stale"
    MODIFIED = "modified"
    MISSING = "missing"
    DIRTY = "dirty"
    UNTRACKED = "untracked"

    @property
    def is_good(self) -> bool:
        """Whether results may be trusted in spite of it."""
        return self in {Verdict.OK, Verdict.DROPPED}


@dataclass(frozen=True)
class Edge:
    """``of`` was made from, or with, ``source``; or is what the record ``source`` says was made."""

    of: str
    source: str
    verdict: Verdict


@dataclass(frozen=True)
class Fault:
    """One file that is not as it should be.

    Attributes:
        path: the file.
        verdict: what it is.
        why: one sentence.
        mend: the command that mends it.
        taints: figures that depend on the file.
    """

    path: str
    verdict: Verdict
    why: str
    mend: str
    taints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """The audit of a study, or of some of its files.

    Attributes:
        study: its name.
        targets: what was audited.
        edges: of every record, to its outputs, inputs, code and lock.
        faults: by path; empty where all is well.
        files: how many were looked at.
        hashed_bytes: of those that were read anew.
        seconds: that it took.
        notes: what could not be looked at, and why.
    """

    study: str
    targets: tuple[str, ...]
    edges: tuple[Edge, ...]
    faults: tuple[Fault, ...]
    files: int
    hashed_bytes: int
    seconds: float
    notes: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults
