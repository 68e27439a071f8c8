"""Maps the server's exceptions to `google.rpc.Status`."""

from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

from intone.server.errors import CallerError, IntoneError, OverloadError, Reason, reason_of

DOMAIN = "intone.v1"

CODES = {
    Reason.INTERNAL: code_pb2.INTERNAL,
    Reason.VALUE_INVALID: code_pb2.INVALID_ARGUMENT,
    Reason.VALUE_OUT_OF_RANGE: code_pb2.INVALID_ARGUMENT,
    Reason.VALUE_UNKNOWN: code_pb2.INVALID_ARGUMENT,
    Reason.VALUE_MISSING: code_pb2.INVALID_ARGUMENT,
    Reason.MESSAGE_MALFORMED: code_pb2.INVALID_ARGUMENT,
    Reason.UNSUPPORTED: code_pb2.UNIMPLEMENTED,
    Reason.CONFIG_MISSING: code_pb2.INVALID_ARGUMENT,
    Reason.CONFIG_REPEATED: code_pb2.INVALID_ARGUMENT,
    Reason.CONFIG_TIMEOUT: code_pb2.DEADLINE_EXCEEDED,
    Reason.IDLE: code_pb2.DEADLINE_EXCEEDED,
    Reason.TEXT_INVALID: code_pb2.INVALID_ARGUMENT,
    Reason.TEXT_TOO_LONG: code_pb2.INVALID_ARGUMENT,
    Reason.UTTERANCE_TOO_LONG: code_pb2.INVALID_ARGUMENT,
    Reason.TEXT_GAP: code_pb2.FAILED_PRECONDITION,
    Reason.TEXT_UNSPEAKABLE: code_pb2.FAILED_PRECONDITION,
    Reason.TOO_MANY_UTTERANCES: code_pb2.RESOURCE_EXHAUSTED,
    Reason.STREAMS_EXHAUSTED: code_pb2.RESOURCE_EXHAUSTED,
    Reason.FINISHING: code_pb2.FAILED_PRECONDITION,
    Reason.GOING_AWAY: code_pb2.UNAVAILABLE,
    Reason.ENGINE_FAILED: code_pb2.INTERNAL,
    Reason.VOICE_NOT_FOUND: code_pb2.NOT_FOUND,
    Reason.ENGINE_NOT_FOUND: code_pb2.NOT_FOUND,
    Reason.CLIP_NOT_FOUND: code_pb2.NOT_FOUND,
    Reason.VOICE_EXISTS: code_pb2.ALREADY_EXISTS,
    Reason.VOICE_BUILT_IN: code_pb2.FAILED_PRECONDITION,
    Reason.VOICE_UNSUPPORTED: code_pb2.FAILED_PRECONDITION,
    Reason.VOICE_CHANGED: code_pb2.FAILED_PRECONDITION,
    Reason.CLONING_UNAVAILABLE: code_pb2.FAILED_PRECONDITION,
    Reason.RECORDING_INVALID: code_pb2.INVALID_ARGUMENT,
    Reason.UPLOAD_TOO_LARGE: code_pb2.RESOURCE_EXHAUSTED,
    Reason.TOO_MANY_FILLERS: code_pb2.RESOURCE_EXHAUSTED,
    Reason.ANALYZER_UNAVAILABLE: code_pb2.FAILED_PRECONDITION,
    Reason.UNAUTHENTICATED: code_pb2.UNAUTHENTICATED,
    Reason.STORAGE_FULL: code_pb2.RESOURCE_EXHAUSTED,
    Reason.STORAGE_FAILED: code_pb2.INTERNAL,
    Reason.PERMISSION_DENIED: code_pb2.PERMISSION_DENIED,
    Reason.STREAM_NOT_HELD: code_pb2.NOT_FOUND,
    Reason.CALLS_EXHAUSTED: code_pb2.RESOURCE_EXHAUSTED,
    Reason.TOO_MANY_VOICES: code_pb2.RESOURCE_EXHAUSTED,
    Reason.UPLOADS_EXHAUSTED: code_pb2.RESOURCE_EXHAUSTED,
    Reason.UPLOAD_TIMEOUT: code_pb2.DEADLINE_EXCEEDED,
    Reason.WRITE_TIMEOUT: code_pb2.DEADLINE_EXCEEDED,
    Reason.CAPACITY_EXHAUSTED: code_pb2.RESOURCE_EXHAUSTED,
    Reason.ANSWERS_UNREAD: code_pb2.RESOURCE_EXHAUSTED,
    Reason.LOADING: code_pb2.UNAVAILABLE,
}
"""The status code of each reason, as `errors.proto` documents it."""


def to_status(error: Exception | None) -> status_pb2.Status:
    """The status of an exception: code, message for people, details for programs. OK for None.

    Every error has `ErrorInfo` details; a CallerError also `BadRequest`, with the field, and an OverloadError
    `RetryInfo`. An exception that is no IntoneError is a bug: its text is in the log only.
    """
    if error is None:
        return status_pb2.Status(code=code_pb2.OK)
    reason, message, values = reason_of(error), "internal error: see the server's log", {}
    if isinstance(error, IntoneError):
        message = str(error)
    status = status_pb2.Status(code=CODES[reason], message=message)
    if isinstance(error, CallerError):
        values = error.values
        if error.field:
            violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.message)
            status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    elif isinstance(error, OverloadError):
        values = {} if error.limit is None else {"limit": str(error.limit)}
        delay = Duration()
        delay.FromMilliseconds(round(1000 * error.retry_after_s))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason.name, domain=DOMAIN, metadata=values))
    return status
