"""The voices of a server and the folder they are kept in: one safetensors file each. Knows no engines, no gRPC."""

import hashlib
import json
import logging
import os
import re
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from intone.server.domain import PreparedVoice, Recording, Voice
from intone.server.errors import CallerError, Fault

logger = logging.getLogger(__name__)

DEFAULT_VOICE = "default"
VOICE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
FORMAT = "intone-voice-1"
SUFFIX = ".safetensors"


def check_name(name: str, field: str = "name") -> None:
    """Refuse a name that the contract does not allow.

    Raises:
        CallerError: INVALID, with what would be right.
    """
    if not VOICE_NAME.fullmatch(name):
        rule = "1 to 64 letters, digits, '-', '_' and '.', the first a letter or digit"
        raise CallerError(field, f"a voice's name is {rule}; this one has {len(name)} characters")


def content_id(recording: Recording) -> str:
    """SHA-256, hexadecimal, of the rate, the samples as float32 little-endian, and the transcript as UTF-8."""
    digest = hashlib.sha256(f"{recording.sample_rate_hz} {len(recording.samples)} ".encode())
    digest.update(recording.samples.astype("<f4", copy=False).tobytes())
    digest.update(recording.transcript.encode())
    return digest.hexdigest()


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
                _write_whole(self._folder / (voice.name + SUFFIX), to_bytes(voice))
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

    def _load(self, path: Path) -> None:
        try:
            voice = from_file(path)
        except (OSError, SafetensorError, LookupError, TypeError, ValueError) as error:
            logger.warning("voice file %s is skipped: %s: %s", path, type(error).__name__, error)
            return
        self._voices = {**self._voices, voice.name: voice}


def to_bytes(voice: Voice) -> bytes:
    """`voice` as a safetensors file: tensors `recording` and `<engine>.<array>`, everything else in the metadata."""
    assert voice.recording is not None
    tensors: dict[str, NDArray[Any]] = {"recording": np.ascontiguousarray(voice.recording.samples, np.float32)}
    engines = {}
    for engine, prepared in voice.prepared.items():
        assert "." not in engine and engine != "recording", engine
        engines[engine] = {"fingerprint": prepared.fingerprint, "text": prepared.text}
        tensors |= {f"{engine}.{name}": np.ascontiguousarray(array) for name, array in prepared.arrays.items()}
    metadata = {
        "format": FORMAT,
        "name": voice.name,
        "created_s": repr(voice.created_s),
        "sample_rate_hz": str(voice.recording.sample_rate_hz),
        "transcript": voice.recording.transcript,
        "content_id": voice.content_id,
        "engines": json.dumps(engines, ensure_ascii=False),
    }
    return bytes(save(tensors, metadata))


def from_file(path: Path) -> Voice:
    """The voice in `path`, exactly as it was written.

    Raises:
        ValueError, LookupError, TypeError, SafetensorError, OSError: it is not such a file; the message says why.
    """
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    if metadata.get("format") != FORMAT:
        raise ValueError(f"format is {metadata.get('format')!r}, expected {FORMAT!r}")
    if metadata["name"] + SUFFIX != path.name or not VOICE_NAME.fullmatch(metadata["name"]):
        raise ValueError(f"it holds a voice named {metadata['name']!r}")
    if metadata["name"] == DEFAULT_VOICE:
        raise ValueError(f"{DEFAULT_VOICE!r} is the name of the built-in voice")
    samples = tensors.pop("recording")
    if samples.ndim != 1 or samples.dtype != np.float32:
        raise ValueError(f"recording is {samples.dtype} of {samples.ndim} dimensions, expected float32 of 1")
    recording = Recording(samples, int(metadata["sample_rate_hz"]), metadata["transcript"])
    if content_id(recording) != metadata["content_id"]:
        raise ValueError("content_id does not match the recording")
    prepared = _prepared(json.loads(metadata["engines"]), tensors)
    return Voice(metadata["name"], recording, prepared, float(metadata["created_s"]), metadata["content_id"])


def _prepared(engines: dict[str, dict[str, str]], tensors: dict[str, NDArray[Any]]) -> dict[str, PreparedVoice]:
    """What each engine prepared, by engine; every tensor belongs to one."""
    if not isinstance(engines, dict):
        raise TypeError(f"engines is a {type(engines).__name__}, expected an object")
    arrays: dict[str, dict[str, NDArray[Any]]] = {engine: {} for engine in engines}
    for key, tensor in tensors.items():
        engine, dot, name = key.partition(".")
        if not dot or engine not in arrays:
            raise ValueError(f"tensor {key!r} belongs to no engine")
        arrays[engine][name] = tensor
    return {
        engine: PreparedVoice(entry["fingerprint"], arrays[engine], entry["text"]) for engine, entry in engines.items()
    }


def _write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path` such that a reader, or a crash, finds the old file or the new one, never a part."""
    handle, part = tempfile.mkstemp(prefix=path.name, suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
