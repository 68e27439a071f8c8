"""What may be open at once, in all and by caller."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

from intone.server.errors import OverloadError, Reason
from intone.server.rpc.caller import principal

RETRY_AFTER_S = 1.0
"""Delay after which a caller that was refused may try again."""


def caller_of(context: Any) -> str:
    """Whom limits count the call of `context` for: its principal, else the address that it comes from."""
    name = principal().name
    return f"principal {name}" if name else str(context.peer()).rpartition(":")[0]  # without the port


class Quota:
    """Counts things that are open at once, such as calls, and refuses those over its limits."""

    def __init__(self, things: str, setting: str, reason: Reason, limit: int, caller_limit: int) -> None:
        """Nothing is open.

        Args:
            things: what is counted, in the plural.
            setting: that gives `limit`; `setting`_per_caller gives the other one.
            reason: of refusals.
            limit: in all.
            caller_limit: of one caller.
        """
        self._things, self._setting, self._reason = things, setting, reason
        self._limit, self._caller_limit = limit, caller_limit
        self._open: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """How many are open."""
        return self._open.total()

    @contextlib.contextmanager
    def place(self, caller: str) -> Iterator[None]:
        """One of them is open.

        Raises:
            OverloadError: there are as many already as there may be.
        """
        own = self._open[caller]
        if own >= self._caller_limit:
            self._refuse(f"{own} {self._things} of this caller are open", f"{self._setting}_per_caller", own)
        if (count := self.count) >= self._limit:
            self._refuse(f"{count} {self._things} are open", self._setting, count)
        self._open[caller] += 1
        try:
            yield
        finally:
            self._open[caller] -= 1
            if not self._open[caller]:
                del self._open[caller]

    def _refuse(self, state: str, setting: str, limit: int) -> None:
        message = f"{state}, as many as there may be ({setting}): try again later, or use another server"
        raise OverloadError(message, RETRY_AFTER_S, self._reason, limit)
