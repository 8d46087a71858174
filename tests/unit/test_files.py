"""Writing is all or nothing: the old content or the new, never a part, and nothing left beside it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rlscale.files import atomic_file, atomic_folder, remove_folder, write_bytes, write_changed, write_text


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def test_texts_and_bytes_are_written_with_the_folders_above(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "text", "τ = 4\n")
    write_bytes(tmp_path / "a" / "bytes", b"\x00\xff")
    assert (tmp_path / "a" / "b" / "text").read_bytes() == "τ = 4\n".encode()
    assert (tmp_path / "a" / "bytes").read_bytes() == b"\x00\xff"
    assert names(tmp_path / "a") == ["b", "bytes"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", ["old", None])
def test_a_failing_writer_leaves_the_old_file_and_nothing_else(
    error: type[BaseException], old: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_text(old)

    def write() -> None:
        with atomic_file(path) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(error):
        write()
    assert names(tmp_path) == ([] if old is None else ["file"])
    assert old is None or path.read_text() == old


def test_a_writer_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "old"


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent  # a rename is atomic within one file system only
    assert path.read_text() == "new"
    assert names(tmp_path) == ["file"]


def test_a_failing_writer_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "folder"

    def write(name: str, content: str | bytes) -> None:
        with atomic_folder(path) as temporary:
            (temporary / "half").touch()
            (temporary / name).write_text(content)  # type: ignore[arg-type]
            (temporary / "half").unlink()

    write("one", "1")
    with pytest.raises(TypeError):
        write("two", b"not a text")
    assert names(tmp_path) == ["folder"]
    assert names(path) == ["one"]


def test_a_new_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with atomic_folder(tmp_path / "parent" / "folder") as temporary:
            (temporary / name).write_text(name)
    assert names(tmp_path / "parent") == ["folder"]
    assert names(tmp_path / "parent" / "folder") == ["two"]


def leave_a_half_made_folder(path: Path) -> None:
    leftover = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    leftover.mkdir()
    (leftover / "stale").write_text("half")


def leave_a_half_removed_folder(path: Path) -> None:
    leftover = path.with_name(f".{path.name}.{os.getpid()}.gone")
    leftover.mkdir()
    (leftover / "stale").write_text("half")


@pytest.mark.parametrize("leave", [leave_a_half_made_folder, leave_a_half_removed_folder])
def test_what_a_killed_process_of_the_same_number_left_is_no_obstacle(
    leave: Callable[[Path], None], tmp_path: Path
) -> None:
    """In a container the restarted process often has the number of the killed one."""
    path = tmp_path / "folder"
    with atomic_folder(path) as temporary:
        (temporary / "old").write_text("old")
    leave(path)
    with atomic_folder(path) as temporary:
        (temporary / "new").write_text("new")
    assert names(path) == ["new"]
    assert names(tmp_path) == ["folder"]


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    paths = [tmp_path / "sub" / "one", tmp_path / "sub" / "two", tmp_path / "other" / "three"]
    assert write_changed((path, "τ\n") for path in paths) == paths
    for path in paths:
        os.utime(path, ns=(1_000_000_000, 1_000_000_000))
    assert write_changed([(paths[0], "τ\n"), (paths[1], "4\n"), (paths[2], "τ\n")]) == [paths[1]]
    assert [path.stat().st_mtime_ns == 1_000_000_000 for path in paths] == [True, False, True]
    assert [path.read_text() for path in paths] == ["τ\n", "4\n", "τ\n"]
    assert names(tmp_path / "sub") == ["one", "two"]


def test_texts_take_their_places_only_once_all_are_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("old\n")
    flushed: list[list[str]] = []

    def fail_at_the_second(descriptor: int) -> None:
        flushed.append([path.read_text() for path in (one, two) if path.exists()])
        if len(flushed) == 2:
            raise OSError(descriptor)

    monkeypatch.setattr(os, "fsync", fail_at_the_second)
    with pytest.raises(OSError, match=r"\d"):
        write_changed([(one, "new\n"), (two, "new\n")])
    assert flushed == [["old\n"], ["old\n"]]
    assert (names(tmp_path), one.read_text()) == (["one"], "old\n")


def test_removing_takes_all_below_and_needs_nothing_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "file").write_text("x")
    remove_folder(tmp_path / "folder")
    remove_folder(tmp_path / "folder")
    assert names(tmp_path) == []
