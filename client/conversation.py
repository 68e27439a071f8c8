"""`AsyncConversation`: one stream on which utterances are spoken one after another."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import grpc

from intone.client.errors import error_for
from intone.client.events import AudioPosition, Configured, Cut, Event, GoingAway, Notice, Usage
from intone.client.feed import FeedReader
from intone.client.sent_requests import Request
from intone.client.settings import SpeechOptions, SpeechSettings, StreamSettings, speech_settings
from intone.client.stream import Stream, StreamSetup
from intone.client.utterance import AsyncUtterance, interrupt
from intone.proto import audio_pb2, speech_pb2

if TYPE_CHECKING:
    from typing_extensions import Unpack

REPORT_INTERVAL_S = 0.2
"""How often `report_playback` reports."""


class AsyncConversation:
    """A stream of utterances that are spoken in the order of their start; made by `AsyncSpeechClient.conversation`.

    ```python
    async with client.conversation(voice="ada") as talk:
        turn = talk.utterance(emotion="happy").speak(tokens())
        async for pcm in turn.audio():
            player.write(turn, pcm)
        await talk.finish()
    ```

    One conversation is one speaker: its utterances never sound at the same time. Any number of tasks may use it and
    its utterances at once. Leaving the context ends the call at once and discards what was not received; tasks that
    wait for something then get `Cancelled`. `finish` lets everything be spoken and played first.

    When the connection is lost, the server keeps the stream for some time: it goes on over another connection, with
    every event once and in order. Where that fails before the first audio, as when the server has been restarted, a new
    stream is opened and everything is sent again; `configured.stream_id` then changes, and `Configured`, `Started` and
    `Notice` may come twice. After the first audio it is an error (`Unavailable`): only the caller knows what was
    heard. When the server announces that it shuts down, `going_away` is set and no new utterance may be made; those
    that were made are finished. Where nothing has sounded yet, a new stream speaks them.
    """

    def __init__(self, settings: StreamSettings, setup: StreamSetup) -> None:
        self._stream = Stream(settings, setup)
        self._used: set[str] = set()
        self._utterances: WeakValueDictionary[str, AsyncUtterance] = WeakValueDictionary()

    # ---- opening and closing -----------------------------------------------------------------------------------------

    async def open(self) -> "AsyncConversation":
        """Open the stream and wait until the server is ready to speak.

        Returns:
            This conversation.

        Raises:
            IntoneError: the server refused the settings, for instance NotFound for an unknown voice; it cannot be
                reached; or TimedOut.
            OSError: an emotion clip cannot be read.
            RuntimeError: it was opened before.
        """
        await self._stream.open()
        return self

    async def aclose(self) -> None:
        """End the call at once. May be called more than once, and before `open`."""
        await self._stream.close()

    async def __aenter__(self) -> "AsyncConversation":
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def finish(self, timeout_s: float | None = None) -> Usage:
        """Wait until everything was spoken and played or interrupted, by the reported or estimated position.

        No new utterance may be started; those that are open may get more text, and may be interrupted.

        Args:
            timeout_s: longest wait; None waits as long as the speech lasts.

        Returns:
            What was spoken on the stream.

        Raises:
            IntoneError: the stream has failed, or TimedOut.
        """
        await self._stream.finish(timeout_s)
        return self._stream.closed.usage if self._stream.closed is not None else Usage()

    @property
    def configured(self) -> Configured:
        """The format of the audio, limits, features and id of the stream.

        Raises:
            RuntimeError: the conversation is not open.
        """
        return self._stream.configured

    # ---- speaking ----------------------------------------------------------------------------------------------------

    def utterance(
        self,
        settings: SpeechSettings | None = None,
        *,
        id: str | None = None,
        text_timeout_ms: int | None = None,
        cover_after_ms: int | None = None,
        **options: "Unpack[SpeechOptions]",
    ) -> AsyncUtterance:
        """Make an utterance. The server learns of it with its first text, or by `AsyncUtterance.start`.

        Args:
            settings: of the utterance; what is empty or None is taken from the stream.
            id: 1 to 128 characters, used once on the stream; None makes up a short one.
            text_timeout_ms: when others wait behind it and no text has come for so long, its text is taken as ended:
                100 to 600,000.
            cover_after_ms: when its text is late, a filler covers the wait after so long: 50 to 60,000.
            options: fields of `SpeechSettings` that replace those of `settings`.

        Raises:
            RuntimeError: the conversation is not open.
            TypeError: an option is unknown.
            Unavailable: the server is shutting down.
            ValueError: a setting cannot be read, or the id was used before.
        """
        _ = self.configured  # raises if it is not open
        if self.going_away is not None and not self._stream.can_restart:
            message = "the server is shutting down: start no new utterance, open another conversation"
            raise error_for(grpc.StatusCode.UNAVAILABLE, message, "GOING_AWAY")
        if id is None:
            id = next(name for number in count(len(self._used) + 1) if (name := f"u{number}") not in self._used)
        if id in self._used:
            raise ValueError(f"the utterance id {id!r} was used before")
        chosen = speech_settings(settings, options)
        message = speech_pb2.StartUtterance(
            utterance_id=id,
            settings=chosen.message(),
            text_timeout_ms=text_timeout_ms,
            cover_after_ms=cover_after_ms,
        )
        plain = message == speech_pb2.StartUtterance(utterance_id=id, settings=speech_pb2.SpeechSettings())
        self._used.add(id)
        self._utterances[id] = utterance = AsyncUtterance(self._stream, id, None if plain else message, chosen.clip)
        return utterance

    async def interrupt(
        self, *utterances: AsyncUtterance | str, position: AudioPosition | None = None
    ) -> tuple[Cut, ...]:
        """Stop utterances, given as objects or ids; all that have started if none is given.

        Args:
            position: where playback stopped, such as `Player.position`; None lets the server estimate it.

        Returns:
            What was heard of those that were stopped, in the order of their start.

        Raises:
            IntoneError: the stream has failed, or TimedOut.
        """
        ids = [one if isinstance(one, str) else one.id for one in utterances]
        if ids:
            known = [self._utterances[id_] for id_ in ids if id_ in self._utterances]
        else:
            known = [utterance for utterance in self._utterances.values() if utterance.begun]
        return await interrupt(self._stream, known, ids, position)

    async def flush(self, timeout_s: float | None = None) -> None:
        """Speak the text of all open utterances that was sent now; wait until its audio has been received.

        Raises:
            IntoneError: the stream has failed, or TimedOut.
        """
        flush_id = self._stream.next_id("f")
        await self._stream.ask(Request(flush=speech_pb2.Flush(flush_id=flush_id)), flush_id, timeout_s)

    async def report_playback(self, position: AudioPosition) -> None:
        """Tell the server what was played last. Report every 100 to 500 ms, or never: see `report_playback`.

        Raises:
            IntoneError: the stream has ended.
        """
        played = audio_pb2.AudioPosition(utterance_id=position.utterance_id, sample=position.sample)
        await self._stream.send(Request(playback=speech_pb2.PlaybackProgress(played=played)))

    # ---- events of the stream ----------------------------------------------------------------------------------------

    def events(self, timeout_s: float | None = None) -> AsyncIterator[Event]:
        """Events that belong to no open utterance, from the first one on: notices, refused messages, going away.

        Args:
            timeout_s: longest wait for the next event.

        Raises:
            IntoneError: while iterating: the stream has failed, or TimedOut.
        """
        return FeedReader(self._stream.feed, lambda event: (event,), timeout_s=timeout_s)

    @property
    def notices(self) -> tuple[Notice, ...]:
        """Notices so far that concern no open utterance."""
        return tuple(self._stream.notices)

    @property
    def going_away(self) -> GoingAway | None:
        """The announcement that the server is shutting down; None if there is none."""
        return self._stream.going_away


@asynccontextmanager
async def report_playback(
    conversation: AsyncConversation, position: Callable[[], AudioPosition | None]
) -> AsyncIterator[None]:
    """Report the position of playback every `REPORT_INTERVAL_S` while the context lasts.

    Args:
        position: returns what was played last, such as `lambda: player.position`; None reports nothing.
    """

    async def report() -> None:
        reported = None
        while True:
            await asyncio.sleep(REPORT_INTERVAL_S)
            now = position()
            if now is not None and now != reported:
                await conversation.report_playback(now)
                reported = now

    task = asyncio.create_task(report())
    try:
        yield
    finally:
        task.cancel()
        # The reader of the conversation gets the same error.
        await asyncio.gather(task, return_exceptions=True)
