"""Runs a script against a server in real time, with a simulated listener who barges in."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from intone.client.conversation import AsyncConversation, report_playback
from intone.client.events import AudioChunk, AudioPosition, Cut, Event
from intone.client.speech import Speech
from intone.client.tools.listener import Listener
from intone.client.tools.script import DEFAULT_PAUSE_MS, Script, Turn
from intone.client.utterance import AsyncUtterance

_PLAYBACK_POLL_S = 0.01
"""How often the end of playback and the time of a barge-in are checked."""

_FINISH_TIMEOUT_S = 10.0
"""Longest wait for the end of the stream, when everything was heard."""


class ChunkPlayer(Protocol):
    """A sound device, such as `Player`."""

    @property
    def position(self) -> AudioPosition | None:
        """What was played last."""

    def write(self, utterance_id: str, pcm: bytes, /) -> None:
        """Queue audio of an utterance."""

    def drop(self, utterance_id: str, /) -> None:
        """Discard what has not been played."""


@dataclass(slots=True)
class TurnRecord:
    """How one turn of a script went. Times are on the clock of the events.

    Attributes:
        number: number of the turn in the script, from 1.
        utterance_id: empty if the turn was skipped.
        started_s: when the turn started: the wait of the listener begins.
        skipped: why the turn was skipped; empty if it was not.
        barge_in_s: when the user interrupted; None if they did not.
        stopped_s: when the server's answer to the interruption was received.
        cut: what was heard, by that answer; None if nothing was left to stop.
        late_ms: duration of the audio that arrived after the barge-in and was discarded.
    """

    number: int
    turn: Turn
    utterance_id: str = ""
    started_s: float = 0.0
    skipped: str = ""
    barge_in_s: float | None = None
    stopped_s: float | None = None
    cut: Cut | None = None
    late_ms: float = 0.0


@dataclass(slots=True)
class ScriptRun:
    """How a script went: what was heard, each turn, and, once it has ended, the speech of each utterance.

    Attributes:
        voicing: names of the server's engines that voice emotion; None if they are not known.
    """

    listener: Listener
    turns: list[TurnRecord] = field(default_factory=list)
    speeches: dict[str, Speech] = field(default_factory=dict)
    voicing: frozenset[str] | None = None

    def speech(self, record: TurnRecord) -> Speech:
        """What was sent and received in a turn that was not skipped."""
        return self.speeches[record.utterance_id]

    @property
    def start_s(self) -> float:
        """When the first turn started; 0 if none did."""
        return next((record.started_s for record in self.turns if not record.skipped), 0.0)


class ScriptRunner:
    """Runs a script once, on one stream, whose `on_event` must call `receive`.

    Args:
        run: filled while the script runs; its listener must use `clock`.
        clock: the clock of the events, in seconds.
        languages: BCP 47 codes that the server speaks; turns in other languages are skipped. None skips no turn.
        on_turn: called when a turn starts or is skipped, and again when the user barges in.
    """

    def __init__(
        self,
        run: ScriptRun,
        clock: Callable[[], float],
        *,
        languages: Sequence[str] | None = None,
        on_turn: Callable[[TurnRecord], None] = lambda record: None,
    ) -> None:
        self._run = run
        self._clock = clock
        self._languages = languages
        self._on_turn = on_turn
        self._player: ChunkPlayer | None = None
        self._spoken: list[tuple[TurnRecord, AsyncUtterance]] = []
        self._interrupting: list[asyncio.Task[None]] = []

    def receive(self, event: Event) -> None:
        """Take an event of the stream."""
        if isinstance(event, AudioChunk) and self._run.listener.receive(event) and self._player is not None:
            self._player.write(event.utterance_id, event.data)

    async def run(self, talk: AsyncConversation, script: Script, player: ChunkPlayer | None = None) -> None:
        """Speak turn after turn, wait until all of them have been heard, and let the stream finish.

        Args:
            talk: the open stream.
            player: plays the audio and gives the position of playback; None takes it from the simulated listener.

        Raises:
            IntoneError: the stream has failed.
        """
        self._player = player
        try:
            async with report_playback(talk, self._position):
                for number, turn in enumerate(script.turns, 1):
                    await self._run_turn(talk, script, TurnRecord(number, turn))
                await asyncio.gather(*self._interrupting)
                await talk.finish(_FINISH_TIMEOUT_S)
        finally:
            for task in self._interrupting:
                task.cancel()
            await asyncio.gather(*self._interrupting, return_exceptions=True)
            for record, utterance in self._spoken:
                self._run.speeches[utterance.id] = utterance.speech
                record.late_ms = self._run.listener.late_ms(record.utterance_id)

    async def _run_turn(self, talk: AsyncConversation, script: Script, record: TurnRecord) -> None:
        turn = record.turn
        if not self._speaks(turn.settings.language):
            record.skipped = f"no trained engine of this server speaks {turn.settings.language}"
            self._run.turns.append(record)
            self._on_turn(record)
            return
        await asyncio.sleep(self._pause_ms(turn) / 1000)
        record.utterance_id, record.started_s = f"turn-{record.number}", self._clock()
        utterance = talk.utterance(turn.settings, id=record.utterance_id, cover_after_ms=turn.cover_after_ms)
        self._run.turns.append(record)
        self._spoken.append((record, utterance))
        self._on_turn(record)
        writing = asyncio.create_task(_write(utterance, turn, script.words_per_second))
        ended = asyncio.create_task(utterance.done())
        try:
            while not (heard := ended.done() and self._clock() >= self._run.listener.end_s):
                if writing.done():
                    writing.result()  # raises if a recording to follow cannot be read
                if self._barge_in_due(record):
                    break
                await asyncio.sleep(_PLAYBACK_POLL_S)
            if heard:
                ended.result()  # raises if the stream has failed
            else:
                writing.cancel()
                self._barge_in(record, utterance)
        finally:
            for task in (writing, ended):
                task.cancel()
            await asyncio.gather(writing, ended, return_exceptions=True)

    def _pause_ms(self, turn: Turn) -> int:
        if turn.pause_ms is not None:
            return turn.pause_ms
        return DEFAULT_PAUSE_MS if self._spoken and self._spoken[-1][0].barge_in_s is None else 0

    def _barge_in(self, record: TurnRecord, utterance: AsyncUtterance) -> None:
        """Discard what has not been played, and interrupt the utterance. Its answer is not waited for."""
        position = self._position()
        self._run.listener.drop(record.utterance_id)
        if self._player is not None:
            self._player.drop(record.utterance_id)
        record.barge_in_s = self._clock()
        self._on_turn(record)
        self._interrupting.append(asyncio.create_task(self._interrupt(record, utterance, position)))

    async def _interrupt(self, record: TurnRecord, utterance: AsyncUtterance, position: AudioPosition | None) -> None:
        record.cut = await utterance.interrupt(position)
        record.stopped_s = self._clock()

    def _position(self) -> AudioPosition | None:
        return self._run.listener.position if self._player is None else self._player.position

    def _barge_in_due(self, record: TurnRecord) -> bool:
        after_ms = record.turn.interrupt_after_ms
        return after_ms is not None and self._run.listener.heard_ms(record.utterance_id) >= max(after_ms, 1)

    def _speaks(self, language: str) -> bool:
        known = self._languages
        return not language or known is None or any(_primary(language) == _primary(code) for code in known)


async def _write(utterance: AsyncUtterance, turn: Turn, words_per_second: float) -> None:
    """Start the utterance and send its text at its pace."""
    await utterance.start()
    await asyncio.sleep(turn.think_ms / 1000)
    (_, first), *rest = turn.deltas(words_per_second)
    await utterance.send(first)
    for wait_s, delta in rest:
        await asyncio.sleep(wait_s)
        await utterance.send(delta)
    await utterance.end()


def _primary(language: str) -> str:
    return language.partition("-")[0].lower()
