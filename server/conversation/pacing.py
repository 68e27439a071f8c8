"""How far the listener has come, and how far speech may run ahead of them. Time comes from outside.

gRPC's own flow control lets a server run two minutes of speech ahead of a client that has stopped reading; an
interruption would then find everything sent.
"""

from collections.abc import Callable
from dataclasses import dataclass

from intone.server.errors import CallerError


@dataclass(slots=True)
class _Stretch:
    """Audio of one utterance that lies in the player's queue, in playing order."""

    utterance_id: str
    duration_ms: float


class Playback:
    """The listener's position in the audio of one stream, in milliseconds since its beginning.

    Until the first report it is estimated: a player that starts with the first audio and runs in real time, waiting
    whenever there is nothing to play. From the first report on, only reports move it.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds and never runs backwards."""
        self._clock = clock
        self._updated_s = clock()
        self._moved_s = clock()  # when the listener was known to be at `_played_ms`
        self._played_ms = 0.0
        self._reported = False
        self._queue: list[_Stretch] = []
        self._heard_ms: dict[str, float] = {}

    @property
    def played_ms(self) -> float:
        """Where the listener is now."""
        self._estimate()
        return self._played_ms

    @property
    def lead_ms(self) -> float:
        """Audio sent and not yet played."""
        self._estimate()
        return sum(stretch.duration_ms for stretch in self._queue)

    @property
    def quiet_in_ms(self) -> float:
        """When the listener will have heard everything that was sent, if they go on listening in real time.

        Unlike `lead_ms` this does not wait for a report: between two of them, and after the last one, time passes.
        """
        lead_ms = self.lead_ms
        return max(0.0, lead_ms - 1000 * (self._clock() - self._moved_s)) if self._reported else lead_ms

    @property
    def moves_by_itself(self) -> bool:
        """Whether time alone brings the listener on: no report has come yet."""
        return not self._reported

    def sent(self, utterance_id: str, duration_ms: float) -> None:
        """Audio was handed to the stream."""
        self._estimate()
        if not self._queue:
            self._moved_s = self._clock()
        if self._queue and self._queue[-1].utterance_id == utterance_id:
            self._queue[-1].duration_ms += duration_ms
        else:
            self._queue.append(_Stretch(utterance_id, duration_ms))

    def report(self, played_ms: float, field: str = "progress.played_ms") -> None:
        """The client says where the listener is.

        Raises:
            CallerError: the position goes back, or past what was sent.
        """
        self._estimate()
        if self._reported and played_ms < self._played_ms - 1:
            raise CallerError(field, f"is {played_ms:.0f}, less than the {self._played_ms:.0f} reported before")
        # An estimate may have run ahead of the truth: all that was sent counts, played or not.
        sent_ms = self._played_ms + sum(stretch.duration_ms for stretch in self._queue)
        if played_ms > sent_ms + 1:  # a millisecond for rounding on the client's side
            raise CallerError(field, f"is {played_ms:.0f}, but only {sent_ms:.0f} ms of audio were sent")
        self._reported, self._moved_s = True, self._clock()
        if played_ms >= self._played_ms:
            self._play(played_ms - self._played_ms)
        else:
            self._unplay(self._played_ms - played_ms)

    def heard_ms(self, utterance_id: str) -> float:
        """How much of an utterance's audio the listener has heard."""
        self._estimate()
        return self._heard_ms.get(utterance_id, 0.0)

    def unheard_ms(self, utterance_id: str) -> float:
        """How much of an utterance's sent audio the listener has not heard."""
        self._estimate()
        return sum(stretch.duration_ms for stretch in self._queue if stretch.utterance_id == utterance_id)

    def drop(self, utterance_id: str) -> None:
        """The client throws away what it has not played of an utterance."""
        self._estimate()
        self._queue = [stretch for stretch in self._queue if stretch.utterance_id != utterance_id]

    def forget(self, utterance_id: str) -> None:
        """No one will ask about an utterance again."""
        self._heard_ms.pop(utterance_id, None)

    def _estimate(self) -> None:
        now_s = self._clock()
        if not self._reported:
            self._play(1000 * (now_s - self._updated_s))
        self._updated_s = now_s

    def _play(self, duration_ms: float) -> None:
        while duration_ms > 0 and self._queue:
            first = self._queue[0]
            part_ms = min(duration_ms, first.duration_ms)
            first.duration_ms -= part_ms
            duration_ms -= part_ms
            self._played_ms += part_ms
            self._heard_ms[first.utterance_id] = self._heard_ms.get(first.utterance_id, 0.0) + part_ms
            if first.duration_ms <= 1e-6:
                self._queue.pop(0)

    def _unplay(self, duration_ms: float) -> None:
        for utterance_id in reversed(list(self._heard_ms)):
            part_ms = min(duration_ms, self._heard_ms[utterance_id])
            if part_ms <= 0:
                continue
            self._heard_ms[utterance_id] -= part_ms
            if self._queue and self._queue[0].utterance_id == utterance_id:
                self._queue[0].duration_ms += part_ms
            else:
                self._queue.insert(0, _Stretch(utterance_id, part_ms))
            self._played_ms -= part_ms
            duration_ms -= part_ms


class LeadLimiter:
    """Holds audio back while the listener is too far behind."""

    def __init__(self, playback: Playback, limit_ms: int | None) -> None:
        """`limit_ms` None never holds anything back."""
        self._playback, self._limit_ms = playback, limit_ms

    def wait_ms(self, duration_ms: float) -> float | None:
        """How long a chunk of this length must wait: 0 to go now, None when only a report can release it.

        A chunk longer than the limit goes when nothing is unplayed, so that every limit makes progress.
        """
        if self._limit_ms is None:
            return 0.0
        lead_ms = self._playback.lead_ms
        over_ms = min(lead_ms + duration_ms - self._limit_ms, lead_ms)
        if over_ms <= 1e-6:
            return 0.0
        return over_ms if self._playback.moves_by_itself else None
