"""How much a stream is likely to speak in the next seconds, for admission."""

import contextlib
import math
from collections.abc import Callable, Iterator

DECAY_S = 15.0
"""A stream that has been silent for so long counts as 1/e of one that speaks."""


class SpeechActivity:
    """Of one stream. One that was just opened counts as one that speaks: it was opened for that."""

    def __init__(self, clock: Callable[[], float], engine: str) -> None:
        """`clock`: in seconds. `engine`: that will speak, as far as is known."""
        self._clock = clock
        self.engine = engine
        """The one that spoke last."""
        self._speaking = False
        self._spoke_s = clock()

    @contextlib.contextmanager
    def speaking(self, engine: str) -> Iterator[None]:
        """A unit is spoken by `engine` while the context lasts."""
        self.engine, self._speaking = engine, True
        try:
            yield
        finally:
            self._speaking, self._spoke_s = False, self._clock()

    @property
    def share(self) -> float:
        """1 while the stream speaks; then less and less, towards 0."""
        return 1.0 if self._speaking else math.exp((self._spoke_s - self._clock()) / DECAY_S)
