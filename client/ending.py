"""How a call ended, in the server's words. Knows gRPC's asyncio interface and its one fault, nothing of speech."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc

from intone.client.errors import IntoneCallError, from_trailers

T = TypeVar("T")

END_S = 5.0
"""How long a call that is known to be over may take to tell why. It tells within milliseconds."""

_POLL_S = 0.005

_OF_A_WRITE = (grpc.StatusCode.INTERNAL, "Internal error from Core")


class Ending:
    """The status that the server gave a call.

    A write that loses the race against the end of its call puts a status of its own in place of the server's (gRPC
    issue 36066), before or after the server's has come. So every status that gRPC tells is looked at, and that one
    passed over.

    Args:
        call: one that gRPC has just begun.
    """

    def __init__(self, call: Any) -> None:
        self._call = call
        self._status: tuple[grpc.StatusCode, str | None, Any] | None = None
        call.add_done_callback(self._look)

    def _look(self, call: Any) -> None:
        status = _at_once(call.code()), _at_once(call.details()), _at_once(call.trailing_metadata())
        if status[:2] != _OF_A_WRITE and self._status is None:
            self._status = status

    async def settle(self) -> None:
        """Wait, a few seconds at most, for the status of a call that is over and has been read to its end."""
        # gRPC tells of the first status only. Of another that takes its place we learn by looking.
        for _ in range(round(END_S / _POLL_S)):
            if self._call.done():
                self._look(self._call)
            if self._status is not None:
                return
            await asyncio.sleep(_POLL_S)

    def failure(self) -> IntoneCallError | None:
        """What went wrong; None when nothing did. Of a settled call."""
        if self._status is None:
            return IntoneCallError(grpc.StatusCode.UNKNOWN, "the call was lost without a word")
        code, details, trailers = self._status
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
