"""Messages between the server and a process of its own: pickled, each behind its length, over a local socket.

A socket carries audio too. Shared memory was measured beside it (`tests/bench/process_boundary.py`).
"""

import pickle
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

from intone.server.logs import Levels

_LENGTH = struct.Struct("=Q")
_JOINED_BYTES = 1 << 16
"""Up to this size length and message are sent by one system call, at the price of a copy."""


def encoded(message: Any) -> bytes:
    """A message as it is sent."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(data)) + data


class Decoder:
    """Takes bytes as they arrive, and gives the messages that are complete."""

    def __init__(self) -> None:
        self._received = bytearray()

    def push(self, data: bytes) -> Iterator[Any]:
        """The messages that `data` completes."""
        self._received += data
        start = 0
        while len(self._received) - start >= _LENGTH.size:
            end = start + _LENGTH.size + _LENGTH.unpack_from(self._received, start)[0]
            if len(self._received) < end:
                break
            with memoryview(self._received) as view, view[start + _LENGTH.size : end] as message:
                found = pickle.loads(message)
            start = end
            yield found
        del self._received[:start]


class Channel:
    """The end of a child process: sends from any thread, receives on one."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def send(self, message: Any) -> None:
        """Send a message; waits while the other side does not read.

        Raises:
            OSError: the other side is gone.
        """
        data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        length = _LENGTH.pack(len(data))
        with self._sending:
            if len(data) <= _JOINED_BYTES:
                self._connection.sendall(length + data)
            else:
                self._connection.sendall(length)
                self._connection.sendall(data)

    def receive(self) -> Any:
        """The next message. Levels of the log are applied, not returned.

        Raises:
            EOFError: the other side is gone.
        """
        while isinstance(message := self._message(), Levels):
            message.apply()
        return message

    def _message(self) -> Any:
        return pickle.loads(self._read(_LENGTH.unpack(self._read(_LENGTH.size))[0]))

    def _read(self, count: int) -> bytearray:
        data = bytearray(count)
        position = 0
        with memoryview(data) as view:
            while position < count:
                got = self._connection.recv_into(view[position:])
                if not got:
                    raise EOFError("the server is gone")
                position += got
        return data
