"""Texts as the client takes them: whole, or as they are written."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

TextLike = str | Iterable[str] | AsyncIterable[str]
"""A whole text, or its deltas as they are written, such as the output of a language model."""


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


async def _from_thread(parts: Iterable[str]) -> AsyncGenerator[str, None]:
    loop, iterator = asyncio.get_running_loop(), iter(parts)
    thread = ThreadPoolExecutor(1, "intone-text")
    try:
        while (part := await loop.run_in_executor(thread, next, iterator, None)) is not None:
            yield part
    finally:
        thread.shutdown(wait=False)
