"""The consoles on which commands print."""

import os

import rich.console


class Console(rich.console.Console):
    """rich's, except that the command goes on when the reader of its output has gone, as `head` does.

    What it prints then is lost, but its files are still written.
    """

    def on_broken_pipe(self) -> None:
        """Print nothing more; Python flushes the stream once more at its exit."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())
