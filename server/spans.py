"""Spans of traces: pieces of work with a beginning, an end and attributes. `rpc/tracing.py` records them.

Where nothing is recorded, each span is `NO_SPAN`, whose methods do nothing. Attributes are ids and sizes, never text or
audio of a caller. Times are seconds of `time.monotonic`.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

Attribute = str | int | float | bool


class Span:
    """A piece of work; of this class, one that is not recorded."""

    trace_id = ""
    """32 hexadecimal digits; empty for a span that is not recorded."""

    def child(self, name: str, began_s: float | None = None, **attributes: Attribute) -> "Span":
        """Begin a part of this work, now or at `began_s`; the names of attributes get the prefix `intone.`."""
        return self

    def set(self, **attributes: Attribute) -> None:
        """Add attributes."""

    def end(self, at_s: float | None = None, error: str = "") -> None:
        """End the work, now or at `at_s`; `error`: why it failed. Only the first call counts."""

    @contextlib.contextmanager
    def active(self) -> Iterator["Span"]:
        """Make it the current span inside of the block, and end it with the block."""
        token = _current.set(self)
        try:
            yield self
        except Exception as error:
            self.end(error=type(error).__name__)
            raise
        finally:
            self.end()
            _current.reset(token)


NO_SPAN = Span()
_current: ContextVar[Span] = ContextVar("span", default=NO_SPAN)


def current_span() -> Span:
    """The span of the present work: of the call, or of a part of it."""
    return _current.get()


def set_span(span: Span) -> None:
    """Set the span for the rest of the present task, and those that it starts."""
    _current.set(span)
