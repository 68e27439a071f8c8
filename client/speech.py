"""Everything said on a stream, both ways, with times: what measures and pictures are made from."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from intone.client.audio import Samples
from intone.client.events import Audio, Done, Event, Interrupted, Report, Started, Warning
from intone.client.latency import Latency, measure


@dataclass(frozen=True, slots=True)
class Sent:
    """A piece of text that was sent; `at_s` is on the clock of the events."""

    at_s: float
    utterance_id: str
    text: str


@dataclass(slots=True)
class Trace:
    """Filled by a conversation that is given one. Keeps every byte of audio: not for conversations of hours."""

    sent: list[Sent] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def speech(self, utterance_id: str) -> "Speech":
        """What is known of one utterance."""
        sent = tuple(piece for piece in self.sent if piece.utterance_id == utterance_id)
        return Speech(sent, tuple(event for event in self.events if _about(event, utterance_id)))


def _about(event: Event, utterance_id: str) -> bool:
    return getattr(event, "utterance_id", None) in (utterance_id, "")


@dataclass(frozen=True, slots=True)
class Speech:
    """One utterance: what was sent, and what came of it.

    Attributes:
        sent: pieces of text.
        events: those of this utterance and those about the whole stream, in order.
    """

    sent: Sequence[Sent]
    events: Sequence[Event]

    @property
    def text(self) -> str:
        """All text that was sent."""
        return "".join(piece.text for piece in self.sent)

    @property
    def chunks(self) -> tuple[Audio, ...]:
        """Its audio as it came."""
        return tuple(event for event in self.events if isinstance(event, Audio))

    @property
    def started(self) -> Started | None:
        """How it was routed; None where it never started. The last one counts where a lost call was opened again."""
        return next((event for event in reversed(self.events) if isinstance(event, Started)), None)

    @property
    def ended(self) -> Done | Interrupted | None:
        """How it ended; None while it has not."""
        return next((event for event in self.events if isinstance(event, Done | Interrupted)), None)

    @property
    def report(self) -> Report | None:
        """The server's own measures."""
        return self.ended.report if self.ended else None

    @property
    def warnings(self) -> tuple[Warning, ...]:
        """What the server warned of."""
        return tuple(event for event in self.events if isinstance(event, Warning))

    @property
    def sample_rate_hz(self) -> int:
        """Samples per second; 0 where it never started."""
        return self.started.format.sample_rate_hz if self.started else 0

    @property
    def samples(self) -> Samples:
        """All audio, joined; decoded at every call."""
        chunks = self.chunks
        return np.concatenate([chunk.samples for chunk in chunks]) if chunks else np.zeros(0, np.float32)

    @property
    def latency(self) -> Latency:
        """Our own measures, from the first text sent on."""
        return measure(self.sent[0].at_s if self.sent else None, self.chunks)
