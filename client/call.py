"""One call with messages both ways, whose end is always noticed. Knows gRPC's asyncio interface, nothing of speech."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf.message import Message

from intone.client.ending import END_S, Ending
from intone.client.errors import IntoneCallError

_HELD_UP_S = 0.1
"""A write that takes longer waits for the server; the server may be waiting for us to read."""

_OVER = (grpc.aio.AioRpcError, grpc.aio.BaseError, asyncio.InvalidStateError)
"""How reads and writes fail once the call has ended. Why it ended is not told reliably: see `Ending`."""


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
        self._ending = Ending(call)
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()
        self._room = asyncio.Event()
        self._take_all = False
        self._writing = asyncio.create_task(self._put(first, end))
        self._reading = asyncio.create_task(self._take())

    async def read(self) -> Any:
        """The next response; `grpc.aio.EOF` after the last.

        Raises:
            IntoneCallError: the call has failed.
        """
        response = await self._inbox.get()
        self._room.set()
        if response is grpc.aio.EOF:
            self._inbox.put_nowait(response)  # for whoever reads next
            if (failure := self._ending.failure()) is not None:
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
        await _finish(self._reading)
        closed = IntoneCallError(grpc.StatusCode.FAILED_PRECONDITION, "the server has closed this call")
        raise self._ending.failure() or closed

    async def close(self) -> None:
        """End the call, whatever it is doing. Whoever reads or writes is told that it was cancelled."""
        self._call.cancel()
        self._writing.cancel()
        self._allow(everything=True)
        await _finish(self._reading, self._writing)

    async def _put(self, messages: Sequence[Message], end: bool) -> bool:
        """Write, and say whether it went well. A task of its own: gRPC ends the call when one is cancelled here."""
        held_up = asyncio.get_running_loop().call_later(_HELD_UP_S, self._allow, True)
        done = False
        try:
            for message in messages:
                await self._call.write(message)
            if end:
                await self._call.done_writing()
            done = True
        except _OVER:
            pass  # the reading finds out why
        finally:
            held_up.cancel()
            self._allow(everything=not done)
        return done

    async def _take(self) -> None:
        """Read to the end, one message ahead."""
        try:
            with contextlib.suppress(*_OVER):
                # Not `read()`: that gives nothing more once a write has failed.
                async for response in self._call:
                    self._inbox.put_nowait(response)
                    while not self._inbox.empty() and not self._take_all:
                        self._room.clear()
                        await self._room.wait()
            await self._ending.settle()
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


async def _finish(*tasks: "asyncio.Task[Any]") -> None:
    """Give tasks that should soon be done the time to be."""
    _, late = await asyncio.wait(tasks, timeout=END_S)
    for task in late:
        task.cancel()
