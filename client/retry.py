"""When a call that failed is made again."""

import random
import time

import grpc

from intone.client.errors import IntoneError

FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 3.0

_RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)


class Backoff:
    """Pauses before further attempts, from the first failure on: each twice as long, or as long as the server says.

    Pauses vary at random, so that the clients of a server that comes back do not all call at once.
    """

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._attempts = 0

    @property
    def elapsed_s(self) -> float:
        """Time since the first failure."""
        return time.monotonic() - self._began_s

    def pause_s(self, failure: IntoneError, within_s: float) -> float | None:
        """The pause before the next attempt; None if it would be later than `within_s` after the first failure."""
        pause_s: float = random.uniform(0.5, 1.5) * min(FIRST_PAUSE_S * 2**self._attempts, MAX_PAUSE_S)
        if failure.retry_after_s is not None:
            pause_s = max(pause_s, random.uniform(1.0, 1.25) * failure.retry_after_s)
        if self.elapsed_s + pause_s > within_s:
            return None
        self._attempts = min(self._attempts + 1, 16)
        return pause_s


def refused_for_now(failure: IntoneError) -> bool:
    """Whether the server has refused a request and said when to try again, so that nothing was done."""
    return failure.code in _RETRIED and failure.retry_after_s is not None


def will_fail_again(failure: IntoneError) -> bool:
    """Whether no connection can be made with these settings of TLS, as the message of gRPC says."""
    return any(fault in failure.message for fault in ("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER"))
