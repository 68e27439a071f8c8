"""The TOML file of settings: reads one, and writes one with every setting and its help."""

import json
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intone.server.config import Config, all_engine_settings, public_settings
from intone.server.engines.registry import Registry
from intone.server.errors import ConfigError, suggestion

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HEAD = """\
# Settings of intone-server, for --config FILE. A flag on the command line wins over this file. Lines that begin with
# "#name =" show defaults. Relative paths are relative to the folder of this file.
"""


@dataclass(frozen=True, slots=True)
class Key:
    """A setting as the file knows it.

    Attributes:
        rule: its range or its choices, for people; empty if there are none.
        path: whether it may be a path.
        names: whether a word without a separator is a name and no path.
    """

    name: str
    default: Any
    help: str
    rule: str
    path: bool
    names: bool


def keys(registry: Registry) -> list[Key]:
    """All settings, those of the engines last."""
    own = all_engine_settings(registry)
    return [_public(one) for one in public_settings()] + [
        Key(one.name, one.default, one.help, "", one.path, names=True) for one in own
    ]


def _public(setting: Any) -> Key:
    about = setting.metadata
    rule = "" if about["low"] is None else f"{about['low']} to {about['high']}"
    rule = " | ".join(about["choices"]) or rule
    return Key(setting.name, setting.default, about["help"], rule, about["path"], names=False)


def read(path: Path, registry: Registry) -> dict[str, Any]:
    """The settings in a file by name. Relative paths among them are relative to its folder.

    Raises:
        ConfigError: it cannot be read, is not TOML, has an unknown key or a value of another type.
    """
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text("utf8"))
    except OSError as error:
        raise ConfigError(f"cannot read the settings file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    known = {key.name: key for key in keys(registry)}
    for name, value in values.items():
        key = known.get(name)
        if key is None:
            raise ConfigError(f"{path}: unknown key {name!r}{_meant(name, known)}")
        kind = type(key.default)
        if kind is float and type(value) is int:
            values[name] = float(value)
        elif type(value) is not kind:
            raise ConfigError(f"{path}: {name} is {value!r}; it must be {kind.__name__}")
        elif key.path:
            values[name] = _located(value, path.parent, key)
    return values


def _meant(name: str, known: Mapping[str, Key]) -> str:
    underscored = name.replace("-", "_")
    if underscored in known:
        return f"; write {underscored}: keys have underscores, only flags have dashes"
    return suggestion(underscored, known) or "; `intone-server --print-config` shows all keys"


def _located(value: str, folder: Path, key: Key) -> str:
    """A path in the file, seen from the working directory."""
    return str(folder / value) if _is_relative(value, folder, key) else value


def _is_relative(value: str, folder: Path, key: Key) -> bool:
    """Whether a value is a relative path, and no name or switch."""
    if not value or value.startswith("~") or (key.name == "pack_cache" and value == "off"):
        return False
    return not key.names or value.startswith(("./", "../")) or ("/" in value and (folder / value).exists())


def write(config: Config, headings: Mapping[str, str]) -> str:
    """A file of all settings of `config`: those that differ from the default, and the others as comments.

    Args:
        headings: by the name of the first setting under each.
    """
    lines = [HEAD]
    engine_of = {setting.name: name for name, entry in config.registry.items() for setting in entry.settings[:1]}
    for key in keys(config.registry):
        if key.name in headings:
            lines.append(f"\n# ---- {headings[key.name]}\n")
        elif key.name in engine_of:
            lines.append(f"\n# ---- engine {engine_of[key.name]}\n")
        value = config.engine_settings[key.name] if key.names else getattr(config, key.name)
        lines += _lines(key, value)
    return "\n".join(lines) + "\n"


def _lines(key: Key, value: Any) -> Iterator[str]:
    text = f"{key.help} ({key.rule})" if key.rule else key.help
    yield textwrap.fill(text, 116, initial_indent="# ", subsequent_indent="# ", break_long_words=False)
    if value == key.default:
        yield f"#{key.name} = {_toml(value)}"
        return
    if key.path and _is_relative(value, Path(), key):
        value = str(Path(value).absolute())
    yield f"{key.name} = {_toml(value)}"


def _toml(value: Any) -> str:
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")  # true, 3 and "a" are the same in TOML
