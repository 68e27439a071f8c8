"""Standard input as text pieces, as they arrive: what lets a language model's output be spoken while it is written."""

import asyncio
import codecs
import sys
import threading
from collections.abc import AsyncGenerator
from typing import Any

_READ_BYTES = 4096
_WAITING_PIECES = 16


async def stdin_pieces() -> AsyncGenerator[str, None]:
    """Pieces of UTF-8 text, none of them empty; bytes that are not UTF-8 become replacement characters.

    A daemon thread reads: a terminal can be read in no other way that also lets Ctrl-C end the program at once.
    """
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[bytes] = asyncio.Queue()
    room = threading.Semaphore(_WAITING_PIECES)  # a writer that is faster than speech waits in its pipe
    source: Any = sys.stdin.buffer  # always has `read1`, whatever its declared type says

    def read() -> None:
        data = b"?"
        while data:
            room.acquire()
            try:
                data = source.read1(_READ_BYTES)
                loop.call_soon_threadsafe(pieces.put_nowait, data)
            except (RuntimeError, ValueError):
                return  # the loop or the input was closed: nobody listens any more

    threading.Thread(target=read, name="stdin", daemon=True).start()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while data := await pieces.get():
        room.release()
        if text := decoder.decode(data):
            yield text
    if text := decoder.decode(b"", final=True):
        yield text
