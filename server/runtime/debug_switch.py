"""SIGUSR1 turns debug messages on, in all processes of the server, and off again."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Iterator

from intone.server import logs
from intone.server.runtime import child_process

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def debug_switch() -> Iterator[None]:
    """Handle the signal. On the main thread, with a running event loop."""
    given = logs.Levels.now()

    def switch() -> None:
        is_on = logs.Levels.now() != given
        child_process.set_levels(given if is_on else logs.Levels(given.others, logging.DEBUG))
        logger.warning("debug messages are %s (SIGUSR1)", "off" if is_on else "on")

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, switch)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)
        given.apply()
