"""On a cluster that keeps accounts, jobs are followed with sacct, and what they ask for goes to the right account."""

from collections.abc import Iterator

import pytest

from tests.slurm.cluster import Cluster
from tests.slurm.slurm_clone import allocations, slurm, slurm_arguments
from tests.workflow.clone import Clone

BASE = "results/smoke/models/q3k_base_b0.record.json"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Return a cluster with accounts."""
    with Cluster(accounting=True) as running:
        yield running


@pytest.mark.usefixtures("cluster")
def test_jobs_are_followed_with_sacct(pristine: Clone, tmp_path_factory: pytest.TempPathFactory) -> None:
    clone = pristine.copy(tmp_path_factory.mktemp("accounts") / "clone")
    clone.replace("slurm/config.yaml", "# slurm_account: my_project", "slurm_account: research")
    clone.replace("slurm/config.yaml", "# slurm_partition: cpu", "slurm_partition: scavenge")
    said = clone.snakemake(*slurm_arguments(BASE))
    assert "Slurm jobs are followed with sacct." in said
    (job,) = allocations(clone.folder)
    fields = slurm(
        "sacct", "-X", "--noheader", "--parsable2", "--jobs", str(job.job_id), "--format=Account,Partition,State"
    )
    assert fields.strip() == "research|scavenge|COMPLETED"
    assert (clone / BASE).is_file()
