"""A token bucket: an average rate with room for bursts."""

import time
from collections.abc import Callable


class TokenBucket:
    """Gains `per_s` tokens a second, up to `burst`; it is full at first. `clock`: in seconds."""

    def __init__(self, per_s: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._burst, self._clock = per_s, burst, clock
        self._left, self._at_s = burst, clock()

    @property
    def left(self) -> float:
        """Tokens that are left; negative if more were taken."""
        now_s = self._clock()
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        return self._left

    def take(self, tokens: float) -> float:
        """Take tokens, also more than are left. Returns how long it takes until none is lacking, in seconds."""
        self._left = self.left - tokens
        return max(0.0, -self._left / self._per_s)
