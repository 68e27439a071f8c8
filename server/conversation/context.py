"""What sessions are given: `ServerContext`, shared by all of them, and `StreamContext`, for one stream."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from intone.server.conversation.outbox import Outbox
from intone.server.conversation.pacing import Playback
from intone.server.conversation.utterance import Utterance
from intone.server.domain import Voice
from intone.server.emotion.analyzers import EmotionAnalyzers
from intone.server.errors import CallerError
from intone.server.events import EmotionSource, ResolvedEmotion, StreamSettings, TextInput
from intone.server.routing.router import Router
from intone.server.routing.ttfa_forecast import TTFAForecast
from intone.server.runtime.worker import Worker
from intone.server.text.characters import detect_language
from intone.server.text.segmenter import Segmenter
from intone.server.voices.fillers import FillerChooser


@dataclass(frozen=True, slots=True)
class FillerSettings:
    """When fillers play.

    Attributes:
        threshold_ms: silence that needs no filler. A longer wait, if predicted, starts with a filler at once; if not
            predicted, the filler starts after this time.
        min_ms: shortest part of a filler that is played once it has started.
        gap_ms: silence from a filler to speech.
        max_in_a_row: fillers before one unit.
    """

    threshold_ms: float = 400.0
    min_ms: float = 150.0
    gap_ms: float = 80.0
    max_in_a_row: int = 2


@dataclass(frozen=True, slots=True)
class ServerContext:
    """Engines, settings and functions that all sessions of a server share."""

    workers: Mapping[str, Worker]
    """By engine name."""
    router: Router
    plain_engine: str
    """The engine for plain speech. Its loudness and sample rate are the defaults of the server."""
    find_voice: Callable[[str], Voice]
    """Raises `CallerError`, field `voice`, for an unknown name."""
    segmenter: Callable[[], Segmenter]
    """Makes the segmenter of an utterance."""
    normalize: Callable[[str, bool, str], Awaitable[str]]
    """Normalizes a unit's text: the text, whether to normalize, the conversation's language so far (empty: unknown)."""
    draw_seed: Callable[[], int]
    clock: Callable[[], float]
    """Monotonic, in seconds."""
    max_open_utterances: int
    max_utterance_characters: int
    wait_ms: float
    """Time after which text without a unit boundary is spoken."""
    chunk_ms: float
    """Longest chunk of audio."""
    analyzers: EmotionAnalyzers
    forecast: TTFAForecast
    filler: FillerSettings
    has_fillers: bool
    """Whether the server renders fillers: a voice without one is then reported by a warning."""
    match_loudness: bool = True
    pause_scale: float = 1.0
    """Factor for the pauses between units."""

    def new_utterance(self, message: TextInput, settings: StreamSettings) -> Utterance:
        """The utterance that a message starts, without its text. What the message leaves open comes from the stream.

        Raises:
            CallerError: the voice does not exist.
        """
        try:
            voice = self.find_voice(message.voice or settings.voice)
        except CallerError as error:
            raise error.under("text") from None
        options = (message.options or settings.options).with_defaults(settings.options)
        return Utterance(
            message.utterance_id,
            voice,
            _given_emotion(message, settings),
            options,
            self.draw_seed() if options.seed is None else options.seed,
            self.segmenter(),
            settings.sample_rate_hz,
            self.clock,
        )


def _given_emotion(message: TextInput, settings: StreamSettings) -> ResolvedEmotion | None:
    """The emotion set by the client, for the utterance or else for the stream."""
    if message.emotion is not None:
        return ResolvedEmotion(message.emotion, EmotionSource.UTTERANCE)
    return None if settings.emotion is None else ResolvedEmotion(settings.emotion, EmotionSource.STREAM)


class ConversationLanguage:
    """The language of the last unit with letters: how numbers are read in a unit without any, such as "10086."."""

    def __init__(self) -> None:
        self.code = ""
        """BCP 47 code; empty before the first unit with letters."""

    def update(self, text: str) -> None:
        """Take note of a unit's text."""
        if any(character.isalpha() for character in text):
            self.code = detect_language(text)


@dataclass(frozen=True, slots=True)
class StreamContext:
    """Settings and shared parts of one stream; `filler_chooser` remembers which fillers it has played."""

    settings: StreamSettings
    server: ServerContext
    outbox: Outbox
    playback: Playback
    filler_chooser: FillerChooser = field(default_factory=FillerChooser)
    language: ConversationLanguage = field(default_factory=ConversationLanguage)
