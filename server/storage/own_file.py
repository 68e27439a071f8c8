"""Opens files only if no other user can have written them."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path


class ForeignFileError(OSError):
    """Another user owns a file, or may write to it."""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Path]:
    """A path of the file at `path` as it was checked, whatever is put in its place meanwhile. Valid inside the context.

    The file must belong to the user of this process or to root, and nobody else may write to it. Symbolic links are not
    followed: what they name could be changed after the check.

    Raises:
        FileNotFoundError: there is none.
        ForeignFileError: somebody else can have written it.
        OSError: it cannot be opened, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(f"{path} is no regular file")
        if state.st_uid not in (os.geteuid(), 0):
            raise ForeignFileError(f"it belongs to another user ({state.st_uid})")
        if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ForeignFileError(f"other users may write to it (its mode is {stat.S_IMODE(state.st_mode):o})")
        yield Path(f"/dev/fd/{descriptor}")
    finally:
        os.close(descriptor)
