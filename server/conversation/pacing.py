"""Estimates the listener's playback position and limits how far audio is sent ahead of it.

gRPC's flow control alone lets a server send two minutes of speech to a client that has stopped reading, which leaves
an interruption nothing to stop.
"""

from collections.abc import Callable
from dataclasses import dataclass

from intone.server.errors import CallerError


@dataclass(slots=True)
class _UnplayedAudio:
    """Consecutive audio of one utterance that was sent and not played."""

    utterance_id: str
    duration_ms: float


class Playback:
    """The playback position in one stream's audio, in milliseconds from its beginning.

    Until the client reports a position, it is estimated: playback starts with the first audio, runs in real time, and
    pauses while there is nothing to play. After the first report only reports move the position, until `end_reports`.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock`: monotonic, in seconds."""
        self._clock = clock
        self._estimated_s = clock()  # when `_estimate` last ran
        self._position_s = clock()  # when the listener was known to be at `_played_ms`
        self._played_ms = 0.0
        self._reported = False
        self._unplayed: list[_UnplayedAudio] = []  # in playing order
        self._heard_ms: dict[str, float] = {}  # by utterance

    @property
    def played_ms(self) -> float:
        """Position now."""
        self._estimate()
        return self._played_ms

    @property
    def lead_ms(self) -> float:
        """Audio sent and not played."""
        self._estimate()
        return sum(audio.duration_ms for audio in self._unplayed)

    @property
    def silent_in_ms(self) -> float:
        """Time until everything sent is played, assuming that playback continues in real time.

        Unlike `lead_ms` it keeps falling after a report, so a missing last report does not matter.
        """
        lead_ms = self.lead_ms
        return max(0.0, lead_ms - 1000 * (self._clock() - self._position_s)) if self._reported else lead_ms

    @property
    def is_estimated(self) -> bool:
        """Whether time alone moves the position, because the client has not reported any."""
        return not self._reported

    def audio_sent(self, utterance_id: str, duration_ms: float) -> None:
        """Audio was sent to the client."""
        self._estimate()
        if not self._unplayed:
            self._position_s = self._clock()
        if self._unplayed and self._unplayed[-1].utterance_id == utterance_id:
            self._unplayed[-1].duration_ms += duration_ms
        else:
            self._unplayed.append(_UnplayedAudio(utterance_id, duration_ms))

    def report(self, played_ms: float, field: str = "progress.played_ms") -> None:
        """Set the position to what the client reports in `field`.

        Raises:
            CallerError: the position is before the last one reported, or past the audio sent.
        """
        self._estimate()
        if self._reported and played_ms < self._played_ms - 1:
            raise CallerError(field, f"is {played_ms:.0f}, less than the {self._played_ms:.0f} reported before")
        # The estimate may be ahead of the client, so the bound is all audio sent, played or not.
        sent_ms = self._played_ms + sum(audio.duration_ms for audio in self._unplayed)
        if played_ms > sent_ms + 1:  # 1 ms for the client's rounding
            raise CallerError(field, f"is {played_ms:.0f}, but only {sent_ms:.0f} ms of audio were sent")
        self._reported, self._position_s = True, self._clock()
        if played_ms >= self._played_ms:
            self._play(played_ms - self._played_ms)
        else:
            self._rewind(self._played_ms - played_ms)

    def end_reports(self) -> None:
        """No further report can come: from the last one on, playback is taken to run in real time."""
        if self._reported:
            self._play(1000 * (self._clock() - self._position_s))
            self._reported, self._estimated_s = False, self._clock()

    def heard_ms(self, utterance_id: str) -> float:
        """Audio of an utterance that was played."""
        self._estimate()
        return self._heard_ms.get(utterance_id, 0.0)

    def unheard_ms(self, utterance_id: str) -> float:
        """Audio of an utterance that was sent and not played."""
        self._estimate()
        return sum(audio.duration_ms for audio in self._unplayed if audio.utterance_id == utterance_id)

    def drop(self, utterance_id: str) -> None:
        """The client discards the unplayed audio of an utterance."""
        self._estimate()
        self._unplayed = [audio for audio in self._unplayed if audio.utterance_id != utterance_id]

    def forget(self, utterance_id: str) -> None:
        """Free what is stored about an utterance; `heard_ms` is 0 from then on."""
        self._heard_ms.pop(utterance_id, None)

    def _estimate(self) -> None:
        now_s = self._clock()
        if not self._reported:
            self._play(1000 * (now_s - self._estimated_s))
        self._estimated_s = now_s

    def _play(self, duration_ms: float) -> None:
        while duration_ms > 0 and self._unplayed:
            first = self._unplayed[0]
            part_ms = min(duration_ms, first.duration_ms)
            first.duration_ms -= part_ms
            duration_ms -= part_ms
            self._played_ms += part_ms
            self._heard_ms[first.utterance_id] = self._heard_ms.get(first.utterance_id, 0.0) + part_ms
            if first.duration_ms <= 1e-6:
                self._unplayed.pop(0)

    def _rewind(self, duration_ms: float) -> None:
        for utterance_id in reversed(list(self._heard_ms)):
            part_ms = min(duration_ms, self._heard_ms[utterance_id])
            if part_ms <= 0:
                continue
            self._heard_ms[utterance_id] -= part_ms
            if self._unplayed and self._unplayed[0].utterance_id == utterance_id:
                self._unplayed[0].duration_ms += part_ms
            else:
                self._unplayed.insert(0, _UnplayedAudio(utterance_id, part_ms))
            self._played_ms -= part_ms
            duration_ms -= part_ms


class LeadLimiter:
    """Holds audio back so that at most `max_lead_ms` of it is sent and not played."""

    def __init__(self, playback: Playback, max_lead_ms: int | None) -> None:
        """`max_lead_ms` None is no limit."""
        self._playback, self._max_lead_ms = playback, max_lead_ms

    def wait_ms(self, duration_ms: float) -> float | None:
        """How long a chunk of this duration has to wait; 0 to send it now, None if only a report can release it.

        A chunk longer than the limit is sent once everything before it is played, so that no limit blocks forever.
        """
        if self._max_lead_ms is None:
            return 0.0
        lead_ms = self._playback.lead_ms
        excess_ms = min(lead_ms + duration_ms - self._max_lead_ms, lead_ms)
        if excess_ms <= 1e-6:
            return 0.0
        return excess_ms if self._playback.is_estimated else None
