"""Events of a conversation: one value class for each kind of message from the server, with the same fields."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from intone.client.audio import Format, Samples
from intone.client.emotions import EmotionWeights
from intone.client.errors import IntoneError
from intone.client.settings import SpeechSettings


class TextSpan(NamedTuple):
    """Characters (Unicode code points) `start` to `end`, exclusive, of the utterance's text."""

    start: int
    end: int


def utf16_span(text: str, span: TextSpan) -> TextSpan:
    """The same span in UTF-16 code units, which JavaScript, C# and Java count.

    Args:
        text: the whole text of the utterance.
    """

    def units(end: int) -> int:
        return len(text[:end].encode("utf-16-le", "surrogatepass")) // 2

    return TextSpan(units(span.start), units(span.end))


class AudioPosition(NamedTuple):
    """A position in the audio of a stream: `sample` samples of the utterance lie before it."""

    utterance_id: str
    sample: int


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Limits and times of a stream.

    Attributes:
        max_text_characters: of one message, in code points.
        max_utterance_characters: of one utterance, in code points.
        max_open_utterances: utterances that have not ended.
        idle_timeout_ms: a stream ends after this long without a message, while nothing is spoken or played.
        text_timeout_ms: of utterances that set none.
        max_lead_ms: how far the server runs ahead of playback; None: no limit.
        max_clip_bytes: of an emotion clip.
        max_message_bytes: of one message of the client.
    """

    max_text_characters: int
    max_utterance_characters: int
    max_open_utterances: int
    idle_timeout_ms: int
    text_timeout_ms: int
    max_lead_ms: int | None
    max_clip_bytes: int
    max_message_bytes: int


@dataclass(frozen=True, slots=True)
class Configured:
    """The stream is configured and the server is ready to speak.

    Attributes:
        received_s: when the event was received, in seconds of the client's monotonic clock. All events use one clock.
        stream_id: unique on the server and in its log. A stream that was opened again has another one.
        format: of all audio of the stream.
        defaults: settings of utterances that have none of their own, with the server's filled in.
        features: what the server can do beyond the first version of the protocol, such as "timings".
        server_version: of the server's package.
    """

    received_s: float
    stream_id: str
    format: Format
    defaults: SpeechSettings
    limits: StreamLimits
    features: tuple[str, ...]
    server_version: str


@dataclass(frozen=True, slots=True)
class Route:
    """Which engine speaks. `reason` is a code such as "plain" or "busy"; `explanation` is the same for people."""

    engine: str
    reason: str
    explanation: str


@dataclass(frozen=True, slots=True)
class ResolvedEmotion:
    """The emotion that is voiced.

    Attributes:
        weights: all zeros is neutral.
        intensity: 0 to 1; the server compares it with its threshold for a strong emotion.
        source: "none", "utterance", "stream", "tag" or "text".
        explanation: which words decided it, for people.
    """

    weights: EmotionWeights = EmotionWeights()
    intensity: float = 0.0
    source: str = "none"
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """An utterance has been routed and will now be spoken. `voice` and `seed` are those that are used."""

    received_s: float
    utterance_id: str
    route: Route
    emotion: ResolvedEmotion
    voice: str
    seed: int


@dataclass(frozen=True, slots=True)
class Rerouted:
    """From `text_span` on, another engine speaks or another emotion is voiced."""

    received_s: float
    utterance_id: str
    route: Route
    emotion: ResolvedEmotion
    text_span: TextSpan


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """A chunk of audio. The chunks of an utterance arrive in order and without gaps.

    Attributes:
        sequence: number of the chunk in its utterance, from 0.
        offset_samples: position of its first sample in the utterance.
        sample_count: samples in `data`.
        kind: "speech", "filler" or "silence".
        data: the samples as received, in `format`.
        text_span: the unit of the text that speech belongs to; None for a filler or a pause.
        filler_text: what a filler says, such as "Hmm"; empty for speech and pauses.
        stage_ms: wall milliseconds of the step that made it, by stage, if `diagnostics` is set.
        format: the audio format of the stream.
    """

    received_s: float
    utterance_id: str
    sequence: int
    offset_samples: int
    sample_count: int
    kind: str
    data: bytes
    text_span: TextSpan | None
    filler_text: str
    stage_ms: Mapping[str, float]
    format: Format

    @property
    def samples(self) -> Samples:
        """The audio as float32, shape `[samples]`. Decoded on each access."""
        return self.format.decode(self.data)

    @property
    def duration_s(self) -> float:
        """Duration in seconds."""
        return self.sample_count / self.format.sample_rate_hz


@dataclass(frozen=True, slots=True)
class Phone:
    """A sound, in the International Phonetic Alphabet, and its place in the audio."""

    symbol: str
    start_sample: int
    end_sample: int


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word and its place in the utterance's audio.

    Attributes:
        text_span: where it is written.
        spoken: as it is spoken: "forty-two" for "42".
        start_sample, end_sample: its first sample, and one past its last, on the scale of `AudioPosition`.
        phones: its sounds, where the engine knows them.
    """

    text_span: TextSpan
    spoken: str
    start_sample: int
    end_sample: int
    phones: tuple[Phone, ...] = ()


@dataclass(frozen=True, slots=True)
class Timing:
    """When words are heard. A later message about the same words replaces an earlier one.

    Attributes:
        source: "estimated" from the length of the text, or "aligned" with the audio.
        final: these words will not be corrected any more.
    """

    received_s: float
    utterance_id: str
    words: tuple[TimedWord, ...]
    source: str
    final: bool


@dataclass(frozen=True, slots=True)
class Flushed:
    """Answers a flush: the audio of its text has been sent."""

    received_s: float
    flush_id: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What was spoken: code points received and spoken, and the length of what was sent.

    Attributes:
        unit_count: units that the text was spoken in.
        filler_count: fillers sent.
    """

    characters: int = 0
    spoken_characters: int = 0
    speech_ms: int = 0
    filler_ms: int = 0
    pause_ms: int = 0
    unit_count: int = 0
    filler_count: int = 0


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """Where the time of one utterance went, measured at the server. None means not applicable.

    Attributes:
        ttfa_ms: from the arrival of the text that completes the first unit to the first audible speech handed to the
            stream.
        filler_ttfa_ms: the same, to the first filler.
        queue_ms: the part of `ttfa_ms` spent waiting for the engine.
        rtf: real-time factor, synthesis time ÷ duration of the audio. Below 1 is faster than real time.
        synthesis_ms: wall time of synthesis.
        stage_ms: wall time by stage of synthesis.
        covered_ms: the part of `ttfa_ms` in which a filler or earlier speech was playing.
        predicted_ttfa_ms: the server's prediction of `ttfa_ms` when it routed the first unit.
    """

    ttfa_ms: float | None = None
    filler_ttfa_ms: float | None = None
    queue_ms: float | None = None
    rtf: float | None = None
    synthesis_ms: float = 0.0
    stage_ms: Mapping[str, float] = field(default_factory=dict)
    covered_ms: float | None = None
    predicted_ttfa_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """An utterance has ended: all its audio was sent, or no more will come. The last event of each utterance.

    Attributes:
        reason: "completed"; "empty" (there was nothing to speak); "interrupted" before all its audio was sent;
            "rejected" (its text or settings cannot be used); "failed" (the server could not speak all of it).
        error: the cause, if it was rejected or failed.
        sample_count: samples of all its audio.
    """

    received_s: float
    utterance_id: str
    reason: str
    error: IntoneError | None
    sample_count: int
    usage: Usage = field(default_factory=Usage)
    latency: LatencyReport = field(default_factory=LatencyReport)


@dataclass(frozen=True, slots=True)
class Cut:
    """What was heard of an utterance that was stopped.

    Attributes:
        heard_samples: samples of its audio that were heard.
        heard_characters: the length of `heard_text` in code points.
        heard_text: the text that was heard, cut at a word.
        unheard_text: the rest of the text that the server had received.
        source: how the server knows: "reported" (the interrupt gave the position), "extrapolated" from the last
            report, or "estimated" from when the audio was sent.
    """

    utterance_id: str
    heard_samples: int
    heard_characters: int
    heard_text: str
    unheard_text: str
    source: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Answers an interrupt. `cuts` are the utterances that were stopped, in the order of their start."""

    received_s: float
    interrupt_id: str
    cuts: tuple[Cut, ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something was done differently from what was asked for. Nothing ends because of it.

    Attributes:
        code: such as "untrained_weights".
        message: the same for people.
        utterance_id: empty if it is about the stream.
    """

    received_s: float
    code: str
    message: str
    utterance_id: str


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """The server refused a message, which had no effect; the conversation goes on.

    Attributes:
        request_index: number of the message on the stream, from 0, the config.
        utterance_id: that of the refused message; empty if it named none.
    """

    received_s: float
    request_index: int
    utterance_id: str
    error: IntoneError


@dataclass(frozen=True, slots=True)
class GoingAway:
    """The server is shutting down: no new utterance starts, open ones are finished within `grace_ms` milliseconds."""

    received_s: float
    grace_ms: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The stream has ended. `error` is the status of the call; None after `finish`."""

    received_s: float
    error: IntoneError | None
    usage: Usage


Event = (
    Configured
    | Started
    | AudioChunk
    | Timing
    | Rerouted
    | Flushed
    | Done
    | Interrupted
    | Notice
    | RequestRefused
    | GoingAway
    | Closed
)

EVENT_NAMES: dict[str, type] = {
    "configured": Configured,
    "started": Started,
    "audio": AudioChunk,
    "timing": Timing,
    "rerouted": Rerouted,
    "flushed": Flushed,
    "done": Done,
    "interrupted": Interrupted,
    "notice": Notice,
    "request_refused": RequestRefused,
    "going_away": GoingAway,
    "closed": Closed,
}
"""The classes of events by the names of the wire."""
