"""Main module of the processes that the server starts: `python -m intone.server.runtime.child_main FD PARENT`.

FD is the local socket to the server, PARENT its process id. See `child_process.py` for the other side.
"""

import contextlib
import ctypes
import faulthandler
import logging
import os
import signal
import socket
import sys
from typing import Any

from intone.server import logs
from intone.server.engines.base import resolve
from intone.server.runtime.channel import Channel
from intone.server.runtime.child_process import TRACEBACK_SIGNAL

_PR_SET_PDEATHSIG = 1


def main(descriptor: int, parent: int) -> None:
    """Run the function that the server names, until it returns or the server is gone."""
    _end_with(parent)
    faulthandler.enable()
    faulthandler.register(TRACEBACK_SIGNAL, all_threads=True)
    # Sent to the whole group: the server drains, then ends this process; or it tells which messages to log.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=descriptor))
    sys.path[:] = channel.receive()  # noqa: TID251  (what is run here may be defined outside of this package)
    levels, function, arguments = channel.receive()
    logs.hide_warnings()
    logging.basicConfig(handlers=[_Forward(channel)], force=True)
    levels.apply()
    resolve(function)(channel, *arguments)


def _end_with(parent: int) -> None:
    """Make the kernel end this process with the server, even if it hangs; elsewhere than on Linux, end of file does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was gone before
            os._exit(1)


class _Forward(logging.Handler):
    """Sends log records to the server, which has the handlers."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        # Arguments and exceptions need not be picklable.
        error = record.exc_info[1] if record.exc_info else None
        text = None if error is None else logs.described(error)
        given = {"msg": record.getMessage(), "args": None, "exc_info": None, "exc_text": text}
        fields: dict[str, Any] = {**record.__dict__, **given}
        with contextlib.suppress(ConnectionError):  # the server is gone
            self._channel.send(logging.makeLogRecord(fields))


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), int(sys.argv[2]))
    except (EOFError, ConnectionError):
        os._exit(0)  # the server is gone
