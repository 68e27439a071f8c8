"""Notices that a file has changed, without reading it."""

from pathlib import Path


def file_version(path: Path) -> tuple[int, ...]:
    """What differs once a file was written or replaced: time of the change, size, inode. Empty if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino
