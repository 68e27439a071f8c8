"""The voices of a server, in memory and in a folder with one file each."""

import contextlib
import dataclasses
import errno
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
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
    memory_bytes,
    stored_at,
    to_bytes,
)
from intone.server.voices.voice_name import canonical_name, check_name

logger = logging.getLogger(__name__)

ASSETS_PREFIX = "_"
"""Begins the names of files with the fillers and levels of built-in voices. No name of a voice begins so."""

ASIDE_SUFFIX = ".unusable"
"""Added to the name of a file that cannot be used."""

DISK_RETRY_S = 60.0
"""When a client may try again after the disk was full."""


def build_voice(name: str, recording: Recording, prepared: Mapping[str, PreparedVoice], created_s: float) -> Voice:
    """A voice from a recording and what each engine prepared from it."""
    return Voice(canonical_name(name), recording, dict(prepared), created_s, content_id(recording))


@dataclasses.dataclass(frozen=True, slots=True)
class VoiceLimits:
    """How many voices there may be, without the built-in ones.

    Attributes:
        count: of all voices.
        count_of_owner: of the voices of one owner.
        bytes: of all voices together, by `memory_bytes`.
        bytes_of_owner: of the voices of one owner together.
    """

    count: int = 1000
    count_of_owner: int = 100
    bytes: int = 8 << 30
    bytes_of_owner: int = 8 << 30


def voice_not_found(name: str, field: str) -> CallerError:
    """The error for a voice that does not exist."""
    return CallerError(field, f"there is no voice named {name!r}", Reason.VOICE_NOT_FOUND)


def _allowed(_voice: Voice) -> None:
    """A permission that is always given."""


class VoiceStore:
    """Voices by name; "default" is built in, and engines add theirs. With `folder`, each is in a file there, and its
    recording only there.

    Thread-safe; reading never waits for the disk, and changes wait for each other only while they rename a file. A file
    that cannot be used is renamed, with a warning, so that nothing is written in its place.

    `permitted` of the methods is called with the present voice when it is about to be changed, and raises CallerError
    if it must not be.
    """

    def __init__(self, folder: Path | None = None, limits: VoiceLimits | None = None) -> None:
        """`limits`: of new voices; those that are in the folder are all loaded."""
        self._folder, self._limits = folder, limits or VoiceLimits()
        self._lock = threading.Lock()
        self._voices: Mapping[str, Voice] = {}  # copy on write
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            atomic_write.sweep(folder)
        self.add_built_in(Voice(DEFAULT_VOICE, description="the own voice of the engine that speaks"))
        for path in sorted(folder.glob(f"*{VOICE_SUFFIX}")) if folder is not None else ():
            if not path.name.startswith(ASSETS_PREFIX):
                self._load(path, from_file)

    def add_built_in(self, voice: Voice) -> None:
        """Add a built-in voice, with its fillers and levels of the last run, unless the folder has one of its name."""
        assert voice.built_in, voice.name
        try:
            self._check_case(voice.name, "name")
        except CallerError:
            taken = True
        else:
            taken = voice.name in self._voices
        if taken:
            logger.warning("%s cannot be asked for its own voice: another one is named %s", voice.engine, voice.name)
            return
        self._voices = {**self._voices, voice.name: voice}
        path = self._path(voice)
        if path is not None and path.exists():
            self._load(path, partial(assets_from_file, voice=voice))

    def list(self) -> list[Voice]:
        """All voices: "default", the other built-in ones, then those that were made; each kind by name."""
        voices = map(self._complete, self._voices.values())
        return sorted(voices, key=lambda voice: (not voice.built_in, voice.name != DEFAULT_VOICE, voice.name))

    def get(self, name: str, field: str = "name") -> Voice:
        """The voice of that name.

        Raises:
            CallerError: VOICE_NOT_FOUND.
        """
        voice = self._voices.get(canonical_name(name))
        if voice is None:
            raise voice_not_found(name, field)
        return self._complete(voice)

    def taken(
        self,
        name: str,
        content: str | None,
        replace: bool,
        field: str = "name",
        permitted: Callable[[Voice], None] = _allowed,
    ) -> Voice | None:
        """The voice that keeps a new voice of this name from being added because it is the same; None if there is none.

        Args:
            name: of the new voice.
            content: its `content_id`; None if it is not known yet, and then any content may be equal.
            replace: whether it may replace another.
            field: reported in errors.
            permitted: called with another voice of this name.

        Raises:
            CallerError: the name is that of a built-in voice (VOICE_BUILT_IN), or of a voice with other content, and
                `replace` is unset (VOICE_EXISTS), or differs from that of a voice only in case (VOICE_EXISTS).
        """
        old = self._voices.get(canonical_name(name))
        if old is None:
            self._check_case(canonical_name(name), field)
            return None
        if old.built_in:
            raise CallerError(field, f"{old.name!r} is built in and cannot be replaced", Reason.VOICE_BUILT_IN)
        permitted(old)
        if replace or content is None:
            return None
        if old.content_id != content:
            message = f"a voice named {old.name!r} exists with another recording; set `replace` to replace it"
            raise CallerError(field, message, Reason.VOICE_EXISTS)
        return old

    def check_room(self, name: str, owner: str, size: int = 0) -> None:
        """Check the limits for a voice of this name, which may replace another; those of bytes only if `size` is given.

        Raises:
            CallerError: there would be too many voices, of this owner or at all, or too many bytes (TOO_MANY_VOICES).
        """
        limits = self._limits
        others = [voice for voice in self._voices.values() if not voice.built_in and voice.name != canonical_name(name)]
        old = self._voices.get(canonical_name(name))
        own = sum(1 for voice in others if voice.owner == owner)
        for count, limit, whose in (
            (len(others), limits.count, "the server has"),
            (own, limits.count_of_owner if owner else limits.count, "you have"),
        ):
            if count >= limit and (old is None or old.owner != owner):  # it adds one to the voices of its owner
                message = f"{whose} {count} voices, the maximum; delete one first"
                raise CallerError("", message, Reason.TOO_MANY_VOICES, limit=limit)
        if size:
            built_in = [voice for voice in self._voices.values() if voice.built_in]
            self._check_bytes([*others, *built_in], owner, size)

    def add(self, voice: Voice, replace: bool = False, permitted: Callable[[Voice], None] = _allowed) -> Voice:
        """Add `voice`, and write it to the folder before returning.

        Returns:
            The voice as it is stored; without `replace` a voice of the same name and content that exists already.

        Raises:
            CallerError: as `taken` and `check_room`, and for an invalid name.
            OverloadError, StorageError: the file cannot be written, or the recording, in the file, cannot be read.
        """
        assert voice.recording is not None, "a voice without a recording is built in"
        assert check_name(voice.name) == voice.name, "build_voice makes the name canonical"
        same = self.taken(voice.name, voice.content_id, replace, permitted=permitted)  # before anything is written
        if same is not None:
            return same
        self.check_room(voice.name, voice.owner, memory_bytes(voice))
        with self._written(self._path(voice), partial(_bytes_of, voice)) as commit, self._lock:
            same = self.taken(voice.name, voice.content_id, replace, permitted=permitted)
            if same is not None:
                return same
            self.check_room(voice.name, voice.owner, memory_bytes(voice))
            return self._put(voice, commit)

    def delete(self, name: str, permitted: Callable[[Voice], None] = _allowed) -> None:
        """Delete the voice of that name, and its file.

        Raises:
            CallerError: VOICE_NOT_FOUND, or VOICE_BUILT_IN.
            StorageError: the file cannot be deleted.
        """
        with self._lock:
            voice = self.get(name)
            permitted(voice)
            if voice.built_in:
                raise CallerError("name", f"{voice.name!r} is built in and cannot be deleted", Reason.VOICE_BUILT_IN)
            if (path := self._path(voice)) is not None:
                with _storage_errors():
                    path.unlink(missing_ok=True)
            self._voices = {other: kept for other, kept in self._voices.items() if other != voice.name}
        if self._folder is not None:
            atomic_write.flush_folder(self._folder)

    def has(self, voice: Voice) -> bool:
        """Whether `voice` was neither deleted nor replaced since it was read; its fillers and levels may be others."""
        current = self._voices.get(voice.name)
        return current is not None and (current.content_id, current.created_s) == (voice.content_id, voice.created_s)

    def update_assets(self, voice: Voice, change: Callable[[Voice], Voice]) -> Voice | None:
        """Change fillers or levels of a voice, or with whom it is shared, and write them before returning.

        `change` is called with the current state of the voice, which it may return unchanged; and again, if the voice
        was changed meanwhile.

        Returns:
            The changed voice; None, and no change, if `voice` was deleted or replaced meanwhile.

        Raises:
            CallerError: there would be too many bytes (TOO_MANY_VOICES).
            OverloadError, StorageError: the file cannot be written.
        """
        while True:
            current = self._voices.get(voice.name)
            if current is None or not self.has(voice):
                return None
            present = self._with_levels(current)
            changed = change(present)
            if changed is present:
                return self._complete(current)
            updated = dataclasses.replace(
                current, fillers=changed.fillers, levels=changed.levels, shared_with=changed.shared_with
            )
            if memory_bytes(updated) > memory_bytes(current):
                others = [other for other in self._voices.values() if other.name != voice.name]
                self._check_bytes(others, updated.owner, memory_bytes(updated))
            try:
                with self._written(self._path(updated), partial(_bytes_of, updated)) as commit, self._lock:
                    if self._voices.get(voice.name) is current:
                        return self._complete(self._put(updated, commit))
            except _RecordingLostError:
                if self._voices.get(voice.name) is current:  # else it was replaced, with its file
                    raise

    def keep_in_memory(self, voice: Voice) -> None:
        """Replace a voice without writing it, where its file cannot be written."""
        with self._lock:
            self._voices = {**self._voices, voice.name: voice}

    # ---- parts

    def _with_levels(self, voice: Voice) -> Voice:
        """The voice; the built-in one of an engine with the levels of "default", which is its own voice, too."""
        return dataclasses.replace(voice, levels=self._voices[DEFAULT_VOICE].levels) if voice.engine else voice

    def _complete(self, voice: Voice) -> Voice:
        """The voice; the built-in one of an engine with the fillers that this engine has rendered for "default"."""
        if not voice.engine:
            return voice
        shared = [one for one in self._voices[DEFAULT_VOICE].fillers if one.engine == voice.engine]
        return dataclasses.replace(self._with_levels(voice), fillers=(*voice.fillers, *shared))

    def _check_case(self, name: str, field: str) -> None:
        """Refuse a second name that many file systems, and people, take for the first."""
        for other in self._voices:
            if other != name and other.casefold() == name.casefold():
                message = f"a voice named {other!r} exists, and names must differ in more than case"
                raise CallerError(field, message, Reason.VOICE_EXISTS)

    def _check_bytes(self, others: Sequence[Voice], owner: str, size: int) -> None:
        """Check the limits of bytes for a voice of this owner and size beside others."""
        own = [voice for voice in others if voice.owner == owner]
        for voices, limit, whose in (
            (own, self._limits.bytes_of_owner if owner else self._limits.bytes, "your voices"),
            (others, self._limits.bytes, "all voices"),
        ):
            total = size + sum(map(memory_bytes, voices))
            if total > limit:
                message = f"{whose} together would have {total} bytes, and {limit} are the maximum; delete some first"
                raise CallerError("", message, Reason.TOO_MANY_VOICES, limit=limit)

    def _path(self, voice: Voice) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / f"{ASSETS_PREFIX if voice.built_in else ''}{voice.name}{VOICE_SUFFIX}"

    @contextlib.contextmanager
    def _written(self, path: Path | None, data: Callable[[], bytes]) -> Iterator[Callable[[], None]]:
        """Write a file beside `path`; yields what puts it there, which takes no longer than a rename."""
        if path is None:
            yield lambda: None
            return
        with _storage_errors(), atomic_write.prepared(path, data()) as replacement:
            yield replacement.commit
        atomic_write.flush_folder(path.parent)

    def _put(self, voice: Voice, commit: Callable[[], None]) -> Voice:
        """Put a voice, and its file, in the place of another; under the lock."""
        commit()
        path = self._path(voice)
        stored = voice if path is None else stored_at(path, voice)
        self._voices = {**self._voices, voice.name: stored}
        return stored

    def _load(self, path: Path, read: Callable[[Path], Voice]) -> None:
        try:
            voice = read(path)
        except (CallerError, OSError, SafetensorError, LookupError, TypeError, ValueError, RecursionError) as error:
            aside = path.with_name(path.name + ASIDE_SUFFIX)
            try:
                path.replace(aside)
                what = f"is now {aside.name}, and skipped"
            except OSError:
                what = "is skipped"
            logger.warning("voice file %s %s: %s: %s", path, what, type(error).__name__, error)
            return
        self._voices = {**self._voices, voice.name: stored_at(path, voice)}


class _RecordingLostError(StorageError):
    """The recording of a voice, in its file, cannot be read."""


def _bytes_of(voice: Voice) -> bytes:
    """The file of a voice.

    Raises:
        _RecordingLostError: its recording cannot be read.
    """
    if voice.built_in:
        return assets_to_bytes(voice)
    try:
        return to_bytes(voice)
    except (OSError, ValueError) as error:
        logger.error("the recording of voice %s cannot be read: %s", voice.name, error)
        raise _RecordingLostError("the file of the voice is damaged or gone: nothing was changed") from error


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
