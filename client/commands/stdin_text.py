"""Reads standard input as it arrives, so that the output of a language model is spoken while it is written."""

import asyncio
import codecs
import os
import sys
import threading
from collections.abc import AsyncGenerator

_READ_BYTES = 4096
_MAX_QUEUED_READS = 16


async def read_stdin() -> AsyncGenerator[str, None]:
    """Yield standard input as UTF-8 text, in non-empty parts. Invalid bytes become replacement characters.

    A daemon thread reads. Only that way does Ctrl-C end the program at once while it waits for a terminal.
    """
    loop = asyncio.get_running_loop()
    reads: asyncio.Queue[bytes] = asyncio.Queue()
    room = threading.Semaphore(_MAX_QUEUED_READS)  # a fast writer blocks in its pipe
    # Not through `sys.stdin.buffer`: a thread that blocks there holds its lock, and the interpreter aborts at exit.
    source = sys.stdin.fileno()

    def read() -> None:
        data = b"?"
        while data:
            room.acquire()
            try:
                data = os.read(source, _READ_BYTES)
                loop.call_soon_threadsafe(reads.put_nowait, data)
            except (RuntimeError, OSError):
                return  # the loop or the input was closed

    threading.Thread(target=read, name="stdin", daemon=True).start()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while data := await reads.get():
        room.release()
        if text := decoder.decode(data):
            yield text
    if text := decoder.decode(b"", final=True):
        yield text
