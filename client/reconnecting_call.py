"""A call that is opened again when it is lost before its first audio."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Any

import grpc

from intone.client.call import Call
from intone.client.errors import IntoneError
from intone.proto import speech_pb2

Request = speech_pb2.StreamSynthesizeRequest
Response = speech_pb2.StreamSynthesizeResponse

_FIRST_PAUSE_S = 0.2
"""Pause before the first reconnect; doubles with each further one."""


class ReconnectingCall:
    """A `StreamSynthesize` call that one task reads from beginning to end while others send.

    A call that is lost (UNAVAILABLE) before its first audio is opened again and everything that was not answered is
    sent again, because nothing has been heard yet. After the first audio a lost call is an error, because only the
    caller knows what the listener has heard.

    Args:
        open_call: starts a call.
        config: the first message.
        reconnects: how often a lost call is opened again.
        timeout_s: longest wait until the server takes a message.
    """

    def __init__(
        self, open_call: Callable[[], Any], config: speech_pb2.StreamConfig, reconnects: int, timeout_s: float | None
    ) -> None:
        self._open_call = open_call
        self._timeout_s = timeout_s
        self._sending = asyncio.Lock()
        self._cancelled = asyncio.Event()
        self._resend: list[Request] | None = [Request(config=config)]  # None once audio has arrived
        self._pauses_s = [_FIRST_PAUSE_S * 2**attempt for attempt in range(reconnects)]
        self._open()

    def _open(self) -> None:
        """Start a call and send everything again. Responses are read while that goes on."""
        first = list(self._resend or ())
        self._numbered = dict(enumerate(first))
        self._sent = len(first)
        self._call = Call(self._open_call(), first)

    async def send(self, request: Request) -> None:
        """Send a message. A lost call that will be opened again is not an error.

        Raises:
            IntoneError: the call has ended, or TimedOut.
        """
        async with self._sending:
            if self._resend is not None:
                self._resend.append(request)
            try:
                await self._call.written(self._timeout_s)  # a cancelled caller may have left a write in progress
                if request.WhichOneof("request") in ("flush", "interrupt"):
                    self._numbered[self._sent] = request
                self._sent += 1
                await self._call.write(request, self._timeout_s)
            except IntoneError as failure:
                if not self._may_reconnect(failure):
                    raise

    def request(self, index: int) -> Request | None:
        """The flush or interrupt that was the message number `index` of the stream."""
        return self._numbered.get(index)

    async def responses(self) -> AsyncGenerator[Response, None]:
        """The responses, to the end of the stream. Used once, by one task.

        Raises:
            IntoneError: the call has failed.
        """
        while True:
            try:
                async with aclosing(self._call.responses()) as responses:
                    async for response in responses:
                        self._forget(response)
                        yield response
                return
            except IntoneError as failure:
                if not self._may_reconnect(failure):
                    raise
                await self._reconnect(failure)

    def cancel(self) -> None:
        """End the call at once. The reader and the senders get `Cancelled`."""
        self._cancelled.set()
        self._call.cancel()

    def _may_reconnect(self, failure: IntoneError) -> bool:
        lost = failure.code is grpc.StatusCode.UNAVAILABLE and not self._cancelled.is_set()
        return lost and self._resend is not None and bool(self._pauses_s)

    async def _reconnect(self, failure: IntoneError) -> None:
        async with self._sending:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._cancelled.wait(), self._pauses_s.pop(0))
            if self._cancelled.is_set():
                raise failure
            self._open()

    def _forget(self, response: Response) -> None:
        """Drop the requests that `response` completes: they must not be sent again."""
        if self._resend is None:
            return
        kind = response.WhichOneof("response")
        if kind == "audio":
            self._resend = None
        elif kind in ("done", "flushed", "interrupted"):
            self._resend = [request for request in self._resend if not _answers(response, request)]


def _answers(response: Response, request: Request) -> bool:
    match response.WhichOneof("response"), request.WhichOneof("request"):
        case "done", ("start" | "text") as kind:
            return bool(getattr(request, kind).utterance_id == response.done.utterance_id)
        case "interrupted", "interrupt":
            return bool(request.interrupt.interrupt_id == response.interrupted.interrupt_id)
        case "flushed", "flush":
            return bool(request.flush.flush_id == response.flushed.flush_id)
    return False
