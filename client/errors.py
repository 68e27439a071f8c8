"""`IntoneCallError`, the exception of every failed call, and its decoding from gRPC statuses."""

from collections.abc import Iterable, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class IntoneCallError(Exception):
    """The server refused a request or could not be reached.

    Attributes:
        code: the gRPC status code.
        message: the server's message.
        violations: (field, description) of each invalid field, such as `("config.format.sample_rate_hz", "…")`.
        retry_after_s: seconds to wait before trying again; None if the server did not say.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        violations: Sequence[tuple[str, str]] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(code, message, violations, retry_after_s)
        self.code = code
        self.message = message
        self.violations = list(violations)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        details = "; ".join(self.extra_violations)
        return f"{self.code.name}: {self.message}" + (f" ({details})" if details else "")

    @property
    def extra_violations(self) -> list[str]:
        """The violations that `message` does not already contain, as "field: description"."""
        return [f"{field}: {description}" for field, description in self.violations if description not in self.message]


def from_status(status: status_pb2.Status) -> IntoneCallError:
    """Build the error from a `google.rpc.Status`."""
    violations: list[tuple[str, str]] = []
    retry_after_s: float | None = None
    for detail in status.details:
        bad_request, retry = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if detail.Unpack(bad_request):
            violations += [(violation.field, violation.description) for violation in bad_request.field_violations]
        elif detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToTimedelta().total_seconds()
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    return IntoneCallError(code, status.message, violations, retry_after_s)


def from_trailers(code: grpc.StatusCode, details: str | None, trailers: Iterable[tuple[str, Any]]) -> IntoneCallError:
    """Build the error of a finished call, with the status details from its trailers if they can be decoded."""
    for key, value in trailers:
        if key == _DETAILS_KEY:
            try:
                return from_status(status_pb2.Status.FromString(value))
            except DecodeError:
                break
    return IntoneCallError(code, details or "")


def from_rpc_error(error: grpc.aio.AioRpcError) -> IntoneCallError:
    """Convert the error that gRPC raised."""
    return from_trailers(error.code(), error.details(), error.trailing_metadata() or ())
