"""Bytes to messages, and which field is at fault where they are none."""

from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from intone.server.errors import CallerError


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Bytes that are no message of the expected kind."""

    error: CallerError


def decode(kind: type[Message], data: bytes) -> Message | Undecodable:
    """Parse, or say which field is at fault: by itself gRPC would end the call with words that help nobody."""
    try:
        return kind.FromString(data)
    except DecodeError:
        path = _broken_string(kind.DESCRIPTOR, data)
        if path is None:
            return Undecodable(CallerError("", "the message is not valid protobuf of the expected type"))
        return Undecodable(CallerError(path, "is not valid UTF-8 (a lone surrogate is not text)"))


def _broken_string(descriptor: Descriptor, data: bytes) -> str | None:
    """Path of the first string field that is not UTF-8, found by reading the bytes as unknown fields."""
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
