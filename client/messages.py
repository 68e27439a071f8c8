"""Converts wire messages to dataclasses that have the same fields."""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import timezone
from functools import cache
from typing import Any, TypeVar, cast

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from intone.client.errors import from_status

T = TypeVar("T")

Kinds = Mapping[str, type]
"""The classes of nested messages, by the names of the messages."""


def from_message(kind: type[T], message: Message, kinds: Kinds, **others: Any) -> T:
    """Make a `kind`, a dataclass or named tuple, from the fields of a message that have the same names.

    Enum values become their names in lower case without the prefix, repeated fields tuples, statuses exceptions,
    timestamps datetimes in UTC. An absent field with presence gets the default of `kind`, else None. Fields that only
    one side has are left out.

    Args:
        kinds: classes of nested messages.
        others: further fields of `kind`.
    """
    values = dict(others)
    for name, has_default in _fields(cast(Any, kind)):
        field = message.DESCRIPTOR.fields_by_name.get(name)
        if field is None or name in others:
            continue
        if not field.is_repeated and field.has_presence and not message.HasField(name):
            if not has_default:
                values[name] = None
        else:
            values[name] = _value(getattr(message, name), field, kinds)
    return kind(**values)


@cache
def _fields(kind: Any) -> list[tuple[str, bool]]:
    """Names of the fields, and whether they have a default."""
    if not is_dataclass(kind):
        return [(name, name in kind._field_defaults) for name in kind._fields]
    return [(item.name, item.default is not MISSING or item.default_factory is not MISSING) for item in fields(kind)]


@cache
def enum_name(enum: EnumDescriptor, number: int) -> str:
    """Name of an enum value, in lower case and without its prefix. An unknown value gives its number as text."""
    if number not in enum.values_by_number:
        return str(number)
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    return str(enum.values_by_number[number].name).removeprefix(prefix).lower()


def _value(value: Any, field: FieldDescriptor, kinds: Kinds) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    return tuple(_single(item, field, kinds) for item in value) if field.is_repeated else _single(value, field, kinds)


def _single(value: Any, field: FieldDescriptor, kinds: Kinds) -> Any:
    if field.enum_type is not None:
        return enum_name(field.enum_type, value)
    if field.message_type is None:
        return value
    match field.message_type.full_name:
        case "google.rpc.Status":
            return from_status(value)
        case "google.protobuf.Timestamp":
            return value.ToDatetime(timezone.utc)
    return from_message(kinds[field.message_type.name], value, kinds)
