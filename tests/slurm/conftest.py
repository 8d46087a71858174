"""One Slurm cluster without accounts for the tests of this folder; that with accounts comes before it, by its name.

What takes minutes of waiting, the study smoke and the drills, goes on at the same time.
"""

import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.slurm.cluster import Cluster
from tests.slurm.slurm_clone import slurm_arguments
from tests.workflow.clone import Clone, fresh_clone

# A shell that starts us in the background has us ignore Ctrl-C, and with us every Snakemake whose Ctrl-C is tried.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Unlike each other in everything: memory and time stated for some, and one run on two nodes.
PLACEMENTS: dict[str, dict[str, Any]] = {
    "q3k": {"gpus_per_node": 1, "cpus_per_node": 2, "memory_gib": 1.5, "runtime_min": 11},
    "q5k": {"gpus_per_node": 4, "cpus_per_node": 1, "runtime_min": 12},
    "q12k": {"nodes": 2, "gpus_per_node": 3, "cpus_per_node": 1, "memory_gib": 1, "runtime_min": 13},
}


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Return a running cluster: two nodes, and a third that only the partition `fragile` has, as its first choice."""
    with Cluster(fragile=1) as running:
        yield running


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Return a fresh clone. Not to be changed."""
    return fresh_clone(tmp_path_factory.mktemp("pristine") / "clone")


@pytest.fixture(scope="session")
def smoke_being_made(
    request: pytest.FixtureRequest, pristine: Clone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Future[tuple[Clone, str]]]:
    """Return the clone in which the study smoke is being made on the cluster, and what Snakemake will have said."""
    request.getfixturevalue("cluster")
    clone = pristine.copy(tmp_path_factory.mktemp("slurm") / "clone")
    path, yaml = clone / "config/models/smoke.yaml", YAML()
    ladder = yaml.load(path)
    for name, placement in PLACEMENTS.items():
        ladder["models"][name]["placement"] = {**placement, "reason": "fake GPUs"}
    yaml.dump(ladder, path)
    with ThreadPoolExecutor(1) as background:
        yield background.submit(lambda: (clone, clone.snakemake(*slurm_arguments("smoke"))))
