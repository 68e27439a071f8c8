"""Exceptions of the server, in four families; `rpc/wire/status.py` maps each to a gRPC status."""

from enum import Enum


class IntoneError(Exception):
    """Base of everything this package raises on purpose."""


class Fault(Enum):
    """What is wrong with a caller's input."""

    INVALID = "invalid"  # the value itself
    NOT_FOUND = "not_found"  # it names something that is not there
    EXISTS = "exists"  # it names something that is there already
    TOO_LARGE = "too_large"  # over a size limit
    TOO_MUCH = "too_much"  # over a limit on how much may be sent in all
    PRECONDITION = "precondition"  # right in itself, impossible in this state
    UNIMPLEMENTED = "unimplemented"  # not here yet
    UNAUTHENTICATED = "unauthenticated"  # it does not say who it is
    TIMEOUT = "timeout"  # it did not come in time


class CallerError(IntoneError):
    """The caller's fault: names the field, what is wrong with its value, and what would be right.

    Attributes:
        field: path of the field on the wire, such as `text.delta` or `config.format.sample_rate_hz`; may be empty.
        message: what is wrong, without the field.
        fault: which kind of fault.
    """

    def __init__(self, field: str, message: str, fault: Fault = Fault.INVALID) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field, self.message, self.fault = field, message, fault

    def under(self, prefix: str) -> "CallerError":
        """The same fault seen from the message that holds the field: `prefix` is put before the field's path."""
        return CallerError(f"{prefix}.{self.field}", self.message, self.fault)


class OverloadError(IntoneError):
    """More work than the server takes on; worth trying again after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EngineError(IntoneError):
    """An engine failed while it worked; `engine` is its name. The cause is chained and logged where it happened."""

    def __init__(self, engine: str, message: str) -> None:
        super().__init__(f"{engine}: {message}")
        self.engine = engine


class CheckpointError(EngineError):
    """A model folder cannot be used: names the file or key, what was found and what was expected. Only at start-up."""


class ShutdownError(IntoneError):
    """The server is going away and takes no new work."""
