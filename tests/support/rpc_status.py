"""What a failed call tells its client."""

from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

LONE_SURROGATE = b"\xed\xa0\x80"


def details(status: status_pb2.Status, kind: Any) -> Any:
    """The detail of this type. Fails if there is none."""
    for packed in status.details:
        if packed.Is(kind.DESCRIPTOR):
            found = kind()
            packed.Unpack(found)
            return found
    raise AssertionError(f"no {kind.DESCRIPTOR.name} among the details of {status}")


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """The google.rpc.Status of a failed call."""
    status = rpc_status.from_call(error)
    assert status is not None, f"no status in the trailers: {error}"
    return status


def code_and_field(status: status_pb2.Status) -> tuple[grpc.StatusCode, str]:
    """Code of a status, and the field in its BadRequest details, which the message must name, too."""
    (violation,) = details(status, error_details_pb2.BadRequest).field_violations
    assert status.message == f"{violation.field}: {violation.description}", status
    assert details(status, error_details_pb2.ErrorInfo).domain == "intone.v1"
    return code_of(status), violation.field


def code_of(status: status_pb2.Status) -> grpc.StatusCode:
    """The code of a status."""
    return next(code for code in grpc.StatusCode if code.value[0] == status.code)


def reason_of(status: status_pb2.Status) -> str:
    """The reason of a status, for programs."""
    return str(details(status, error_details_pb2.ErrorInfo).reason)


def values_of(status: status_pb2.Status) -> dict[str, str]:
    """The values of a status, for programs."""
    return dict(details(status, error_details_pb2.ErrorInfo).metadata)


async def error_of(call: Any) -> grpc.aio.AioRpcError | None:
    """The error with which a call ends, None if it succeeds; earlier answers are skipped."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error
    return None


async def failed(call: Any) -> grpc.aio.AioRpcError:
    """The error with which a call ends; earlier answers are skipped."""
    error = await error_of(call)
    assert error is not None, "the call ended with OK"
    return error


async def refusal(call: Any) -> tuple[grpc.StatusCode, str, str]:
    """Code, field and reason of a call that fails."""
    status = status_of(await failed(call))
    return (*code_and_field(status), reason_of(status))
