"""The utterances of one stream, in order of their start, and the ids that start none any more."""

from collections.abc import Callable, Iterator
from enum import Enum

from intone.server.conversation.pacing import Playback
from intone.server.conversation.utterance import Utterance
from intone.server.conversation.utterance_progress import UtteranceState
from intone.server.errors import OverloadError, Reason

MAX_ENDED_IDS = 1000
"""Ids of ended and barred utterances that are kept, to tell a late message from the start of a new utterance."""

KEEP_HEARD_S = 5.0
"""How long an utterance that was heard to its end by the estimate is kept: a report may show that it was not."""


MAX_SENT_UTTERANCES = 256
"""Utterances that are kept until they are heard; where more were sent, the oldest count as heard."""


class Ended(Enum):
    """Why an id starts no utterance, and how the next message that names it is answered."""

    BARRED = "barred"  # interrupted before it started: with `Done`
    ENDED = "ended"  # with a notice
    NOTED = "noted"  # not at all


class UtteranceRegistry:
    """QUEUED, SPEAKING and SENT utterances; iterating gives them in order of their start."""

    def __init__(self, playback: Playback, clock: Callable[[], float]) -> None:
        self._playback, self._clock = playback, clock
        self._utterances: dict[str, Utterance] = {}
        self._heard_s: dict[str, float] = {}  # when an utterance was seen to have been heard to its end
        self.ended: dict[str, Ended] = {}
        """By id, the oldest first."""

    def __iter__(self) -> Iterator[Utterance]:
        return iter(list(self._utterances.values()))

    def __getitem__(self, utterance_id: str) -> Utterance:
        return self._utterances[utterance_id]

    def get(self, utterance_id: str) -> Utterance | None:
        """The utterance of that id; None if it was heard, stopped or never started."""
        return self._utterances.get(utterance_id)

    def add(self, utterance: Utterance) -> None:
        """A new utterance, the last one."""
        self._utterances[utterance.id] = utterance

    def open(self) -> list[Utterance]:
        """Utterances of which audio or the end is still to come."""
        return [utterance for utterance in self if utterance.progress.state.is_open]

    def check_length(self, more: int, max_length: int) -> None:
        """Refuse text if the open utterances had more than `max_length` characters with it.

        Raises:
            OverloadError: TOO_MANY_UTTERANCES.
        """
        length = more + sum(utterance.length for utterance in self.open())
        if length > max_length:
            message = f"the open utterances of this stream would have {length} characters; at most {max_length} may be"
            message += " (max_stream_characters): wait until some are done"
            raise OverloadError(message, 1.0, Reason.TOO_MANY_UTTERANCES, max_length)

    def next_queued(self) -> Utterance | None:
        """The first utterance that nobody speaks yet."""
        return next((one for one in self if one.progress.state is UtteranceState.QUEUED), None)

    def stop(self, utterance: Utterance) -> None:
        """Any state → STOPPED."""
        self._remove(utterance, UtteranceState.STOPPED)
        self.note(utterance.id, Ended.ENDED)

    def sent(self, utterance: Utterance) -> None:
        """SPEAKING → SENT."""
        utterance.progress.advance(UtteranceState.SENT)
        self._forget_heard()
        self.note(utterance.id, Ended.ENDED)

    def heard(self, utterance: Utterance) -> None:
        """SENT → HEARD."""
        self._remove(utterance, UtteranceState.HEARD)

    def bar(self, utterance_id: str) -> None:
        """An id that is unknown starts no utterance any more."""
        if utterance_id not in self._utterances:
            self.note(utterance_id, Ended.BARRED)

    def note(self, utterance_id: str, ended: Ended) -> None:
        """Remember that the id has ended, if it is not known to have."""
        self.ended.setdefault(utterance_id, ended)
        while len(self.ended) > MAX_ENDED_IDS:
            del self.ended[next(iter(self.ended))]

    def _forget_heard(self) -> None:
        """SENT → HEARD for utterances that were heard to their end some time ago, and the oldest of too many."""
        now_s, unheard = self._clock(), self._playback.unheard()
        sent = [utterance for utterance in self if utterance.progress.state is UtteranceState.SENT]
        for number, utterance in enumerate(sent):
            if number < len(sent) - MAX_SENT_UTTERANCES:
                self.heard(utterance)
            elif unheard.get(utterance.id, 0.0) >= 1:
                self._heard_s.pop(utterance.id, None)
            elif now_s - self._heard_s.setdefault(utterance.id, now_s) >= KEEP_HEARD_S:
                self.heard(utterance)

    def _remove(self, utterance: Utterance, state: UtteranceState) -> None:
        utterance.progress.advance(state)
        self._heard_s.pop(utterance.id, None)
        del self._utterances[utterance.id]
