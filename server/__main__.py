"""The command `intone-server`: reads the settings and runs the server."""

import asyncio
import sys
from importlib import import_module
from types import ModuleType

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TaskID

from intone.server import command_line, logs
from intone.server.errors import INSTALL_COMMANDS, IntoneError
from intone.server.runtime import openmp


class LoadingBars:
    """Shows a progress bar for each engine while it loads, if standard error is a terminal."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(console=console, transient=True, disable=not console.is_terminal)
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, engine: str, done: float) -> None:
        """Show the fraction of an engine that is loaded, 0 to 1."""
        if engine not in self._tasks:
            self._bars.start()
            self._tasks[engine] = self._bars.add_task(f"loading {engine}", total=1.0)
        self._bars.update(self._tasks[engine], completed=done)
        if self._bars.finished:
            self._bars.stop()


def _app() -> ModuleType:
    """The server's module, imported late: grpc is slow to import, and `--help` does not need it.

    Raises:
        IntoneError: only the client is installed.
    """
    try:
        return import_module("intone.server.app")
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("intone"):
            raise
        what = f"the server needs {error.name}, which is not installed; `intone` alone needs less"
        raise IntoneError(f"{what}.\nIn a clone of intone: {INSTALL_COMMANDS}") from error


def main() -> None:
    """Run the server. Exit status 2: a setting or a checkpoint cannot be used, or a dependency is missing."""
    console = Console(stderr=True)
    try:
        settings = command_line.load()
        logs.configure(settings.log_level, settings.log_format)
        openmp.let_waiting_threads_sleep()
        asyncio.run(_app().run(settings, LoadingBars(console)))
    except IntoneError as error:
        console.print(f"[bold red]intone-server:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
