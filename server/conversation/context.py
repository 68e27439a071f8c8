"""What all sessions of a server share, handed to each when it is made. No policy, no state."""

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
from intone.server.text.segmenter import Segmenter
from intone.server.voices.fillers import Chooser


@dataclass(frozen=True, slots=True)
class FillerSettings:
    """When fillers play.

    Attributes:
        threshold_ms: silence that a listener takes for granted: a wait that is expected to be longer is covered at
            once, one that turns out longer is covered from here on.
        min_ms: a filler that has begun is heard for at least this long.
        gap_ms: from a filler to speech.
        most: fillers in a row.
    """

    threshold_ms: float = 400.0
    min_ms: float = 150.0
    gap_ms: float = 80.0
    most: int = 2


@dataclass(frozen=True, slots=True)
class ServerContext:
    """What every session of a server shares."""

    workers: Mapping[str, Worker]
    router: Router
    plain_engine: str
    """Who speaks plain talk while all is well: everything is as loud as this one, and streams have its rate."""
    find_voice: Callable[[str], Voice]
    segmenter: Callable[[], Segmenter]
    normalize: Callable[[str, bool], Awaitable[str]]
    """A unit's text as it is spoken; False leaves numbers and symbols as they are."""
    draw_seed: Callable[[], int]
    clock: Callable[[], float]
    max_open_utterances: int
    max_utterance_characters: int
    wait_ms: float
    chunk_ms: float
    readers: EmotionAnalyzers
    forecast: TTFAForecast
    cover: FillerSettings
    has_fillers: bool
    """Whether voices are given fillers: a wait without one is then worth a warning."""
    matches_loudness: bool = True
    pause_scale: float = 1.0
    """What the pauses between units are multiplied with."""

    def utterance(self, piece: TextInput, settings: StreamSettings) -> Utterance:
        """The utterance that a piece of text begins, not holding the text yet.

        Raises:
            CallerError: there is no voice of that name.
        """
        try:
            voice = self.find_voice(piece.voice or settings.voice)
        except CallerError as error:
            raise error.under("text") from None
        options = (piece.options or settings.options).with_defaults(settings.options)
        return Utterance(
            piece.utterance_id,
            voice,
            _given(piece, settings),
            options,
            self.draw_seed() if options.seed is None else options.seed,
            self.segmenter(),
            self.clock,
        )


def _given(piece: TextInput, settings: StreamSettings) -> ResolvedEmotion | None:
    if piece.emotion is not None:
        return ResolvedEmotion(piece.emotion, EmotionSource.UTTERANCE)
    return None if settings.emotion is None else ResolvedEmotion(settings.emotion, EmotionSource.STREAM)


@dataclass(frozen=True, slots=True)
class StreamContext:
    """Settings and surroundings of a stream; `chooser` remembers which fillers were heard lately."""

    settings: StreamSettings
    services: ServerContext
    outbox: Outbox
    playback: Playback
    chooser: Chooser = field(default_factory=Chooser)
