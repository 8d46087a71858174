"""The audit of a study: every record against the bytes that it speaks of, and against the records before it.

A fault is said once, where it is: a file whose bytes were changed taints all that was made from it, but what was made
from it is not called wrong as well.
"""

import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from rlscale.attempts import ATTEMPTS, PROGRESS
from rlscale.audit.chain import Chain, flat, read_chain, record_for
from rlscale.audit.code import NO_REPOSITORY, Code
from rlscale.audit.digests import Digests
from rlscale.audit.mend import Mends
from rlscale.audit.plan import Plan, text_of
from rlscale.audit.verdicts import Edge, Fault, Report, Verdict
from rlscale.errors import UserError, did_you_mean
from rlscale.paths import RECORD_SUFFIX
from rlscale.provenance import DROPPED, dropped_files
from rlscale.records import DamagedRecordError, FileDigest, StoredRecord
from rlscale.stage_versions import STAGE_VERSION

Finding = Edge | Fault
FOLDERS = ("data", "models", "runs", "resume", "tables", "law", "figures")
"""Where no file may be that no record knows."""

DIARY = frozenset({ATTEMPTS, PROGRESS, DROPPED})
"""Files beside artefacts that change without any result having changed."""


def audit_study(
    study: str, *, quick: bool = False, only: Collection[str] = (), copies: Mapping[str, str] | None = None
) -> Report:
    """Audit a study, or what some of its files come from.

    Args:
        study: its name; its results lie in ``results/<study>``.
        quick: believe the digests of last time for files whose size, times and inode have not changed.
        only: files; empty for the whole study.
        copies: pictures that lie elsewhere, and the results that they should be the same as.

    Raises:
        UserError: the study has no results, a file is none of it, or a file cannot be read.
    """
    began = time.perf_counter()
    chain = read_chain(study)
    digests = Digests(chain.paths.audit / "digests.json", quick=quick)
    audit = _Audit(chain, digests, Mends(chain.paths, chain.planned.get("study")))
    targets = [audit.target(file) for file in only]
    found = list(audit.findings(chain.upstream(targets) if targets else None))
    found += [fault for copy, result in (copies or {}).items() for fault in audit.copy(copy, result)]
    digests.remember()
    faults = {one.path: one for one in reversed(found) if isinstance(one, Fault)}
    return Report(
        study=study,
        targets=tuple(map(str, only)),
        edges=tuple(one for one in found if isinstance(one, Edge)),
        faults=tuple(faults[path] for path in sorted(faults)),
        files=len(digests),
        hashed_bytes=digests.hashed_bytes,
        seconds=time.perf_counter() - began,
        notes=(NO_REPOSITORY,) if audit.code.uncommitted is None else (),
    )


class _Audit:
    """The checks, over one chain."""

    def __init__(self, chain: Chain, digests: Digests, mends: Mends) -> None:
        self.chain, self.digests, self.mends = chain, digests, mends
        self.code, self.plan = Code(chain, digests, mends), Plan(chain, digests, mends)

    def target(self, file: str) -> str:
        """Return the record that speaks of a file.

        Raises:
            UserError: there is none.
        """
        record = record_for(file)
        if record not in self.chain.expected:
            near = did_you_mean(file, [path.removesuffix(RECORD_SUFFIX) for path in self.chain.expected])
            raise UserError(f"{file}: the study {self.chain.paths.study} makes no such file{near}")
        return record

    def findings(self, wanted: frozenset[str] | None) -> Iterator[Finding]:
        """Yield all edges and faults; of ``wanted`` records only, where that is given."""
        chain = self.chain
        chosen = chain.expected if wanted is None else wanted
        self.digests.look_up(
            [
                *(file for path in chosen if path in chain.records for file in self._files(path)),
                *self.code.files(),
            ]
        )
        yield from self.plan.check()
        for path in sorted(chosen):
            if path in chain.records:
                yield from self._record(path, chain.records[path])
            else:
                yield self._no_record(path)
        if wanted is None:
            yield from self._untracked()

    def copy(self, copy: str, result: str) -> Iterator[Fault]:
        """Yield a fault where a copied picture is not the one that its record speaks of."""
        maker = self.chain.makers.get(result)
        stated = self.chain.outputs[maker][result] if maker else None
        if self.digests[copy] != stated:
            why = f"it says that it is {result}, whose record states other bytes"
            yield Fault(copy, Verdict.MODIFIED, why, f"cp {result} {copy}")

    def _files(self, record: str) -> Iterator[str]:
        yield from self.chain.outputs[record]
        yield from (file for file in flat(self.chain.records[record].inputs) if file not in self.chain.makers)

    def _fault(self, path: str, verdict: Verdict, why: str, mend: str) -> Fault:
        return Fault(path, verdict, why, mend, self.chain.figures_from(path))

    def _no_record(self, path: str) -> Fault:
        if path in self.chain.damaged:
            return self._fault(path, Verdict.MODIFIED, self.chain.damaged[path], self.mends.again(path))
        artefact = path.removesuffix(RECORD_SUFFIX)
        why = "it stands without its record" if Path(artefact).exists() else f"{artefact} was not made"
        return self._fault(path, Verdict.MISSING, why, self.mends.again(path))

    def _record(self, path: str, record: StoredRecord) -> Iterator[Finding]:
        artefact = path.removesuffix(RECORD_SUFFIX)
        if record.stage_version != STAGE_VERSION.get(record.stage):
            now = STAGE_VERSION.get(record.stage)
            why = f"made by version {record.stage_version} of the stage {record.stage}, which is at {now}"
            yield self._fault(artefact, Verdict.STALE, why, self.mends.study)
        yield from self._outputs(path)
        yield from self._inputs(artefact, record)
        yield from self.code.check(path)

    def _outputs(self, path: str) -> Iterator[Finding]:
        for file, stated in self.chain.outputs[path].items():
            verdict = Verdict.OK
            if self.digests[file] is None:
                verdict = Verdict.DROPPED if _is_dropped(Path(file), stated) else Verdict.MISSING
            elif self.digests[file] != stated:
                verdict = Verdict.MODIFIED
            yield Edge(file, path, verdict)
            if not verdict.is_good:
                why = "it is gone" if verdict is Verdict.MISSING else "its bytes are not those that its record states"
                yield self._fault(file, verdict, why, self.mends.of_output(path, file))

    def _inputs(self, artefact: str, record: StoredRecord) -> Iterator[Finding]:
        for file, stated in flat(record.inputs).items():
            verdict, fault = self._input(artefact, file, stated.sha256)
            yield Edge(artefact, file, verdict)
            if fault is not None:
                yield fault
        for parent, derivation in record.parents.items():
            found = self.chain.records.get(parent)
            if found is not None and found.derivation != derivation:
                yield self._stale(artefact, parent.removesuffix(RECORD_SUFFIX))

    def _input(self, artefact: str, file: str, stated: str) -> tuple[Verdict, Fault | None]:
        maker = self.chain.makers.get(file)
        if maker is not None:
            is_same = self.chain.outputs[maker][file].sha256 == stated
            return (Verdict.OK, None) if is_same else (Verdict.STALE, self._stale(artefact, file))
        if file.endswith(RECORD_SUFFIX):
            return self._record_as_input(artefact, file, stated)
        if record_for(file) is not None:
            return self._of_lost_record(artefact, file)
        found = self.digests[file]
        if found is None:
            return Verdict.MISSING, self._lost(file)
        if found.sha256 == stated:
            return Verdict.OK, None
        return self._other_source(artefact, file)

    def _record_as_input(self, artefact: str, file: str, stated: str) -> tuple[Verdict, Fault | None]:
        """Return the verdict of a record that is an input; that it is damaged is said where it is looked at itself."""
        found = self.digests[file]
        if file not in self.chain.records or found is None:
            return Verdict.MISSING, None
        return (Verdict.OK, None) if found.sha256 == stated else (Verdict.STALE, self._stale(artefact, file))

    def _other_source(self, artefact: str, file: str) -> tuple[Verdict, Fault | None]:
        """Return the verdict of a file that no job made, and that is not what it was."""
        specifications = self.chain.specifications or {}
        if file not in specifications:
            return Verdict.MODIFIED, self._changed(file)
        is_right = text_of(file) == specifications[file]
        return (Verdict.STALE, self._stale(artefact, file)) if is_right else (Verdict.MODIFIED, None)

    def _of_lost_record(self, artefact: str, file: str) -> tuple[Verdict, Fault | None]:
        """Return the verdict of an input whose own record is gone or damaged, which is said elsewhere."""
        if record_for(file) in self.chain.records:
            return Verdict.STALE, self._stale(artefact, file)  # its job, run again, does not make it any more
        return Verdict.MISSING, None

    def _stale(self, artefact: str, source: str) -> Fault:
        return self._fault(artefact, Verdict.STALE, f"made from another {source} than there is now", self.mends.study)

    def _lost(self, file: str) -> Fault:
        is_specification = file.startswith(f"{self.chain.paths.root}/")
        mend = self.mends.plan() if is_specification else self.mends.of_source(file)
        return self._fault(file, Verdict.MISSING, "results were made from it, and it is gone", mend)

    def _changed(self, file: str) -> Fault:
        why = "its bytes are not those that results were made from"
        return self._fault(file, Verdict.MODIFIED, why, self.mends.of_source(file))

    def _untracked(self) -> Iterator[Fault]:
        """Yield the files among the results that no record speaks of."""
        chain, root = self.chain, self.chain.paths.root
        known = {file for record in chain.records.values() for file in flat(record.inputs)} | chain.makers.keys()
        for file in sorted(_files_below(root, FOLDERS) - known):
            name, folder, record = Path(file).name, Path(file).parts[2], record_for(file)
            is_expected_record = file.endswith(RECORD_SUFFIX) and record in chain.expected
            if name.startswith(".") or name in DIARY or is_expected_record:
                continue
            if record in chain.expected:
                is_strange = record in chain.records  # else it is said of the record
            else:  # what a study has no more, runs are kept for the day that it has them again
                is_strange = record is not None and folder in {"tables", "law", "figures"}
            if is_strange:
                yield Fault(file, Verdict.UNTRACKED, "no record of this study speaks of it", f"rm {file}")


def _files_below(root: Path, folders: Iterable[str]) -> set[str]:
    walks = (os.walk(root / folder) for folder in folders)
    return {f"{parent}/{name}" for walk in walks for parent, _, names in walk for name in names}


def _is_dropped(file: Path, stated: FileDigest) -> bool:
    """Return whether this very file of a checkpoint was removed on purpose, as its folder says."""
    try:
        return dropped_files(file.parent).get(file.name) == stated
    except DamagedRecordError:
        return False
