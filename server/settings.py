"""Settings of streams and of their utterances, as dataclasses: the wire's settings after they were checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import Enum

from intone.server.domain import Emotion
from intone.server.text.cues import TextFormat
from intone.server.text.pronunciation import Pronunciation


class FillerPolicy(Enum):
    """When a filler is played during a wait for speech."""

    OFF = "off"
    AUTO = "auto"
    EAGER = "eager"


@dataclass(frozen=True, slots=True)
class SpeechSettings:
    """How an utterance is spoken. `SpeechSettings` in `speech.proto` defines each field; empty and None inherit."""

    voice: str = ""
    language: str = ""
    emotion: Emotion | None = None
    engine: str = ""
    filler: FillerPolicy | None = None
    text_format: TextFormat | None = None
    normalize: bool | None = None
    pronunciations: tuple[Pronunciation, ...] = ()
    speed: float | None = None
    volume_db: float | None = None
    seed: int | None = None
    engine_parameters: Mapping[str, float] = field(default_factory=dict)

    def over(self, base: "SpeechSettings") -> "SpeechSettings":
        """These settings, with what they leave open taken from `base`.

        Pronunciations and engine parameters are merged; for the same word and language, or the same name, these count.
        """
        inherited = {one.name: getattr(base, one.name) for one in fields(self) if getattr(self, one.name) in (None, "")}
        own = {(entry.word, entry.language) for entry in self.pronunciations}
        others = tuple(entry for entry in base.pronunciations if (entry.word, entry.language) not in own)
        return replace(
            self,
            **inherited,
            pronunciations=(*self.pronunciations, *others),
            engine_parameters={**base.engine_parameters, **self.engine_parameters},
        )


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """Settings of one stream, the server's defaults filled in.

    Attributes:
        encoding: one of `audio.encoding.BYTES_PER_SAMPLE`.
        sample_rate_hz: of the audio sent to the client, at least 1.
        defaults: of utterances; voice, filler policy, text format and normalization are set.
        buffered: whether each unit is sent only when it is complete.
        offline: whether nobody listens yet: no fillers, no lead limit, no rerouting from busy engines.
        max_lead_ms: audio that may be sent ahead of playback; None for no limit.
        chunk_ms: exact length of chunks; None for chunks of any length up to the server's own.
        timings: whether word times were asked for.
        diagnostics: whether chunks carry the time of their engine step by stage.
        playback_delay_ms: from the receipt of audio to its sound, where the position is estimated.
        labels: the client's own, for the log.
        resumable: whether the client can resume the stream after a lost connection.
    """

    encoding: str
    sample_rate_hz: int
    defaults: SpeechSettings
    buffered: bool = False
    offline: bool = False
    max_lead_ms: int | None = None
    chunk_ms: int | None = None
    timings: bool = False
    diagnostics: bool = False
    playback_delay_ms: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    resumable: bool = False


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Limits of every stream. `StreamLimits` in `speech.proto` defines the fields that clients are told.

    Attributes:
        max_stream_characters: of all open utterances of a stream.
        max_malformed_messages: that are answered; with the next one the stream ends.
        max_waiting_answers: to the client's messages, that it has not read; with more the stream ends.
    """

    max_text_characters: int
    max_utterance_characters: int
    max_open_utterances: int
    idle_timeout_ms: int
    text_timeout_ms: int
    max_clip_bytes: int
    max_message_bytes: int
    max_stream_characters: int
    max_malformed_messages: int
    max_waiting_answers: int
