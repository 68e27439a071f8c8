"""Converts and checks the messages of clients. Errors name the path of the invalid field."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from intone.proto import audio_pb2, emotion_pb2, speech_pb2
from intone.server import events
from intone.server.audio.encoding import SUPPORTED_RATES_HZ
from intone.server.conversation.held_streams import Resume
from intone.server.domain import EMOTIONS, Emotion
from intone.server.emotion.estimate import MAX_WEIGHT_SUM
from intone.server.emotion.labels import parse_label
from intone.server.errors import CallerError, Reason
from intone.server.rpc.wire.decoding import Undecodable
from intone.server.settings import FillerPolicy, SpeechSettings, StreamSettings
from intone.server.text.characters import check_text
from intone.server.text.cues import TextFormat
from intone.server.text.pronunciation import Pronunciation, check_pronunciation
from intone.server.voices.voice_name import check_name

MAX_ID_CHARACTERS = 128
MAX_INTERRUPTED_IDS = 100
MAX_LABEL_CHARACTERS = 64
MAX_DESCRIPTION_CHARACTERS = 200
MAX_WEIGHT = 1.2
MAX_SEED = 2**53 - 1
MAX_PRONUNCIATIONS = 1000
MAX_WORD_CHARACTERS = 64
MAX_SOUND_CHARACTERS = 128
MAX_PARAMETERS = 64
MAX_LABELS = 16
MAX_LABEL_VALUE_CHARACTERS = 256
MAX_LANGUAGE_CHARACTERS = 35

WIRE_ENCODINGS = {
    audio_pb2.AUDIO_ENCODING_UNSPECIFIED: "pcm_s16le",
    audio_pb2.AUDIO_ENCODING_PCM_S16LE: "pcm_s16le",
    audio_pb2.AUDIO_ENCODING_PCM_F32LE: "pcm_f32le",
    audio_pb2.AUDIO_ENCODING_MULAW: "mulaw",
    audio_pb2.AUDIO_ENCODING_ALAW: "alaw",
}
FILLER_POLICIES = {
    speech_pb2.FILLER_POLICY_UNSPECIFIED: None,
    speech_pb2.FILLER_POLICY_AUTO: FillerPolicy.AUTO,
    speech_pb2.FILLER_POLICY_OFF: FillerPolicy.OFF,
    speech_pb2.FILLER_POLICY_EAGER: FillerPolicy.EAGER,
}
TEXT_FORMATS = {
    speech_pb2.TEXT_FORMAT_UNSPECIFIED: None,
    speech_pb2.TEXT_FORMAT_PLAIN: TextFormat.PLAIN,
    speech_pb2.TEXT_FORMAT_TAGS: TextFormat.TAGS,
    speech_pb2.TEXT_FORMAT_SSML: TextFormat.SSML,
}
SWITCHES = {speech_pb2.SWITCH_UNSPECIFIED: None, speech_pb2.SWITCH_ON: True, speech_pb2.SWITCH_OFF: False}


@dataclass(frozen=True, slots=True)
class Defaults:
    """Server settings that checks need, and that apply where a config leaves a field out.

    Attributes:
        settings: of utterances; voice, filler policy, text format and normalization are set.
        max_lead_ms: of live streams.
        service_class: where none is given.
        find_clip: the bytes of an uploaded emotion clip, by id and path of the field; it fails if there is none.
    """

    settings: SpeechSettings
    sample_rate_hz: int
    max_lead_ms: int
    max_text_characters: int
    find_clip: Callable[[str, str], bytes]
    service_class: int = speech_pb2.SERVICE_CLASS_LIVE


# ---- the stream


def first_message(
    message: speech_pb2.StreamSynthesizeRequest | Undecodable, defaults: Defaults
) -> StreamSettings | Resume:
    """The settings of a new stream, or the request to go on with one.

    Raises:
        CallerError: the message is neither, or a field of it is wrong.
    """
    if isinstance(message, Undecodable):
        raise message.error
    kind = message.WhichOneof("request")
    if kind == "resume":
        return Resume(message.resume.stream_id, message.resume.resume_token, message.resume.received_count)
    if kind != "config":
        text = f"must be the first message of a stream, but {kind or 'an empty message'} came first"
        raise CallerError("config", text, Reason.CONFIG_MISSING)
    return stream_settings(message.config, defaults)


def client_event(message: speech_pb2.StreamSynthesizeRequest | Undecodable, defaults: Defaults) -> events.ClientEvent:
    """Any later message. Never raises: an invalid message becomes an event with its error."""
    if isinstance(message, Undecodable):
        return events.InvalidMessage(message.error)
    kind = message.WhichOneof("request")
    try:
        if kind is not None:
            return _EVENTS[kind](getattr(message, kind), defaults)
        if message.ByteSize():
            raise CallerError("request", "is of a kind that this server does not know", Reason.UNSUPPORTED)
        kinds = ", ".join(field.name for field in message.DESCRIPTOR.oneofs_by_name["request"].fields)
        raise CallerError("request", f"is empty; it takes one of {kinds}", Reason.VALUE_MISSING)
    except CallerError as error:
        return events.InvalidMessage(error)


def _config(message: speech_pb2.StreamConfig | speech_pb2.Resume, defaults: Defaults) -> events.ClientEvent:
    field = "config" if isinstance(message, speech_pb2.StreamConfig) else "resume"
    raise CallerError(field, "is the first message of a call, and this is a later one", Reason.CONFIG_REPEATED)


def _text(message: speech_pb2.TextInput, defaults: Defaults) -> events.TextInput:
    utterance_id = _id(message.utterance_id, "text.utterance_id")
    try:
        check_text(message.delta, "text.delta", defaults.max_text_characters)
        offset = _optional(message, "text_offset", 0, 2**31 - 1, "text")
        return events.TextInput(utterance_id, message.delta, message.end_of_utterance, offset)
    except CallerError as error:
        return events.TextInput(utterance_id, fault=error)


def _start(message: speech_pb2.StartUtterance, defaults: Defaults) -> events.StartUtterance:
    utterance_id = _id(message.utterance_id, "start.utterance_id")
    try:
        return events.StartUtterance(
            utterance_id,
            speech_settings(message.settings, "start.settings", defaults),
            _optional(message, "text_timeout_ms", 100, 600_000, "start"),
            _optional(message, "cover_after_ms", 50, 60_000, "start"),
        )
    except CallerError as error:
        return events.StartUtterance(utterance_id, fault=error)


def _flush(message: speech_pb2.Flush, defaults: Defaults) -> events.Flush:
    flush_id = _id(message.flush_id, "flush.flush_id", required=False)
    return events.Flush(flush_id, _id(message.utterance_id, "flush.utterance_id", required=False))


def _playback(message: speech_pb2.PlaybackProgress, defaults: Defaults) -> events.PlaybackProgress:
    return events.PlaybackProgress(_position(message.played, "playback.played"))


def _interrupt(message: speech_pb2.Interrupt, defaults: Defaults) -> events.Interrupt:
    interrupt_id = _id(message.interrupt_id, "interrupt.interrupt_id", required=False)
    if len(message.utterance_ids) > MAX_INTERRUPTED_IDS:
        text = f"has {len(message.utterance_ids)} ids; it takes at most {MAX_INTERRUPTED_IDS}"
        raise CallerError("interrupt.utterance_ids", text, Reason.VALUE_OUT_OF_RANGE, limit=MAX_INTERRUPTED_IDS)
    ids = [_id(value, f"interrupt.utterance_ids[{index}]") for index, value in enumerate(message.utterance_ids)]
    played = _position(message.played, "interrupt.played") if message.HasField("played") else None
    return events.Interrupt(interrupt_id, tuple(ids), played)


_EVENTS: dict[str, Callable[[Any, Defaults], events.ClientEvent]] = {
    "config": _config,
    "resume": _config,
    "text": _text,
    "start": _start,
    "flush": _flush,
    "interrupt": _interrupt,
    "playback": _playback,
    "finish": lambda message, defaults: events.Finish(),
    "leave": lambda message, defaults: events.Leave(),
}
"""By member of `StreamSynthesizeRequest.request`."""


def _position(message: audio_pb2.AudioPosition, field: str) -> events.AudioPosition:
    """Never refused for its sample: what lies outside of the audio sent is clamped."""
    return events.AudioPosition(_id(message.utterance_id, f"{field}.utterance_id"), message.sample)


def _id(value: str, field: str, required: bool = True) -> str:
    if required and not value:
        raise CallerError(field, f"is empty; it takes 1 to {MAX_ID_CHARACTERS} characters", Reason.VALUE_MISSING)
    check_text(value, field, MAX_ID_CHARACTERS)
    return value


# ---- settings


def stream_settings(config: speech_pb2.StreamConfig, defaults: Defaults) -> StreamSettings:
    """A stream's settings, completed with the server's defaults.

    Raises:
        CallerError: a value is out of range or unknown to this server.
    """
    rate_hz = config.format.sample_rate_hz if config.format.HasField("sample_rate_hz") else defaults.sample_rate_hz
    if rate_hz not in SUPPORTED_RATES_HZ:
        known = ", ".join(map(str, SUPPORTED_RATES_HZ))
        text = f"is {rate_hz}; this server sends {known}"
        raise CallerError("config.format.sample_rate_hz", text, Reason.VALUE_OUT_OF_RANGE, supported=known)
    service_class = _member(config.service_class, speech_pb2.ServiceClass, "config.service_class")
    offline = (service_class or defaults.service_class) == speech_pb2.SERVICE_CLASS_OFFLINE
    lead_ms = _optional(config, "max_lead_ms", 200, 600_000, "config")
    delivery = _member(config.delivery, speech_pb2.Delivery, "config.delivery")
    timings = _member(config.timings, speech_pb2.TimingKind, "config.timings")
    return StreamSettings(
        encoding=_known(config.format.encoding, WIRE_ENCODINGS, "config.format.encoding"),
        sample_rate_hz=rate_hz,
        defaults=speech_settings(config.defaults, "config.defaults", defaults).over(defaults.settings),
        buffered=delivery == speech_pb2.DELIVERY_BUFFERED,
        offline=offline,
        max_lead_ms=lead_ms if offline or lead_ms is not None else defaults.max_lead_ms,
        chunk_ms=_optional(config, "chunk_ms", 10, 1000, "config"),
        timings=timings != speech_pb2.TIMING_KIND_UNSPECIFIED,
        diagnostics=config.diagnostics,
        playback_delay_ms=_optional(config, "playback_delay_ms", 0, 5000, "config") or 0,
        labels=labels(config.labels, "config.labels"),
        resumable=config.resumable,
    )


def speech_settings(message: speech_pb2.SpeechSettings, field: str, defaults: Defaults) -> SpeechSettings:
    """Settings as they are given; what is absent stays open. Names of voices and engines are checked elsewhere.

    Raises:
        CallerError: a value is out of range or unknown to this server.
    """
    seed = _optional(message, "seed", 0, MAX_SEED, field)
    return SpeechSettings(
        voice=check_name(message.voice, f"{field}.voice") if message.voice else "",
        language=_language(message.language, f"{field}.language"),
        emotion=emotion(message.emotion, f"{field}.emotion", defaults) if message.HasField("emotion") else None,
        engine=message.engine,
        filler=_known(message.filler, FILLER_POLICIES, f"{field}.filler"),
        text_format=_known(message.text_format, TEXT_FORMATS, f"{field}.text_format"),
        normalize=_known(message.normalization, SWITCHES, f"{field}.normalization"),
        pronunciations=_pronunciations(message.pronunciations, f"{field}.pronunciations"),
        speed=_optional_float(message, "speed", 0.5, 2.0, field),
        volume_db=_optional_float(message, "volume_db", -60.0, 20.0, field),
        seed=seed,
        engine_parameters=_parameters(message.engine_parameters, f"{field}.engine_parameters"),
    )


def labels(given: Mapping[str, str], field: str) -> dict[str, str]:
    """Labels of the client's own.

    Raises:
        CallerError: there are too many, or one is too long.
    """
    if len(given) > MAX_LABELS:
        text = f"has {len(given)} labels; it takes at most {MAX_LABELS}"
        raise CallerError(field, text, Reason.VALUE_OUT_OF_RANGE, limit=MAX_LABELS)
    for key, value in given.items():
        if not key:
            raise CallerError(field, "has a label without a name", Reason.VALUE_MISSING)
        check_text(key, field, MAX_LABEL_CHARACTERS)
        check_text(value, f"{field}[{key}]", MAX_LABEL_VALUE_CHARACTERS)
    return dict(given)


def _language(code: str, field: str) -> str:
    parts = code.split("-")
    well_formed = parts[0].isalpha() and 2 <= len(parts[0]) <= 8 and all(0 < len(part) <= 8 for part in parts)
    if code and not (well_formed and code.isascii() and code.replace("-", "").isalnum()):
        raise CallerError(field, 'is not a BCP 47 code such as "en" or "zh-CN"')
    if len(code) > MAX_LANGUAGE_CHARACTERS:
        text = f"has {len(code)} characters; it takes at most {MAX_LANGUAGE_CHARACTERS}"
        raise CallerError(field, text, Reason.VALUE_OUT_OF_RANGE)
    return code


def _pronunciations(entries: Any, field: str) -> tuple[Pronunciation, ...]:
    if len(entries) > MAX_PRONUNCIATIONS:
        text = f"has {len(entries)} entries; it takes at most {MAX_PRONUNCIATIONS}"
        raise CallerError(field, text, Reason.VALUE_OUT_OF_RANGE, limit=MAX_PRONUNCIATIONS)
    return tuple(_pronunciation(entry, f"{field}[{index}]") for index, entry in enumerate(entries))


def _pronunciation(entry: speech_pb2.Pronunciation, field: str) -> Pronunciation:
    kind = entry.WhichOneof("sounds")
    if not kind:
        raise CallerError(field, "has no sounds: set ipa, pinyin or spoken_as", Reason.VALUE_MISSING)
    for name, value, limit in (
        ("word", entry.word, MAX_WORD_CHARACTERS),
        (kind, getattr(entry, kind), MAX_SOUND_CHARACTERS),
    ):
        check_text(value, f"{field}.{name}", limit)
        if not value.strip():
            raise CallerError(f"{field}.{name}", "is blank", Reason.VALUE_MISSING)
    language = _language(entry.language, f"{field}.language")
    pronunciation = Pronunciation(word=entry.word, language=language, **{kind: getattr(entry, kind)})
    try:
        check_pronunciation(pronunciation)
    except ValueError as error:
        name, _, message = str(error).partition(": ")
        raise CallerError(f"{field}.{name}", message) from None
    return pronunciation


def _parameters(given: Mapping[str, float], field: str) -> dict[str, float]:
    if len(given) > MAX_PARAMETERS:
        text = f"has {len(given)} entries; it takes at most {MAX_PARAMETERS}"
        raise CallerError(field, text, Reason.VALUE_OUT_OF_RANGE, limit=MAX_PARAMETERS)
    for name, value in given.items():
        check_text(name, field, MAX_LABEL_CHARACTERS)
        if not math.isfinite(value):
            raise CallerError(f"{field}[{name}]", f"is {value}, not a finite number")
    low_ms, high_ms = given.get("min_audio_ms", 0.0), given.get("max_audio_ms", math.inf)
    if low_ms > high_ms:
        text = f"is {low_ms:g}, more than max_audio_ms, which is {high_ms:g}"
        raise CallerError(f"{field}[min_audio_ms]", text, Reason.VALUE_OUT_OF_RANGE)
    return dict(given)


def emotion(message: emotion_pb2.Emotion, field: str, defaults: Defaults) -> Emotion:
    """An emotion. Its strength is the largest weight, after scaling by the intensity, at most 1.

    Raises:
        CallerError: no kind is set, or its value is wrong.
    """
    given = _optional_float(message, "intensity", 0.0, 1.0, field)
    intensity = 1.0 if given is None else given
    match message.WhichOneof("kind"):
        case "label":
            return _labelled(message.label, intensity, f"{field}.label")
        case "weights":
            weights = tuple(intensity * value for value in _weights(message.weights, f"{field}.weights"))
            return Emotion(weights, min(1.0, max(weights)))
        case "description":
            _check_words(message.description, f"{field}.description", MAX_DESCRIPTION_CHARACTERS)
            return Emotion(intensity=intensity, description=message.description)
        case "clip_id":
            defaults.find_clip(message.clip_id, f"{field}.clip_id")
            return Emotion(intensity=intensity, clip_id=message.clip_id)
    text = "has no kind: set label, weights, description or clip_id, or leave the emotion out"
    raise CallerError(field, text, Reason.VALUE_MISSING)


def _labelled(label: str, intensity: float, field: str) -> Emotion:
    """A known label; any other text is a description."""
    _check_words(label, field, MAX_LABEL_CHARACTERS)
    found = parse_label(label)
    if found is None:
        return Emotion(intensity=intensity, description=label)
    weights = tuple(intensity * weight for weight in found.emotion.weights)
    return Emotion(weights, intensity * found.emotion.intensity)


def _check_words(text: str, field: str, max_characters: int) -> None:
    check_text(text, field, max_characters)
    if not text.strip():
        raise CallerError(field, "is blank", Reason.VALUE_MISSING)


def _weights(message: emotion_pb2.EmotionWeights, field: str) -> tuple[float, ...]:
    values = tuple(getattr(message, name) for name in EMOTIONS)
    for name, value in zip(EMOTIONS, values, strict=True):
        if not math.isfinite(value) or not 0 <= value <= MAX_WEIGHT + 1e-6:
            text = f"is {value:g}; a weight is from 0 to {MAX_WEIGHT}"
            raise CallerError(f"{field}.{name}", text, Reason.VALUE_OUT_OF_RANGE, low=0, high=MAX_WEIGHT)
    if sum(values) > MAX_WEIGHT_SUM + 1e-6:
        text = f"sum to {sum(values):.3g}; the sum is at most {MAX_WEIGHT_SUM}"
        raise CallerError(field, text, Reason.VALUE_OUT_OF_RANGE, limit=MAX_WEIGHT_SUM)
    return values


def _optional(message: Any, name: str, low: int, high: int, field: str) -> int | None:
    """An optional whole number; None where it is absent."""
    value = _optional_float(message, name, low, high, field)
    return None if value is None else int(value)


def _optional_float(message: Any, name: str, low: float, high: float, field: str) -> float | None:
    if not message.HasField(name):
        return None
    value: float = getattr(message, name)
    if not (math.isfinite(value) and low <= value <= high):
        text = f"is {value:g}; it takes {low:g} to {high:g}"
        raise CallerError(f"{field}.{name}", text, Reason.VALUE_OUT_OF_RANGE, low=low, high=high)
    return value


def _known(value: int, table: Mapping[Any, Any], field: str) -> Any:
    if value not in table:
        raise CallerError(field, f"is {value}, which is unknown to this server", Reason.VALUE_UNKNOWN)
    return table[value]


def _member(value: int, enum: Any, field: str) -> int:
    if value not in enum.values():
        raise CallerError(field, f"is {value}, which is unknown to this server", Reason.VALUE_UNKNOWN)
    return value
