"""Decides by prediction whether the engines can speak one more stream."""

import os
from collections.abc import Collection, Mapping

from intone.server.config import Config
from intone.server.conversation.context import ServerContext
from intone.server.conversation.session import Session
from intone.server.errors import OverloadError, Reason
from intone.server.routing.ttfa_forecast import TYPICAL_CHARACTERS
from intone.server.runtime.worker import Worker
from intone.server.settings import StreamSettings

RETRY_AFTER_S = 2.0
"""Delay after which a caller that was refused may try again: a sentence or two later."""

PROCESSORS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""That this process, and those that it starts, may use."""


class Admission:
    """Refuses a stream that would be heard late, or whose speech would leave holes in that of others.

    Never refused is the first stream; one for an engine that cannot speak even one stream as fast as it is heard, since
    holes are there anyway; and one that nobody listens to beside others of that kind. Before an engine has spoken, the
    units that it steps together are taken as what it can speak.

    Engines in processes of their own that speak at once are taken together: each of them alone may find that its steps
    leave room, while the others leave it no processor for further ones.
    """

    def __init__(self, config: Config, server: ServerContext) -> None:
        self._config, self._server = config, server

    def check(self, settings: StreamSettings, sessions: Collection[Session]) -> None:
        """Check for one more stream beside `sessions`.

        Raises:
            OverloadError: CAPACITY_EXHAUSTED.
        """
        if settings.offline and all(session.settings.offline for session in sessions):
            return
        engine = settings.defaults.engine or self._server.plain_engine
        demands = dict.fromkeys(self._server.workers, 0.0)
        for session in sessions:
            demands[session.activity.engine] += session.activity.share
        demand = demands[engine]
        worker, max_load = self._server.workers[engine], self._config.max_load
        if max_load and not _is_too_slow(worker):
            self._check_processors(engine, demands)
        if not max_load or demand < 1 or _is_too_slow(worker):
            return
        limit = worker.max_streams(max_load) or self._config.max_batch
        if demand + 1 > limit:
            state = f"{engine} speaks about {demand:.0f} streams and can speak {limit} without holes (max_load)"
            raise _refusal(state, limit)
        self._check_first_sound(engine, demand, settings.buffered)

    def _check_processors(self, engine: str, demands: Mapping[str, float]) -> None:
        others = [name for name, demand in demands.items() if name != engine and demand >= 1]
        speaking = [name for name in (engine, *others) if not _is_too_slow(self._server.workers[name])]
        if not others or len(speaking) < 2:
            return
        busy = sum(self._server.workers[name].processors(demands[name] + (name == engine)) or 0.0 for name in speaking)
        if busy > self._config.max_load * PROCESSORS:
            state = f"{' and '.join(speaking)} would keep {busy:.1f} of {PROCESSORS} processors busy (max_load)"
            raise _refusal(state, PROCESSORS)

    def _check_first_sound(self, engine: str, demand: float, whole: bool) -> None:
        forecast, limit_ms = self._server.forecast, self._config.max_first_sound_ms
        expected_ms = forecast.ttfa_ms(engine, TYPICAL_CHARACTERS, round(demand), whole)
        alone_ms = forecast.ttfa_ms(engine, TYPICAL_CHARACTERS, 0, whole)
        if expected_ms is None or alone_ms is None or expected_ms <= max(limit_ms, 2 * alone_ms):
            return
        state = f"the first sound of one more stream is predicted after {expected_ms:.0f} ms (max_first_sound_ms)"
        raise _refusal(state, limit_ms)


def _is_too_slow(worker: Worker) -> bool:
    """Whether an engine cannot speak even one stream as fast as it is heard."""
    return worker.capacity is not None and worker.capacity < 1


def _refusal(state: str, limit: int) -> OverloadError:
    message = f"{state}: try again later, or use another server"
    return OverloadError(message, RETRY_AFTER_S, Reason.CAPACITY_EXHAUSTED, limit)
