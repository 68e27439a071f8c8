"""Speaks one text on a conversation, sending and receiving concurrently."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable

from intone.client.conversation import Conversation
from intone.client.errors import IntoneCallError
from intone.client.events import Done, Event, Interrupted

TextLike = str | Iterable[str] | AsyncIterable[str]
"""A whole text, or its deltas as they are written."""

_MAX_DELTA_CHARACTERS = 500
"""Longer texts are sent in several messages, to stay far below the server's limit for one."""


async def speak(conversation: Conversation, text: TextLike, utterance_id: str) -> AsyncGenerator[Event, None]:
    """Send a text and yield events until its utterance has ended.

    Close the generator (`contextlib.aclosing`) when leaving it early. If the source of the text raises, the utterance
    is cancelled and the error is raised here.
    """
    deltas = _deltas(text)
    # An error of the source before its first delta is raised here, before anything was started.
    first = await anext(deltas, "")
    failures: list[BaseException] = []
    sender = asyncio.create_task(_send_all(conversation, first, deltas, utterance_id, failures))
    try:
        async for event in conversation:
            yield event
            if isinstance(event, Done | Interrupted) and event.utterance_id == utterance_id:
                break
        if failures:
            raise failures[0]
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)


async def _send_all(
    conversation: Conversation, first: str, rest: AsyncIterator[str], utterance_id: str, failures: list[BaseException]
) -> None:
    try:
        await conversation.send(first, utterance_id)
        async for delta in rest:
            await conversation.send(delta, utterance_id)
        await conversation.end(utterance_id)
    except (IntoneCallError, asyncio.CancelledError):
        raise  # the reader gets the same error
    except BaseException as error:
        failures.append(error)
        await conversation.cancel(utterance_id)  # `Interrupted` ends the reader's loop
        raise


async def _deltas(text: TextLike) -> AsyncIterator[str]:
    """The text as deltas, none of them empty or too long."""
    if isinstance(text, AsyncIterable):
        async for part in text:
            for delta in _split(part):
                yield delta
    else:
        for part in [text] if isinstance(text, str) else text:
            for delta in _split(part):
                yield delta


def _split(text: str) -> list[str]:
    return [text[start : start + _MAX_DELTA_CHARACTERS] for start in range(0, len(text), _MAX_DELTA_CHARACTERS)]
