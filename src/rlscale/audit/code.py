"""Whether the code and the locks that made results are those that stand here now, and in a commit."""

import subprocess
from collections.abc import Iterator
from functools import cache, cached_property

from rlscale.audit.chain import Chain, uses
from rlscale.audit.digests import Digests
from rlscale.audit.mend import Mends
from rlscale.audit.verdicts import Edge, Fault, Verdict
from rlscale.paths import RECORD_SUFFIX
from rlscale.sources import function_digest, source_file

NO_REPOSITORY = "no git repository: whether the code is in a commit was not looked at"


class Code:
    """Compares the modules and locks that records name with those of the working directory."""

    def __init__(self, chain: Chain, digests: Digests, mends: Mends) -> None:
        self._chain, self._digests, self._mends = chain, digests, mends

    def files(self) -> Iterator[str]:
        """Yield the files that will be looked at."""
        for record in self._chain.records.values():
            yield record.environment.lock
            yield from (_file(name) for name in record.sources)

    def check(self, path: str) -> Iterator[Edge | Fault]:
        """Yield the edges from a record to its code and its lock, and a fault of each that differs."""
        record = self._chain.records[path]
        artefact = path.removesuffix(RECORD_SUFFIX)
        for name, digest in record.sources.items():
            file = _file(name)
            verdict = self._verdict(name, file, digest)
            yield Edge(artefact, file, verdict)
            if not verdict.is_good:
                yield self._fault(file, verdict, "the code")
        lock = record.environment.lock
        verdict = self._verdict(lock, lock, record.environment.lock_sha256)
        yield Edge(artefact, lock, verdict)
        if not verdict.is_good:
            yield self._fault(lock, verdict, "the locked environment")

    @cached_property
    def uncommitted(self) -> frozenset[str] | None:
        """The files below ``src`` and ``envs`` that no commit has as they are; None outside a repository."""
        command = ["git", "status", "--porcelain", "-z", "--untracked-files=all", "--no-renames", "--", "src", "envs"]
        try:
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
        except (OSError, subprocess.CalledProcessError):
            return None
        return frozenset(line[3:] for line in said.split("\0") if line)

    @cache  # noqa: B019 - one instance lives as long as an audit
    def _verdict(self, name: str, file: str, recorded: str | None) -> Verdict:
        found = self._digests[file]
        if found is None:
            return Verdict.OK if recorded is None else Verdict.MISSING
        module, _, function = name.partition(":")
        now = function_digest(module, function) if function else found.sha256
        is_uncommitted = file in (self.uncommitted or ())
        if now != recorded:
            return Verdict.MODIFIED if is_uncommitted else Verdict.STALE
        return Verdict.DIRTY if is_uncommitted else Verdict.OK

    @cache  # noqa: B019
    def _fault(self, file: str, verdict: Verdict, what: str) -> Fault:
        why = {
            Verdict.MISSING: f"{what} that made results is gone",
            Verdict.MODIFIED: f"{what} was changed since it made results, and the change is in no commit",
            Verdict.STALE: f"{what} was changed since it made results",
            Verdict.DIRTY: f"{what} that made results is in no commit",
        }[verdict]
        if verdict is Verdict.DIRTY:
            mend = f"git commit {file}"
        elif verdict is Verdict.STALE:
            mend = self._mends.again_all(self._stages(file))
        else:
            mend = f"git checkout -- {file}"
        return Fault(file, verdict, why, mend, self._chain.figures_from(file))

    def _stages(self, file: str) -> dict[str, str]:
        """Return the stages of the records that name a module or a lock, by record."""
        return {path: record.stage for path, record in self._chain.records.items() if uses(record, file)}


@cache
def _file(name: str) -> str:
    return str(source_file(name))
