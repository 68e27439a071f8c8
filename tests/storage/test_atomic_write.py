"""Atomic file replacement."""

import os
import stat

import pytest

from intone.server.storage import atomic_write
from intone.server.storage.atomic_write import TEMPORARY_SUFFIX, replacing, write_bytes


@pytest.mark.parametrize("fsync", [False, True])
def test_creates_and_replaces_a_file(tmp_path, fsync):
    path = tmp_path / "file.bin"
    for data in (b"first", b"second, longer", b""):
        write_bytes(path, data, fsync=fsync)
        assert path.read_bytes() == data
        assert list(tmp_path.iterdir()) == [path]


def test_readers_see_the_old_file_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with replacing(path, fsync=False) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == TEMPORARY_SUFFIX
        temporary.write_bytes(b"half of the n")
        assert path.read_bytes() == b"old"
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new"


def test_the_data_is_flushed_before_the_rename_and_the_folder_after_it(tmp_path, monkeypatch):
    path, at_fsync = tmp_path / "file.bin", []

    def fsync(descriptor):
        status = os.fstat(descriptor)
        at_fsync.append(("folder" if stat.S_ISDIR(status.st_mode) else status.st_size, path.exists()))

    monkeypatch.setattr(atomic_write.os, "fsync", fsync)
    write_bytes(path, b"12345", fsync=False)
    assert at_fsync == []
    path.unlink()
    write_bytes(path, b"12345", fsync=True)
    assert at_fsync == [(5, False), ("folder", True)]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_no_temporary_one(tmp_path, error):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(type(error)), replacing(path, fsync=True) as temporary:
        temporary.write_bytes(b"new")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(OSError):
        write_bytes(tmp_path / "missing" / "file.bin", b"data", fsync=False)


def test_mode_is_private_unless_asked_otherwise(tmp_path):
    mask = os.umask(0o022)
    try:
        write_bytes(tmp_path / "private", b"", fsync=False)
        write_bytes(tmp_path / "public", b"", fsync=False, mode=0o666)
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "public").stat().st_mode) == 0o644
