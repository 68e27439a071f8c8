"""Decode and validate uploaded audio files."""

import io
import struct

import numpy as np
import soundfile

from intone.server.audio.encoding import is_audible
from intone.server.domain import Recording, Samples
from intone.server.errors import CallerError

MIN_RATE_HZ, MAX_RATE_HZ = 8000, 192_000
MAX_CHANNELS = 8
_FORMATS = {b"RIFF": "WAV", b"fLaC": "FLAC", b"OggS": "Ogg"}
_BLOCK_FRAMES = 65536
_UNKNOWN_SIZES = (
    0,
    0x7FFFFFFF - 36,
    0x7FFFFFFF,
    0xFFFFFFFF - 36,
    0xFFFFFFFF,
)  # placeholders of writers to a pipe


def read_recording(data: bytes, transcript: str, *, min_ms: int, max_ms: int, field: str = "audio") -> Recording:
    """Decode a WAV, FLAC or Ogg file at its own sample rate, with channels averaged.

    Args:
        data: the whole file.
        transcript: of the recording, not checked.
        min_ms, max_ms: accepted durations.
        field: reported in errors.

    Raises:
        CallerError: the file is empty, of another format, truncated or damaged, too short or too long, silent, or has a
            sample rate or number of channels out of range or samples that are not finite.
    """
    if not data:
        raise CallerError(field, "the recording is empty: 0 bytes")
    _check_whole(data, field)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate_hz = _checked_format(file, field)
            samples = _read_mono(file, round(max_ms * rate_hz / 1000), field)
            declared = file.frames
    except soundfile.LibsndfileError as error:
        raise CallerError(field, f"damaged or not supported: {error.error_string.strip()}") from error
    if len(samples) < declared < 2**62:  # libsndfile reports 2**63 - 1 if the header has no length
        raise CallerError(field, f"cut off: {len(samples)} of {declared} samples are there")
    _check_samples(samples, field)
    recording = Recording(samples, rate_hz, transcript)
    if recording.duration_ms < min_ms:
        raise CallerError(field, f"too short: {recording.duration_ms} ms; at least {min_ms} ms are needed")
    return recording


def _checked_format(file: soundfile.SoundFile, field: str) -> int:
    """The sample rate of `file`, after a check of rate and channels."""
    rate_hz = int(file.samplerate)
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise CallerError(field, f"{rate_hz} samples a second; {MIN_RATE_HZ} to {MAX_RATE_HZ} are accepted")
    if file.channels > MAX_CHANNELS:
        raise CallerError(field, f"{file.channels} channels; at most {MAX_CHANNELS} are accepted")
    return rate_hz


def _read_mono(file: soundfile.SoundFile, max_samples: int, field: str) -> Samples:
    """All samples of `file`, channels averaged. In blocks, so that a small compressed file cannot exhaust memory."""
    blocks: list[Samples] = []
    total = 0
    while len(block := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):  # [T, channels]
        blocks.append(block.mean(axis=1, dtype=np.float32))
        total += len(block)
        if total > max_samples:
            raise CallerError(field, f"too long: over {1000 * max_samples // file.samplerate} ms")
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _check_samples(samples: Samples, field: str) -> None:
    """Refuse empty and silent audio, and samples that are not finite."""
    if len(samples) == 0:
        raise CallerError(field, "the recording is empty: a header without samples")
    bad = np.flatnonzero(~np.isfinite(samples))
    if len(bad):
        raise CallerError(field, f"sample {bad[0]} is not a finite number")
    if not is_audible(samples):
        raise CallerError(field, f"silent: the largest sample is {float(np.abs(samples).max()):.1g} of full scale")


def _check_whole(data: bytes, field: str) -> None:
    """Refuse other formats, and truncated WAV and Ogg files, which libsndfile would accept."""
    kind = _FORMATS.get(data[:4])
    if kind is None or (kind == "WAV" and data[8:12] != b"WAVE"):
        raise CallerError(field, "neither a WAV, nor a FLAC, nor an Ogg file")
    if kind == "WAV" and (missing := _missing_wav_bytes(data)):
        raise CallerError(field, f"cut off: the last {missing} bytes that its header promises are missing")
    if kind == "Ogg" and not _ogg_ends(data):
        raise CallerError(field, "cut off: the last Ogg page is missing")


def _missing_wav_bytes(data: bytes) -> int:
    """Bytes missing from the end of the `data` chunk of a WAV file; 0 if its size is unknown."""
    position = 12
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        if name == b"data":
            return 0 if size in _UNKNOWN_SIZES else max(0, position + 8 + size - len(data))
        position += 8 + size + size % 2
    return max(0, position - len(data))


def _ogg_ends(data: bytes) -> bool:
    """Whether the last Ogg page is complete and marked as the end of its stream (RFC 3533, section 6)."""
    page = data.rfind(b"OggS")
    if len(data) < page + 27 or not data[page + 5] & 4:
        return False
    segments = data[page + 26]
    return len(data) >= page + 27 + segments + sum(data[page + 27 : page + 27 + segments])
