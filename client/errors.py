"""Exceptions of the client: one class for each kind of failure, decoded from gRPC statuses and their details."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_RETRYABLE_REASONS = {"VOICE_CHANGED", "ENGINE_FAILED"}


class IntoneError(Exception):
    """The server refused a request, failed, or could not be reached. `error_for` makes the subclass for a status.

    Attributes:
        code: the gRPC status code.
        message: the server's message.
        reason: the cause, for programs: the name of an `ErrorReason` of the wire, such as "VOICE_NOT_FOUND"; empty if
            the server gave none, for instance because it could not be reached.
        violations: (field, description) of each invalid field, such as `("config.format.sample_rate_hz", "…")`.
        metadata: the values in question, such as a limit, by name.
        retry_after_s: seconds to wait before trying again; None if the server did not say.
    """

    retryable = False
    """Whether the same request may succeed later."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        reason: str = "",
        violations: Sequence[tuple[str, str]] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.code = code
        self.message = message
        self.reason = reason
        self.violations = list(violations)
        self.metadata = dict(metadata or {})
        self.retry_after_s = retry_after_s
        super().__init__(code, message, reason, self.violations, self.metadata, retry_after_s)
        if reason in _RETRYABLE_REASONS or retry_after_s is not None:
            self.retryable = True

    def __str__(self) -> str:
        details = "; ".join(self.extra_violations)
        return f"{self.code.name}: {self.message}" + (f" ({details})" if details else "")

    @property
    def field(self) -> str:
        """Path of the first invalid field, such as "config.format.sample_rate_hz"; empty if none is named."""
        return self.violations[0][0] if self.violations else ""

    @property
    def extra_violations(self) -> list[str]:
        """The violations that `message` does not already contain, as "field: description"."""
        return [f"{field}: {description}" for field, description in self.violations if description not in self.message]


class InvalidRequest(IntoneError):
    """A value is missing, malformed, out of range or too large."""


class NotFound(IntoneError):
    """The server has no voice, engine or emotion clip of that name."""


class AlreadyExists(IntoneError):
    """A voice of that name exists with another recording."""


class Overloaded(IntoneError):
    """Too many streams or utterances are open. See `retry_after_s`."""

    retryable = True


class Unavailable(IntoneError):
    """The server cannot be reached, is shutting down, or the connection was lost."""

    retryable = True


class TimedOut(IntoneError):
    """No answer came in time, or the stream was idle for too long."""

    retryable = True


class Unauthenticated(IntoneError):
    """The token is missing or wrong."""


class PermissionDenied(IntoneError):
    """The token or certificate is known, but its roles do not allow the call, or the voice belongs to another."""


class FailedPrecondition(IntoneError):
    """The request is not possible in the present state, for instance because the stream has ended."""


class Unsupported(IntoneError):
    """This server does not have the method, the message or the feature."""


class Cancelled(IntoneError):
    """The call was ended on this side, for instance by leaving the conversation."""


class ServerFailed(IntoneError):
    """The server or its engines failed, or it sent something that the protocol does not allow."""


_CLASSES: dict[grpc.StatusCode, type[IntoneError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: TimedOut,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.ABORTED: FailedPrecondition,
    grpc.StatusCode.UNIMPLEMENTED: Unsupported,
    grpc.StatusCode.CANCELLED: Cancelled,
}
_CLASSES_BY_REASON: dict[str, type[IntoneError]] = {
    # RESOURCE_EXHAUSTED, but it will not help to try again.
    "UPLOAD_TOO_LARGE": InvalidRequest,
    "TOO_MANY_FILLERS": InvalidRequest,
    "TOO_MANY_VOICES": FailedPrecondition,
}


def error_for(
    code: grpc.StatusCode,
    message: str,
    reason: str = "",
    violations: Sequence[tuple[str, str]] = (),
    metadata: Mapping[str, str] | None = None,
    retry_after_s: float | None = None,
) -> IntoneError:
    """Make the exception of the subclass that fits the status code and the reason."""
    kind = _CLASSES_BY_REASON.get(reason) or _CLASSES.get(code, ServerFailed)
    return kind(code, message, reason, violations, metadata, retry_after_s)


def from_status(status: status_pb2.Status) -> IntoneError:
    """Build the error from a `google.rpc.Status`."""
    reason, metadata = "", {}
    violations: list[tuple[str, str]] = []
    retry_after_s: float | None = None
    for detail in status.details:
        info, bad_request, retry = (
            error_details_pb2.ErrorInfo(),
            error_details_pb2.BadRequest(),
            error_details_pb2.RetryInfo(),
        )
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad_request):
            violations += [(violation.field, violation.description) for violation in bad_request.field_violations]
        elif detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToTimedelta().total_seconds()
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    return error_for(code, status.message, reason, violations, metadata, retry_after_s)


def from_trailers(code: grpc.StatusCode, details: str | None, trailers: Iterable[tuple[str, Any]]) -> IntoneError:
    """Build the error of a finished call, with the status details from its trailers if they can be decoded."""
    for key, value in trailers:
        if key == _DETAILS_KEY:
            try:
                return from_status(status_pb2.Status.FromString(value))
            except DecodeError:
                break
    return error_for(code, details or "")


def from_rpc_error(error: grpc.aio.AioRpcError) -> IntoneError:
    """Convert the error that gRPC raised."""
    return from_trailers(error.code(), error.details(), error.trailing_metadata() or ())


def timed_out(what: str, timeout_s: float) -> TimedOut:
    """The error of a wait that took too long."""
    return TimedOut(grpc.StatusCode.DEADLINE_EXCEEDED, f"no {what} within {timeout_s:g} s")
