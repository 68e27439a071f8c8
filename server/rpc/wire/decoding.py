"""Decodes protobuf messages; an error names the field that is invalid."""

from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from intone.server.errors import CallerError, Reason


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Stands for bytes that are not a message of the expected type."""

    error: CallerError


def decode(kind: type[Message], data: bytes) -> Message | Undecodable:
    """Parse a message. gRPC itself would end the call without naming the field."""
    try:
        return kind.FromString(data)
    except DecodeError:
        path = _broken_string(kind.DESCRIPTOR, data)
        if path is None:
            return Undecodable(
                CallerError("", "the message is not valid protobuf of the expected type", Reason.MESSAGE_MALFORMED)
            )
        return Undecodable(
            CallerError(path, "is not valid UTF-8 (a lone surrogate is not text)", Reason.MESSAGE_MALFORMED)
        )


def _broken_string(descriptor: Descriptor, data: bytes) -> str | None:
    """Path of the first string field that is not UTF-8, found by parsing the bytes as unknown fields."""
    try:
        found = UnknownFieldSet(Empty.FromString(data))
    except DecodeError:
        return None
    for unknown in found:
        field = descriptor.fields_by_number.get(unknown.field_number)
        if field is None or not isinstance(unknown.data, bytes):
            continue
        if field.type == FieldDescriptor.TYPE_STRING and not _is_utf8(unknown.data):
            return str(field.name)
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            inner = _broken_string(field.message_type, unknown.data)
            if inner is not None:
                return f"{field.name}.{inner}"
    return None


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf8")
    except UnicodeDecodeError:
        return False
    return True
