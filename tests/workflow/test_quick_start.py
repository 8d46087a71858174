"""The quick start of the documentation, command by command, in a clone of the repository."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflow.clone import REPOSITORY, Clone
from tests.workflow.walk import Shell, blocks, matches, walk

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
INSTEAD = {
    "git clone URL rlscale": "git clone -q origin rlscale",
    # The environment of the tests stands for the one that `make setup` would make; the rest of its work is done.
    "make setup": "PYTHONPATH=src python -m rlscale.models.compile",
    "source .venv/bin/activate": "export PYTHONPATH=$PWD/src",
}


def test_the_walk(clone: Clone, tmp_path: Path):
    clone.folder.rename(tmp_path / "origin")
    git = ["git", "-C", str(tmp_path / "origin"), "-c", "user.name=A", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "All"]):
        subprocess.run([*git, *command], check=True)
    environment = {name: value for name, value in clone.environment.items() if name != "PYTHONPATH"}
    shell = Shell(tmp_path, environment | {"PATH": f"{BIN}:{environment['PATH']}"})
    found = [block for block in blocks(REPOSITORY / "docs/quick-start.md") if block.language == "console"]
    count = sum(walk(shell, block.text, INSTEAD) for block in found)
    shell.close()
    assert count >= 15
    assert (tmp_path / "rlscale/results/my/figures/loss_compute.svg").is_file()


@pytest.mark.parametrize(
    ("expected", "said", "same"),
    [
        ("a ... c", "a b\nc", True),
        ("...\n5 of 5\n...", "x\n5 of 5\ny", True),
        ("one  two", "one two\n", True),
        ("a ... c", "a b", False),
        ("5 of 5", "15 of 5", False),
        ("", "something", False),
    ],
)
def test_what_a_page_says_is_compared(expected: str, said: str, same: bool):
    assert matches(expected, said) == same
