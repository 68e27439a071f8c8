"""How fast one stream may send."""

from intone.server.config import Config
from intone.server.events import ClientEvent, TextInput
from intone.server.rpc.token_bucket import TokenBucket

BURST_S = 5.0
"""A stream may send at once what it may send in this time."""


class StreamRates:
    """Of one stream: messages, and characters of texts.

    What comes too fast is not refused: the stream is not read for a while, and gRPC's flow control slows the client.
    """

    def __init__(self, config: Config) -> None:
        messages, characters = config.max_messages_per_s, config.max_characters_per_s
        self._messages = TokenBucket(messages, BURST_S * messages)
        self._characters = TokenBucket(characters, max(BURST_S * characters, config.max_text_characters))

    def wait_s(self, event: ClientEvent) -> float:
        """After this message, how long to wait before the next one is read."""
        characters = len(event.delta) if isinstance(event, TextInput) else 0
        return max(self._messages.take(1), self._characters.take(characters))
