"""Converts events and other results of the library to JSON values."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

from intone.client.errors import IntoneError
from intone.client.events import EVENT_NAMES, AudioChunk, Event

_NAMES = {kind: name for name, kind in EVENT_NAMES.items()}


def event_name(event: Event) -> str:
    """Name of the event on the wire, such as "audio"."""
    return _NAMES[type(event)]


def event_to_json(event: Event) -> dict[str, Any]:
    """Convert an event to JSON values; `event` is its name. Audio is replaced by its size in bytes."""
    values: dict[str, Any] = to_json(event)
    if isinstance(event, AudioChunk):
        values["bytes"] = len(values.pop("data"))
        del values["format"]
    return {"event": event_name(event), **values}


def to_json(value: Any) -> Any:
    """Convert a dataclass of this library to JSON values. Bytes stay as they are."""
    if is_dataclass(value):
        return {item.name: to_json(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, IntoneError):
        names = ("message", "reason", "violations", "metadata", "retry_after_s")
        return {"code": value.code.name, **{name: getattr(value, name) for name in names}}
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return value._asdict() if hasattr(value, "_asdict") else [to_json(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value
