"""The study smoke, made once in a fresh clone; tests that change something get a copy."""

from pathlib import Path

import pytest

from tests.workflow.clone import Clone, fresh_clone


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Return the clone that all others are copies of: an edit during the tests concerns none. Not to be changed."""
    return fresh_clone(tmp_path_factory.mktemp("pristine") / "clone")


@pytest.fixture(scope="session")
def finished(pristine: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Return a clone in which `snakemake smoke` has run. Not to be changed."""
    clone = pristine.copy(tmp_path_factory.mktemp("finished") / "clone")
    clone.snakemake("smoke")
    return clone


@pytest.fixture
def smoke(finished: Clone, tmp_path: Path) -> Clone:
    """Return a copy of the clone in which smoke is finished."""
    return finished.copy(tmp_path / "smoke")


@pytest.fixture
def clone(pristine: Clone, tmp_path: Path) -> Clone:
    """Return a fresh clone."""
    return pristine.copy(tmp_path / "clone")
