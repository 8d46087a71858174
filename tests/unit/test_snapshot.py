"""The tar of what Snakemake remembers: the same bytes each time, one study's only, and nothing but that is unpacked."""

import io
import json
import tarfile
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from rlscale.errors import UserError
from rlscale.files import write_text
from rlscale.paths import StudyPaths
from rlscale.snapshot import METADATA, restore_snapshot, take_snapshot

MINE = StudyPaths("mine")
LONG = f"results/mine/runs/{'r' * 200}/steps.parquet"


def entry(output: str) -> Path:
    """Return where Snakemake keeps what it remembers of an output."""
    name = urlsafe_b64encode(output.encode()).decode()
    pieces = [name[start : start + 254] for start in range(0, len(name), 254)]
    return METADATA.joinpath(*(f"@{piece}" for piece in pieces[:-1]), pieces[-1])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory in which Snakemake remembers outputs of two studies, and one that is gone."""
    monkeypatch.chdir(tmp_path)
    for output in ("results/mine/law/fit.json", "results/mine/tables/curves.csv", "results/mine-too/law/fit.json"):
        write_text(Path(output), "made")
        write_text(entry(output), json.dumps({"rule": "law", "output": output}))
    write_text(entry("results/mine/law/gone.json"), "{}")


def write_tar(*members: tuple[tarfile.TarInfo, bytes]) -> None:
    with tarfile.open(MINE.snapshot, "w") as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def test_the_same_memory_gives_the_same_bytes_and_one_study_only() -> None:
    assert take_snapshot(MINE) == 2
    first = MINE.snapshot.read_bytes()
    for file in METADATA.iterdir():
        file.write_bytes(file.read_bytes())  # another time
    assert take_snapshot(MINE) == 2
    assert MINE.snapshot.read_bytes() == first
    with tarfile.open(MINE.snapshot) as tar:
        assert [member.name for member in tar] == sorted(
            entry(f"results/mine/{name}").name for name in ("law/fit.json", "tables/curves.csv")
        )
        assert {(member.mtime, member.uid, member.uname) for member in tar.getmembers()} == {(0, 0, "")}


def test_a_snapshot_from_elsewhere_replaces_what_is_remembered_and_once() -> None:
    take_snapshot(MINE)
    fit = entry("results/mine/law/fit.json")
    told = fit.read_text()
    fit.write_text("{}")
    assert restore_snapshot(MINE) == 0  # it was taken here: what came after it is newer
    assert fit.read_text() == "{}"
    (Path(".snakemake/snapshots") / "mine.sha256").unlink()
    assert restore_snapshot(MINE) == 2
    assert fit.read_text() == told
    fit.unlink()
    assert restore_snapshot(MINE) == 0
    assert restore_snapshot(StudyPaths("without")) == 0


def test_a_long_name_is_split_as_snakemake_does() -> None:
    write_text(Path(LONG), "made")
    place = entry(LONG)
    place.parent.mkdir(parents=True)
    place.write_text('{"rule": "train"}')
    assert place.parent.name.startswith("@")
    assert take_snapshot(MINE) == 3
    place.unlink()
    (METADATA.parent / "snapshots/mine.sha256").unlink()
    assert restore_snapshot(MINE) == 3
    assert place.read_text() == '{"rule": "train"}'


def test_nothing_to_store_is_said() -> None:
    with pytest.raises(UserError, match="study other: Snakemake remembers no output of it here; run it first"):
        take_snapshot(StudyPaths("other"))


def named(name: str, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = "/etc/hostname" if kind in {tarfile.SYMTYPE, tarfile.LNKTYPE} else ""
    return member


GOOD = urlsafe_b64encode(b"results/mine/law/fit.json").decode()


@pytest.mark.parametrize(
    ("member", "data"),
    [
        pytest.param(named(urlsafe_b64encode(b"results/mine-too/law/fit.json").decode()), b"{}", id="another study"),
        pytest.param(named("../outside"), b"{}", id="up"),
        pytest.param(named("/tmp/absolute"), b"{}", id="absolute"),  # noqa: S108
        pytest.param(named(f"{GOOD}/below"), b"{}", id="a folder"),
        pytest.param(named(GOOD.rstrip("=") + "A"), b"{}", id="no base64"),
        pytest.param(named(GOOD, tarfile.SYMTYPE), b"", id="a link"),
        pytest.param(named(GOOD, tarfile.LNKTYPE), b"", id="a hard link"),
        pytest.param(named(GOOD, tarfile.FIFOTYPE), b"", id="a pipe"),
        pytest.param(named(GOOD), b"[]", id="no object"),
        pytest.param(named(GOOD), b"\xff{", id="no JSON"),
    ],
)
def test_what_is_no_snapshot_is_refused_and_leaves_everything(member: tarfile.TarInfo, data: bytes) -> None:
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    write_tar((named(GOOD), b'{"rule": "other"}'), (member, data))
    with pytest.raises(UserError, match=r"snakemake-metadata\.tar: damaged, or no snapshot of study mine") as caught:
        restore_snapshot(MINE)
    assert "\n" not in str(caught.value)
    MINE.snapshot.unlink()
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("cut", [0, 100, 700, 1024, 1100, 2048])
def test_a_cut_snapshot_is_refused(cut: int) -> None:
    take_snapshot(MINE)
    (METADATA.parent / "snapshots/mine.sha256").unlink()
    MINE.snapshot.write_bytes(MINE.snapshot.read_bytes()[:cut])
    with pytest.raises(UserError, match="damaged, or no snapshot of study mine"):
        restore_snapshot(MINE)
