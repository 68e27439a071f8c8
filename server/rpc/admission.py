"""Decides by prediction whether the engines can speak one more stream."""

from collections.abc import Collection

from intone.server.config import Config
from intone.server.conversation.context import ServerContext
from intone.server.conversation.session import Session
from intone.server.errors import OverloadError, Reason
from intone.server.routing.ttfa_forecast import TYPICAL_CHARACTERS
from intone.server.settings import StreamSettings

RETRY_AFTER_S = 2.0
"""Delay after which a caller that was refused may try again: a sentence or two later."""


class Admission:
    """Refuses a stream that would be heard late, or whose speech would leave holes in that of others.

    Never refused is the first stream; one for an engine that cannot speak even one stream as fast as it is heard, since
    holes are there anyway; and one that nobody listens to beside others of that kind. Before an engine has spoken, the
    units that it steps together are taken as what it can speak.
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
        demand = sum(session.activity.share for session in sessions if session.activity.engine == engine)
        worker, max_load = self._server.workers[engine], self._config.max_load
        capacity = worker.capacity
        if not max_load or demand < 1 or (capacity is not None and capacity < 1):
            return
        limit = worker.max_streams(max_load) or self._config.max_batch
        if demand + 1 > limit:
            state = f"{engine} speaks about {demand:.0f} streams and can speak {limit} without holes (max_load)"
            raise _refusal(state, limit)
        self._check_first_sound(engine, demand, settings.buffered)

    def _check_first_sound(self, engine: str, demand: float, whole: bool) -> None:
        forecast, limit_ms = self._server.forecast, self._config.max_first_sound_ms
        expected_ms = forecast.ttfa_ms(engine, TYPICAL_CHARACTERS, round(demand), whole)
        alone_ms = forecast.ttfa_ms(engine, TYPICAL_CHARACTERS, 0, whole)
        if expected_ms is None or alone_ms is None or expected_ms <= max(limit_ms, 2 * alone_ms):
            return
        state = f"the first sound of one more stream is predicted after {expected_ms:.0f} ms (max_first_sound_ms)"
        raise _refusal(state, limit_ms)


def _refusal(state: str, limit: int) -> OverloadError:
    message = f"{state}: try again later, or use another server"
    return OverloadError(message, RETRY_AFTER_S, Reason.CAPACITY_EXHAUSTED, limit)
