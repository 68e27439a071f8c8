"""The log: one line for each event on standard error, as text or JSON, with the call that it belongs to.

Every line has the time in UTC, the level, the logger and the message, then fields: those of the call (`call`,
`principal`, `trace`), those that `fields` adds, and `pid` if another process of the server wrote it. No line has text
or audio of a caller, so the words of warnings, and of exceptions that quote the value they reject, are left out.
"""

import json
import logging
import os
import re
import sys
import time
import traceback
import warnings
from typing import Any, NamedTuple, TextIO

from intone.server.call_context import current_call

PACKAGE = "intone"
"""Its loggers log no text of a caller at any level; what libraries log at the level "debug" is not known."""

FORMATS = ("text", "json")

_QUOTING_ERRORS = (ValueError, LookupError)
"""Exceptions whose messages often contain the value that was rejected, such as a word without a pronunciation."""

_PLAIN = re.compile(r"[^\s\"=\\\x00-\x1f\x7f-\x9f]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

logger = logging.getLogger(__name__)


def fields(**values: object) -> dict[str, Any]:
    """Fields of a log line, for `extra=` of the methods of loggers. Values must be picklable; None is left out."""
    return {"fields": {name: value for name, value in values.items() if value is not None}}


class Levels(NamedTuple):
    """The least severe messages that a process logs: of libraries, and of this package."""

    others: int
    own: int

    @classmethod
    def now(cls) -> "Levels":
        """Of this process."""
        return cls(logging.getLogger().getEffectiveLevel(), logging.getLogger(PACKAGE).getEffectiveLevel())

    def apply(self) -> None:
        """Make them those of this process."""
        logging.getLogger().setLevel(self.others)
        logging.getLogger(PACKAGE).setLevel(self.own)


def configure(level: str, form: str) -> None:
    """Log to standard error. `level`: debug, info, warning or error. `form`: one of `FORMATS`."""
    handler = _StandardError()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    hide_warnings()


def hide_warnings() -> None:
    """Log warnings of libraries without their words, which may quote what a caller says; each place once."""
    seen: set[tuple[str, int]] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if (filename, lineno) not in seen:
            seen.add((filename, lineno))
            logger.info("a library warns", extra=fields(category=category.__name__, file=filename, line=lineno))

    warnings.showwarning = show


def described(error: BaseException) -> str:
    """The traceback of an exception and of its causes, without messages that quote values."""
    parts: list[str] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        kind = type(current).__qualname__
        words = "" if isinstance(current, _QUOTING_ERRORS) or not str(current) else f": {current}"
        parts.append("".join(traceback.format_tb(current.__traceback__)) + kind + words)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\nwhich led to\n".join(reversed(parts))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, then fields; `exception` is a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if exception := _exception(record):
            line["exception"] = exception
        return json.dumps(line, ensure_ascii=False, default=str).translate(_LINE_ENDS)


class TextFormatter(logging.Formatter):
    """For people: `TIME LEVEL LOGGER: MESSAGE name=value ...`; a traceback follows, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        message = _CONTROL.sub(_escaped, record.getMessage())
        line = f"{_time(record)} {record.levelname:7} {record.name}: {message}"
        for name, value in _fields(record).items():
            line += f" {name}={_quoted(value)}"
        if exception := _exception(record):
            line += "".join(f"\n    {_CONTROL.sub(_escaped, part)}" for part in exception.split("\n"))
        return line


class _StandardError(logging.Handler):
    """Writes to what is `sys.stderr` at the time, which progress bars replace while they are shown."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001  (a full disk must not end what is logged about)
            self.handleError(record)


_LINE_ENDS = {ord(one): f"\\u{ord(one):04x}" for one in "\x7f\x85\u2028\u2029"}
"""What JSON allows in strings, but some readers of lines take for the end of one."""


def _time(record: logging.LogRecord) -> str:
    """RFC 3339, UTC, with milliseconds."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.msecs):03d}Z"


def _fields(record: logging.LogRecord) -> dict[str, object]:
    found: dict[str, object] = {}
    if (call := current_call()) is not None and record.process == os.getpid():
        given = {"call": call.id, "principal": call.principal, "trace": call.trace_id}
        found.update({name: value for name, value in given.items() if value})
    found.update(getattr(record, "fields", {}))
    if record.process != os.getpid():
        found["pid"] = record.process
    return found


def _exception(record: logging.LogRecord) -> str:
    if record.exc_info and record.exc_info[1] is not None:
        return described(record.exc_info[1])
    return record.exc_text or ""  # of a record that another process sent


def _quoted(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False).translate(_LINE_ENDS)


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found.group())[1:-1] if ord(found.group()) < 0x80 else f"\\u{ord(found.group()):04x}"
