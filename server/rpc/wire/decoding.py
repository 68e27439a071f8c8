"""Decodes protobuf messages; an error names the field that is invalid."""

from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from intone.server.errors import CallerError, Reason

MAX_FIELDS = 6000
"""Fields that a message may have, those of messages in it included; the largest valid message has 5500.
Protobuf takes seconds for the millions, and for maps even for the hundred thousands, that fit into a message."""

SMALL_BYTES = 16 << 10
"""Messages of this size are parsed without a count of their fields: 8000 at most."""

_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
"""Types of fields on the wire, see https://protobuf.dev/programming-guides/encoding/. Groups (3 and 4) are not used."""

_MAX_VARINT_BYTES = 10


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Stands for bytes that are not a message of the expected type."""

    error: CallerError


def decode(kind: type[Message], data: bytes) -> Message | Undecodable:
    """Parse a message. gRPC itself would end the call without naming the field.

    It takes some milliseconds at most, whatever the bytes are.
    """
    try:
        if len(data) > SMALL_BYTES:
            _Fields().count(kind.DESCRIPTOR, memoryview(data))
        return kind.FromString(data)
    except _TooManyFieldsError:
        return _undecodable("", f"the message has more than {MAX_FIELDS} fields", limit=MAX_FIELDS)
    except DecodeError:
        path = _path_of_broken_string(kind, data)
    if path is None:
        return _undecodable("", "the message is not valid protobuf of the expected type")
    return _undecodable(path, "is not valid UTF-8 (a lone surrogate is not text)")


def _undecodable(field: str, message: str, **values: object) -> Undecodable:
    return Undecodable(CallerError(field, message, Reason.MESSAGE_MALFORMED, **values))


def _path_of_broken_string(kind: type[Message], data: bytes) -> str | None:
    try:
        return _Fields().broken_string(kind.DESCRIPTOR, memoryview(data))
    except _TooManyFieldsError:
        return None


class _TooManyFieldsError(Exception):
    """A message has more fields than `MAX_FIELDS`."""


class _Fields:
    """Walks over the fields of one message, and of the messages in it, without parsing it.

    Raises:
        _TooManyFieldsError: in any method.
    """

    def __init__(self) -> None:
        self._count = 0

    def count(self, descriptor: Descriptor, data: memoryview) -> int:
        """The number of fields, up to the first fault."""
        for field, value in self._known_fields(descriptor, data):
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                self.count(field.message_type, value)
        return self._count

    def broken_string(self, descriptor: Descriptor, data: memoryview) -> str | None:
        """Path of the first string that is not UTF-8; None if there is none before the first fault."""
        for field, value in self._known_fields(descriptor, data):
            if field.type == FieldDescriptor.TYPE_STRING and not _is_utf8(value):
                return str(field.name)
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                inner = self.broken_string(field.message_type, value)
                if inner is not None:
                    return f"{field.name}.{inner}"
        return None

    def _known_fields(self, descriptor: Descriptor, data: memoryview) -> Iterator[tuple[FieldDescriptor, memoryview]]:
        """The fields with a length that the type has, and their bytes."""
        for number, value in self._fields(data):
            field = descriptor.fields_by_number.get(number)
            if field is not None:
                yield field, value

    def _fields(self, data: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Numbers and bytes of the fields that have a length, up to the first fault."""
        position = 0
        while position < len(data):
            self._count += 1
            if self._count > MAX_FIELDS:
                raise _TooManyFieldsError
            tag, position = _varint(data, position)
            kind = tag & 7
            if kind == _VARINT:
                _, position = _varint(data, position)
            elif kind == _LENGTH_DELIMITED:
                length, start = _varint(data, position)
                position = start + length
                if position <= len(data):
                    yield tag >> 3, data[start:position]
            elif kind in (_FIXED64, _FIXED32):
                position += 8 if kind == _FIXED64 else 4
            else:
                return


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """A number and the position after it; past the end of the data if it is not complete."""
    value = 0
    for index, byte in enumerate(data[position : position + _MAX_VARINT_BYTES]):
        value |= (byte & 127) << (7 * index)
        if byte < 128:
            return value, position + index + 1
    return 0, len(data) + 1


def _is_utf8(data: memoryview) -> bool:
    try:
        str(data, "utf8")
    except UnicodeDecodeError:
        return False
    return True
