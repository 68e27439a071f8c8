"""Decode and validate uploaded audio files."""

import io
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from intone.server.audio import aac_files
from intone.server.audio.encoding import fade
from intone.server.audio.levels import frame_levels
from intone.server.audio.sound_files import MAX_MISSING_MS, SoundFile, conversion, recognized
from intone.server.domain import Recording, Samples, VoiceNotice, VoiceNoticeCode
from intone.server.errors import CallerError, Reason

MIN_RATE_HZ, MAX_RATE_HZ = 8000, 192_000
MAX_KEPT_RATE_HZ = 48_000
"""No engine uses more."""

MIN_EMOTION_CLIP_MS, MAX_EMOTION_CLIP_MS = 500, 30_000
MAX_CHANNELS = 8

MIN_PEAK = 1e-4
"""Audio with a lower peak is silent: -80 dBFS, three steps of 16 bits."""

QUIET_PEAK, AMPLIFIED_PEAK = 0.02, 0.25
"""A recording with a lower peak than the first, -34 dBFS, is amplified to the second, -12 dBFS."""

_SUBTYPES = {
    "WAV": ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW"),
    "FLAC": ("PCM_S8", "PCM_16", "PCM_24"),
    "Ogg": ("VORBIS", "OPUS"),
    "MP3": ("MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"),
}
"""Encodings that are taken, by the kind of file: each is a parser of what anybody may send."""

_MIN_QUIET_RANGE = 2.0  # between loud and soft frames of a quiet recording; a steady level is noise, not speech
_LOUD_PERCENTILE, _SOFT_PERCENTILE = 90, 10  # of the levels of frames
_FRAME_MS = 20
_END_MS = 30  # at the end: compared with the level of speech, and faded out
_MAX_END_LEVEL = 0.25  # of loud frames, -12 dB: speech that was not cut has died away below this
_CANCELLED = 0.25  # of the power that channels have together if they are independent, -6 dB: below, they cancel out
_MIN_NOTICED_MISSING_MS = 10
_BLOCK_FRAMES = 65536
_UNKNOWN_FRAMES = 2**62  # libsndfile reports 2**63 - 1 if the header has no length


@dataclass(frozen=True, slots=True)
class SoundData:
    """A whole sound file as it was uploaded.

    Attributes:
        data: its bytes.
        field: reported in errors.
        transcript: of the recording, not checked.
    """

    data: bytes
    field: str = "audio"
    transcript: str = ""


def read_recordings(files: Iterable[SoundData], *, min_ms: int, max_ms: int) -> list[Recording]:
    """`read_recording` of several files."""
    return [read_recording(one.data, one.transcript, min_ms=min_ms, max_ms=max_ms, field=one.field) for one in files]


def to_flac(recording: Recording) -> bytes:
    """A recording as a FLAC file of 24 bits."""
    file = io.BytesIO()
    soundfile.write(file, recording.samples, recording.sample_rate_hz, format="FLAC", subtype="PCM_24")
    return file.getvalue()


def read_recording(data: bytes, transcript: str, *, min_ms: int, max_ms: int, field: str = "audio") -> Recording:
    """Decode a WAV, FLAC, Ogg or MP3 file at its own sample rate, but at most `MAX_KEPT_RATE_HZ`, as one channel.

    Where PyAV is installed, M4A, MP4, 3GP and AAC files are taken, too.

    Channels are averaged; where they cancel each other out, the loudest alone is taken. A quiet recording is amplified,
    and an end in the middle of a sound is faded out. Notices say so, and whether the end of the file is missing.

    Args:
        data: the whole file.
        transcript: of the recording, not checked.
        min_ms, max_ms: accepted durations.
        field: reported in errors.

    Raises:
        CallerError: the file is empty, of another format, cut off by more than 100 ms, or damaged; too short, too long
            or silent; or it has a sample rate or number of channels out of range or samples that are not finite
            (RECORDING_INVALID).
    """
    if not data:
        raise CallerError(field, "the recording is empty: 0 bytes", Reason.RECORDING_INVALID)
    sound = recognized(data, field)
    try:
        with np.errstate(invalid="ignore", over="ignore"):  # samples that are not finite are refused below
            decoded = _decode(sound, max_ms, field)
    except (soundfile.SoundFileError, RuntimeError, ValueError) as error:
        message = f"is a damaged {sound.kind} file, or has an encoding that is not supported ({_cause(error)})"
        raise CallerError(field, f"{message}; {conversion(sound.kind.lower())}", Reason.RECORDING_INVALID) from error
    _check_samples(decoded.samples, field)
    duration_ms = round(1000 * len(decoded.samples) / decoded.rate_hz)
    if duration_ms < min_ms:
        message = f"too short: {duration_ms} ms; at least {min_ms} ms are needed"
        raise CallerError(field, message, Reason.RECORDING_INVALID)
    notices = list(decoded.notices)
    samples = _faded(_amplified(decoded.samples, decoded.rate_hz, notices, field), decoded.rate_hz, notices)
    rate_hz = min(decoded.rate_hz, MAX_KEPT_RATE_HZ)
    if rate_hz != decoded.rate_hz:
        samples = soxr.resample(samples, decoded.rate_hz, rate_hz)
    return Recording(samples, rate_hz, transcript, tuple(notices))


# ---- decoding

_BAD_FILE = 7  # a code of libsndfile, whose text then speaks of files on a disk


def _cause(error: Exception) -> str:
    if not isinstance(error, soundfile.LibsndfileError):
        return str(error)
    return "it cannot be read" if error.code == _BAD_FILE else str(error.error_string).strip(" .")


class _Reader(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is read from its beginning to its end, with soundfile's seeks after each block left out.

    They fail at the end of a FLAC file whose header does not give its length.
    """

    def seekable(self) -> bool:
        """False."""
        return False


@dataclass(frozen=True, slots=True)
class _Decoded:
    """A decoded file, one channel `[T]`."""

    samples: Samples
    rate_hz: int
    notices: tuple[VoiceNotice, ...]


@dataclass(frozen=True, slots=True)
class _Mono:
    """The samples of a file as one channel `[T]`, and the energy of each of its channels `[channels]`."""

    samples: Samples
    energies: NDArray[np.float64]


def _decode(sound: SoundFile, max_ms: int, field: str) -> _Decoded:
    """Read a file, with channels that do not cancel out.

    Raises:
        CallerError: as `read_recording`.
        SoundFileError, RuntimeError, ValueError: of libsndfile.
    """
    if (extension := sound.kind.lower()) in aac_files.CONTAINERS:
        sound = replace(sound, kind="WAV", data=aac_files.to_wav(sound.data, extension, max_ms))
    with _Reader(io.BytesIO(sound.data)) as file:
        if file.subtype not in _SUBTYPES[sound.kind]:
            raise ValueError(f"its encoding is {file.subtype}")
        rate_hz, declared = _checked_rate(file, field), file.frames
        mono = _read_mono(file, max_ms, field)
    notices = []
    missing_ms = max(sound.missing_ms, _missing_ms(len(mono.samples), declared, rate_hz, field))
    if missing_ms >= _MIN_NOTICED_MISSING_MS:
        message = f"the last {missing_ms} ms that its header promises are missing"
        notices.append(VoiceNotice(VoiceNoticeCode.RECORDING_INCOMPLETE, message))
    if _cancels(mono):
        loudest = int(np.argmax(mono.energies))
        with _Reader(io.BytesIO(sound.data)) as file:
            mono = _read_mono(file, max_ms, field, loudest)
        message = (
            f"its {len(mono.energies)} channels cancel each other out (opposite phase); channel {loudest + 1} is used"
        )
        notices.append(VoiceNotice(VoiceNoticeCode.CHANNELS_CANCEL, message))
    return _Decoded(mono.samples, rate_hz, tuple(notices))


def _checked_rate(file: soundfile.SoundFile, field: str) -> int:
    """The sample rate of `file`, after a check of rate and channels."""
    rate_hz = int(file.samplerate)
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        message = f"{rate_hz} samples a second; {MIN_RATE_HZ} to {MAX_RATE_HZ} are accepted"
        raise CallerError(field, message, Reason.RECORDING_INVALID)
    if file.channels > MAX_CHANNELS:
        message = f"{file.channels} channels; at most {MAX_CHANNELS} are accepted"
        raise CallerError(field, message, Reason.RECORDING_INVALID)
    return rate_hz


def _read_mono(file: soundfile.SoundFile, max_ms: int, field: str, channel: int | None = None) -> _Mono:
    """All samples of `file`: of one channel, or the average of all.

    In blocks, so that a small compressed file cannot exhaust memory.
    """
    max_samples = round(max_ms * file.samplerate / 1000)
    blocks: list[Samples] = []
    energies = np.zeros(file.channels)
    total = 0
    while len(block := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):  # [T, channels]
        blocks.append(block.mean(axis=1, dtype=np.float32) if channel is None else block[:, channel].copy())
        energies += np.square(block, dtype=np.float64).sum(axis=0)
        total += len(block)
        if total > max_samples:
            raise CallerError(field, f"too long: over {max_ms} ms", Reason.RECORDING_INVALID)
    return _Mono(np.concatenate(blocks) if blocks else np.zeros(0, np.float32), energies)


def _missing_ms(samples: int, declared: int, rate_hz: int, field: str) -> int:
    """Milliseconds between the number of samples and that in the header.

    Raises:
        CallerError: they are more than `MAX_MISSING_MS`.
    """
    if not samples < declared < _UNKNOWN_FRAMES:
        return 0
    if 1000 * (declared - samples) > MAX_MISSING_MS * rate_hz:
        message = f"cut off: {samples} of {declared} samples are there"
        raise CallerError(field, message, Reason.RECORDING_INVALID)
    return 1000 * (declared - samples) // rate_hz


def _cancels(mono: _Mono) -> bool:
    """Whether the average of the channels has much less power than if they were independent."""
    independent = float(mono.energies.sum()) / len(mono.energies) ** 2
    return float(np.square(mono.samples, dtype=np.float64).sum()) < _CANCELLED * independent


# ---- samples


def _check_samples(samples: Samples, field: str) -> None:
    """Refuse empty and silent audio, and samples that are not finite."""
    if len(samples) == 0:
        raise CallerError(field, "the recording is empty: a header without samples", Reason.RECORDING_INVALID)
    bad = np.flatnonzero(~np.isfinite(samples))
    if len(bad):
        raise CallerError(field, f"sample {bad[0]} is not a finite number", Reason.RECORDING_INVALID)
    peak = float(np.abs(samples - samples.mean()).max())  # a constant offset, as of cheap microphones, is no sound
    if peak < MIN_PEAK:
        raise CallerError(field, f"silent: the largest sample is {peak:.1g} of full scale", Reason.RECORDING_INVALID)


def _amplified(samples: Samples, rate_hz: int, notices: list[VoiceNotice], field: str) -> Samples:
    """The samples, amplified if they are quiet, with a notice.

    Raises:
        CallerError: they are quiet and steady, so noise.
    """
    centered = samples - samples.mean()
    peak = float(np.abs(centered).max())
    if peak >= QUIET_PEAK:
        return samples
    soft, loud = np.percentile(frame_levels(centered, rate_hz, _FRAME_MS), (_SOFT_PERCENTILE, _LOUD_PERCENTILE))
    if loud < _MIN_QUIET_RANGE * soft:
        message = f"silent: steady noise of which the largest sample is {peak:.1g} of full scale"
        raise CallerError(field, message, Reason.RECORDING_INVALID)
    gain = AMPLIFIED_PEAK / peak
    message = f"very quiet, its peak is at {20 * np.log10(peak):.0f} dBFS; amplified by {20 * np.log10(gain):.0f} dB"
    notices.append(VoiceNotice(VoiceNoticeCode.RECORDING_QUIET, message))
    amplified: Samples = centered * np.float32(gain)
    return amplified


def _faded(samples: Samples, rate_hz: int, notices: list[VoiceNotice]) -> Samples:
    """The samples, faded out if they end in the middle of a sound, with a notice."""
    length = rate_hz * _END_MS // 1000
    end_level = float(np.sqrt(np.mean(np.square(samples[-length:], dtype=np.float64))))
    if end_level <= _MAX_END_LEVEL * float(np.percentile(frame_levels(samples, rate_hz, _FRAME_MS), _LOUD_PERCENTILE)):
        return samples
    message = f"ends in the middle of a sound; its last {_END_MS} ms are faded out"
    notices.append(VoiceNotice(VoiceNoticeCode.RECORDING_ENDS_ABRUPTLY, message))
    return fade(samples, out_samples=length)
