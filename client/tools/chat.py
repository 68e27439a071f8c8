"""Performs a script against a server in real time, with a listener and their interruptions. Knows no words for it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import grpc

from intone.client.conversation import Conversation
from intone.client.errors import IntoneCallError
from intone.client.events import Audio, Done, Event, Interrupted
from intone.client.progress import playback_reports
from intone.client.speech import Speech, Trace
from intone.client.tools.listener import Listener
from intone.client.tools.script import PAUSE_MS, Script, Turn

_POLL_S = 0.01
"""How closely the end of playback and the moment of a barge-in are watched."""


class Speaker(Protocol):
    """A sound device that plays what the listener hears, as `Player` is one."""

    @property
    def played_ms(self) -> int:
        """How much of the stream's audio has been played."""

    def write(self, chunk: Audio) -> None:
        """Play this next."""

    def drop(self) -> None:
        """Throw away what has not been played."""


@dataclass(slots=True)
class Performed:
    """One turn as it went.

    Attributes:
        number: counts the turns of the script from 1.
        utterance_id: empty where the turn was left out.
        skipped: why it was left out, in words; empty where it was not.
        barge_in_s: when the user interrupted; None where they did not, on the clock of the events.
        stopped_s: when the server's answer to that came.
        late_ms: audio that came after the barge-in and was thrown away.
    """

    number: int
    turn: Turn
    utterance_id: str = ""
    skipped: str = ""
    barge_in_s: float | None = None
    stopped_s: float | None = None
    late_ms: float = 0.0

    @property
    def stopping(self) -> bool:
        """Whether the server has not answered an interruption yet."""
        return self.barge_in_s is not None and self.stopped_s is None


@dataclass(slots=True)
class Chat:
    """A conversation as it went: everything that was said, what was heard of it, and turn by turn."""

    listener: Listener
    trace: Trace = field(default_factory=Trace)
    turns: list[Performed] = field(default_factory=list)

    def speech(self, performed: Performed) -> Speech:
        """What was sent and received in one turn."""
        return self.trace.speech(performed.utterance_id)

    @property
    def start_s(self) -> float:
        """When the first text was sent, on the clock of the events; 0 where nothing was."""
        return self.trace.sent[0].at_s if self.trace.sent else 0.0


class Performance:
    """Performs a script once, on one stream.

    Args:
        chat: filled as it goes; its trace is that of the stream, its listener has the clock of the events.
        clock: seconds; that of the listener.
        speaker: plays what is heard, and then says what was played; None leaves that to the listener's arithmetic.
        languages: BCP 47 codes that the server speaks: turns in others are left out. None leaves out nothing.
        on_turn: told of each turn as it begins, and again when the user barges in.
        on_event: told of each event as it comes.
    """

    def __init__(
        self,
        chat: Chat,
        clock: Callable[[], float],
        *,
        speaker: Speaker | None = None,
        languages: Sequence[str] | None = None,
        on_turn: Callable[[Performed], None] = lambda performed: None,
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self._chat = chat
        self._clock = clock
        self._speaker = speaker
        self._languages = languages
        self._on_turn = on_turn
        self._on_event = on_event
        self._over: set[str] = set()
        self._reading: asyncio.Task[None] | None = None

    async def perform(self, conversation: Conversation, script: Script) -> None:
        """Speak turn after turn, and wait until all of it has been heard.

        Raises:
            IntoneCallError: the call has failed, or the server ended it.
        """
        self._reading = reading = asyncio.create_task(self._read(conversation))
        try:
            async with playback_reports(conversation, lambda: self._played_ms):
                for number, turn in enumerate(script.turns, 1):
                    await self._turn(conversation, script, Performed(number, turn))
                await self._until(lambda: not any(turn.stopping for turn in self._chat.turns))
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            for performed in self._chat.turns:
                performed.late_ms = self._chat.listener.late_ms(performed.utterance_id)

    async def _turn(self, conversation: Conversation, script: Script, performed: Performed) -> None:
        turn = performed.turn
        if not self._speaks(turn.language):
            performed.skipped = f"no trained engine here speaks {turn.language}"
            self._chat.turns.append(performed)
            self._on_turn(performed)
            return
        spoken = [before for before in self._chat.turns if not before.skipped]
        interrupted = bool(spoken) and spoken[-1].barge_in_s is not None
        pause_ms = turn.pause_ms if turn.pause_ms is not None else 0 if interrupted or not spoken else PAUSE_MS
        await asyncio.sleep(pause_ms / 1000)
        performed.utterance_id = f"turn-{performed.number}"
        self._chat.turns.append(performed)
        self._on_turn(performed)
        writing = asyncio.create_task(self._write(conversation, script, performed))
        try:
            await self._until(lambda: self._finished(performed) or self._barges_in(performed))
            if not self._finished(performed):
                await self._barge_in(conversation, performed, writing)
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    async def _barge_in(self, conversation: Conversation, performed: Performed, writing: "asyncio.Task[None]") -> None:
        """The user speaks: what waits to be played is dropped here, and the server told to stop."""
        writing.cancel()
        self._chat.listener.drop(performed.utterance_id)
        if self._speaker is not None:
            self._speaker.drop()
        performed.barge_in_s = self._clock()
        self._on_turn(performed)
        await conversation.cancel(performed.utterance_id, self._played_ms)

    async def _write(self, conversation: Conversation, script: Script, performed: Performed) -> None:
        turn, utterance = performed.turn, performed.utterance_id
        (_, first), *rest = turn.pieces(script.words_per_second)
        await conversation.send(first, utterance, emotion=turn.emotion, voice=turn.voice, options=turn.options)
        for wait_s, piece in rest:
            await asyncio.sleep(wait_s)
            await conversation.send(piece, utterance)
        await conversation.send("", utterance, end=True)

    async def _read(self, conversation: Conversation) -> None:
        async for event in conversation:
            self._take(event)
            self._on_event(event)
        raise IntoneCallError(grpc.StatusCode.UNAVAILABLE, "the server ended the conversation before its last turn")

    def _take(self, event: Event) -> None:
        if isinstance(event, Audio):
            if self._chat.listener.take(event) and self._speaker is not None:
                self._speaker.write(event)
        elif isinstance(event, Done | Interrupted):
            self._over.add(event.utterance_id)
        for performed in self._chat.turns:
            if performed.stopping and _stops(event, performed):
                performed.stopped_s = event.received_s

    # ---- the listener

    @property
    def _played_ms(self) -> int:
        return self._chat.listener.played_ms if self._speaker is None else self._speaker.played_ms

    def _finished(self, performed: Performed) -> bool:
        """Whether the utterance has ended and has been heard to its end."""
        return performed.utterance_id in self._over and self._clock() >= self._chat.listener.end_s

    def _barges_in(self, performed: Performed) -> bool:
        after_ms = performed.turn.interrupt_after_ms
        return after_ms is not None and self._chat.listener.heard_ms(performed.utterance_id) >= max(after_ms, 1)

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            if self._reading is not None and self._reading.done():
                self._reading.result()  # raises: nothing ends it but a failure
            await asyncio.sleep(_POLL_S)

    def _speaks(self, language: str) -> bool:
        known = self._languages
        return not language or known is None or any(_primary(language) == _primary(code) for code in known)


def _stops(event: Event, performed: Performed) -> bool:
    """Whether an event says that nothing more of an interrupted utterance will come.

    A warning does where the utterance was over already when the interruption came.
    """
    code = getattr(event, "code", "")
    about = getattr(event, "utterance_id", None) == performed.utterance_id
    return about and (isinstance(event, Done | Interrupted) or code == "utterance_ended")


def _primary(language: str) -> str:
    return language.partition("-")[0].lower()
