"""The one exception of a call that went wrong. Knows the standard error details, nothing of speech."""

from collections.abc import Iterable, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class IntoneCallError(Exception):
    """The server refused something, or could not be reached.

    Attributes:
        code: the gRPC status code.
        message: the server's words.
        violations: (field, description) of each field that was wrong, as `("config.format.sample_rate_hz", "…")`.
        retry_after_s: seconds after which trying again is worth it; None where the server did not say.
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
        fields = "; ".join(self.unsaid)
        return f"{self.code.name}: {self.message}" + (f" ({fields})" if fields else "")

    @property
    def unsaid(self) -> list[str]:
        """The violations in words, without those that the message says already."""
        told = ((field, description) for field, description in self.violations if description not in self.message)
        return [f"{field}: {description}" for field, description in told]


def from_status(status: status_pb2.Status) -> IntoneCallError:
    """The error that a `google.rpc.Status` tells of."""
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
    """The error that a finished call tells of: the details in its trailers where they are there and readable."""
    for key, value in trailers:
        if key == _DETAILS_KEY:
            try:
                return from_status(status_pb2.Status.FromString(value))
            except DecodeError:
                break
    return IntoneCallError(code, details or "")


def from_rpc_error(error: grpc.aio.AioRpcError) -> IntoneCallError:
    """The error that gRPC raised, in our words."""
    return from_trailers(error.code(), error.details(), error.trailing_metadata() or ())
