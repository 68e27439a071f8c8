"""The parser of `intone` and its subcommands: errors in two lines, with what was probably meant."""

import argparse
import sys
from typing import Any, NoReturn

from intone.client.commands.error_report import print_error
from intone.client.suggestions import suggestion


class Parser(argparse.ArgumentParser):
    """Prints an error without the usage, which is longer than a screen."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As in the base class, but unknown arguments are an error, of the subcommand to which they were given."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            flag = unknown[0].partition("=")[0]
            self.error(f"unknown argument {flag}{suggestion(flag, self._option_string_actions)}")
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Name the choices, and the one that was probably meant."""
        if action.choices is not None and value not in action.choices:
            choices = list(map(str, action.choices))
            message = f"{value!r} is none of {', '.join(choices)}{suggestion(str(value), choices)}"
            raise argparse.ArgumentError(action, message)

    def error(self, message: str) -> NoReturn:
        """End the program with status 2."""
        print_error(message)
        sys.stderr.write(f"`{self.prog} --help` shows all options.\n")
        sys.exit(2)
