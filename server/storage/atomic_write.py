"""Atomic file replacement: a reader, or a crash, finds the old file or the new one, never a part of one."""

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

TEMPORARY_SUFFIX = ".part"
"""Ends the names of unfinished files; one that outlives its process was left by a crash."""

ABANDONED_S = 3600.0
"""Age from which an unfinished file is taken to be left by a killed process."""


class Replacement:
    """A complete file under a temporary name, beside the file that it is to replace."""

    def __init__(self, path: Path, temporary: Path) -> None:
        """Use `prepared`."""
        self._path, self._temporary = path, temporary

    def commit(self) -> None:
        """Put it in the place of the other; takes no longer than a rename.

        Raises:
            OSError: that is not possible; the other file is unchanged.
        """
        self._temporary.replace(self._path)


@contextlib.contextmanager
def prepared(path: Path, data: bytes, *, mode: int = 0o600) -> Iterator[Replacement]:
    """Write `data` beside `path` and flush it to disk; `commit` then replaces `path`. Without it nothing is changed.

    Raises:
        OSError: the file cannot be written; `path` is unchanged.
    """
    with _temporary(path, mode) as temporary:
        temporary.write_bytes(data)
        _flush(temporary)
        yield Replacement(path, temporary)


@contextlib.contextmanager
def replacing(path: Path, *, fsync: bool, mode: int = 0o600) -> Iterator[Path]:
    """Yield an empty temporary file beside `path`; rename it to `path` at the end, or remove it on any exception.

    Args:
        path: the file to create or replace; its folder exists.
        fsync: flush the data to disk before the rename, and the folder after it. Without it a power failure may leave
            a file of zeros under the final name, or the old file. A process that crashes does no harm either way.
        mode: permissions of a new file, before the umask.

    Raises:
        OSError: the file cannot be written; `path` is unchanged.
    """
    with _temporary(path, mode) as temporary:
        yield temporary
        if fsync:
            _flush(temporary)
        temporary.replace(path)
        if fsync:
            flush_folder(path.parent)


@contextlib.contextmanager
def _temporary(path: Path, mode: int) -> Iterator[Path]:
    """An empty file beside `path`, which is removed at the end if it is still there."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Flush the names of a folder's files to disk, so that a power cut does not undo a rename or a deletion."""
    with contextlib.suppress(OSError):  # some file systems cannot; the file is complete all the same
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove unfinished files that a killed process left in `folder` more than `ABANDONED_S` ago, where possible."""
    for path in folder.glob(f"*{TEMPORARY_SUFFIX}"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED_S:
                path.unlink()


def write_bytes(path: Path, data: bytes, *, fsync: bool, mode: int = 0o600) -> None:
    """Write `data` to `path` atomically; see `replacing` for the arguments and errors."""
    with replacing(path, fsync=fsync, mode=mode) as temporary:
        temporary.write_bytes(data)
