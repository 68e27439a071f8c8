"""Standard input as text pieces, as they arrive: what lets a language model's output be spoken while it is written."""

import asyncio
import codecs
import os
import sys
import threading
from collections.abc import AsyncGenerator

_READ_BYTES = 4096
_WAITING_PIECES = 16


async def stdin_pieces() -> AsyncGenerator[str, None]:
    """Pieces of UTF-8 text, none of them empty; bytes that are not UTF-8 become replacement characters.

    A daemon thread reads: a terminal can be read in no other way that also lets Ctrl-C end the program at once.
    """
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[bytes] = asyncio.Queue()
    room = threading.Semaphore(_WAITING_PIECES)  # a writer that is faster than speech waits in its pipe
    # Past Python's own buffer: a thread that waits with its lock taken would make the interpreter abort at exit.
    source = sys.stdin.fileno()

    def read() -> None:
        data = b"?"
        while data:
            room.acquire()
            try:
                data = os.read(source, _READ_BYTES)
                loop.call_soon_threadsafe(pieces.put_nowait, data)
            except (RuntimeError, OSError):
                return  # the loop or the input was closed: nobody listens any more

    threading.Thread(target=read, name="stdin", daemon=True).start()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while data := await pieces.get():
        room.release()
        if text := decoder.decode(data):
            yield text
    if text := decoder.decode(b"", final=True):
        yield text
