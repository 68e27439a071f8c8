"""What holds for every conversation, whatever happens in it: random scripts on virtual time."""

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from intone.server import events as e
from tests.support.fakes import Script, ScriptedWorker
from tests.support.talk import Talk

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("text"), st.sampled_from("abc"), st.sampled_from(["Hello. ", "A bit more ", "? ", "x" * 40])),
        st.tuples(st.just("end"), st.sampled_from("abc")),
        st.tuples(st.just("flush")),
        st.tuples(st.just("cancel"), st.sampled_from(["", "a", "b", "c"])),
        st.tuples(st.just("sleep"), st.sampled_from([0.01, 0.3, 2.0])),
        st.tuples(st.just("break"), st.sampled_from([None, 0, 1])),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ACTIONS, st.sampled_from([500, 5000, None]), st.booleans())
def test_whatever_happens(talk, actions, lead_limit_ms, two_engines) -> None:
    worker = ScriptedWorker(Script(step_s=0.03))
    others = (ScriptedWorker(Script(step_s=0.01), name="voxcpm"),) if two_engines else ()

    async def body(t: Talk) -> None:
        used = set()
        for action in actions:
            match action:
                case ("text", name, text):
                    t.text(name, text)
                    used.add(name)
                case ("end", name):
                    t.text(name, "", end=True)
                    used.add(name)
                case ("flush",):
                    t.session.receive(e.Flush("f"))
                case ("cancel", name):
                    t.session.receive(e.Interrupt(name))
                case ("sleep", seconds):
                    await asyncio.sleep(seconds)
                case ("break", step):
                    worker.script.fail_at_step = step
                    worker.failing = False
        await t.finish()
        check_story(t, used, actions)

    talk(body, worker, *others, max_lead_ms=lead_limit_ms)


def check_story(t: Talk, used: set[str], actions: list[Any]) -> None:
    """What holds for every conversation."""
    for name in used:
        ends = t.of(e.Done, name)
        cuts = t.of(e.Interrupted, name)
        assert len(ends) <= 1 and len(cuts) <= 1 and ends + cuts
        about = (e.Started, e.AudioChunk, e.Done, e.Interrupted)
        own = [event for _, event in t.said if isinstance(event, about) and event.utterance_id == name]
        last_audio = max((i for i, event in enumerate(own) if isinstance(event, e.AudioChunk)), default=-1)
        first_end = min(i for i, event in enumerate(own) if isinstance(event, e.Done | e.Interrupted))
        assert last_audio < first_end
        chunks = t.of(e.AudioChunk, name)
        assert [chunk.sequence for chunk in chunks] == list(range(len(chunks)))
        if chunks:
            assert isinstance(own[0], e.Started)
    speakers = [event.utterance_id for event in t.of(e.AudioChunk)]
    assert len(set(speakers)) == sum(1 for i, name in enumerate(speakers) if i == 0 or speakers[i - 1] != name), (
        "utterances never interleave"
    )
    assert len(t.of(e.Flushed)) == sum(action[0] == "flush" for action in actions)
    assert all(worker.load == 0 for worker in t.workers.values())
