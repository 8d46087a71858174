"""Whether the study and its ladder are those that were planned, and the specifications what they say."""

from collections.abc import Iterator
from pathlib import Path

from rlscale.audit.chain import Chain
from rlscale.audit.digests import Digests
from rlscale.audit.mend import Mends
from rlscale.audit.verdicts import Fault, Verdict


class Plan:
    """Compares the study with what was written when it was planned."""

    def __init__(self, chain: Chain, digests: Digests, mends: Mends) -> None:
        self._chain, self._digests, self._mends = chain, digests, mends

    def check(self) -> Iterator[Fault]:
        """Yield a fault of each file that differs; of specifications only where the study itself is as it was."""
        changed = list(self._changed_files())
        yield from changed
        if not changed:
            yield from self._specifications()

    def _changed_files(self) -> Iterator[Fault]:
        chain = self._chain
        every_figure = chain.figures(chain.expected)
        files = chain.planned.get("files")
        if not (isinstance(files, dict) and files):
            why = "it does not say which study was planned"
            yield Fault(str(chain.paths.planned_files), Verdict.MODIFIED, why, self._mends.plan(), every_figure)
            return
        for file, stated in files.items():
            found = self._digests[file]
            if found is None:
                why = "results were planned from it, and it is gone"
                yield Fault(file, Verdict.MISSING, why, self._mends.of_source(file), every_figure)
            elif found.sha256 != stated:
                yield Fault(file, Verdict.MODIFIED, *self._planned_otherwise(file), every_figure)

    def _planned_otherwise(self, file: str) -> tuple[str, str]:
        """Return what is wrong with a changed file, and what mends it."""
        chain = self._chain
        if chain.specifications is None:
            said = str(chain.study_error).splitlines()[0]
            return f"it was changed after it was planned, and cannot be read: {said}", self._mends.of_source(file)
        told = sum(text_of(path) != text for path, text in chain.specifications.items())
        if told == 0:
            return "it is spelt otherwise than when it was planned, and says the same", self._mends.plan()
        return f"it was changed after it was planned, which concerns {told} specifications", self._mends.study

    def _specifications(self) -> Iterator[Fault]:
        chain = self._chain
        if chain.specifications is None:
            why = f"the study cannot be read any more: {str(chain.study_error).splitlines()[0]}"
            yield Fault(str(chain.paths.planned_files), Verdict.STALE, why, self._mends.plan(), ())
            return
        for file, text in chain.specifications.items():
            found = text_of(file)
            if found is None:
                why = "a job is told by it what to do, and it is gone"
                yield Fault(file, Verdict.MISSING, why, self._mends.plan(), chain.figures_from(file))
            elif found != text:
                why = "it is not what the study says"
                yield Fault(file, Verdict.MODIFIED, why, self._mends.plan(), chain.figures_from(file))


def text_of(file: str) -> str | None:
    """Return the text of a file, what is not UTF-8 replaced; None where there is none."""
    return Path(file).read_text("utf-8", "replace") if Path(file).is_file() else None
