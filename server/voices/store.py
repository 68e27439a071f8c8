"""The voices of a server, in memory and in a folder with one file each."""

import contextlib
import dataclasses
import errno
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError

from intone.server.domain import PreparedVoice, Recording, Voice
from intone.server.errors import CallerError, OverloadError, Reason, StorageError
from intone.server.storage import atomic_write
from intone.server.voices.voice_file import (
    DEFAULT_VOICE,
    VOICE_SUFFIX,
    assets_from_file,
    assets_to_bytes,
    content_id,
    from_file,
    to_bytes,
)
from intone.server.voices.voice_name import canonical_name, check_name

logger = logging.getLogger(__name__)

BUILT_IN_ASSETS_FILE = f"_{DEFAULT_VOICE}{VOICE_SUFFIX}"
"""Holds the fillers and levels of the built-in voice. No name of a voice begins with "_"."""


DISK_RETRY_S = 60.0
"""When a client may try again after the disk was full."""


def build_voice(name: str, recording: Recording, prepared: Mapping[str, PreparedVoice], created_s: float) -> Voice:
    """A voice from a recording and what each engine prepared from it."""
    return Voice(canonical_name(name), recording, dict(prepared), created_s, content_id(recording))


class VoiceStore:
    """Voices by name; "default" is built in. All are in memory, and also in `folder` where given.

    Thread-safe; reading never waits for the disk. A file that cannot be used is skipped with a warning and left in
    place.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._voices: Mapping[str, Voice] = {DEFAULT_VOICE: Voice(DEFAULT_VOICE)}  # copy on write
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            atomic_write.sweep(folder)
            for path in sorted(folder.glob(f"*{VOICE_SUFFIX}")):
                self._load(path)

    def list(self) -> list[Voice]:
        """All voices, the built-in one first, then by name."""
        return sorted(self._voices.values(), key=lambda voice: (not voice.built_in, voice.name))

    def get(self, name: str, field: str = "name") -> Voice:
        """The voice of that name.

        Raises:
            CallerError: VOICE_NOT_FOUND.
        """
        voice = self._voices.get(canonical_name(name))
        if voice is None:
            raise CallerError(field, f"there is no voice named {name!r}", Reason.VOICE_NOT_FOUND)
        return voice

    def taken(self, name: str, content: str | None, replace: bool, field: str = "name") -> Voice | None:
        """The voice that keeps a new voice of this name from being added because it is the same; None if there is none.

        Args:
            name: of the new voice.
            content: its `content_id`; None if it is not known yet, and then any content may be equal.
            replace: whether it may replace another.
            field: reported in errors.

        Raises:
            CallerError: the name is that of a built-in voice (VOICE_BUILT_IN), or of a voice with other content, and
                `replace` is unset (VOICE_EXISTS).
        """
        old = self._voices.get(canonical_name(name))
        if old is None:
            return None
        if old.built_in:
            raise CallerError(field, f"{old.name!r} is built in and cannot be replaced", Reason.VOICE_BUILT_IN)
        if replace or content is None:
            return None
        if old.content_id != content:
            message = f"a voice named {old.name!r} exists with another recording; set `replace` to replace it"
            raise CallerError(field, message, Reason.VOICE_EXISTS)
        return old

    def add(self, voice: Voice, replace: bool = False) -> Voice:
        """Add `voice`, and write it to the folder before returning.

        Returns:
            `voice`; without `replace` a voice of the same name and content that exists already.

        Raises:
            CallerError: as `taken`, and for an invalid name.
            OverloadError, StorageError: the file cannot be written.
        """
        assert voice.recording is not None, "a voice without a recording is built in"
        assert check_name(voice.name) == voice.name, "build_voice makes the name canonical"
        with self._lock:
            same = self.taken(voice.name, voice.content_id, replace)
            if same is not None:
                return same
            if self._folder is not None:
                with _storage_errors():
                    path = self._folder / (voice.name + VOICE_SUFFIX)
                    atomic_write.write_bytes(path, to_bytes(voice), fsync=True)
            self._voices = {**self._voices, voice.name: voice}
            return voice

    def delete(self, name: str) -> None:
        """Delete the voice of that name, and its file.

        Raises:
            CallerError: VOICE_NOT_FOUND, or VOICE_BUILT_IN.
            StorageError: the file cannot be deleted.
        """
        with self._lock:
            voice = self.get(name)
            name = voice.name
            if voice.built_in:
                raise CallerError("name", f"{name!r} is built in and cannot be deleted", Reason.VOICE_BUILT_IN)
            if self._folder is not None:
                with _storage_errors():
                    (self._folder / (name + VOICE_SUFFIX)).unlink(missing_ok=True)
            self._voices = {other: voice for other, voice in self._voices.items() if other != name}

    def update_assets(self, voice: Voice, change: Callable[[Voice], Voice]) -> Voice | None:
        """Change the fillers or levels of a voice, and write them to the folder before returning.

        `change` is called under the lock with the current state of the voice, which it may return unchanged.

        Returns:
            The changed voice; None, and no change, if `voice` was deleted or replaced meanwhile.

        Raises:
            OverloadError, StorageError: the file cannot be written.
        """
        with self._lock:
            current = self._voices.get(voice.name)
            if current is None or (current.content_id, current.created_s) != (voice.content_id, voice.created_s):
                return None
            changed = change(current)
            if changed is current:
                return current
            updated = dataclasses.replace(current, fillers=changed.fillers, levels=changed.levels)
            if self._folder is not None:
                path = self._folder / (BUILT_IN_ASSETS_FILE if current.built_in else voice.name + VOICE_SUFFIX)
                data = assets_to_bytes(updated) if current.built_in else to_bytes(updated)
                with _storage_errors():
                    atomic_write.write_bytes(path, data, fsync=True)
            self._voices = {**self._voices, voice.name: updated}
            return updated

    def keep_in_memory(self, voice: Voice) -> None:
        """Replace a voice without writing it, where its file cannot be written."""
        with self._lock:
            self._voices = {**self._voices, voice.name: voice}

    def _load(self, path: Path) -> None:
        try:
            is_voice = path.name != BUILT_IN_ASSETS_FILE
            voice = from_file(path) if is_voice else assets_from_file(path, self._voices[DEFAULT_VOICE])
        except (CallerError, OSError, SafetensorError, LookupError, TypeError, ValueError, RecursionError) as error:
            logger.warning("voice file %s is skipped: %s: %s", path, type(error).__name__, error)
            return
        self._voices = {**self._voices, voice.name: voice}


@contextlib.contextmanager
def _storage_errors() -> Iterator[None]:
    """Turn the operating system's errors into ours, which say what a client is to do, without paths."""
    try:
        yield
    except OSError as error:
        logger.error("the folder of voices cannot be written: %s", error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = "the server's disk is full: nothing was changed"
            raise OverloadError(message, DISK_RETRY_S, Reason.STORAGE_FULL) from error
        message = f"the server cannot write its folder of voices ({error.strerror}): nothing was changed"
        raise StorageError(message) from error
