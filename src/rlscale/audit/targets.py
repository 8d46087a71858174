"""What an audit is asked for: a study, a result of one, or a picture that has been copied anywhere."""

import re
from pathlib import Path

from rlscale.config import find_study
from rlscale.errors import UserError, did_you_mean
from rlscale.files import read_object
from rlscale.paths import RECORD_SUFFIX, RESULTS
from rlscale.provenance import FIGURE_IDENTIFIER

PICTURES = frozenset({".png", ".svg"})
_IDENTIFIER = re.compile(re.escape(FIGURE_IDENTIFIER).encode() + rb"([0-9a-f]{64})")


def resolve(targets: list[str]) -> dict[str, list[str]]:
    """Return the files to be audited by study; no files mean all of it.

    Raises:
        UserError: a target is no study, no result, and no picture of one.
    """
    found: dict[str, list[str]] = {}
    for target in targets:
        path = Path(target)
        if (RESULTS / target).is_dir() and len(path.parts) == 1:
            found[target] = []
        elif path.suffix in {".yaml", ".yml"}:
            found[find_study(target).stem] = []
        else:
            file = _result(path)
            found.setdefault(file.parts[1], []).append(str(file))
    return found


def _result(path: Path) -> Path:
    """Return the result that a path names, or that a picture is a copy of."""
    inside = path.resolve()
    root = RESULTS.resolve()
    if inside.is_relative_to(root) and len(inside.relative_to(root).parts) > 1:
        return RESULTS / inside.relative_to(root)
    if not path.is_file():
        studies = sorted(folder.name for folder in RESULTS.glob("*") if folder.is_dir())
        there = f"studies with results: {', '.join(studies) or 'none'}{did_you_mean(path, studies)}"
        raise UserError(f"{path}: neither a study with results nor a file; {there}")
    derivation = identifier(path)
    if derivation is None:
        raise UserError(f"{path}: neither below {RESULTS} nor a picture that says what it was derived from")
    for record in RESULTS.glob(f"*/figures/*{RECORD_SUFFIX}"):
        if read_object(record).get("derivation") == derivation:
            return record.with_name(record.name.removesuffix(RECORD_SUFFIX)).with_suffix(path.suffix)
    raise UserError(f"{path}: no record below {RESULTS} has its derivation {derivation[:16]}…: another study, or older")


def identifier(picture: Path) -> str | None:
    """Return the derivation that a figure carries, None where it carries none."""
    if picture.suffix not in PICTURES:
        return None
    match = _IDENTIFIER.search(picture.read_bytes())
    return match[1].decode() if match else None
