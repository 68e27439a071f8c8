"""Speaks one text on a conversation, sending and reading at once: the path of `say`, the command line and the bench."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable

from intone.client.conversation import Conversation
from intone.client.errors import IntoneCallError
from intone.client.events import Done, Event, Interrupted

TextLike = str | Iterable[str] | AsyncIterable[str]
"""A text, or its pieces as they are written."""

_PIECE_CHARACTERS = 500
"""A longer text goes out in several messages, to stay far below the server's limit for one."""


async def speak(conversation: Conversation, text: TextLike, utterance: str) -> AsyncGenerator[Event, None]:
    """Send a text and give the events until its utterance has ended.

    Close it (`contextlib.aclosing`) when leaving early. When the source of the text fails, the utterance is cancelled
    and the failure raised here.
    """
    pieces = _pieces(text)
    # A source that fails before its first piece fails here, with nothing under way.
    first = await anext(pieces, "")
    failures: list[BaseException] = []
    sender = asyncio.create_task(_send_all(conversation, first, pieces, utterance, failures))
    try:
        async for event in conversation:
            yield event
            if isinstance(event, Done | Interrupted) and event.utterance_id == utterance:
                break
        if failures:
            raise failures[0]
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)


async def _send_all(
    conversation: Conversation, first: str, rest: AsyncIterator[str], utterance: str, failures: list[BaseException]
) -> None:
    try:
        await conversation.send(first, utterance)
        async for piece in rest:
            await conversation.send(piece, utterance)
        await conversation.end(utterance)
    except (IntoneCallError, asyncio.CancelledError):
        raise  # the reader hears of these itself
    except BaseException as error:
        failures.append(error)
        await conversation.cancel(utterance)  # its `Interrupted` wakes the reader
        raise


async def _pieces(text: TextLike) -> AsyncIterator[str]:
    """The text in messages, none of them empty or too long."""
    if isinstance(text, AsyncIterable):
        async for piece in text:
            for part in _parts(piece):
                yield part
    else:
        for piece in [text] if isinstance(text, str) else text:
            for part in _parts(piece):
                yield part


def _parts(piece: str) -> list[str]:
    return [piece[start : start + _PIECE_CHARACTERS] for start in range(0, len(piece), _PIECE_CHARACTERS)]
