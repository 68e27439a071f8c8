"""Maps the server's exceptions to `google.rpc.Status`."""

from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

from intone.server.errors import CallerError, EngineError, Fault, IntoneError, OverloadError, ShutdownError

DOMAIN = "intone.v1"

FAULTS = {
    Fault.INVALID: code_pb2.INVALID_ARGUMENT,
    Fault.NOT_FOUND: code_pb2.NOT_FOUND,
    Fault.EXISTS: code_pb2.ALREADY_EXISTS,
    Fault.TOO_LARGE: code_pb2.INVALID_ARGUMENT,
    Fault.QUOTA_EXCEEDED: code_pb2.RESOURCE_EXHAUSTED,
    Fault.PRECONDITION: code_pb2.FAILED_PRECONDITION,
    Fault.UNIMPLEMENTED: code_pb2.UNIMPLEMENTED,
    Fault.UNAUTHENTICATED: code_pb2.UNAUTHENTICATED,
    Fault.TIMEOUT: code_pb2.DEADLINE_EXCEEDED,
}


def to_status(error: Exception) -> status_pb2.Status:
    """The status of an exception: code, message for people, details for programs.

    A CallerError has `BadRequest` details, with the field; an OverloadError `RetryInfo`; every IntoneError `ErrorInfo`.
    Any other exception is INTERNAL, without details: these are in the log only.
    """
    if isinstance(error, CallerError):
        status = status_pb2.Status(code=FAULTS[error.fault], message=str(error))
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.message)
        if error.field:
            status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
        reason = error.fault.name
    elif isinstance(error, OverloadError):
        status = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message=str(error))
        delay = Duration()
        delay.FromMilliseconds(round(1000 * error.retry_after_s))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
        reason = "OVERLOADED"
    elif isinstance(error, ShutdownError):
        status, reason = status_pb2.Status(code=code_pb2.UNAVAILABLE, message=str(error)), "SHUTTING_DOWN"
    elif isinstance(error, EngineError):
        status, reason = status_pb2.Status(code=code_pb2.INTERNAL, message=str(error)), "ENGINE_FAILED"
    elif isinstance(error, IntoneError):
        status, reason = status_pb2.Status(code=code_pb2.INTERNAL, message=str(error)), "FAILED"
    else:
        return status_pb2.Status(code=code_pb2.INTERNAL, message="internal error: see the server's log")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN))
    return status
