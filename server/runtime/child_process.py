"""Starts and ends a Python process of this server, and exchanges messages with it on the event loop."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from intone.server.logs import Levels
from intone.server.runtime.channel import Decoder, encoded

logger = logging.getLogger(__name__)

MAIN = "intone.server.runtime.child_main"
TRACEBACK_SIGNAL = signal.SIGUSR2
"""Makes a child process write the stack of each of its threads to standard error, even if it hangs in native code."""

TRACEBACK_S = 0.3
EXIT_S = 5.0
"""How long a process that was killed, or has closed its end, may take to be gone."""

_EXIT_POLL_S = 0.01


_running: "WeakSet[ChildProcess]" = WeakSet()


def set_levels(levels: Levels) -> None:
    """Set the levels of the log in this process and in those that it has started."""
    levels.apply()
    for child in list(_running):
        child.send(levels)


class ChildProcess:
    """A process that runs one function of this package, and ends when this process does, however that ends.

    Attributes:
        pid: of the process.
        ended: set to the reason, for people, once the process is gone.
    """

    def __init__(self, popen: "subprocess.Popen[bytes]", receive: Callable[[Any], None]) -> None:
        """Use `start`."""
        self._popen, self._receive = popen, receive
        self._transport: asyncio.WriteTransport | None = None
        self._closed = False
        self._reaping: asyncio.Task[None] | None = None
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.pid = popen.pid
        _running.add(self)

    @classmethod
    async def start(cls, function: str, arguments: tuple[Any, ...], receive: Callable[[Any], None]) -> "ChildProcess":
        """Start a process. On the thread of the event loop, which must not end before `close`.

        Args:
            function: "module:name" of what it runs, with the channel and `arguments`, which must be picklable.
            receive: called on the event loop with each message that it sends.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                descriptor = theirs.fileno()
                # It returns after some milliseconds, once the program has begun.
                popen = subprocess.Popen(command(descriptor), stdin=subprocess.DEVNULL, pass_fds=[descriptor])  # noqa: ASYNC220
            child = cls(popen, receive)
            try:
                ours.setblocking(False)
                loop = asyncio.get_running_loop()
                child._transport, _ = await loop.create_connection(lambda: _Protocol(child), sock=ours)
                child.send(sys.path)  # noqa: TID251  (before the rest, which may be defined in modules found there)
                child.send((Levels.now(), function, arguments))
            except BaseException:
                child.close()
                raise
        except BaseException:
            ours.close()
            raise
        return child

    @property
    def is_connected(self) -> bool:
        """Whether the process is there, as far as is known; it may be about to end."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, message: Any) -> None:
        """Send a message, if the process is still there. Never waits."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encoded(message))

    async def kill_hung(self) -> None:
        """End a process that hangs, after it has written where."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, TRACEBACK_SIGNAL)
        await asyncio.sleep(TRACEBACK_S)
        self._kill()

    def close(self) -> None:
        """End the process now and wait until it is gone; may be called more than once."""
        self._closed = True
        if self._transport is not None:
            self._transport.close()
        self._kill()
        if self._reaping is not None:
            self._reaping.cancel()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(EXIT_S)
        self._set_ended("it was closed")

    def _kill(self) -> None:
        if self._popen.poll() is None:
            self._popen.kill()

    # ---- of the protocol

    def received(self, message: Any) -> None:
        """A message has arrived."""
        if self._closed:
            return
        if isinstance(message, logging.LogRecord):
            if logging.getLogger(message.name).isEnabledFor(message.levelno):
                logging.getLogger(message.name).handle(message)
        else:
            self._receive(message)

    def lost(self) -> None:
        """The process has closed its end, so it is gone or about to be."""
        if not self._closed:
            self._reaping = asyncio.create_task(self._reap(), name=f"end of process {self.pid}")

    async def _reap(self) -> None:
        deadline_s = asyncio.get_running_loop().time() + EXIT_S
        while self._popen.poll() is None:
            if asyncio.get_running_loop().time() > deadline_s:
                self._popen.kill()
            await asyncio.sleep(_EXIT_POLL_S)
        self._set_ended(described(self._popen.returncode))

    def _set_ended(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)


def command(descriptor: int) -> list[str]:
    """How to start a process that talks to this one over the socket `descriptor`."""
    return [sys.executable, "-m", MAIN, str(descriptor), str(os.getpid())]


def described(status: int) -> str:
    """How a process has ended, from the `returncode` of its Popen."""
    if status >= 0:
        return f"it ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = ", perhaps because memory ran out" if name == "SIGKILL" else ""
    return f"it was ended by {name}{hint}"


class _Protocol(asyncio.Protocol):
    def __init__(self, child: ChildProcess) -> None:
        self._child, self._decoder = child, Decoder()

    def data_received(self, data: bytes) -> None:
        for message in self._decoder.push(data):
            self._child.received(message)

    def connection_lost(self, exc: Exception | None) -> None:
        self._child.lost()
