"""The call that is being handled: its id and what the log says about it, readable anywhere in its handling."""

import re
import secrets
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from intone.server.errors import Reason

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,64}")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@dataclass(slots=True)
class Call:
    """One RPC.

    Attributes:
        id: names the call in the log and for the client.
        method: without the leading slash, such as "intone.v1.SpeechService/StreamSynthesize".
        peer: network address of the client, as gRPC writes it; empty until it is known.
        principal: name of the authenticated caller; empty if there is none.
        trace_id: of the W3C trace that the client's `traceparent` names; empty without one.
        reason: why the call was refused or failed; None if it was not.
        response_count: responses written.
        unplayed_s: how long what was written takes to play from now on; None for a call that sends no audio.
        fields: what else the log line at the end of the call says: ids and sizes only.
        began_s: in seconds of `time.monotonic`.
    """

    id: str
    method: str
    peer: str = ""
    principal: str = ""
    trace_id: str = ""
    reason: Reason | None = None
    response_count: int = 0
    unplayed_s: Callable[[], float] | None = None
    fields: dict[str, object] = field(default_factory=dict)
    began_s: float = field(default_factory=time.monotonic)


_call: ContextVar[Call | None] = ContextVar("call", default=None)


def current_call() -> Call | None:
    """The call that is being handled; None outside of calls.

    Tasks that a handler starts, and `asyncio.to_thread`, see it as well; `loop.run_in_executor` does not pass it on.
    """
    return _call.get()


def set_call(call: Call) -> None:
    """Set the call for the rest of the present task; gRPC handles each call in a task of its own."""
    _call.set(call)


def add_to_call(**fields: object) -> None:
    """Add fields to the log line at the end of the present call, if there is one."""
    if (call := _call.get()) is not None:
        call.fields.update(fields)


def sends_audio(unplayed_s: Callable[[], float]) -> None:
    """Say for the present call how long its client plays what it was sent; until then it need not read."""
    if (call := _call.get()) is not None:
        call.unplayed_s = unplayed_s


def request_id(given: str) -> str:
    """The id that a client gives its request, if it has 1 to 64 characters of `A-Za-z0-9._:/+=@-`; else a new one."""
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def trace_id_of(traceparent: str) -> str:
    """The trace id, 32 hexadecimal digits, of a W3C `traceparent`; empty if it is invalid.

    Source: W3C Trace Context, section 3.2. Version 00 has nothing after the flags.
    """
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or (found.group(4) and traceparent.startswith("00")):
        return ""
    return found.group(1)


def call_failed(reason: Reason) -> None:
    """Say why the present call is refused or has failed, for its log line and the metrics."""
    if (call := _call.get()) is not None:
        call.reason = reason
