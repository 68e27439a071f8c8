"""Who speaks when an engine is busy, by the times of the kind of stream that asks. On virtual time."""

import pytest

from intone.server import events as e
from intone.server.domain import SpeakRequest
from intone.server.routing.router import Router, RouteReason
from intone.server.routing.ttfa_forecast import TTFAForecast
from tests.support.fakes import Script, ScriptedWorker
from tests.support.talk import Talk


def known_times():
    """The plain engine is quick to stream and slow to make whole units; the other is quick at both."""
    known = TTFAForecast()
    for engine, whole, ttfa_ms in [("voxcpm", False, 50), ("voxcpm", True, 5000), ("starter", False, 50)]:
        known.learn(engine, 40, 1, ttfa_ms, whole)
    known.learn("starter", 40, 0, 50, whole=True)
    return known


@pytest.mark.parametrize(
    ("buffered", "spoken_by", "reason"),
    [(False, "voxcpm", RouteReason.PLAIN), (True, "starter", RouteReason.BUSY)],
)
def test_a_stream_is_routed_by_the_times_of_its_own_kind(run_virtual, buffered, spoken_by, reason):
    async def main():
        plain, other = (ScriptedWorker(Script(step_s=0.01), name=name) for name in ("voxcpm", "starter"))
        plain.submit(SpeakRequest("somebody else's", 1))  # engines are busy only with the work of others
        server_changes = {"forecast": known_times(), "router": Router(busy_ms=1000.0)}
        talk = Talk(plain, other, server=server_changes, buffered=buffered)
        talk.text("u", "Good morning.", end=True)
        await talk.finish()
        await talk.close()
        return talk

    (started,) = run_virtual(main()).of(e.Started)
    assert (started.engine, started.reason) == (spoken_by, reason)
