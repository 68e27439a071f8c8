"""How much a stream is likely to speak in the next seconds, for admission."""

import contextlib
import math
from collections.abc import Callable, Iterator

DECAY_S = 15.0
"""A stream that has been silent for so long counts as 1/e of one that speaks."""

UNWANTED_DECAY_S = 2.0
"""A stream whose audio has waited for its client for so long counts as 1/e of one that is heard: a client that does not
read, or has paused, must not keep the place of another."""


class SpeechActivity:
    """Of one stream. One that was just opened counts as one that speaks: it was opened for that."""

    def __init__(self, clock: Callable[[], float], engine: str, unwanted_s: Callable[[], float] = lambda: 0.0) -> None:
        """
        Args:
            clock: in seconds.
            engine: that will speak, as far as is known.
            unwanted_s: how long audio has waited for a client that could have played all that it was sent.
        """
        self._clock, self._unwanted_s = clock, unwanted_s
        self.engine = engine
        """The one that spoke last."""
        self.has_spoken = False
        """Whether a unit has ended."""
        self._speaking = False
        self._spoke_s = clock()

    @contextlib.contextmanager
    def speaking(self, engine: str) -> Iterator[None]:
        """A unit is spoken by `engine` while the context lasts."""
        self.engine, self._speaking = engine, True
        try:
            yield
        finally:
            self._speaking, self._spoke_s, self.has_spoken = False, self._clock(), True

    @property
    def share(self) -> float:
        """1 while the stream speaks to a client that listens; then less and less, towards 0."""
        silent_s = 0.0 if self._speaking else self._clock() - self._spoke_s
        return math.exp(-silent_s / DECAY_S - self._unwanted_s() / UNWANTED_DECAY_S)
