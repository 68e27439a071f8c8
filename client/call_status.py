"""The final status of a gRPC call as the server sent it, despite a race in gRPC that can replace it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc

from intone.client.errors import IntoneError, error_for, from_trailers

T = TypeVar("T")

STATUS_TIMEOUT_S = 5.0
"""How long to wait for the status of a call that is known to be over. It normally arrives within milliseconds."""

_STATUS_POLL_S = 0.005

_FAILED_WRITE = (grpc.StatusCode.INTERNAL, "Internal error from Core")


class CallStatus:
    """The status that the server gave a call.

    A write that fails because the call has just ended makes gRPC report INTERNAL in place of the server's status (gRPC
    issue 36066), either before or after the server's status arrives. So every status that gRPC reports is inspected,
    and that one is ignored.

    Args:
        call: a call that has just been started.
    """

    def __init__(self, call: Any) -> None:
        self._call = call
        self._status: tuple[grpc.StatusCode, str | None, Any] | None = None
        call.add_done_callback(self._inspect)

    def _inspect(self, call: Any) -> None:
        status = _result_now(call.code()), _result_now(call.details()), _result_now(call.trailing_metadata())
        if status[:2] != _FAILED_WRITE and self._status is None:
            self._status = status

    async def settle(self) -> None:
        """Wait, for at most `STATUS_TIMEOUT_S`, for the status of a call that has been read to its end."""
        # The callback reports only the first status; one that replaces it is found by polling.
        for _ in range(round(STATUS_TIMEOUT_S / _STATUS_POLL_S)):
            if self._call.done():
                self._inspect(self._call)
            if self._status is not None:
                return
            await asyncio.sleep(_STATUS_POLL_S)

    def failure(self) -> IntoneError | None:
        """The error of a settled call; None if it ended with OK."""
        if self._status is None:
            return error_for(grpc.StatusCode.UNKNOWN, "the call ended without a status")
        code, details, trailers = self._status
        return None if code is grpc.StatusCode.OK else from_trailers(code, details, trailers or ())


def _result_now(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that does not suspend, such as those of a finished call.

    Awaiting it would give up the event loop, and a failed write could replace the status meanwhile.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise AssertionError("the status of a finished call was not available")
