"""What an audit is asked for: a study, a result of one, or a picture that has been copied anywhere."""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from rlscale.config import find_study
from rlscale.errors import UserError, did_you_mean
from rlscale.files import read_object
from rlscale.paths import RECORD_SUFFIX, RESULTS
from rlscale.provenance import FIGURE_IDENTIFIER

PICTURES = frozenset({".png", ".svg"})
_IDENTIFIER = re.compile(re.escape(FIGURE_IDENTIFIER).encode() + rb"([0-9a-f]{64})")


@dataclass
class Asked:
    """What is to be audited of one study.

    Attributes:
        files: results; empty for all of it.
        copies: pictures that lie elsewhere, and the results that they are copies of.
    """

    files: list[str] = field(default_factory=list)
    copies: dict[str, str] = field(default_factory=dict)


def resolve(targets: list[str]) -> dict[str, Asked]:
    """Return what is to be audited, by study.

    Raises:
        UserError: a target is no study, no result, and no picture of one.
    """
    found: dict[str, Asked] = defaultdict(Asked)
    root = RESULTS.resolve()
    for target in targets:
        path = Path(target)
        inside = path.resolve()
        if len(path.parts) == 1 and (RESULTS / target).is_dir():
            found[target] = Asked()
        elif path.suffix in {".yaml", ".yml"}:
            found[find_study(target).stem] = Asked()
        elif inside.parent == root and inside.is_dir():
            found[inside.name] = Asked()
        elif root in inside.parents:
            result = RESULTS / inside.relative_to(root)
            found[result.parts[1]].files.append(str(result))
        else:
            result = _copied(path)
            found[result.parts[1]].files.append(str(result))
            found[result.parts[1]].copies[target] = str(result)
    return found


def _copied(path: Path) -> Path:
    """Return the result that a picture is a copy of."""
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
