"""The log of a conversation and, taken from it, what was sent and received for one utterance."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc
import numpy as np

from intone.client.audio import Samples
from intone.client.errors import IntoneCallError
from intone.client.events import AudioChunk, Done, Event, Interrupted, LatencyReport, Notice, Started
from intone.client.latency import Latency, measure_latency


@dataclass(frozen=True, slots=True)
class SentText:
    """A text delta that was sent at `sent_s`, in seconds of the clock of the events."""

    sent_s: float
    utterance_id: str
    text: str


@dataclass(slots=True)
class ConversationLog:
    """Everything sent and received on a stream, filled by its `Conversation`.

    Keeps all audio in memory, so it is not meant for conversations of hours.
    """

    sent: list[SentText] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def speech(self, utterance_id: str) -> "Speech":
        """The part of the log that concerns one utterance."""
        sent = tuple(delta for delta in self.sent if delta.utterance_id == utterance_id)
        return Speech(sent, tuple(event for event in self.events if _concerns(event, utterance_id)))


def _concerns(event: Event, utterance_id: str) -> bool:
    return getattr(event, "utterance_id", None) in (utterance_id, "")


@dataclass(frozen=True, slots=True)
class Speech:
    """One utterance: the text that was sent and the events that were received.

    Attributes:
        sent: text deltas, in order.
        events: events of this utterance and those of the whole stream, in order.
    """

    sent: Sequence[SentText]
    events: Sequence[Event]

    @property
    def text(self) -> str:
        """All text that was sent."""
        return "".join(delta.text for delta in self.sent)

    @property
    def chunks(self) -> tuple[AudioChunk, ...]:
        """The audio chunks, in order."""
        return tuple(event for event in self.events if isinstance(event, AudioChunk))

    @property
    def started(self) -> Started | None:
        """The start of the utterance; None if it never started. The last one, if a lost call was opened again."""
        return next((event for event in reversed(self.events) if isinstance(event, Started)), None)

    @property
    def ended(self) -> Done | Interrupted | None:
        """The end of the utterance; None if it has not ended."""
        return next((event for event in self.events if isinstance(event, Done | Interrupted)), None)

    @property
    def report(self) -> LatencyReport | None:
        """Latency measured at the server; None if the utterance has not ended."""
        return self.ended.report if self.ended else None

    @property
    def notices(self) -> tuple[Notice, ...]:
        """Warnings from the server."""
        return tuple(event for event in self.events if isinstance(event, Notice))

    @property
    def sample_rate_hz(self) -> int:
        """Samples per second; 0 if the utterance never started."""
        return self.started.format.sample_rate_hz if self.started else 0

    @property
    def samples(self) -> Samples:
        """All audio, shape `[samples]`. Decoded on each access."""
        chunks = self.chunks
        return np.concatenate([chunk.samples for chunk in chunks]) if chunks else np.zeros(0, np.float32)

    @property
    def latency(self) -> Latency:
        """Latency measured at the client, from the first text sent."""
        return measure_latency(self.sent[0].sent_s if self.sent else None, self.chunks)

    def raise_unless_completed(self) -> None:
        """Check that the utterance was spoken to its end.

        Raises:
            IntoneCallError: it was not. Carries the server's error if there is one.
        """
        ended = self.ended
        if isinstance(ended, Done):
            if ended.reason != "completed":
                message = f"the utterance ended as {ended.reason}"
                raise ended.error or IntoneCallError(grpc.StatusCode.UNKNOWN, message)
        else:
            raise IntoneCallError(grpc.StatusCode.CANCELLED, "the utterance was cut off before its end")
