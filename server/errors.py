"""Exceptions of the server. `rpc/wire/status.py` maps each to a gRPC status."""

from enum import Enum
from typing import Any


class IntoneError(Exception):
    """Base class of all exceptions that this package raises on purpose. They can be pickled, without their cause."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[IntoneError], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> IntoneError:
    """A pickled error. `kind` is not called: its arguments are others than those of `Exception`."""
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(attributes)
    return error


class Fault(Enum):
    """Kind of a caller's mistake."""

    INVALID = "invalid"  # the value is wrong in itself
    NOT_FOUND = "not_found"  # it names something that does not exist
    EXISTS = "exists"  # it names something that exists already
    TOO_LARGE = "too_large"  # over a size limit
    QUOTA_EXCEEDED = "quota_exceeded"  # over a limit on a total
    PRECONDITION = "precondition"  # valid, but not in the current state
    UNIMPLEMENTED = "unimplemented"  # not supported by this server
    UNAUTHENTICATED = "unauthenticated"  # credentials are missing or wrong
    TIMEOUT = "timeout"  # it did not arrive in time


class CallerError(IntoneError):
    """Invalid input of the caller: the field, what is wrong with its value, and what would be valid.

    Attributes:
        field: path of the field on the wire, such as `text.delta` or `config.format.sample_rate_hz`; may be empty.
        message: what is wrong, without the field.
        fault: kind of mistake.
    """

    def __init__(self, field: str, message: str, fault: Fault = Fault.INVALID) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field, self.message, self.fault = field, message, fault

    def under(self, prefix: str) -> "CallerError":
        """The same error for the enclosing message: `prefix` and a dot are put before the field."""
        return CallerError(f"{prefix}.{self.field}", self.message, self.fault)


class UnsupportedVoiceError(CallerError):
    """The engine cannot speak with the requested voice, but another engine may: the caller tries the next one."""

    def __init__(self, message: str) -> None:
        super().__init__("voice", message, Fault.PRECONDITION)


class OverloadError(IntoneError):
    """The server is at capacity; the caller may retry after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StorageError(IntoneError):
    """A file of the server cannot be written, for a reason other than a full disk, which is an `OverloadError`."""


class EngineError(IntoneError):
    """The engine named `engine` failed during synthesis. The cause is chained and was logged where it happened."""

    def __init__(self, engine: str, message: str) -> None:
        super().__init__(f"{engine}: {message}")
        self.engine = engine


class CheckpointError(EngineError):
    """A model folder is invalid: the file or key, what was found and what was expected. Raised at start-up only."""


class ShutdownError(IntoneError):
    """The server is shutting down and accepts no new work."""
