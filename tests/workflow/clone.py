"""A copy of what a clone of the repository holds, and the commands that a user gives in it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

REPOSITORY = Path(__file__).resolve().parents[2]

Change = Callable[[dict[str, Any]], object]


class Clone:
    """A working copy in which Snakemake and `rlscale` run, with the package of that copy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        unwanted = ("SNAKEMAKE_", "PYTHONDONTWRITEBYTECODE")  # every job would compile the copied package again
        environment = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
        self.environment = environment | {"PYTHONPATH": str(folder / "src"), "PYTHONHASHSEED": "1"}

    def __truediv__(self, path: str) -> Path:
        return self.folder / path

    def copy(self, folder: Path) -> "Clone":
        """Return a copy with all time stamps and all that Snakemake remembers."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Clone(folder)

    def start(self, *arguments: str, cores: int = 2, new_session: bool = False) -> "subprocess.Popen[str]":
        """Start Snakemake, in a process group of its own if ``new_session``; its two streams come as one."""
        command = [sys.executable, "-m", "snakemake", *arguments, "--cores", str(cores)]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=new_session,
        )

    def snakemake(self, *arguments: str, fails: bool = False, cores: int = 2) -> str:
        """Return all that Snakemake says; it must succeed, or fail where ``fails``."""
        process = self.start(*arguments, cores=cores)
        said = process.communicate()[0]
        assert (process.returncode != 0) == fails, said
        return said

    def planned(self, *arguments: str) -> dict[str, int]:
        """Return how many jobs of each rule Snakemake would run; empty where there is nothing to do."""
        return job_counts(self.snakemake("-n", *arguments))

    def rlscale(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the command line."""
        command = [sys.executable, "-m", "rlscale", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, text=True, capture_output=True, check=False
        )

    def change_study(self, change: Change, *, of: str = "smoke", to: str | None = None) -> None:
        """Apply ``change`` to the values of a shipped study, in place or into the file ``to`` at the root."""
        path = self / f"config/studies/{of}.yaml"
        yaml = YAML()
        values = yaml.load(path)
        change(values)
        yaml.dump(values, path if to is None else self / to)

    def replace(self, path: str, old: str, new: str) -> None:
        """Replace the one place in a file that holds ``old``."""
        text = (self / path).read_text()
        assert text.count(old) == 1, f"{path} holds {old!r} {text.count(old)} times"
        (self / path).write_text(text.replace(old, new))


def fresh_clone(folder: Path) -> Clone:
    """Return a copy of all files that the repository tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source, target = REPOSITORY / name, folder / name
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    clone = Clone(folder)
    compiling = [sys.executable, "-m", "rlscale.models.compile"]  # as `make setup` does; copies take it over
    subprocess.run(compiling, cwd=folder, env=clone.environment, check=True)
    return clone


def job_counts(said: str) -> dict[str, int]:
    """Return the first table "Job stats" of Snakemake's output, without the targets that run nothing."""
    if "Nothing to be done" in said:
        return {}
    table = re.search(r"^Job stats:\n.*\n[- ]+\n((?:\S+ +\d+\n)+)", said, re.MULTILINE)
    assert table, said
    counts = {name: int(count) for name, count in (line.split() for line in table[1].splitlines())}
    total = counts.pop("total")
    assert total == sum(counts.values())
    targets = {"all", *(path.stem for path in (REPOSITORY / "config/studies").glob("*.yaml"))}
    return {name: count for name, count in counts.items() if name not in targets}


def files_below(folder: Path, pattern: str = "**/*") -> dict[str, bytes]:
    """Return the bytes of all files below a folder, by relative path."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob(pattern) if path.is_file()}
    assert found, f"nothing in {folder} matches {pattern}"
    return found


def times_below(folder: Path, pattern: str = "**/*") -> dict[str, int]:
    """Return the time stamps [ns] of all files below a folder, by relative path."""
    found = {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.glob(pattern) if path.is_file()}
    assert found, f"nothing in {folder} matches {pattern}"
    return found


def steps_table(path: Path) -> pd.DataFrame:
    """Return a run's table of steps without what a clock measured."""
    table = pd.read_parquet(path)
    timed = [name for name in table if str(name).startswith("seconds_")]
    assert timed
    return table.drop(columns=timed)
