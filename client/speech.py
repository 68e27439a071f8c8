"""What was sent and received for one utterance."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np

from intone.client.audio import Format, Samples
from intone.client.errors import error_for
from intone.client.events import AudioChunk, Done, Event, LatencyReport, Notice, Started, Usage
from intone.client.latency import Latency, measure_latency
from intone.client.wav import write_wav


@dataclass(frozen=True, slots=True)
class SentText:
    """Text that was sent at `sent_s`, in seconds of the clock of the events."""

    sent_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Speech:
    """One utterance: the text that was sent and the events that were received.

    Attributes:
        sent: text deltas, in order.
        events: events of the utterance, in order.
        format: the audio format of the stream.
    """

    sent: Sequence[SentText]
    events: Sequence[Event]
    format: Format

    @property
    def text(self) -> str:
        """All text that was sent."""
        return "".join(delta.text for delta in self.sent)

    @property
    def chunks(self) -> tuple[AudioChunk, ...]:
        """The audio chunks, in order."""
        return tuple(event for event in self.events if isinstance(event, AudioChunk))

    @property
    def pcm(self) -> bytes:
        """All audio in `format`, without a header."""
        return b"".join(chunk.data for chunk in self.chunks)

    @property
    def samples(self) -> Samples:
        """All audio as float32, shape `[samples]`, nominally in [-1, 1]. Decoded on each access."""
        return np.concatenate([np.zeros(0, np.float32), *(chunk.samples for chunk in self.chunks)])

    @property
    def sample_rate_hz(self) -> int:
        """Samples per second."""
        return self.format.sample_rate_hz

    def save(self, path: Path | str) -> None:
        """Write the audio as a WAV file in `format`.

        Raises:
            OSError: the file cannot be written.
        """
        write_wav(path, self.format, self.pcm)

    @property
    def started(self) -> Started | None:
        """The start of the utterance; None if it never started. The last one, if a lost call was opened again."""
        return next((event for event in reversed(self.events) if isinstance(event, Started)), None)

    @property
    def done(self) -> Done | None:
        """The end of the utterance; None if it has not ended."""
        return next((event for event in self.events if isinstance(event, Done)), None)

    @property
    def report(self) -> LatencyReport | None:
        """Latency measured at the server; None if the utterance has not ended."""
        return None if self.done is None else self.done.latency

    @property
    def usage(self) -> Usage:
        """What was spoken; zeros if the utterance has not ended."""
        return Usage() if self.done is None else self.done.usage

    @property
    def notices(self) -> tuple[Notice, ...]:
        """Notices about the utterance."""
        return tuple(event for event in self.events if isinstance(event, Notice))

    @property
    def latency(self) -> Latency:
        """Latency measured at the client, from the first text sent."""
        return measure_latency(self.sent[0].sent_s if self.sent else None, self.chunks)

    def raise_unless_completed(self) -> None:
        """Check that the utterance was spoken to its end, or that there was nothing to speak.

        Raises:
            IntoneError: it was not; the server's error if there is one, else `Cancelled`.
        """
        done = self.done
        if done is not None and done.error is not None:
            raise done.error
        if done is None or done.reason not in ("completed", "empty"):
            raise error_for(grpc.StatusCode.CANCELLED, "the utterance was cut off before its end")
