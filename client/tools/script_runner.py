"""Runs a script against a server in real time, with a simulated listener who barges in."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import grpc

from intone.client.conversation import Conversation
from intone.client.errors import IntoneCallError
from intone.client.events import AudioChunk, Done, Event, Interrupted, Notice
from intone.client.playback_progress import report_playback_progress
from intone.client.speech import ConversationLog, Speech
from intone.client.tools.listener import Listener
from intone.client.tools.script import DEFAULT_PAUSE_MS, Script, Turn

_PLAYBACK_POLL_S = 0.01
"""How often the end of playback and the time of a barge-in are checked."""


class ChunkPlayer(Protocol):
    """A sound device that plays the chunks that the listener hears."""

    @property
    def played_ms(self) -> int:
        """How much of the stream's audio has been played."""

    def write(self, chunk: AudioChunk) -> None:
        """Queue a chunk."""

    def drop(self) -> None:
        """Discard what has not been played."""


@dataclass(slots=True)
class TurnRecord:
    """How one turn of a script went. Times are on the clock of the events.

    Attributes:
        number: number of the turn in the script, from 1.
        utterance_id: empty if the turn was skipped.
        skipped: why the turn was skipped; empty if it was not.
        barge_in_s: when the user interrupted; None if they did not.
        stopped_s: when the server confirmed that.
        late_ms: duration of the audio that arrived after the barge-in and was discarded.
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
        """Whether the server has yet to confirm an interruption."""
        return self.barge_in_s is not None and self.stopped_s is None


@dataclass(slots=True)
class ScriptRun:
    """How a script went: what was sent and received, what was heard, and each turn."""

    listener: Listener
    log: ConversationLog = field(default_factory=ConversationLog)
    turns: list[TurnRecord] = field(default_factory=list)

    def speech(self, record: TurnRecord) -> Speech:
        """What was sent and received in one turn."""
        return self.log.speech(record.utterance_id)

    @property
    def start_s(self) -> float:
        """When the first text was sent; 0 if none was."""
        return self.log.sent[0].sent_s if self.log.sent else 0.0


class ScriptRunner:
    """Runs a script once, on one stream.

    Args:
        run: filled while the script runs. The stream must write to its log, and its listener must use `clock`.
        clock: the clock of the events, in seconds.
        player: plays the audio and gives the playback position; None takes the position from the simulated listener.
        languages: BCP 47 codes that the server speaks; turns in other languages are skipped. None skips no turn.
        on_turn: called when a turn starts or is skipped, and again when the user barges in.
        on_event: called with each event as it arrives.
    """

    def __init__(
        self,
        run: ScriptRun,
        clock: Callable[[], float],
        *,
        player: ChunkPlayer | None = None,
        languages: Sequence[str] | None = None,
        on_turn: Callable[[TurnRecord], None] = lambda record: None,
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self._run = run
        self._clock = clock
        self._player = player
        self._languages = languages
        self._on_turn = on_turn
        self._on_event = on_event
        self._ended: set[str] = set()
        self._reading: asyncio.Task[None] | None = None

    async def run(self, conversation: Conversation, script: Script) -> None:
        """Speak turn after turn, and wait until all of them have been heard.

        Raises:
            IntoneCallError: the call has failed, or the server ended it early.
        """
        self._reading = reading = asyncio.create_task(self._read(conversation))
        try:
            async with report_playback_progress(conversation, lambda: self._played_ms):
                for number, turn in enumerate(script.turns, 1):
                    await self._run_turn(conversation, script, TurnRecord(number, turn))
                await self._wait_until(lambda: not any(record.stopping for record in self._run.turns))
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            for record in self._run.turns:
                record.late_ms = self._run.listener.late_ms(record.utterance_id)

    async def _run_turn(self, conversation: Conversation, script: Script, record: TurnRecord) -> None:
        turn = record.turn
        if not self._speaks(turn.language):
            record.skipped = f"no trained engine of this server speaks {turn.language}"
            self._run.turns.append(record)
            self._on_turn(record)
            return
        await asyncio.sleep(self._pause_ms(turn) / 1000)
        record.utterance_id = f"turn-{record.number}"
        self._run.turns.append(record)
        self._on_turn(record)
        writing = asyncio.create_task(self._write(conversation, script, record))
        try:
            await self._wait_until(lambda: self._heard_to_end(record) or self._barge_in_due(record))
            if not self._heard_to_end(record):
                await self._barge_in(conversation, record, writing)
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    def _pause_ms(self, turn: Turn) -> int:
        if turn.pause_ms is not None:
            return turn.pause_ms
        spoken = [record for record in self._run.turns if not record.skipped]
        return DEFAULT_PAUSE_MS if spoken and spoken[-1].barge_in_s is None else 0

    async def _barge_in(self, conversation: Conversation, record: TurnRecord, writing: "asyncio.Task[None]") -> None:
        """Interrupt: discard what has not been played, and cancel the utterance."""
        writing.cancel()
        self._run.listener.drop(record.utterance_id)
        if self._player is not None:
            self._player.drop()
        record.barge_in_s = self._clock()
        self._on_turn(record)
        await conversation.cancel(record.utterance_id, self._played_ms)

    async def _write(self, conversation: Conversation, script: Script, record: TurnRecord) -> None:
        turn, utterance_id = record.turn, record.utterance_id
        (_, first), *rest = turn.deltas(script.words_per_second)
        await conversation.send(first, utterance_id, emotion=turn.emotion, voice=turn.voice, options=turn.options)
        for wait_s, delta in rest:
            await asyncio.sleep(wait_s)
            await conversation.send(delta, utterance_id)
        await conversation.send("", utterance_id, end=True)

    async def _read(self, conversation: Conversation) -> None:
        async for event in conversation:
            self._receive(event)
            self._on_event(event)
        raise IntoneCallError(grpc.StatusCode.UNAVAILABLE, "the server ended the conversation before its last turn")

    def _receive(self, event: Event) -> None:
        if isinstance(event, AudioChunk):
            if self._run.listener.receive(event) and self._player is not None:
                self._player.write(event)
        elif isinstance(event, Done | Interrupted):
            self._ended.add(event.utterance_id)
        for record in self._run.turns:
            if record.stopping and _confirms_stop(event, record):
                record.stopped_s = event.received_s

    @property
    def _played_ms(self) -> int:
        return self._run.listener.played_ms if self._player is None else self._player.played_ms

    def _heard_to_end(self, record: TurnRecord) -> bool:
        return record.utterance_id in self._ended and self._clock() >= self._run.listener.end_s

    def _barge_in_due(self, record: TurnRecord) -> bool:
        after_ms = record.turn.interrupt_after_ms
        return after_ms is not None and self._run.listener.heard_ms(record.utterance_id) >= max(after_ms, 1)

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._reading is not None and self._reading.done():
                self._reading.result()  # raises: the task ends only by an error
            await asyncio.sleep(_PLAYBACK_POLL_S)

    def _speaks(self, language: str) -> bool:
        known = self._languages
        return not language or known is None or any(_primary(language) == _primary(code) for code in known)


def _confirms_stop(event: Event, record: TurnRecord) -> bool:
    """Whether an event says that no more audio of an interrupted utterance follows.

    It is a notice with code "utterance_ended" if the utterance had already ended when the interruption arrived.
    """
    if not isinstance(event, Done | Interrupted | Notice) or event.utterance_id != record.utterance_id:
        return False
    return not isinstance(event, Notice) or event.code == "utterance_ended"


def _primary(language: str) -> str:
    return language.partition("-")[0].lower()
