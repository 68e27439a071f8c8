"""The command line of `intone-server`: settings from flags, else from a TOML file, else the defaults.

An unknown key or a value of the wrong type stops the server; the message names the key. `INTONE_TOKEN` is read here.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from intone.server.config import Config, ConfigError, all_engine_settings, public_settings
from intone.server.engines.registry import ENGINES, Registry
from intone.server.rpc.tokens_file import TokensFileError, new_token

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SECTIONS = {
    "host": "listening and access",
    "log_level": "logs and metrics",
    "random_weights": "engines",
    "voices": "voices",
    "emotion_threshold": "emotion",
    "busy_ms": "waiting: routing, fillers and pauses",
    "normalize": "text",
    "max_lead_ms": "audio",
    "max_connections": "limits",
    "resume_s": "lost connections",
    "drain_s": "shutdown",
}
"""Headings of `--help`, each by the first setting under it."""


def parser(registry: Registry = ENGINES) -> argparse.ArgumentParser:
    """The command line of `intone-server`: the fields of `Config` and the settings of the engines."""
    made = argparse.ArgumentParser(
        prog="intone-server",
        usage="intone-server [-h] [--config FILE] [settings, as below]",
        description="A gRPC text-to-speech server for live conversation.",
        epilog=_engine_table(registry) + "\n" + _examples(registry),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--new-token",
        action=NewToken,
        nargs="+",
        metavar=("NAME", "ROLE"),
        help="make a token, print it to standard error and its line for a tokens file to standard output, and end; "
        "roles: speak (the default), manage (voices of its own), admin (everything)",
    )
    made.add_argument("--config", metavar="FILE", help="TOML file; keys are the flags below with underscores")
    section: argparse._ActionsContainer = made
    for setting in public_settings():
        if setting.name in SECTIONS:
            section = made.add_argument_group(SECTIONS[setting.name])
        _add_flag(section, setting.name, setting.default, setting.metadata["help"], setting.metadata["choices"])
    for name, entry in registry.items():
        group = made.add_argument_group(f"engine {name}")
        for own in entry.settings:
            _add_flag(group, own.name, own.default, own.help)
    return made


class NewToken(argparse.Action):
    """`--new-token NAME ROLE...`: prints a new token and its line for a tokens file, and ends the program."""

    def __call__(self, parser: argparse.ArgumentParser, _namespace: Any, values: Any, _option: Any = None) -> None:
        """Print them."""
        name, *roles = values
        try:
            token, line = new_token(name, roles or ["speak"])
        except TokensFileError as error:
            parser.error(f"--new-token: {error}")
        sys.stderr.write(f"the token of {name}, which is not shown again: {token}\n")
        sys.stdout.write(f"{line}\n")
        parser.exit()


def _engine_table(registry: Registry) -> str:
    lines = [f"  {'engine':12}{'auto on a CPU':16}devices"]
    for name, entry in registry.items():
        lines.append(f"  {name:12}{entry.cpu_precision or 'no choice':16}{', '.join(entry.devices)}")
    return "engines, in the default order of preference:\n" + "\n".join(lines) + "\n"


def _examples(registry: Registry) -> str:
    examples = [("", "the packaged voices: English and Mandarin, no download")]
    examples += [example for entry in registry.values() for example in entry.examples]
    examples += [("--config intone.toml --port 0", "settings from a file, a free port")]
    lines = [f"  {f'intone-server {flags}':50}{text}\n" for flags, text in examples]
    return "examples:\n" + "".join(lines) + "\nthen, in another shell:  intone say 'Hello there.' --out hello.wav"


def _add_flag(
    made: argparse._ActionsContainer, name: str, default: Any, text: str, choices: tuple[str, ...] = ()
) -> None:
    flag, kind = f"--{name.replace('_', '-')}", type(default)
    shown = f"{text} (default: {default if default != '' else 'none'})"
    if kind is bool:
        made.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=shown)
        return
    metavar = "|".join(choices) or {int: "N", float: "X", str: "TEXT"}[kind]
    made.add_argument(flag, type=kind, default=None, metavar=metavar, help=shown)


def load(arguments: Sequence[str] | None = None, registry: Registry = ENGINES) -> Config:
    """Settings from flags, file and environment.

    Raises:
        ConfigError: a file cannot be read, a key is unknown, a value has the wrong type or range.
        SystemExit: from argparse, for `--help` and unknown flags.
    """
    given = vars(parser(registry).parse_args(arguments))
    path = given.pop("config")
    values = _read_file(Path(path), registry) if path else {}
    values.update({name: value for name, value in given.items() if value is not None})
    token = os.environ.get("INTONE_TOKEN")
    if token is not None and not token.strip():
        raise ConfigError("INTONE_TOKEN is set, but empty: give it the token, or unset it to run without one")
    if values.get("token_file"):
        token = _read_token(Path(values["token_file"]))
    return Config.of(registry, **values, token=token or "")


def _read_token(path: Path) -> str:
    try:
        token = path.expanduser().read_text("ascii").strip()
    except OSError as error:
        raise ConfigError(f"token_file: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"token_file: {path} holds characters other than ASCII, which gRPC metadata cannot carry"
        ) from error
    if not token:
        raise ConfigError(f"token_file: {path} is empty")
    return token


def _read_file(path: Path, registry: Registry) -> dict[str, Any]:
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text("utf8"))
    except OSError as error:
        raise ConfigError(f"cannot read the settings file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    kinds = {setting.name: type(setting.default) for setting in (*public_settings(), *all_engine_settings(registry))}
    for name, value in values.items():
        if name not in kinds:
            raise ConfigError(f"{path}: unknown key {name!r}; the keys are {', '.join(kinds)}")
        if kinds[name] is float and type(value) is int:
            values[name] = float(value)
        elif type(value) is not kinds[name]:
            raise ConfigError(f"{path}: {name} is {value!r}; it must be {kinds[name].__name__}")
    return values
