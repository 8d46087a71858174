"""One Slurm cluster for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.slurm.cluster import Cluster
from tests.workflow.clone import Clone, fresh_clone


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Return a running cluster without accounts."""
    with Cluster() as running:
        yield running


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Return a fresh clone. Not to be changed."""
    return fresh_clone(tmp_path_factory.mktemp("pristine") / "clone")
