"""Strict reading of a mapping in a checkpoint's configuration file."""

from collections.abc import Mapping
from typing import Any

from intone.server.errors import CheckpointError


class Section:
    """One mapping. Every method raises CheckpointError with the key, the value found and the value expected."""

    def __init__(self, engine: str, values: Mapping[str, Any], path: str = "") -> None:
        self._engine, self._values, self._path = engine, values, path

    def section(self, key: str, default: Mapping[str, Any] | None = None) -> "Section":
        """The mapping under `key`."""
        value = self._values.get(key, default)
        if not isinstance(value, Mapping):
            raise self._error(key, "an object")
        return Section(self._engine, value, f"{self._path}{key}.")

    def count(self, key: str, default: int | None = None, min_value: int = 1) -> int:
        """An integer of at least `min_value`."""
        value = self._values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < min_value:
            raise self._error(key, "a positive integer" if min_value == 1 else f"an integer of at least {min_value}")
        return value

    def optional_count(self, key: str) -> int | None:
        """An integer of at least 1; None if the key is absent or null."""
        return None if self._values.get(key) is None else self.count(key)

    def counts(self, key: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """A list of positive integers."""
        value = self._values.get(key, default)
        if not isinstance(value, list | tuple) or not all(isinstance(n, int) and n > 0 for n in value):
            raise self._error(key, "a list of positive integers")
        return tuple(value)

    def number(self, key: str, default: float | None = None) -> float:
        """A positive number; also 0 if that is the default."""
        value = self._values.get(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0 or (value == 0 and default != 0):
            raise self._error(key, "a positive number")
        return float(value)

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of positive numbers."""
        value = self._values.get(key)
        if not isinstance(value, list) or not all(isinstance(n, int | float) and n > 0 for n in value):
            raise self._error(key, "a list of positive numbers")
        return tuple(float(n) for n in value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._values.get(key, default)
        if not isinstance(value, bool):
            raise self._error(key, "true or false")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """A string."""
        value = self._values.get(key, default)
        if not isinstance(value, str):
            raise self._error(key, "a string")
        return value

    def raw(self, key: str) -> Any:
        """The value as it is; None if the key is absent."""
        return self._values.get(key)

    def demand(self, **values: Any) -> None:
        """Refuse unsupported options: each key must be absent or have the given value."""
        for key, value in values.items():
            if self._values.get(key, value) != value:
                raise self._error(key, repr(value))

    def _error(self, key: str, expected: str) -> CheckpointError:
        found = repr(self._values[key])[:60] if key in self._values else "nothing"
        return CheckpointError(self._engine, f"{self._path}{key}: found {found}, expected {expected}")
