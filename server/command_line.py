"""The command line of `intone-server`: settings from flags, else from a TOML file, else the defaults.

An unknown key or a value of the wrong type stops the server; the message names the key. `INTONE_TOKEN` is read here.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from intone.server import settings_file
from intone.server.config import Config, public_settings
from intone.server.engines.registry import ENGINES, Registry
from intone.server.errors import ConfigError, suggestion
from intone.server.rpc.tokens_file import TokensFileError, new_token

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
    made = _Parser(
        prog="intone-server",
        usage="intone-server [-h] [--config FILE] [settings, as below]",
        description="A gRPC text-to-speech server for live conversation.",
        epilog=_engine_table(registry) + "\n" + _examples(registry),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"intone {version('intone')}")
    made.add_argument(
        "--new-token",
        action=NewToken,
        nargs="+",
        metavar=("NAME", "ROLE"),
        help="make a token, print it to standard error and its line for a tokens file to standard output, and end; "
        "roles: speak (the default), manage (voices of its own), admin (everything)",
    )
    made.add_argument(
        "--config",
        metavar="FILE",
        help="TOML file; keys are the flags below with underscores, and relative paths are relative to its folder",
    )
    made.add_argument(
        "--print-config", action="store_true", help="print such a file, with all settings and their help, and end"
    )
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


class _Parser(argparse.ArgumentParser):
    """Says what is wrong, without the usage, and what was probably meant."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As in the base class, but unknown arguments are an error."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            flag = unknown[0].partition("=")[0]
            self.error(f"unknown argument {flag}{suggestion(flag, self._option_string_actions)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """End the program."""
        sys.stderr.write(f"{self.prog}: {message}\n`{self.prog} --help` shows all settings.\n")
        sys.exit(2)


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
        SystemExit: for `--help`, `--new-token` and `--print-config`, and unknown flags.
    """
    given = vars(parser(registry).parse_args(arguments))
    path = given.pop("config")
    shown = given.pop("print_config")
    values = settings_file.read(Path(path), registry) if path else {}
    values.update({name: value for name, value in given.items() if value is not None})
    token = os.environ.get("INTONE_TOKEN")
    if token is not None and not token.strip():
        raise ConfigError("INTONE_TOKEN is set, but empty: give it the token, or unset it to run without one")
    if values.get("token_file"):
        token = _read_token(Path(values["token_file"]))
    config = Config.of(registry, **values, token=token or "")
    if shown:
        sys.stdout.write(settings_file.write(config, SECTIONS))
        sys.exit(0)
    return config


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
