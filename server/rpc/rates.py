"""How fast one stream, or one caller, may send."""

from collections import OrderedDict

from intone.server.config import Config
from intone.server.events import ClientEvent, TextInput
from intone.server.rpc.token_bucket import TokenBucket

BURST_S = 5.0
"""A stream may send at once what it may send in this time."""


MAX_CALLERS = 1000
"""Callers that are remembered, those that called last."""


class StreamRates:
    """Of one stream: messages, and characters of texts.

    What comes too fast is not refused: the stream is not read for a while, and gRPC's flow control slows the client.
    """

    def __init__(self, config: Config) -> None:
        messages, characters = config.max_messages_per_s, config.max_characters_per_s
        self.words = (
            f"messages come faster than {messages:g} a second, or their texts than {characters:g} characters a second: "
            "the stream is read no faster"
        )
        """For the client of a stream that has to wait."""
        self._messages = TokenBucket(messages, BURST_S * messages)
        self._characters = TokenBucket(characters, max(BURST_S * characters, config.max_text_characters))

    def wait_s(self, event: ClientEvent) -> float:
        """After this message, how long to wait before the next one is read."""
        characters = len(event.delta) if isinstance(event, TextInput) else 0
        return max(self._messages.take(1), self._characters.take(characters))


class CallerRates:
    """Of single calls: characters of the texts of each caller."""

    def __init__(self, config: Config) -> None:
        self._per_s, self._buckets = config.max_characters_per_s, OrderedDict[str, TokenBucket]()

    def wait_s(self, caller: str, characters: int) -> float:
        """How long the caller has to wait for the answer to a text, so that others have their turn."""
        bucket = self._buckets.pop(caller, None) or TokenBucket(self._per_s, BURST_S * self._per_s)
        self._buckets[caller] = bucket
        if len(self._buckets) > MAX_CALLERS:
            self._buckets.popitem(last=False)
        return bucket.take(characters)
