"""Snakemake's own checks of the rules."""

import subprocess
import sys

import pytest

from tests.workflow.clone import Clone


@pytest.mark.slow
def test_snakemake_finds_nothing_to_criticise(clone: Clone) -> None:
    assert "your workflow is in a good condition" in clone.snakemake("--lint")


def test_rules_are_formatted(clone: Clone) -> None:
    command = [sys.executable, "-m", "snakefmt", "--check", "Snakefile", "workflow"]
    answer = subprocess.run(command, cwd=clone.folder, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
