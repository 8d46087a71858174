"""The guide to extensions: its files are short, and a fresh clone that does what it says has all three."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflow.clone import REPOSITORY, Clone
from tests.workflow.walk import Shell, blocks, walk

EXAMPLES = sorted((REPOSITORY / "docs/examples").glob("*.py"))
MOST_LINES = 60


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_short_and_in_the_guide(example: Path):
    assert len(example.read_text().splitlines()) < MOST_LINES
    assert f'--8<-- "{example.name}"' in (REPOSITORY / "docs/extend.md").read_text()


@pytest.mark.slow
def test_the_guide(clone: Clone):
    """A law is fitted and forecasts, a task is trained on, and a trainer passes the protocol's tests."""
    path = f"{Path(sys.executable).parent}:{clone.environment['PATH']}"
    shell = Shell(clone.folder, clone.environment | {"PATH": path, "PYTHONPATH": f"{clone / 'src'}:{clone.folder}"})
    done = {"console": 0, "diff": 0, "python": 0}
    for block in blocks(clone / "docs/extend.md"):
        done[block.language] += 1
        if block.language == "diff":
            subprocess.run(["git", "apply", "-"], input=block.text, text=True, cwd=clone.folder, check=True)
        elif block.language == "python" and not block.text.startswith("--8<--"):
            (clone / block.title).write_text(block.text)
        elif block.language == "console":
            walk(shell, block.text, {})
    shell.close()
    assert done == {"console": 3, "diff": 3, "python": 4}
