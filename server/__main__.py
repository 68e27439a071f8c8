"""`intone-server`: flags and a file → settings → serve."""

import asyncio
import logging
import sys

from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from intone.server import config
from intone.server.errors import IntoneError


def main() -> None:
    """Run the server; exit status 2 for a setting or a checkpoint that cannot be used."""
    console = Console(stderr=True)
    try:
        settings = config.load()
        handler = RichHandler(console=console, show_path=False, rich_tracebacks=False, markup=False)
        logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], format="%(message)s")
        from intone.server import app  # after --help and bad settings: grpc takes a while to import

        asyncio.run(app.run(settings))
    except IntoneError as error:
        # A path may hold brackets, which are markup to rich, and must stay whole to be copied.
        console.print(f"[bold red]intone-server:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
