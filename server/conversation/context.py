"""What sessions are given: `ServerContext`, shared by all of them, and `StreamContext`, for one stream."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from intone.server.conversation.audio_counts import AudioCounts
from intone.server.conversation.outbox import Outbox
from intone.server.conversation.pacing import Playback
from intone.server.conversation.speech_activity import SpeechActivity
from intone.server.conversation.utterance import Utterance
from intone.server.domain import Emotion, EngineInfo, Voice
from intone.server.emotion.analyzers import EmotionAnalyzers
from intone.server.errors import CallerError, Reason, listed
from intone.server.events import EmotionSource, ResolvedEmotion, StartUtterance
from intone.server.routing.router import Router
from intone.server.routing.ttfa_forecast import TTFAForecast
from intone.server.runtime.text_pool import SpokenText
from intone.server.runtime.worker import Worker
from intone.server.settings import FillerPolicy, SpeechSettings, StreamLimits, StreamSettings
from intone.server.text.characters import detect_language
from intone.server.text.normalizer import WrittenText
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


def _no_clips(clip_id: str, field: str) -> bytes:
    raise CallerError(field, "names no clip that this server has", Reason.CLIP_NOT_FOUND)


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
    normalize: Callable[[WrittenText], Awaitable[SpokenText]]
    """Reads a unit's text; its language is that of the utterance, or else of the conversation so far."""
    draw_seed: Callable[[], int]
    clock: Callable[[], float]
    """Monotonic, in seconds."""
    limits: StreamLimits
    wait_ms: float
    """Time after which text without a unit boundary is spoken."""
    chunk_ms: float
    """Longest chunk of audio."""
    analyzers: EmotionAnalyzers
    forecast: TTFAForecast
    filler: FillerSettings
    has_fillers: bool
    """Whether the server renders fillers: a voice without one is then reported by a warning."""
    find_clip: Callable[[str, str], bytes] = _no_clips
    """An uploaded emotion clip by id; raises `CallerError` for the field that is given, if there is none."""
    parameter_limits: Mapping[str, float] = field(default_factory=dict)
    """The highest values that callers may give to parameters of engines, where these take higher ones."""
    match_loudness: bool = True
    pause_scale: float = 1.0
    """Factor for the pauses between units."""
    features: tuple[str, ...] = ()
    """What this server can do beyond the first version of the protocol."""
    audio_counts: AudioCounts = field(default_factory=AudioCounts)
    """Of all streams."""

    def with_clip(self, emotion: Emotion) -> Emotion:
        """An emotion with the recording that it names.

        Only when it is spoken: so utterances that wait hold no recordings, which are bounded in one place.

        Raises:
            CallerError: the recording is gone (CLIP_NOT_FOUND, field `emotion.clip_id`).
        """
        if not emotion.clip_id:
            return emotion
        return replace(emotion, clip=self.find_clip(emotion.clip_id, "emotion.clip_id"), clip_id="")

    def limited(self, info: EngineInfo) -> EngineInfo:
        """An engine with parameters in the range that callers may use on this server."""
        limits = self.parameter_limits
        parameters = (replace(one, high=min(one.high, limits.get(one.name, one.high))) for one in info.parameters)
        return replace(info, parameters=tuple(parameters))

    def check_settings(self, settings: SpeechSettings, field: str) -> None:
        """Refuse names that this server does not have, and values that its engines do not take.

        Raises:
            CallerError: names the setting, under `field`.
        """
        if settings.engine and settings.engine not in self.workers:
            names = ", ".join(self.workers)
            known = listed(self.workers, settings.engine)
            message = f"there is no engine named {settings.engine[:64]!r}; the loaded engines are {known}"
            raise CallerError(f"{field}.engine", message, Reason.ENGINE_NOT_FOUND, engines=names)
        if settings.voice:
            try:
                self.find_voice(settings.voice)
            except CallerError as error:
                raise error.at(f"{field}.voice") from None
        emotion = settings.emotion
        if (
            emotion is not None
            and emotion.clip_id
            and not any(one.info.voices_emotion for one in self.workers.values())
        ):
            message = "no loaded engine voices emotion, so that none can follow a recording: leave it out"
            raise CallerError(f"{field}.emotion.clip_id", message, Reason.UNSUPPORTED)
        for name, value in settings.engine_parameters.items():
            self._check_parameter(name, value, f"{field}.engine_parameters[{name[:64]}]")

    def _check_parameter(self, name: str, value: float, field: str) -> None:
        every = [one for worker in self.workers.values() for one in self.limited(worker.info).parameters]
        known = [one for one in every if one.name == name]
        if not known:
            names = sorted({one.name for one in every})
            message = f"no loaded engine has this parameter; there are {listed(names, name) or 'none'}"
            raise CallerError(field, message, Reason.VALUE_UNKNOWN)
        for one in known:
            if not one.low <= value <= one.high:
                message = f"is {value:g}; it takes {one.low:g} to {one.high:g}"
                raise CallerError(field, message, Reason.VALUE_OUT_OF_RANGE, low=one.low, high=one.high)
            if one.integer and value != round(value):
                raise CallerError(field, f"is {value:g}; it takes whole numbers only")

    def new_utterance(self, start: StartUtterance, stream: StreamSettings) -> Utterance:
        """The utterance that a message starts, without text. What the message leaves open comes from the stream.

        Raises:
            CallerError: a setting cannot be used.
        """
        self.check_settings(start.settings, "start.settings")
        settings = start.settings.over(stream.defaults)
        if settings.seed is None:
            settings = replace(settings, seed=self.draw_seed())
        if stream.offline:
            settings = replace(settings, filler=FillerPolicy.OFF)
        emotion = None
        if settings.emotion is not None:
            own = start.settings.emotion is not None
            emotion = ResolvedEmotion(settings.emotion, EmotionSource.UTTERANCE if own else EmotionSource.STREAM)
        try:
            voice = self.find_voice(settings.voice)
        except CallerError as error:  # it was deleted meanwhile
            raise error.at("config.defaults.voice") from None
        return Utterance(
            start,
            settings,
            voice,
            emotion,
            self.segmenter(),
            stream.sample_rate_hz,
            self.clock,
        )


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
    """Settings and shared parts of one stream.

    `filler_chooser` remembers which fillers it has played, `told_languages` which foreign languages it was told about.
    """

    settings: StreamSettings
    server: ServerContext
    outbox: Outbox
    playback: Playback
    activity: SpeechActivity
    filler_chooser: FillerChooser = field(default_factory=FillerChooser)
    language: ConversationLanguage = field(default_factory=ConversationLanguage)
    told_languages: set[str] = field(default_factory=set)
