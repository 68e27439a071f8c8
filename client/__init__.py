"""Client of an intone server: a library, and behind `__main__` the command `intone`. Needs no torch.

Start at `SpeechClient`.
"""

from intone.client.audio import Format, Samples
from intone.client.connection import tls
from intone.client.conversation import Conversation
from intone.client.errors import IntoneCallError
from intone.client.events import (
    Audio,
    Done,
    Error,
    Event,
    Flushed,
    Interrupted,
    Report,
    Rerouted,
    Started,
    TextSpan,
    Warning,  # noqa: A004 - the wire calls it so
)
from intone.client.latency import Latency
from intone.client.settings import Options, Settings
from intone.client.speaking import speak
from intone.client.speech import Sent, Speech, Trace
from intone.client.stream import SpeechClient

__all__ = [
    "Audio",
    "Conversation",
    "Done",
    "Error",
    "Event",
    "Flushed",
    "Format",
    "IntoneCallError",
    "Interrupted",
    "Latency",
    "Options",
    "Report",
    "Rerouted",
    "Samples",
    "Sent",
    "Settings",
    "Speech",
    "SpeechClient",
    "Started",
    "TextSpan",
    "Trace",
    "Warning",
    "speak",
    "tls",
]
