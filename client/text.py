"""Texts as the client takes them: whole, or as they are written."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

TextLike = str | Iterable[str] | AsyncIterable[str]
"""A whole text, or its deltas as they are written, such as the output of a language model."""

_SURROGATE = re.compile("[\ud800-\udfff]")


async def deltas(text: TextLike) -> AsyncGenerator[str, None]:
    """The text as deltas. Empty ones are left out.

    An iterator that is not a list or a tuple may block, so it is read in a thread of its own.
    """
    if isinstance(text, str):
        text = [text]
    if isinstance(text, AsyncIterable):
        async for part in text:
            if part:
                yield part
    elif isinstance(text, Sequence):
        for part in text:
            if part:
                yield part
    else:
        async with aclosing(_from_thread(text)) as parts:
            async for part in parts:
                if part:
                    yield part


def split(text: str, max_characters: int) -> list[str]:
    """The text in pieces of at most `max_characters` code points."""
    return [text[start : start + max_characters] for start in range(0, len(text), max_characters)]


class SurrogateJoiner:
    """Joins the halves of UTF-16 pairs that a sender cut apart, as one that streams JSON escapes may do.

    Its methods raise UnicodeEncodeError for a half without its other one: that is no text.
    """

    def __init__(self) -> None:
        self._half = ""

    def push(self, delta: str) -> str:
        """The text that is complete now: `delta` without a first half at its end, behind the half held before."""
        text, self._half = self._half + delta, ""
        if not _SURROGATE.search(text):
            return text
        if "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        joined.encode()
        return joined

    def finish(self) -> None:
        """Check that no half is held at the end of the text."""
        half, self._half = self._half, ""
        half.encode()


async def _from_thread(parts: Iterable[str]) -> AsyncGenerator[str, None]:
    loop, iterator = asyncio.get_running_loop(), iter(parts)
    thread = ThreadPoolExecutor(1, "intone-text")
    try:
        while (part := await loop.run_in_executor(thread, next, iterator, None)) is not None:
            yield part
    finally:
        thread.shutdown(wait=False)
