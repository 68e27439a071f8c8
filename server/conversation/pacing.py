"""Estimates the listener's playback position and limits how far audio is sent ahead of it.

gRPC's flow control alone lets a server send two minutes of speech to a client that has stopped reading, which leaves
an interruption nothing to stop.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from intone.server.conversation.audio_counts import AudioCounts
from intone.server.events import AudioPosition

STALL_S = 2.0
"""Playback whose reported position has not moved for this long has stalled."""

MIN_STANDSTILL_S = 0.05
"""Two equal positions mean that playback has paused if they were reported at least this long after each other."""

MIN_HOLE_S = 0.02
"""Shorter holes between two chunks of an utterance are not counted: nobody hears them, and clocks differ by more."""

MAX_PLAYED_UTTERANCES = 64
"""Utterances that are kept after they were played, for reports that come late."""


class _Arrival(NamedTuple):
    """Samples [`start`, `end`) of an utterance can be heard from `at_s` on."""

    start: int
    end: int
    at_s: float


@dataclass(slots=True)
class _SentAudio:
    """The audio of one utterance that was sent, in samples."""

    utterance_id: str
    sent: int = 0
    played: float = 0.0
    """Estimated or extrapolated."""
    reported: int = 0
    """Played by the last report."""
    arrivals: deque[_Arrival] = field(default_factory=deque)

    @property
    def unplayed(self) -> float:
        return self.sent - self.played

    def skip_arrivals(self) -> None:
        """Drop what was played."""
        while self.arrivals and self.arrivals[0].end <= self.played:
            self.arrivals.popleft()


class Playback:
    """What the listener has heard of each utterance of one stream, in samples at the stream's rate.

    The position runs in real time from the arrival of audio on, and pauses while there is nothing to play. Reports of
    the client correct it. Utterances are played in the order in which they were sent.
    """

    def __init__(
        self, clock: Callable[[], float], rate_hz: int, delay_ms: int = 0, counts: AudioCounts | None = None
    ) -> None:
        """`clock`: monotonic, in seconds. `delay_ms`: from sending audio to its sound. `counts`: what is added to."""
        self._clock, self._rate_hz, self._delay_s = clock, rate_hz, delay_ms / 1000
        self._counts = counts or AudioCounts()
        self._played_s = clock()  # when audio was last played
        self._due_s = clock()  # when everything sent would have been played, had playback not paused
        self._time_s = clock()  # up to which `played` is computed
        self._audio: list[_SentAudio] = []  # in playing order
        self._waits_for_reports = False
        self._has_reports = False
        self._last: tuple[str, int, bool] | None = None  # last report, and whether more audio was there to play
        self._last_s = clock()
        self._moved_s = clock()  # when a report last showed another position
        self._paused = False

    # ---- what was sent and played

    def audio_sent(self, utterance_id: str, samples: int) -> None:
        """Audio was sent to the client."""
        self._advance()
        if not self._audio or self._audio[-1].utterance_id != utterance_id:
            self._forget_played()
            self._audio.append(_SentAudio(utterance_id))
        audio = self._audio[-1]
        self._note_hole(audio)
        audio.arrivals.append(_Arrival(audio.sent, audio.sent + samples, self._clock() + self._delay_s))
        audio.sent += samples
        self._due_s = self._clock() + self.silent_in_ms / 1000

    def _note_hole(self, audio: _SentAudio) -> None:
        """Count the silence from the audio of an utterance so far to what is sent now."""
        if not audio.sent or self._paused:
            return
        silent_from_s = self._clock() + self.silent_in_ms / 1000 if audio.unplayed > 0 else self._played_s
        hole_s = self._clock() + self._delay_s - silent_from_s
        if hole_s >= MIN_HOLE_S:
            self._counts.underruns += 1
            self._counts.underrun_s += hole_s

    def heard_samples(self, utterance_id: str) -> float:
        """Audio of an utterance that was played."""
        self._advance()
        audio = self._find(utterance_id)
        return 0.0 if audio is None else audio.played

    def unheard(self) -> dict[str, float]:
        """Audio that was sent and not played, in samples, by utterance; 0 for those that are not named."""
        self._advance()
        return {audio.utterance_id: audio.unplayed for audio in self._audio}

    @property
    def silent_in_ms(self) -> float:
        """Time until everything sent is played, if playback continues in real time."""
        self._advance()
        unplayed = [audio for audio in self._audio if audio.unplayed > 0]
        if not unplayed:
            return 0.0
        first = unplayed[0].arrivals[0] if unplayed[0].arrivals else None
        until_first_s = max(0.0, first.at_s - self._clock()) if first and unplayed[0].played >= first.start else 0.0
        return 1000 * (until_first_s + sum(audio.unplayed for audio in unplayed) / self._rate_hz)

    @property
    def overdue_s(self) -> float:
        """How long ago everything sent could have been played; 0 before that, and where nothing was sent."""
        return max(0.0, self._clock() - self._due_s) if self._audio else 0.0

    @property
    def lead_ms(self) -> float:
        """Audio sent and not played: by the last report, if there are reports, else by the estimate."""
        self._advance()
        if self._waits_for_reports:
            return 1000 * sum(audio.sent - audio.reported for audio in self._audio) / self._rate_hz
        return 1000 * sum(audio.unplayed for audio in self._audio) / self._rate_hz

    def resent(self, firsts: Mapping[str, int]) -> None:
        """Audio that was lost is sent again, of each of these utterances from that sample on: it was not played yet."""
        self._advance()
        for audio in self._audio:
            if (first := firsts.get(audio.utterance_id)) is not None:
                audio.played = min(audio.played, float(first))
                audio.arrivals = deque([_Arrival(first, audio.sent, self._clock() + self._delay_s)])

    def drop(self, utterance_id: str) -> None:
        """The client discards the unplayed audio of an utterance."""
        self._advance()
        self._counts.unheard_s += sum(
            audio.unplayed / self._rate_hz for audio in self._audio if audio.utterance_id == utterance_id
        )
        self._audio = [audio for audio in self._audio if audio.utterance_id != utterance_id]

    # ---- reports

    @property
    def waits_for_reports(self) -> bool:
        """Whether only reports release audio that the lead limit holds back."""
        return self._waits_for_reports

    @property
    def has_reports(self) -> bool:
        """Whether the client has reported any position."""
        return self._has_reports

    @property
    def stalls_in_s(self) -> float:
        """Time until playback counts as stalled, unless a report with another position comes; 0 if it has stalled."""
        return max(0.0, self._moved_s + STALL_S - self._clock())

    def report(self, position: AudioPosition) -> bool:
        """Correct the position by a report of the client; past the end of what was sent is taken as that end.

        From now on only reports release audio that the lead limit holds back.

        Returns:
            Whether it was used. A position in an utterance that was cut or never sent, or before one reported earlier,
            is ignored.
        """
        self._advance()
        if not self._correct(position):
            return False
        self._has_reports = self._waits_for_reports = True
        return True

    def at_interruption(self, position: AudioPosition | None) -> tuple[bool, dict[str, tuple[float, float]]]:
        """Whether the position that an interrupt gives was used, and samples played and unplayed by utterance."""
        self._advance()
        used = position is not None and self._correct(position)
        return used, {audio.utterance_id: (audio.played, audio.unplayed) for audio in self._audio}

    def _correct(self, position: AudioPosition) -> bool:
        index = next((i for i, one in enumerate(self._audio) if one.utterance_id == position.utterance_id), None)
        if index is None:
            return False
        audio, sample = self._audio[index], max(0, min(position.sample, self._audio[index].sent))
        if sample < audio.reported or any(later.reported for later in self._audio[index + 1 :]):
            return False
        for earlier in self._audio[:index]:
            earlier.played = earlier.reported = earlier.sent
        for later in self._audio[index + 1 :]:
            later.played = 0.0
        if audio.unplayed > 0 and sample == audio.sent:
            self._played_s = self._clock()
        audio.played = audio.reported = sample
        audio.skip_arrivals()
        if audio.arrivals and audio.arrivals[0].start <= sample:  # it is playing, earlier than expected
            audio.arrivals[0] = audio.arrivals[0]._replace(at_s=min(audio.arrivals[0].at_s, self._clock()))
        self._note_report(audio, more=sample < audio.sent or index + 1 < len(self._audio))
        return True

    def _note_report(self, audio: _SentAudio, more: bool) -> None:
        now_s = self._clock()
        stood_still = self._last is not None and self._last[:2] == (audio.utterance_id, audio.reported)
        if not stood_still:
            self._moved_s, self._paused = now_s, False
        elif now_s - self._last_s >= MIN_STANDSTILL_S:
            self._paused = self._last is not None and self._last[2]
        self._last, self._last_s = (audio.utterance_id, audio.reported, more), now_s
        self._time_s = now_s

    def end_reports(self) -> None:
        """No further report can come: from the last one on, playback is taken to run in real time."""
        self._advance()
        self._waits_for_reports = self._paused = False

    # ---- the estimate

    def _find(self, utterance_id: str) -> _SentAudio | None:
        return next((audio for audio in self._audio if audio.utterance_id == utterance_id), None)

    def _forget_played(self) -> None:
        """Free the oldest utterances that were played; late reports about them are then ignored."""
        while len(self._audio) > MAX_PLAYED_UTTERANCES:
            oldest = self._audio[0]
            if (oldest.sent - oldest.reported if self._waits_for_reports else oldest.unplayed) > 0:
                return
            self._audio.pop(0)

    def _advance(self) -> None:
        """Play up to now."""
        now_s = self._clock()
        if self._paused and now_s - self._last_s < STALL_S:
            self._time_s = now_s
            return
        for audio in self._audio:
            while audio.unplayed > 0:
                audio.skip_arrivals()
                arrived_s, end = self._time_s, audio.sent
                if audio.arrivals and audio.played >= audio.arrivals[0].start:
                    arrived_s, end = audio.arrivals[0].at_s, audio.arrivals[0].end
                elif audio.arrivals:  # after a report that went back
                    end = audio.arrivals[0].start
                start_s = max(self._time_s, arrived_s)
                if start_s >= now_s:
                    return
                until = min(float(end), audio.played + (now_s - start_s) * self._rate_hz)
                self._time_s = start_s + (until - audio.played) / self._rate_hz
                audio.played, self._played_s = until, self._time_s
                if until < end:
                    return
        self._time_s = now_s


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
        return None if self._playback.waits_for_reports else excess_ms
