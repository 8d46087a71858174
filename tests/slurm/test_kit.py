"""The test cluster touches nothing that is not its own."""

from pathlib import Path

import pytest

from tests.slurm import cluster
from tests.slurm.cluster import Cluster, ClusterError, check_possible


def test_a_foreign_configuration_stays_and_nothing_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ETC", tmp_path)
    foreign = tmp_path / "slurm.conf"
    foreign.write_text("ClusterName=real\n")
    with pytest.raises(ClusterError, match=r"slurm\.conf was not written by this kit"), Cluster():
        pass
    assert foreign.read_text() == "ClusterName=real\n"
    assert list(tmp_path.iterdir()) == [foreign]


def test_a_configuration_behind_a_link_is_foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ETC", tmp_path)
    (tmp_path / "elsewhere").write_text(cluster.MARK)
    (tmp_path / "gres.conf").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ClusterError, match=r"gres\.conf was not written by this kit"):
        check_possible(accounting=False)


@pytest.mark.usefixtures("cluster")
def test_one_cluster_at_a_time() -> None:
    with pytest.raises(ClusterError, match="a test cluster runs here already"):
        check_possible(accounting=False)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ClusterError, match="not installed: munged, slurmctld, slurmd, sinfo, sbatch"):
        check_possible(accounting=False)
