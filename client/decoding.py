"""Decodes the server's wire messages into events."""

from dataclasses import dataclass, field, replace
from typing import Any

import grpc

from intone.client.audio import Format
from intone.client.emotions import Emotion, EmotionWeights
from intone.client.errors import error_for, from_status
from intone.client.events import (
    EVENT_NAMES,
    AudioChunk,
    Closed,
    Configured,
    Cut,
    Event,
    LatencyReport,
    Phone,
    ResolvedEmotion,
    Route,
    StreamLimits,
    TextSpan,
    TimedWord,
    Usage,
)
from intone.client.messages import enum_name, from_message
from intone.client.settings import Pronunciation, SpeechSettings
from intone.proto import speech_pb2

KINDS: dict[str, type] = {
    "AudioFormat": Format,
    **{
        kind.__name__: kind
        for kind in (
            Cut,
            Emotion,
            EmotionWeights,
            LatencyReport,
            Phone,
            Pronunciation,
            ResolvedEmotion,
            Route,
            SpeechSettings,
            StreamLimits,
            TextSpan,
            TimedWord,
            Usage,
        )
    },
}
"""Classes of nested messages."""

_SWITCHES = {"on": True, "off": False}


@dataclass(slots=True)
class _Place:
    """Where the audio of an utterance is: the next sequence number, and what is being spoken."""

    sequence: int = 0
    text_span: TextSpan | None = None
    filler_text: str = ""


@dataclass(slots=True)
class Decoder:
    """Decodes the responses of one stream, in order.

    Fills in what the wire sends only once: the text span of the later chunks of a unit, the text of a filler.
    """

    format: Format | None = None
    _places: dict[str, _Place] = field(default_factory=dict)

    def decode(self, response: speech_pb2.StreamSynthesizeResponse, received_s: float) -> Event | None:
        """Decode one response. Returns None for a kind of message that this client does not know.

        Raises:
            ServerFailed: a chunk of audio is missing, or comes before `configured`.
        """
        name = response.WhichOneof("response")
        if name is None:
            return None
        message: Any = getattr(response, name)
        kind = EVENT_NAMES[name]
        if kind is AudioChunk:
            return self._audio(message, received_s)
        if kind is Configured:
            return self._configured(message, received_s)
        if kind is Closed:
            error = from_status(message.status) if message.status.code else None
            return Closed(received_s, error, from_message(Usage, message.usage, KINDS))
        if name == "done":
            self._places.pop(message.utterance_id, None)
        event: Event = from_message(kind, message, KINDS, received_s=received_s)
        return event

    def _configured(self, message: speech_pb2.Configured, received_s: float) -> Configured:
        event = from_message(Configured, message, KINDS, received_s=received_s)
        encoding = event.format.encoding
        self.format = replace(event.format, encoding="pcm_s16le" if encoding == "unspecified" else encoding)
        settings: Any = event.defaults
        defaults = replace(
            settings,
            filler=None if settings.filler == "unspecified" else settings.filler,
            text_format=None if settings.text_format == "unspecified" else settings.text_format,
            normalization=_SWITCHES.get(settings.normalization),
        )
        return replace(event, format=self.format, defaults=defaults)

    def _audio(self, message: speech_pb2.AudioChunk, received_s: float) -> AudioChunk:
        if self.format is None:
            raise error_for(grpc.StatusCode.INTERNAL, "the server sent audio before `configured`, which has its format")
        place = self._places.setdefault(message.utterance_id, _Place())
        if message.sequence != place.sequence:
            missing = f"chunk {message.sequence} of {message.utterance_id!r} came in place of chunk {place.sequence}"
            raise error_for(grpc.StatusCode.INTERNAL, f"the server left out audio: {missing}")
        place.sequence += 1
        if message.HasField("text_span"):
            place.text_span = TextSpan(message.text_span.start, message.text_span.end)
        place.filler_text = message.filler_text or place.filler_text
        kind = enum_name(speech_pb2.AudioKind.DESCRIPTOR, message.kind)
        # Not by `from_message`, which takes several times as long: audio comes in small pieces.
        return AudioChunk(
            received_s=received_s,
            utterance_id=message.utterance_id,
            sequence=message.sequence,
            offset_samples=message.offset_samples,
            sample_count=message.sample_count,
            kind=kind,
            data=message.data,
            text_span=place.text_span if kind == "speech" or message.HasField("text_span") else None,
            filler_text=place.filler_text if kind == "filler" else message.filler_text,
            stage_ms=dict(message.stage_ms),
            format=self.format,
        )
