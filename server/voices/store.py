"""The voices of a server and the folder they are kept in: one file each. Knows no engines, no gRPC."""

import dataclasses
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError

from intone.server.domain import PreparedVoice, Recording, Voice
from intone.server.errors import CallerError, Fault
from intone.server.storage import atomic_write
from intone.server.voices.voice_file import (
    DEFAULT_VOICE,
    SUFFIX,
    VOICE_NAME,
    content_id,
    from_file,
    outfit_from_file,
    outfit_to_bytes,
    to_bytes,
)

logger = logging.getLogger(__name__)

OUTFIT_FILE = f"_{DEFAULT_VOICE}{SUFFIX}"
"""Keeps the fillers and levels of the built-in voice; no other voice's name begins with "_"."""


def check_name(name: str, field: str = "name") -> None:
    """Refuse a name that the contract does not allow.

    Raises:
        CallerError: INVALID, with what would be right.
    """
    if not VOICE_NAME.fullmatch(name):
        rule = "1 to 64 letters, digits, '-', '_' and '.', the first a letter or digit"
        raise CallerError(field, f"a voice's name is {rule}; this one has {len(name)} characters")


def build_voice(name: str, recording: Recording, prepared: Mapping[str, PreparedVoice], created_s: float) -> Voice:
    """A voice from a recording and what the engines made of it."""
    return Voice(name, recording, dict(prepared), created_s, content_id(recording))


class VoiceStore:
    """Voices by name, "default" built in. All of them are in memory; `folder`, where given, keeps them too.

    May be called from any thread; reading never waits for the disk. A file that cannot be used is left where it is,
    skipped and named in the log.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._changing = threading.Lock()
        self._voices: Mapping[str, Voice] = {DEFAULT_VOICE: Voice(DEFAULT_VOICE)}  # replaced whole, never changed
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(folder.glob(f"*{SUFFIX}")):
                self._load(path)

    def list(self) -> list[Voice]:
        """Every voice, built-in ones first, then by name."""
        return sorted(self._voices.values(), key=lambda voice: (not voice.built_in, voice.name))

    def get(self, name: str, field: str = "name") -> Voice:
        """The voice of that name.

        Raises:
            CallerError: NOT_FOUND.
        """
        voice = self._voices.get(name)
        if voice is None:
            raise CallerError(field, f"there is no voice named {name!r}", Fault.NOT_FOUND)
        return voice

    def add(self, voice: Voice, replace: bool = False) -> None:
        """Keep `voice`; it is in the folder when this returns.

        Raises:
            CallerError: the name is taken and `replace` is unset (EXISTS), is that of a built-in voice (PRECONDITION
                with `replace`), or is none (INVALID).
        """
        check_name(voice.name)
        assert voice.recording is not None, "a voice without a recording is built in"
        with self._changing:
            old = self._voices.get(voice.name)
            if old is not None and not replace:
                raise CallerError("name", f"a voice named {voice.name!r} exists already", Fault.EXISTS)
            if old is not None and old.built_in:
                raise CallerError("name", f"{voice.name!r} is built in and cannot be replaced", Fault.PRECONDITION)
            if self._folder is not None:
                atomic_write.write_bytes(self._folder / (voice.name + SUFFIX), to_bytes(voice), fsync=True)
            self._voices = {**self._voices, voice.name: voice}

    def delete(self, name: str) -> None:
        """Forget the voice of that name, in the folder too.

        Raises:
            CallerError: NOT_FOUND, or PRECONDITION for a built-in voice.
        """
        with self._changing:
            if self.get(name).built_in:
                raise CallerError("name", f"{name!r} is built in and cannot be deleted", Fault.PRECONDITION)
            if self._folder is not None:
                (self._folder / (name + SUFFIX)).unlink(missing_ok=True)
            self._voices = {other: voice for other, voice in self._voices.items() if other != name}

    def outfit(self, voice: Voice, change: Callable[[Voice], Voice]) -> Voice | None:
        """Give a voice other fillers or levels; they are in the folder when this returns.

        `change` is called with the voice as it is now, while nobody else can change it, and may give it back as it is.

        Returns:
            What was made; None where the voice has been deleted or replaced meanwhile: then nothing is done.
        """
        with self._changing:
            now = self._voices.get(voice.name)
            if now is None or (now.content_id, now.created_s) != (voice.content_id, voice.created_s):
                return None
            made = change(now)
            if made is now:
                return now
            outfitted = dataclasses.replace(now, fillers=made.fillers, levels=made.levels)
            if self._folder is not None:
                path = self._folder / (OUTFIT_FILE if now.built_in else voice.name + SUFFIX)
                data = outfit_to_bytes(outfitted) if now.built_in else to_bytes(outfitted)
                atomic_write.write_bytes(path, data, fsync=True)
            self._voices = {**self._voices, voice.name: outfitted}
            return outfitted

    def _load(self, path: Path) -> None:
        try:
            own = path.name != OUTFIT_FILE
            voice = from_file(path) if own else outfit_from_file(path, self._voices[DEFAULT_VOICE])
        except (OSError, SafetensorError, LookupError, TypeError, ValueError) as error:
            logger.warning("voice file %s is skipped: %s: %s", path, type(error).__name__, error)
            return
        self._voices = {**self._voices, voice.name: voice}
