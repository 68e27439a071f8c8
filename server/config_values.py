"""Settings that have a value for each engine."""

from collections.abc import Callable, Sequence

from intone.server.errors import ConfigError, listed


def by_engine(
    setting: str,
    text: str,
    engines: Sequence[str],
    known: Sequence[str],
    valid: Callable[[str], object],
    absent: str,
) -> dict[str, str]:
    """A setting that is one value for all of `engines`, or a list of engine=value.

    Args:
        known: the valid values, for messages.
        absent: value of an engine that the list leaves out.
    """
    values = ", ".join(known)
    if "=" not in text:
        if not valid(text):
            example = ",".join(f"{name}={known[1]}" for name in engines[:2])
            raise ConfigError(f"{setting} is {text!r}; it must be one of {values}, or a list such as {example}")
        return dict.fromkeys(engines, text)
    found: dict[str, str] = {}
    for pair in text.split(","):
        engine, _, value = pair.strip().partition("=")
        if engine not in engines:
            raise ConfigError(f"{setting} names the engine {engine!r}; those with one are {listed(engines, engine)}")
        if not valid(value):
            raise ConfigError(f"{setting} gives {engine} {value!r}; it must be one of {values}")
        if engine in found:
            raise ConfigError(f"{setting} names {engine} twice, with {found[engine]} and with {value}")
        found[engine] = value
    return dict.fromkeys(engines, absent) | found
