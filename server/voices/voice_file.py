"""The file format of a voice: safetensors, with everything but arrays in the metadata. Strict when reading."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from intone.server.domain import EMOTIONS, Filler, Level, PreparedVoice, Recording, Voice
from intone.server.voices.voice_name import canonical_name, check_name

DEFAULT_VOICE = "default"
FORMAT = "intone-voice-1"
ASSETS_FORMAT = "intone-outfit-1"
"""Of a file with only the fillers and levels of the built-in voice."""

MAX_SAMPLE_RATE_HZ = 192_000

MAX_DIMENSIONS = 8
"""Of an engine's array."""

MAX_CREATED_S = 253_402_300_800.0
"""The year 10000, which timestamps on the wire cannot reach."""

VOICE_SUFFIX = ".safetensors"
_FILLER = "filler"
_FILLER_KEYS = {field.name for field in dataclasses.fields(Filler)} - {"samples"}

Tensors = dict[str, NDArray[Any]]


def content_id(recording: Recording) -> str:
    """SHA-256, hexadecimal, of the rate, the samples as float32 little-endian, and the transcript as UTF-8."""
    digest = hashlib.sha256(f"{recording.sample_rate_hz} {len(recording.samples)} ".encode())
    digest.update(recording.samples.astype("<f4", copy=False).tobytes())
    digest.update(recording.transcript.encode())
    return digest.hexdigest()


@dataclasses.dataclass(frozen=True, slots=True)
class StoredRecording:
    """The recording in a voice's file, which is read only where it is needed: long ones would fill the memory.

    Attributes:
        path: of the file.
        samples_count: number of samples.
        content_id: of the recording, by which it is known again.
    """

    path: Path
    sample_rate_hz: int
    transcript: str
    samples_count: int
    content_id: str

    @property
    def duration_ms(self) -> int:
        """Length in milliseconds."""
        return round(1000 * self.samples_count / self.sample_rate_hz)

    def read(self) -> Recording:
        """The recording.

        Raises:
            ValueError, OSError: the file is gone, is damaged, or holds another recording.
        """
        try:
            with safe_open(self.path, framework="numpy") as file:
                samples = _mono(file.get_tensor("recording"), "recording")
        except SafetensorError as error:
            raise ValueError(f"the voice file is damaged: {error}") from error
        recording = Recording(samples, self.sample_rate_hz, self.transcript)
        if content_id(recording) != self.content_id:
            raise ValueError("the voice file holds another recording")
        return recording


def stored_at(path: Path, voice: Voice) -> Voice:
    """`voice` with its recording left in the file at `path`, to which it was written."""
    if not isinstance(voice.recording, Recording):
        return voice
    own = voice.recording
    stored = StoredRecording(path, own.sample_rate_hz, own.transcript, len(own.samples), voice.content_id)
    return dataclasses.replace(voice, recording=stored)


def memory_bytes(voice: Voice) -> int:
    """The size of a voice's arrays, which is also about that of its file."""
    arrays = [array for prepared in voice.prepared.values() for array in prepared.arrays.values()]
    arrays += [filler.samples for filler in voice.fillers]
    recording = voice.recording
    seconds = 0.0 if recording is None else recording.duration_ms / 1000
    rate_hz = 0 if recording is None else recording.sample_rate_hz
    return sum(array.nbytes for array in arrays) + round(seconds * rate_hz) * np.dtype(np.float32).itemsize


def to_bytes(voice: Voice) -> bytes:
    """`voice` as a safetensors file, with the tensors `recording`, `<engine>.<array>` and `filler.<n>`.

    Raises:
        ValueError, OSError: its recording is in a file that cannot be read.
    """
    assert voice.recording is not None
    tensors: Tensors = {"recording": np.ascontiguousarray(voice.recording.read().samples, np.float32)}
    engines = {}
    for engine, prepared in voice.prepared.items():
        assert "." not in engine and engine not in ("recording", _FILLER), engine
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
        "languages": json.dumps(voice.languages),
        "description": voice.description,
        "labels": json.dumps(dict(voice.labels), ensure_ascii=False),
        "owner": voice.owner,
        "shared_with": json.dumps(voice.shared_with, ensure_ascii=False),
    }
    return bytes(save(tensors | _sounds(voice.fillers), metadata | _assets(voice)))


def assets_to_bytes(voice: Voice) -> bytes:
    """The fillers and levels of a built-in voice as a safetensors file."""
    return bytes(save(_sounds(voice.fillers), {"format": ASSETS_FORMAT, **_assets(voice)}))


def from_file(path: Path) -> Voice:
    """The voice in `path`, equal to the one that was written.

    Raises:
        CallerError, ValueError, LookupError, TypeError, SafetensorError, OSError: not a voice file; says why.
    """
    metadata, tensors = _read(path, FORMAT)
    name = check_name(metadata["name"])
    if name + VOICE_SUFFIX != canonical_name(path.name):  # some file systems decompose characters
        raise ValueError(f"it holds a voice named {name!r}")
    if name == DEFAULT_VOICE:
        raise ValueError(f"{DEFAULT_VOICE!r} is the name of the built-in voice")
    samples = _mono(tensors.pop("recording"), "recording")
    recording = Recording(samples, int(metadata["sample_rate_hz"]), metadata["transcript"])
    if not 0 < recording.sample_rate_hz <= MAX_SAMPLE_RATE_HZ or not len(samples):
        raise ValueError(f"the recording has {len(samples)} samples at {recording.sample_rate_hz} Hz")
    if not np.isfinite(samples).all():
        raise ValueError("the recording has samples that are not finite")
    if content_id(recording) != metadata["content_id"]:
        raise ValueError("content_id does not match the recording")
    fillers = _fillers(metadata, tensors)
    prepared = _prepared(json.loads(metadata["engines"]), tensors)
    created_s = float(metadata["created_s"])
    if not 0 <= created_s < MAX_CREATED_S:
        raise ValueError(f"created_s is {created_s}")
    return Voice(
        name,
        recording,
        prepared,
        created_s=created_s,
        content_id=metadata["content_id"],
        fillers=fillers,
        levels=_levels(metadata),
        languages=_strings(metadata, "languages"),
        description=metadata.get("description", ""),
        labels=_labels(metadata),
        owner=metadata.get("owner", ""),
        shared_with=_strings(metadata, "shared_with"),
    )


def assets_from_file(path: Path, voice: Voice) -> Voice:
    """The built-in `voice` with the fillers and levels that `assets_to_bytes` wrote.

    Raises:
        ValueError, LookupError, TypeError, SafetensorError, OSError: as `from_file`.
    """
    metadata, tensors = _read(path, ASSETS_FORMAT)
    fillers = _fillers(metadata, tensors)
    if tensors:
        raise ValueError(f"tensor {next(iter(tensors))!r} belongs to no filler")
    return dataclasses.replace(voice, fillers=fillers, levels=_levels(metadata))


def _read(path: Path, expected: str) -> tuple[dict[str, str], Tensors]:
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    if metadata.get("format") != expected:
        raise ValueError(f"format is {metadata.get('format')!r}, expected {expected!r}")
    return metadata, tensors


def _prepared(engines: dict[str, dict[str, str]], tensors: Tensors) -> dict[str, PreparedVoice]:
    """The prepared voices by engine. Every tensor must belong to one."""
    if not isinstance(engines, dict):
        raise TypeError(f"engines is a {type(engines).__name__}, expected an object")
    arrays: dict[str, Tensors] = {engine: {} for engine in engines}
    for key, tensor in tensors.items():
        engine, dot, name = key.partition(".")
        if not dot or engine not in arrays:
            raise ValueError(f"tensor {key!r} belongs to no engine")
        if tensor.ndim > MAX_DIMENSIONS or not np.isfinite(tensor).all():
            raise ValueError(f"tensor {key!r} has {tensor.ndim} dimensions, or values that are not finite")
        arrays[engine][name] = tensor
    return {
        engine: PreparedVoice(entry["fingerprint"], arrays[engine], entry["text"]) for engine, entry in engines.items()
    }


# ---- languages, labels, fillers and levels; files of older versions have none


def _strings(metadata: Mapping[str, str], name: str) -> tuple[str, ...]:
    found = json.loads(metadata.get(name, "[]"))
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise TypeError(f"{name} is {found!r}, expected a list of strings")
    return tuple(found)


def _labels(metadata: Mapping[str, str]) -> dict[str, str]:
    labels = json.loads(metadata.get("labels", "{}"))
    if not isinstance(labels, dict) or not all(isinstance(one, str) for one in labels.values()):
        raise TypeError(f"labels is {labels!r}, expected an object of strings")
    return labels


def _sounds(fillers: Iterable[Filler]) -> Tensors:
    return {f"{_FILLER}.{n}": np.ascontiguousarray(one.samples, np.float32) for n, one in enumerate(fillers)}


def _assets(voice: Voice) -> dict[str, str]:
    """The fillers without their samples, and the levels, as metadata."""
    fillers = [{key: getattr(filler, key) for key in sorted(_FILLER_KEYS)} for filler in voice.fillers]
    levels = {engine: dataclasses.asdict(level) for engine, level in voice.levels.items()}
    return {"fillers": json.dumps(fillers, ensure_ascii=False), "levels": json.dumps(levels)}


def _fillers(metadata: Mapping[str, str], tensors: Tensors) -> tuple[Filler, ...]:
    """The fillers; removes their tensors from `tensors`."""
    entries = json.loads(metadata.get("fillers", "[]"))
    if not isinstance(entries, list):
        raise TypeError(f"fillers is a {type(entries).__name__}, expected a list")
    return tuple(
        _filler(n, entry, _mono(tensors.pop(f"{_FILLER}.{n}"), f"filler {n}")) for n, entry in enumerate(entries)
    )


def _filler(n: int, entry: dict[str, Any], samples: NDArray[np.float32]) -> Filler:
    if set(entry) != _FILLER_KEYS:
        raise ValueError(f"filler {n} has the keys {sorted(entry)}, expected {sorted(_FILLER_KEYS)}")
    if entry["emotion"] not in ("neutral", *EMOTIONS):
        raise ValueError(f"filler {n} has the emotion {entry['emotion']!r}")
    filler = Filler(**{**entry, "samples": samples, "cuts_ms": tuple(entry["cuts_ms"])})
    if not (len(samples) and 0 < filler.sample_rate_hz <= MAX_SAMPLE_RATE_HZ and np.isfinite(samples).all()):
        raise ValueError(f"filler {n} holds no sound")
    if not filler.cuts_ms or any(b <= a for a, b in zip((0, *filler.cuts_ms), filler.cuts_ms, strict=False)):
        raise ValueError(f"filler {n} has the cuts {list(filler.cuts_ms)}")
    return filler


def _levels(metadata: Mapping[str, str]) -> dict[str, Level]:
    entries = json.loads(metadata.get("levels", "{}"))
    if not isinstance(entries, dict):
        raise TypeError(f"levels is a {type(entries).__name__}, expected an object")
    levels = {engine: Level(**entry) for engine, entry in entries.items()}
    for engine, level in levels.items():
        if not math.isfinite(level.loudness_db):
            raise ValueError(f"the level of {engine} is {level.loudness_db}")
    return levels


def _mono(samples: NDArray[Any], what: str) -> NDArray[np.float32]:
    if samples.ndim != 1 or samples.dtype != np.float32:
        raise ValueError(f"{what} is {samples.dtype} of {samples.ndim} dimensions, expected float32 of 1")
    return samples
