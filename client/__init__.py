"""Client library of an intone server, and the command `intone` (in `__main__`). Needs neither torch nor the server.

Start at `SpeechClient`, or `AsyncSpeechClient` for asyncio. The layers, each of which imports only what stands before
it: the library (the modules of this folder), `tools` (scripted conversations, load tests, reports, pictures),
`commands` (the subcommands of `intone`) and `__main__`.
"""

from intone.client.async_client import AsyncSpeechClient
from intone.client.audio import Format, Samples
from intone.client.connection import tls
from intone.client.conversation import AsyncConversation, report_playback
from intone.client.emotions import Emotion, EmotionLike, EmotionWeights, parse_emotion
from intone.client.errors import (
    AlreadyExists,
    Cancelled,
    FailedPrecondition,
    IntoneError,
    InvalidRequest,
    NotFound,
    Overloaded,
    ServerFailed,
    TimedOut,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from intone.client.events import (
    AudioChunk,
    AudioPosition,
    Closed,
    Configured,
    Cut,
    Done,
    Event,
    Flushed,
    GoingAway,
    Interrupted,
    LatencyReport,
    Notice,
    Phone,
    RequestRefused,
    Rerouted,
    ResolvedEmotion,
    Route,
    Started,
    StreamLimits,
    TextSpan,
    TimedWord,
    Timing,
    Usage,
    utf16_span,
)
from intone.client.extras import MissingExtraError
from intone.client.latency import Latency
from intone.client.playback import PlaybackBuffer, Player
from intone.client.server_info import EmotionAnalysis, EngineInfo, EngineParameter, ServerInfo, ServerLimits
from intone.client.settings import Pronunciation, SpeechOptions, SpeechSettings, StreamOptions, StreamSettings
from intone.client.speech import SentText, Speech
from intone.client.sync_client import Conversation, SpeechClient, Utterance, Voices
from intone.client.text import TextLike
from intone.client.utterance import AsyncUtterance
from intone.client.voices import (
    AsyncVoices,
    CreatedVoice,
    EmotionClip,
    EngineSupport,
    Filler,
    FillerClip,
    RemovedFillers,
    Voice,
    VoiceNotice,
)
from intone.client.wav import WavWriter

__all__ = [
    "AlreadyExists",
    "AsyncConversation",
    "AsyncSpeechClient",
    "AsyncUtterance",
    "AsyncVoices",
    "AudioChunk",
    "AudioPosition",
    "Cancelled",
    "Closed",
    "Configured",
    "Conversation",
    "CreatedVoice",
    "Cut",
    "Done",
    "Emotion",
    "EmotionAnalysis",
    "EmotionClip",
    "EmotionLike",
    "EmotionWeights",
    "EngineInfo",
    "EngineParameter",
    "EngineSupport",
    "Event",
    "FailedPrecondition",
    "Filler",
    "FillerClip",
    "Flushed",
    "Format",
    "GoingAway",
    "Interrupted",
    "IntoneError",
    "InvalidRequest",
    "Latency",
    "LatencyReport",
    "MissingExtraError",
    "NotFound",
    "Notice",
    "Overloaded",
    "Phone",
    "PlaybackBuffer",
    "Player",
    "Pronunciation",
    "RemovedFillers",
    "RequestRefused",
    "Rerouted",
    "ResolvedEmotion",
    "Route",
    "Samples",
    "SentText",
    "ServerFailed",
    "ServerInfo",
    "ServerLimits",
    "Speech",
    "SpeechClient",
    "SpeechOptions",
    "SpeechSettings",
    "Started",
    "StreamLimits",
    "StreamOptions",
    "StreamSettings",
    "TextLike",
    "TextSpan",
    "TimedOut",
    "TimedWord",
    "Timing",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
    "Usage",
    "Utterance",
    "Voice",
    "VoiceNotice",
    "Voices",
    "WavWriter",
    "parse_emotion",
    "report_playback",
    "tls",
    "utf16_span",
]
