"""Streams that outlive their connections: each is held for some time when one is lost, and goes on over the next."""

import asyncio
import hmac
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from intone.server.conversation.sent_events import SentEvents
from intone.server.conversation.session import Session
from intone.server.errors import CallerError, Reason
from intone.server.events import (
    AudioChunk,
    ClientEvent,
    Configured,
    Interrupt,
    Leave,
    PlaybackProgress,
    ServerEvent,
)
from intone.server.logs import fields
from intone.server.settings import StreamSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resume:
    """A client's request to go on with a stream.

    Attributes:
        received: messages of the stream that the client has received.
    """

    stream_id: str
    token: str
    received: int


@dataclass(frozen=True, slots=True)
class _Connection:
    """The task of the call that serves a stream, and the tasks beside it."""

    call: asyncio.Task[Any] | None
    work: list[asyncio.Task[None]]

    def cancel(self) -> None:
        """End all of it: nothing is received or sent from here on."""
        for task in (self.call, *self.work):
            if task is not None:
                task.cancel()


class Stream:
    """A session and the call that serves it: one call at a time, or none while the stream is held.

    Iterating it gives what the client is sent; made by `HeldStreams.open`.

    Attributes:
        session: receives what the client sends, by way of `receive`.
        settings: of the session.
        missed: events that a client that has resumed the stream lacks; to be sent first.
    """

    def __init__(
        self, session: Session, settings: StreamSettings, owner: str, token: str, held: "HeldStreams", release: Any
    ) -> None:
        self.session, self.settings = session, settings
        self.missed: list[ServerEvent] = []
        self._owner, self._token, self._held, self._release = owner, token, held, release
        self._sent = SentEvents(held.max_bytes if token else 0)
        self._connection: _Connection | None = None
        self._left = asyncio.Event()
        self._expiry: asyncio.TimerHandle | None = None

    # ---- connections

    @asynccontextmanager
    async def connected(self, *work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
        """Serve the stream by the present task while the context lasts, and run `work` beside it.

        If the task is cancelled, as gRPC does when a connection is lost, the stream is held, where it can be; else the
        session is closed.
        """
        connection = _Connection(asyncio.current_task(), [asyncio.create_task(one) for one in work])
        self._connection, lost = connection, False
        try:
            yield
        except asyncio.CancelledError:
            if self._connection is not connection:  # gRPC would leave this call without an end
                raise CallerError("", "another call has resumed this stream", Reason.STREAM_NOT_HELD) from None
            lost = True
            raise
        except GeneratorExit:
            lost = True
            raise
        finally:
            for task in connection.work:
                task.cancel()
            if self._connection is connection:  # no other call has taken over
                self._connection = None
                if not (lost and self._held.hold(self)):
                    await self.end()
            await asyncio.wait(connection.work)

    def resume(self, resume: Resume, owner: str) -> None:
        """Prepare the stream for another call; one that still serves it is ended.

        Raises:
            CallerError: STREAM_NOT_HELD: the token or the owner is wrong, or too much was lost.
        """
        if not hmac.compare_digest(resume.token.encode(), self._token.encode()) or owner != self._owner:
            raise not_held()
        missed = self._sent.after(resume.received)
        if missed is None:
            raise not_held("more was lost than the server keeps, or the count is wrong")
        if self._expiry is not None:
            self._expiry.cancel()
        if self._connection is not None:
            self._connection.cancel()
            self._connection = None
        self.missed = missed
        self.session.resent([event for event in missed if isinstance(event, AudioChunk)])
        logger.info("stream resumed", extra=fields(stream=self.session.stream_id, resent=len(missed)))

    def expire_at(self, expiry: asyncio.TimerHandle) -> None:
        """End the stream then, unless it is resumed."""
        self._expiry = expiry

    async def end(self) -> None:
        """Close the session and give its place back. Idempotent."""
        self._held.forget(self)
        if self._expiry is not None:
            self._expiry.cancel()
        try:
            await self.session.close()
        finally:
            self._release()

    @property
    def resumable(self) -> bool:
        """Whether the stream can be held, unless its client has left."""
        return bool(self._token) and not self._left.is_set()

    # ---- messages

    def receive(self, event: ClientEvent) -> None:
        """Handle one message of the client."""
        if isinstance(event, Leave):
            self._left.set()
            self.session.leave()
            return
        if isinstance(event, PlaybackProgress | Interrupt) and event.played is not None:
            self._sent.played(event.played)
        self.session.receive(event)

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> ServerEvent:
        """The next event. The end comes once the client has acknowledged the last one, where the stream is resumable.

        Raises:
            Exception: as `Session.__anext__`.
        """
        try:
            event = await anext(self.session)
        except Exception:
            await self._held.acknowledged(self._left, self.resumable)
            raise
        if isinstance(event, Configured) and self._token:
            event = replace(event, resume_token=self._token, resume_ms=round(1000 * self._held.hold_s))
        self._sent.add(event)
        return event


class HeldStreams:
    """The streams of a server that can be resumed, by id.

    Args:
        hold_s: how long a stream without a connection is held; 0 never.
        max_held: streams that are held at once; of further ones a lost connection is the end.
        max_bytes: of events kept for each stream.
    """

    def __init__(self, hold_s: float, max_held: int, max_bytes: int) -> None:
        self.hold_s, self.max_bytes = hold_s, max_bytes
        self._max_held = max_held
        self._streams: dict[str, Stream] = {}
        self._held: set[Stream] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._draining = asyncio.Event()

    @property
    def count(self) -> int:
        """Streams that are held: those without a connection."""
        return len(self._held)

    def open(self, session: Session, settings: StreamSettings, owner: str, release: Callable[[], None]) -> Stream:
        """A new stream.

        Args:
            owner: the only one who may resume it.
            release: gives its place back; called at its end, once or more.
        """
        resumable = settings.resumable and self.hold_s > 0
        stream = Stream(session, settings, owner, secrets.token_urlsafe(16) if resumable else "", self, release)
        if resumable:
            self._streams[session.stream_id] = stream
        return stream

    def resume(self, resume: Resume, owner: str) -> Stream:
        """The stream that a client wants to go on with, ready for its new call.

        Raises:
            CallerError: STREAM_NOT_HELD.
        """
        stream = self._streams.get(resume.stream_id)
        if stream is None:
            raise not_held()
        stream.resume(resume, owner)
        self._held.discard(stream)
        return stream

    def hold(self, stream: Stream) -> bool:
        """Hold a stream whose connection is lost; returns whether it is held."""
        if not stream.resumable or self._draining.is_set() or len(self._held) >= self._max_held:
            return False
        self._held.add(stream)
        stream.expire_at(asyncio.get_running_loop().call_later(self.hold_s, self._end, stream))
        logger.info("connection lost", extra=fields(stream=stream.session.stream_id, held_s=self.hold_s))
        return True

    def forget(self, stream: Stream) -> None:
        """The stream has ended."""
        self._held.discard(stream)
        if self._streams.get(stream.session.stream_id) is stream:
            del self._streams[stream.session.stream_id]

    async def acknowledged(self, left: asyncio.Event, resumable: bool) -> None:
        """Wait until a client that could resume has received everything, while the server is not draining."""
        if not resumable or self._draining.is_set():
            return
        waits = [asyncio.create_task(event.wait()) for event in (left, self._draining)]
        try:
            await asyncio.wait(waits, timeout=self.hold_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()

    async def drain(self) -> None:
        """Hold no stream any more; those that are held end now."""
        self._draining.set()
        for stream in list(self._held):
            self._end(stream)
        if self._ending:
            await asyncio.wait(self._ending)

    def _end(self, stream: Stream) -> None:
        self.forget(stream)
        task = asyncio.create_task(self._end_and_log(stream), name="end of a held stream")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    @staticmethod
    async def _end_and_log(stream: Stream) -> None:
        """End a stream and say so: the line of the call that was lost is in the log already."""
        await stream.end()
        usage = stream.session.usage
        extra = fields(stream=stream.session.stream_id, units=usage.unit_count, speech_ms=round(usage.speech_ms))
        logger.info("stream ended without being resumed", extra=extra)


def not_held(why: str = "its time is over, it has ended, or the token is wrong") -> CallerError:
    """The error of a client that wants to resume a stream that the server does not have for it."""
    return CallerError("resume", f"this stream is not held: {why}; open another one", Reason.STREAM_NOT_HELD)
