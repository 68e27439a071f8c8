"""One mapping of a configuration file, read strictly. Knows nothing of what the keys mean."""

from collections.abc import Mapping
from typing import Any

from intone.server.engines.indextts.config import ENGINE
from intone.server.errors import CheckpointError


class Section:
    """Every read raises CheckpointError that names the key, what was found and what was expected."""

    def __init__(self, values: Mapping[str, Any], path: str) -> None:
        self._values, self._path = values, path

    def section(self, key: str, default: Mapping[str, Any] | None = None) -> "Section":
        """The mapping under `key`."""
        value = self._values.get(key, default)
        if not isinstance(value, Mapping):
            raise self._wrong(key, "a mapping")
        return Section(value, f"{self._path}{key}.")

    def count(self, key: str, default: int | None = None, least: int = 1) -> int:
        """An integer of at least `least`."""
        value = self._values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self._wrong(key, f"an integer of at least {least}")
        return value

    def counts(self, key: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """A list of positive integers."""
        value = self._values.get(key, default)
        if not isinstance(value, list | tuple) or not all(isinstance(n, int) and n > 0 for n in value):
            raise self._wrong(key, "a list of positive integers")
        return tuple(value)

    def number(self, key: str, default: float) -> float:
        """A number of at least 0."""
        value = self._values.get(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            raise self._wrong(key, "a number of at least 0")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._values.get(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def text(self, key: str) -> str:
        """A string."""
        value = self._values.get(key)
        if not isinstance(value, str):
            raise self._wrong(key, "a string")
        return value

    def raw(self, key: str) -> Any:
        """Whatever stands there, None for nothing."""
        return self._values.get(key)

    def demand(self, **values: Any) -> None:
        """Refuse what this code does not compute: each key must be absent or as given."""
        for key, value in values.items():
            if self._values.get(key, value) != value:
                raise self._wrong(key, repr(value))

    def _wrong(self, key: str, expected: str) -> CheckpointError:
        found = repr(self._values[key])[:60] if key in self._values else "nothing"
        return CheckpointError(ENGINE, f"{self._path}{key}: found {found}, expected {expected}")
