"""Calls a function in a process of its own, with limits of time and memory: for files that anybody may send.

Each call starts a process, which takes a quarter of a second of computing and shares nothing with other calls. A parser
that crashes, loops or is taken over by what it parses ends with it.
"""

import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from intone.server.errors import IntoneError
from intone.server.logs import Levels
from intone.server.runtime.channel import Channel
from intone.server.runtime.child_process import command, described

logger = logging.getLogger(__name__)

T = TypeVar("T")

NICENESS = 5
"""Of the process: speech comes first, but other programs on a busy machine do not keep it from its end."""


class SeparateCallError(IntoneError):
    """A call has no result: its process took too long, or ended; says which."""


class SeparateCalls:
    """Calls of a server, each on a thread of the caller."""

    def __init__(self, max_s: float, max_bytes: int) -> None:
        """Set the limits of a call.

        Args:
            max_s: time, with the start of the process.
            max_bytes: memory that a call may use in addition to what the process has at its start.
        """
        self._max_s, self._max_bytes = max_s, max_bytes
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def __call__(self, function: Callable[[], T]) -> T:
        """The result of `function`, which is picklable. Not for the event loop.

        Raises:
            IntoneError: raised by `function`.
            SeparateCallError: there is no result.
        """
        ours, theirs = socket.socketpair()
        with ours:
            with theirs, self._lock:
                if self._closed:
                    raise SeparateCallError("the server is shutting down")
                # What libraries print about damaged files is of no use.
                popen = subprocess.Popen(
                    command(theirs.fileno()),
                    stdin=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                )
                self._running.add(popen)
            timer = threading.Timer(self._max_s, popen.kill)
            timer.start()
            try:
                return self._result(Channel(ours), function)
            except (EOFError, ConnectionError) as error:
                popen.wait()
                is_late = timer.finished.is_set()
                reason = f"it took more than {self._max_s:g} s" if is_late else described(popen.returncode)
                raise SeparateCallError(reason) from error
            finally:
                timer.cancel()
                timer.join()
                self._end(popen)

    def close(self) -> None:
        """End the calls that are under way, and refuse others."""
        with self._lock:
            self._closed = True
            for popen in self._running:
                popen.kill()

    def _result(self, channel: Channel, function: Callable[[], T]) -> T:
        channel.send(sys.path)  # noqa: TID251  (before the rest, which may be defined in modules found there)
        channel.send(
            (Levels.now(), "intone.server.runtime.separate_call:run", (function, self._max_s, self._max_bytes))
        )
        while isinstance(message := channel.receive(), logging.LogRecord):
            logging.getLogger(message.name).handle(message)
        result, error = message
        if error is not None:
            raise error
        found: T = result
        return found

    def _end(self, popen: "subprocess.Popen[bytes]") -> None:
        popen.kill()
        popen.wait()
        with self._lock:
            self._running.discard(popen)


def run(channel: Channel, function: Callable[[], Any], max_s: float, max_bytes: int) -> None:
    """Call `function` and send its result, or its error. Runs in the process of the call."""
    os.nice(NICENESS)
    _limit(max_s, max_bytes)
    answer: tuple[Any, IntoneError | None]
    try:
        answer = (function(), None)
    except IntoneError as error:
        answer = (None, error)
    except Exception as error:  # noqa: BLE001  (a traceback might contain what the caller sent)
        answer = (None, SeparateCallError(f"it failed with {type(error).__name__}"))
    channel.send(answer)


def _limit(max_s: float, max_bytes: int) -> None:
    """Limit what this process may use, as far as the operating system does that."""
    import resource  # not on Windows, where the server does not start processes

    def lower(which: int, limit: int) -> None:
        with contextlib.suppress(OSError, ValueError):  # a hard limit is lower
            resource.setrlimit(which, (limit, limit))

    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_FSIZE, 0)
    lower(resource.RLIMIT_CPU, int(max_s) + 2)
    statm = Path("/proc/self/statm")
    if statm.exists():  # elsewhere what is in use is not known, and the limit has no effect on macOS
        lower(resource.RLIMIT_AS, int(statm.read_text().split()[0]) * resource.getpagesize() + max_bytes)
