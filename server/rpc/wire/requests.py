"""Converts and checks the messages of clients. Errors name the path of the invalid field."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from intone.proto import audio_pb2, emotion_pb2, speech_pb2
from intone.server import events
from intone.server.audio.encoding import SUPPORTED_RATES_HZ
from intone.server.domain import EMOTIONS, Emotion, SynthesisOptions
from intone.server.emotion.estimate import MAX_WEIGHT_SUM
from intone.server.errors import CallerError, Fault
from intone.server.rpc.wire.decoding import Undecodable
from intone.server.text.characters import check_text
from intone.server.voices.store import check_name

MAX_ID_CHARACTERS = 128
MAX_DESCRIPTION_CHARACTERS = 200
MAX_EMOTION_CLIP_BYTES = 2 << 20
CLIP_MAGIC = (b"RIFF", b"fLaC", b"OggS")
MAX_WEIGHT = 1.2

WIRE_ENCODINGS = {
    audio_pb2.AUDIO_ENCODING_UNSPECIFIED: "pcm_s16le",
    audio_pb2.AUDIO_ENCODING_PCM_S16LE: "pcm_s16le",
    audio_pb2.AUDIO_ENCODING_PCM_F32LE: "pcm_f32le",
    audio_pb2.AUDIO_ENCODING_MULAW: "mulaw",
    audio_pb2.AUDIO_ENCODING_ALAW: "alaw",
}
FILLER_POLICIES = {
    speech_pb2.FILLER_POLICY_UNSPECIFIED: events.FillerPolicy.AUTO,
    speech_pb2.FILLER_POLICY_AUTO: events.FillerPolicy.AUTO,
    speech_pb2.FILLER_POLICY_OFF: events.FillerPolicy.OFF,
    speech_pb2.FILLER_POLICY_EAGER: events.FillerPolicy.EAGER,
}
LABELS = {
    emotion_pb2.EMOTION_LABEL_NEUTRAL: None,
    **{getattr(emotion_pb2, f"EMOTION_LABEL_{name.upper()}"): index for index, name in enumerate(EMOTIONS)},
}


OPTION_RANGES = {
    "steps": (1.0, 100.0),
    "guidance": (0.0, 10.0),
    "min_audio_ms": (0.0, 60_000.0),
    "max_audio_ms": (100.0, 600_000.0),
    "speed": (0.5, 2.0),
}


@dataclass(frozen=True, slots=True)
class Defaults:
    """Server settings that checks need, and that apply where a config leaves a field out."""

    voice: str
    sample_rate_hz: int
    max_lead_ms: int | None
    normalize: bool
    max_text_characters: int


# ---- the stream


def first_message(
    message: speech_pb2.StreamSynthesizeRequest | Undecodable, defaults: Defaults
) -> events.StreamSettings:
    """The settings of a stream.

    Raises:
        CallerError: the message is not a config, or a field of it is wrong.
    """
    if isinstance(message, Undecodable):
        raise message.error
    kind = message.WhichOneof("request")
    if kind != "config":
        raise CallerError(
            "config", f"must be the first message of a stream, but {kind or 'an empty message'} came first"
        )
    return settings(message.config, defaults)


def client_event(message: speech_pb2.StreamSynthesizeRequest | Undecodable, defaults: Defaults) -> events.ClientEvent:
    """Any later message. Never raises: an invalid message becomes an event with its error."""
    if isinstance(message, Undecodable):
        return events.InvalidMessage(message.error)
    try:
        match message.WhichOneof("request"):
            case "text":
                return _text(message.text, defaults.max_text_characters)
            case "flush":
                return events.Flush(_id(message.flush.flush_id, "flush.flush_id", required=False))
            case "cancel":
                return _cancel(message.cancel)
            case "progress":
                return events.PlaybackProgress(message.progress.played_ms)
            case "config":
                raise CallerError("config", "was sent already; a stream has one, its first message", Fault.INVALID)
    except CallerError as error:
        return events.InvalidMessage(error)
    return events.InvalidMessage(CallerError("request", "is empty: set config, text, flush, cancel or progress"))


def _text(message: speech_pb2.TextInput, max_characters: int) -> events.TextInput:
    utterance_id = _id(message.utterance_id, "text.utterance_id")
    try:
        check_text(message.delta, "text.delta", max_characters)
        return events.TextInput(
            utterance_id,
            message.delta,
            message.end_of_utterance,
            emotion(message.emotion, "text.emotion") if message.HasField("emotion") else None,
            _voice(message.voice, "text.voice") or None,
            options(message.options, "text.options") if message.HasField("options") else None,
        )
    except CallerError as error:
        return events.TextInput(utterance_id, fault=error)


def _cancel(message: speech_pb2.Cancel) -> events.Interrupt:
    played_ms = message.played_ms if message.HasField("played_ms") else None
    return events.Interrupt(_id(message.utterance_id, "cancel.utterance_id", required=False), played_ms)


def _id(value: str, field: str, required: bool = True) -> str:
    if required and not value:
        raise CallerError(field, "is empty; it takes 1 to 128 characters")
    check_text(value, field, MAX_ID_CHARACTERS)
    return value


def _voice(name: str, field: str) -> str:
    """An optional name, of valid form: errors repeat it, and the trailers of a call hold only a few kB."""
    if name:
        check_name(name, field)
    return name


# ---- settings


def settings(config: speech_pb2.StreamConfig, defaults: Defaults, field: str = "config") -> events.StreamSettings:
    """A stream's settings, completed with the server's defaults.

    Raises:
        CallerError: a value is out of range or unknown to this server.
    """
    rate_hz = config.format.sample_rate_hz or defaults.sample_rate_hz
    if rate_hz not in SUPPORTED_RATES_HZ:
        known = ", ".join(map(str, SUPPORTED_RATES_HZ))
        raise CallerError(f"{field}.format.sample_rate_hz", f"is {rate_hz}; this server sends {known}")
    lead_ms = defaults.max_lead_ms
    if config.HasField("lead_limit_ms"):
        lead_ms = round(_within(config.lead_limit_ms, 200, 600_000, f"{field}.lead_limit_ms"))
    delivery = _member(config.delivery, speech_pb2.Delivery, f"{field}.delivery")
    return events.StreamSettings(
        encoding=_known(config.format.encoding, WIRE_ENCODINGS, f"{field}.format.encoding"),
        sample_rate_hz=rate_hz,
        voice=_voice(config.voice, f"{field}.voice") or defaults.voice,
        emotion=emotion(config.emotion, f"{field}.emotion") if config.HasField("emotion") else None,
        engine=config.engine,
        buffered=delivery == speech_pb2.DELIVERY_BUFFERED,
        filler=_known(config.filler, FILLER_POLICIES, f"{field}.filler"),
        max_lead_ms=lead_ms,
        options=options(config.options, f"{field}.options"),
        normalize=config.normalize if config.HasField("normalize") else defaults.normalize,
    )


def options(message: speech_pb2.SynthesisOptions, field: str) -> SynthesisOptions:
    """Settings of utterances.

    Raises:
        CallerError: a value is out of its range.
    """
    given: dict[str, Any] = {descriptor.name: value for descriptor, value in message.ListFields()}
    # All fields are `optional`, so ListFields contains a field that was set to 0.
    for name, (low, high) in OPTION_RANGES.items():
        if name in given:
            _within(given[name], low, high, f"{field}.{name}")
    low_ms, high_ms = given.get("min_audio_ms", 0), given.get("max_audio_ms", 600_000)
    if low_ms > high_ms:
        raise CallerError(f"{field}.min_audio_ms", f"is {low_ms}, more than max_audio_ms, which is {high_ms}")
    return SynthesisOptions(**given)


def emotion(message: emotion_pb2.Emotion, field: str) -> Emotion:
    """An emotion.

    Raises:
        CallerError: no kind is set, or its value is wrong.
    """
    intensity = None
    if message.HasField("intensity"):
        intensity = _within(message.intensity, 0.0, 1.0, f"{field}.intensity")
    match message.WhichOneof("kind"):
        case "label":
            strength = 1.0 if intensity is None else intensity
            index = _known(message.label, LABELS, f"{field}.label")
            if index is None:
                return Emotion()
            return Emotion(tuple(strength if i == index else 0.0 for i in range(len(EMOTIONS))), strength)
        case "vector":
            weights = _weights(message.vector.weights, f"{field}.vector.weights")
            return Emotion(weights, max(weights) if intensity is None else intensity)
        case "description":
            check_text(message.description, f"{field}.description", MAX_DESCRIPTION_CHARACTERS)
            if not message.description.strip():
                raise CallerError(f"{field}.description", "is blank")
            return Emotion(intensity=1.0 if intensity is None else intensity, description=message.description)
        case "clip":
            return Emotion(
                intensity=1.0 if intensity is None else intensity, clip=_clip(message.clip.audio, f"{field}.clip")
            )
    raise CallerError(field, "has no kind: set label, vector, description or clip, or leave the emotion out")


def _clip(audio: bytes, field: str) -> bytes:
    if not audio:
        raise CallerError(f"{field}.audio", "is empty; it takes a whole WAV, FLAC or Ogg file")
    if len(audio) > MAX_EMOTION_CLIP_BYTES:
        raise CallerError(
            f"{field}.audio", f"has {len(audio)} bytes; at most {MAX_EMOTION_CLIP_BYTES} are taken", Fault.TOO_LARGE
        )
    if not audio.startswith(CLIP_MAGIC):
        raise CallerError(f"{field}.audio", "is neither a WAV, nor a FLAC, nor an Ogg file")
    return audio


def _weights(values: Sequence[float], field: str) -> tuple[float, ...]:
    if len(values) != len(EMOTIONS):
        raise CallerError(field, f"has {len(values)} numbers; it takes {len(EMOTIONS)}: {', '.join(EMOTIONS)}")
    for name, value in zip(EMOTIONS, values, strict=True):
        if not math.isfinite(value) or not 0 <= value <= MAX_WEIGHT + 1e-6:
            raise CallerError(field, f"has {value:g} for {name}; a weight is from 0 to {MAX_WEIGHT}")
    if sum(values) > MAX_WEIGHT_SUM + 1e-6:
        raise CallerError(field, f"sums to {sum(values):.3g}; the sum is at most {MAX_WEIGHT_SUM}")
    return tuple(values)


def _within(value: float, low: float, high: float, field: str) -> float:
    if not (math.isfinite(value) and low <= value <= high):
        raise CallerError(field, f"is {value:g}; it takes {low:g} to {high:g}")
    return value


def _known(value: int, table: Mapping[Any, Any], field: str) -> Any:
    if value not in table:
        raise CallerError(field, f"is {value}, which is unknown to this server")
    return table[value]


def _member(value: int, enum: Any, field: str) -> int:
    if value not in enum.values():
        raise CallerError(field, f"is {value}, which is unknown to this server")
    return value
