"""One call with messages both ways, whose end is always noticed. Knows gRPC's asyncio interface, nothing of speech."""

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from intone.client.errors import IntoneCallError, from_trailers

T = TypeVar("T")

_HELD_UP_S = 0.1
"""A write that takes longer waits for the server; the server may be waiting for us to read."""

_END_S = 5.0
"""How long a call that can no longer be written may take to tell why. It tells within milliseconds."""

_OF_A_WRITE = (grpc.StatusCode.INTERNAL, "Internal error from Core")
"""What gRPC makes of the status when a write fails: in place of the server's, before or after that has come."""

_REFUSED = (grpc.aio.AioRpcError, grpc.aio.BaseError, asyncio.InvalidStateError)
"""How a write fails once the call has ended. None of them says why it ended."""


class Call:
    """A call that is written and read in tasks of its own, so that neither direction waits for the other.

    gRPC tells how a call ended only after everything that came before its end has been read. Whoever writes could
    otherwise wait for a status that waits for a reader. So one message is read ahead, and all that comes when a write
    is held up or has failed. Cancelling whoever waits here leaves the call as it is.

    Args:
        call: a bidirectional call that gRPC has just begun.
        first: messages to write before all others. They are under way when this returns; see `written`.
        end: nothing follows them.
    """

    def __init__(self, call: Any, first: Sequence[Message] = (), *, end: bool = False) -> None:
        self._call = call
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()
        self._room = asyncio.Event()
        self._take_all = False
        self._status: asyncio.Future[Any] = asyncio.get_running_loop().create_future()  # code, details, trailers
        self._writing = asyncio.create_task(self._put(first, end))
        self._reading = asyncio.create_task(self._read_all())
        call.add_done_callback(self._told)

    async def read(self) -> Any:
        """The next response; `grpc.aio.EOF` after the last.

        Raises:
            IntoneCallError: the call has failed.
        """
        response = await self._inbox.get()
        self._room.set()
        if response is grpc.aio.EOF:
            self._inbox.put_nowait(response)  # for whoever reads next
            if (failure := self._failure()) is not None:
                raise failure
        return response

    async def write(self, *messages: Message, end: bool = False) -> None:
        """Put messages on the wire, and with `end` say that they were the last. One task may write at a time.

        Raises:
            IntoneCallError: the call has ended.
        """
        await self.written()  # what a caller who was cancelled has left under way
        self._writing = asyncio.create_task(self._put(messages, end))
        await self.written()

    async def written(self) -> None:
        """Wait until nothing is under way.

        Raises:
            IntoneCallError: the call has ended.
        """
        await asyncio.wait({self._writing, self._reading}, return_when=asyncio.FIRST_COMPLETED)
        if self._writing.done() and not self._writing.cancelled() and self._writing.result():
            return
        self._allow(everything=True)
        if not (await asyncio.wait({self._reading}, timeout=_END_S))[0]:
            self._reading.cancel()
        closed = IntoneCallError(grpc.StatusCode.FAILED_PRECONDITION, "the server has closed this call")
        raise self._failure() or closed

    async def close(self) -> None:
        """End the call, whatever it is doing. Whoever reads or writes is told that it was cancelled."""
        self._call.cancel()
        self._writing.cancel()
        self._allow(everything=True)
        _, late = await asyncio.wait({self._reading, self._writing}, timeout=_END_S)
        for task in late:
            task.cancel()

    # ---- the two tasks -----------------------------------------------------------------------------------------------

    async def _put(self, messages: Sequence[Message], end: bool) -> bool:
        """Write in a task of its own: gRPC ends the whole call when a task is cancelled in the middle of a write."""
        held_up = asyncio.get_running_loop().call_later(_HELD_UP_S, self._allow, True)
        done = False
        try:
            for message in messages:
                await self._call.write(message)
            if end:
                await self._call.done_writing()
            done = True
        except _REFUSED:
            pass  # the reader hears why
        finally:
            held_up.cancel()
            self._allow(everything=not done)
        return done

    async def _read_all(self) -> None:
        try:
            with contextlib.suppress(*_REFUSED):
                # Not `read()`: that gives nothing more once a write has failed.
                async for response in self._call:
                    self._inbox.put_nowait(response)
                    while not self._inbox.empty() and not self._take_all:
                        self._room.clear()
                        await self._room.wait()
            await asyncio.wait({self._status}, timeout=_END_S)
        except asyncio.CancelledError:
            self._call.cancel()  # unless it was this that ended the reading
        finally:
            self._inbox.put_nowait(grpc.aio.EOF)
            # gRPC forgets a write that waits for the connection when the call is cancelled.
            self._writing.cancel()

    def _allow(self, everything: bool) -> None:
        """Let all be read that comes, or only one message ahead."""
        self._take_all = everything
        self._room.set()

    # ---- the end -----------------------------------------------------------------------------------------------------

    def _told(self, call: Any) -> None:
        """Note the status that the call has been given. That may happen twice, and either may be the server's."""
        status = _at_once(call.code()), _at_once(call.details()), _at_once(call.trailing_metadata())
        if status[:2] != _OF_A_WRITE and not self._status.done():
            self._status.set_result(status)

    def _failure(self) -> IntoneCallError | None:
        """What went wrong; None when nothing did. For a call that has ended."""
        if not self._status.done():
            return IntoneCallError(grpc.StatusCode.UNKNOWN, "the call was lost without a word")
        code, details, trailers = self._status.result()
        return None if code is grpc.StatusCode.OK else from_trailers(code, details, trailers or ())


def _at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that has nothing to wait for, as those of a finished call.

    Awaiting them would take a turn of the event loop, in which a failed write may put its own status in place.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise AssertionError("the status of a finished call was not there")
