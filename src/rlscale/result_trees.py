"""Results of a study as files with digests, from a folder or from a commit, and what differs between two of them.

A commit's results are read from DVC's cache by its ``dvc.lock``: nothing is checked out. Only what science reads is
compared: clock times (``steps.parquet``, records, logs) differ between any two runs, and weights are told apart by the
digest in their ``checkpoint.json``.
"""

import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from rlscale.comparison import (
    FindingChange,
    FitChange,
    RunChange,
    compare_cells,
    compare_findings,
    compare_fits,
    compare_scores,
)
from rlscale.errors import UserError, did_you_mean
from rlscale.paths import RESULTS
from rlscale.provenance import IDENTITY

_KEPT_FOLDERS = ("data", "models", "runs", "tables", "law", "figures")
_UNLIKE = re.compile(
    r"\.record\.json$|\.safetensors$|(^|/)\.|^runs/[^/]+/(steps\.parquet$|rollout-shards/|checkpoints/.*/(?!checkpoint\.json$))"
)
"""Files that say nothing of the results: clock times, copies, weights, temporary files."""


class Tree(Protocol):
    """The results of one study at one place."""

    label: str

    @property
    def files(self) -> Mapping[str, str]:
        """The MD5, as DVC has it, of each file that is compared, by path relative to ``results/STUDY``."""
        ...

    def read(self, path: str) -> bytes:
        """Return the bytes of one of the files."""
        ...


@dataclass(frozen=True)
class Difference:
    """What differs between two trees; nothing where they are ``same``.

    Attributes:
        runs: that differ.
        fits: that differ.
        findings: that differ.
        files_added: paths that only the second has.
        files_removed: paths that only the first has.
        files_changed: paths whose bytes differ.
        files_same: how many have the same bytes.
    """

    runs: list[RunChange]
    fits: list[FitChange]
    findings: list[FindingChange]
    files_added: list[str]
    files_removed: list[str]
    files_changed: list[str]
    files_same: int

    @property
    def same(self) -> bool:
        """Whether every compared file has the same bytes in both."""
        return not (self.files_added or self.files_removed or self.files_changed)


def open_tree(study: str, place: str) -> Tree:
    """Return the results of ``study`` at ``place``: a folder of them, a repository's root, or a git revision.

    Raises:
        UserError: there is none of these, or it holds no results of the study.
    """
    folder = Path(place)
    if folder.is_dir():
        for root in (folder / RESULTS / study, folder):
            if any((root / name).is_dir() for name in _KEPT_FOLDERS if (root / name).name != "data"):
                return FolderTree(place, root)
        known = sorted(path.name for path in (folder / RESULTS).glob("*") if path.is_dir())
        has = f"; its results are of {', '.join(known)}{did_you_mean(study, known)}" if known else ""
        raise UserError(f"{place}: no results of {study}: neither it nor {folder / RESULTS / study} holds any{has}")
    commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{place}^{{commit}}")
    if commit is None:
        raise UserError(f"{place}: neither a folder nor a git revision of this repository")
    return RevisionTree(place, study, commit.decode().strip())


class FolderTree:
    """Results in a folder."""

    def __init__(self, label: str, root: Path) -> None:
        self.label, self.root = label, root

    @cached_property
    def files(self) -> Mapping[str, str]:
        """The MD5 of each compared file."""
        paths = (path for name in _KEPT_FOLDERS for path in sorted((self.root / name).rglob("*")) if path.is_file())
        named = ((path.relative_to(self.root).as_posix(), path) for path in paths)
        return {name: _md5(path) for name, path in named if not _UNLIKE.search(name)}

    def read(self, path: str) -> bytes:
        """Return the bytes of one of the files."""
        return (self.root / path).read_bytes()


class RevisionTree:
    """Results of a commit, in DVC's cache."""

    def __init__(self, label: str, study: str, commit: str) -> None:
        self.label, self.study, self.commit = label, study, commit

    @cached_property
    def files(self) -> Mapping[str, str]:
        """The MD5 of each compared file.

        Raises:
            UserError: the commit tracks no results of the study, or the cache lacks their list.
        """
        root = RESULTS / self.study
        found: dict[str, str] = {}
        for path, md5 in self._outs().items():
            if not path.is_relative_to(root):
                continue
            place = path.relative_to(root)
            if md5.endswith(".dir"):
                listed = json.loads(self._cached(md5, f"{path}/"))
                found |= {(place / one["relpath"]).as_posix(): one["md5"] for one in listed}
            else:
                found[place.as_posix()] = md5
        if not found:
            raise UserError(f"{self.label}: its dvc.lock has no outputs below {root}: `dvc commit` had not seen them")
        compared = {path: md5 for path, md5 in found.items() if path.split("/")[0] in _KEPT_FOLDERS}
        return {path: md5 for path, md5 in sorted(compared.items()) if not _UNLIKE.search(path)}

    def read(self, path: str) -> bytes:
        """Return the bytes of one of the files.

        Raises:
            UserError: neither the cache nor git has it.
        """
        return self._cached(self.files[path], (RESULTS / self.study / path).as_posix())

    @cached_property
    def _cache(self) -> Path:
        return cache_folder()

    def _outs(self) -> dict[Path, str]:
        """Return the digest of everything that the commit's dvc.lock tracks, by path."""
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError

        text = _git("show", f"{self.commit}:./dvc.lock")
        if text is None:
            raise UserError(f"{self.label}: this commit has no dvc.lock here: DVC tracked no results there")
        try:
            stages = YAML(typ="safe", pure=True).load(text)["stages"]
            outs = [out for stage in stages.values() for out in stage.get("outs", ())]
            return {Path(out["path"]): out["md5"] for out in outs if "md5" in out}
        except (YAMLError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{self.label}: its dvc.lock cannot be read ({type(error).__name__})") from error

    def _cached(self, md5: str, path: str) -> bytes:
        """Return what DVC has under a digest; what it leaves to git (``cache: false``) is read there."""
        place = self._cache / "files" / "md5" / md5[:2] / md5[2:]
        if place.is_file():
            return place.read_bytes()
        kept_by_git = _git("show", f"{self.commit}:./{path}")
        if kept_by_git is None or path.endswith("/"):
            raise UserError(
                f"{path} of {self.label} is not in DVC's cache ({place}): `dvc fetch --all-commits` gets it "
                "from the remote"
            )
        return kept_by_git


def compare_trees(a: Tree, b: Tree) -> Difference:
    """Return what differs from ``a`` to ``b``; of files with equal bytes nothing is read."""
    old, new = a.files, b.files

    def differs(path: str) -> bool:
        return path in old and path in new and old[path] != new[path]

    def both(path: str, parse: Callable[[bytes], Any], what: Callable[[Any, Any], Any], default: Any) -> Any:
        return what(parse(a.read(path)), parse(b.read(path))) if differs(path) else default

    return Difference(
        runs=_compare_runs(a, b, both),
        fits=both("law/fit.json", lambda text: json.loads(text)["fits"], compare_fits, []),
        findings=both("law/findings.json", lambda text: json.loads(text)["findings"], compare_findings, []),
        files_added=[path for path in new if path not in old],
        files_removed=[path for path in old if path not in new],
        files_changed=[path for path in old if differs(path)],
        files_same=sum(old[path] == new.get(path) for path in old),
    )


def _compare_runs(a: Tree, b: Tree, both: Callable[..., Any]) -> list[RunChange]:
    weights = re.compile(rf"runs/([^/]+)/checkpoints/step-(\d+)/{re.escape(IDENTITY)}")
    retrained: dict[str, list[int]] = {}
    for path in a.files:
        found = weights.fullmatch(path)
        if found and both(path, json.loads, lambda x, y: x["weights_sha256"] != y["weights_sha256"], False):
            retrained.setdefault(found[1], []).append(int(found[2]))
    runs = [_runs(tree) for tree in (a, b)]
    changes = []
    for run in sorted(runs[0] | runs[1]):
        if run not in runs[0] or run not in runs[1]:
            changes.append(RunChange(run, "added" if run in runs[1] else "removed"))
            continue
        cell = both(f"runs/{run}/cell.json", json.loads, compare_cells, RunChange(run, "changed"))
        scores = both(f"runs/{run}/scores.parquet", _table, compare_scores, None)
        change = replace(cell, run=run, weights=tuple(retrained.get(run, ())), scores=scores)
        if change != RunChange(run, "changed"):
            changes.append(change)
    return changes


def _runs(tree: Tree) -> set[str]:
    return {found[1] for path in tree.files if (found := re.fullmatch(r"runs/([^/]+)/cell\.json", path))}


def _table(data: bytes) -> Any:
    import pandas as pd

    return pd.read_parquet(io.BytesIO(data))


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def cache_folder() -> Path:
    """Return DVC's cache of the repository at hand, as its configuration says.

    Raises:
        UserError: there is no DVC, or this is no repository of its.
    """
    command = shutil.which("dvc", path=str(Path(sys.executable).parent)) or shutil.which("dvc")
    if command is None:
        raise UserError("results of a commit are in DVC's cache, and the command dvc is not on the path")
    done = subprocess.run([command, "cache", "dir"], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise UserError(f"dvc does not say where its cache is: {done.stderr.strip().splitlines()[-1]}")
    return Path(done.stdout.strip())


def _git(*arguments: str) -> bytes | None:
    """Return what git says; None where it refuses."""
    done = subprocess.run(["git", *arguments], capture_output=True, check=False)  # noqa: S603, S607
    return done.stdout if done.returncode == 0 else None
