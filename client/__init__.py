"""Client library of an intone server, and the command `intone` (in `__main__`). Needs neither torch nor the server.

Start at `SpeechClient`. The layers, each of which imports only what stands before it: the library (the modules of this
folder), `tools` (scripted conversations, load tests, reports, pictures), `commands` (the subcommands of `intone`) and
`__main__`.
"""

from intone.client.audio import Format, Samples
from intone.client.connection import tls
from intone.client.conversation import Conversation
from intone.client.errors import IntoneCallError
from intone.client.events import (
    AudioChunk,
    Done,
    Event,
    Flushed,
    Interrupted,
    LatencyReport,
    Notice,
    RequestRefused,
    Rerouted,
    Started,
    TextSpan,
)
from intone.client.latency import Latency
from intone.client.settings import StreamSettings, SynthesisOptions
from intone.client.speaking import speak
from intone.client.speech import ConversationLog, SentText, Speech
from intone.client.speech_client import SpeechClient

__all__ = [
    "AudioChunk",
    "Conversation",
    "ConversationLog",
    "Done",
    "Event",
    "Flushed",
    "Format",
    "IntoneCallError",
    "Interrupted",
    "Latency",
    "LatencyReport",
    "Notice",
    "RequestRefused",
    "Rerouted",
    "Samples",
    "SentText",
    "Speech",
    "SpeechClient",
    "Started",
    "StreamSettings",
    "SynthesisOptions",
    "TextSpan",
    "speak",
    "tls",
]
