"""The conversation on virtual time: order, interruption, patience, failure, and what is always true."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest
from fakes import MS_PER_CHARACTER, RATE_HZ, Script, ScriptedWorker, read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from intone.server import events as e
from intone.server.domain import Emotion, Options, Voice
from intone.server.errors import CallerError, Fault, IntoneError, OverloadError, ShutdownError
from intone.server.router import Router
from intone.server.segmenter import Segmenter
from intone.server.services import Services
from intone.server.session import Session

WAIT_MS = 400


def stream_settings(**changes: Any) -> e.StreamSettings:
    given_settings: dict[str, Any] = {"encoding": "pcm_f32le", "sample_rate_hz": RATE_HZ, "voice": "default"}
    return e.StreamSettings(**{**given_settings, **changes})


class Talk:
    """A session, the workers behind it, and everything it said with the time at which it said it."""

    def __init__(self, *workers: ScriptedWorker, **changes: Any) -> None:
        self.workers = {worker.info.name: worker for worker in workers or (ScriptedWorker(Script(step_s=0.02)),)}
        self.said: list[tuple[float, e.ServerEvent]] = []
        self.failure: IntoneError | None = None
        self._clock = asyncio.get_running_loop().time
        self.session = Session(stream_settings(**changes), self._services())
        self._reader = asyncio.create_task(self._read(), name="test-reader")

    def _services(self) -> Services:
        def find_voice(name: str) -> Voice:
            if name != "default":
                raise CallerError("voice", f"there is no voice named {name!r}", Fault.NOT_FOUND)
            return Voice("default")

        return Services(
            workers=self.workers,  # type: ignore[arg-type]
            router=Router(),
            find_voice=find_voice,
            segmenter=lambda normalize: Segmenter(str.strip),
            draw_seed=lambda: 7,
            clock=self._clock,
            max_open_utterances=4,
            max_utterance_characters=2000,
            wait_ms=WAIT_MS,
            chunk_ms=100,
        )

    async def _read(self) -> None:
        try:
            async for event in self.session.events():
                self.said.append((self._clock(), event))
        except IntoneError as error:
            self.failure = error

    def text(self, utterance_id: str, delta: str, end: bool = False, **more: Any) -> None:
        self.session.receive(e.TextPiece(utterance_id, delta, end, **more))

    async def finish(self) -> None:
        self.session.half_close()
        await self._reader

    async def close(self) -> None:
        await self.session.close()
        self._reader.cancel()
        await asyncio.wait({self._reader})

    def of(self, kind: type, utterance_id: str | None = None) -> list[Any]:
        found = [event for _, event in self.said if isinstance(event, kind)]
        return [event for event in found if utterance_id is None or event.utterance_id == utterance_id]

    def when(self, kind: type) -> float:
        return next(at for at, event in self.said if isinstance(event, kind))

    def voiced(self, utterance_id: str) -> str:
        data = b"".join(chunk.data for chunk in self.of(e.Audio, utterance_id))
        return read(np.frombuffer(data, np.float32))


@pytest.fixture
def talk(run_virtual: Callable[..., Any]) -> Callable[..., None]:
    """`talk(body, *workers, **settings)`: run `body(Talk)` on virtual time, and close the session whatever happens."""

    def start(body: Callable[[Talk], Coroutine[Any, Any, None]], *workers: ScriptedWorker, **changes: Any) -> None:
        async def main() -> None:
            conversation = Talk(*workers, **changes)
            try:
                await body(conversation)
            finally:
                await conversation.close()

        run_virtual(main())

    return start


def test_an_utterance_is_spoken_whole_and_reported(talk) -> None:  # type: ignore[no-untyped-def]
    async def body(t: Talk) -> None:
        t.text("u", "Good morning, everyone. How are you today?", end=True)
        await t.finish()
        assert t.voiced("u").replace(" ", "") == "Goodmorning,everyone.Howareyoutoday?"
        (started,), (done,) = t.of(e.Started), t.of(e.Done)
        assert (started.engine, started.reason, started.seed) == ("starter", e.RouteReason.PLAIN, 7)
        assert (done.reason, done.error) == (e.DoneReason.COMPLETED, None)
        assert done.report.units == 2  # an early clause; "everyone." alone would be too short
        assert done.report.ttfa_ms == pytest.approx(20, abs=0.1)
        assert done.report.audio_ms == pytest.approx(MS_PER_CHARACTER * len(t.voiced("u")))
        assert done.report.rtf == pytest.approx(done.report.synthesis_ms / done.report.audio_ms)

    talk(body)


def test_chunks_are_numbered_and_their_spans_tile_the_text(talk) -> None:  # type: ignore[no-untyped-def]
    async def body(t: Talk) -> None:
        t.text("u", "Good morning, everyone. How are you today? Fine.", end=True)
        await t.finish()
        chunks = t.of(e.Audio)
        assert [chunk.sequence for chunk in chunks] == list(range(len(chunks)))
        offset = 0
        for chunk in chunks:
            assert chunk.offset_samples == offset
            offset += len(chunk.data) // 4
        spans = sorted({(chunk.start, chunk.end) for chunk in chunks})
        assert spans[0][0] == 0
        assert spans[-1][1] == len("Good morning, everyone. How are you today? Fine.")
        assert all(before[1] == after[0] for before, after in zip(spans, spans[1:], strict=False))

    talk(body)


def test_utterances_are_spoken_in_the_order_they_were_started(talk) -> None:  # type: ignore[no-untyped-def]
    async def body(t: Talk) -> None:
        t.text("a", "First one. ")
        t.text("b", "Second one.", end=True)
        t.text("a", "Still the first.", end=True)
        await t.finish()
        order = [event.utterance_id for event in t.of(e.Audio)]
        assert order == sorted(order)
        assert [done.utterance_id for done in t.of(e.Done)] == ["a", "b"]

    talk(body)


def test_speech_never_runs_past_the_lead_limit(talk) -> None:  # type: ignore[no-untyped-def]
    async def body(t: Talk) -> None:
        t.text("u", "x" * 150 + ".", end=True)  # 7.5 s
        await t.finish()
        began = t.when(e.Audio)
        sent_ms = 0.0
        for at, event in t.said:
            if isinstance(event, e.Audio):
                sent_ms += event.duration_ms
                assert sent_ms - 1000 * (at - began) <= 1000 + 1e-6
        assert t.said[-1][0] > 6

    talk(body, lead_limit_ms=1000)


def test_with_progress_only_progress_releases(talk) -> None:  # type: ignore[no-untyped-def]
    async def body(t: Talk) -> None:
        t.text("u", "x" * 100 + ".", end=True)
        t.session.receive(e.Progress(0))
        await asyncio.sleep(60)
        assert sum(chunk.duration_ms for chunk in t.of(e.Audio)) == pytest.approx(1000)
        t.session.receive(e.Progress(500))
        await asyncio.sleep(1)
        assert sum(chunk.duration_ms for chunk in t.of(e.Audio)) == pytest.approx(1500)

    talk(body, lead_limit_ms=1000)


def test_an_unfinished_piece_is_spoken_after_a_while(talk) -> None:  # type: ignore[no-untyped-def]
    async def body(t: Talk) -> None:
        t.text("u", "no full stop here ")
        await asyncio.sleep(WAIT_MS / 1000 - 0.01)
        assert not t.of(e.Audio)
        await asyncio.sleep(0.2)
        assert t.voiced("u") == "no full stop here"
        t.text("u", "and the rest.", end=True)
        await t.finish()
        assert t.of(e.Done)[0].reason is e.DoneReason.COMPLETED

    talk(body)


def test_while_speech_runs_ahead_there_is_time_to_wait_for_the_sentence(talk) -> None:  # type: ignore[no-untyped-def]
    async def body(t: Talk) -> None:
        t.text("u", "A first sentence that takes a good three seconds to be said aloud. Then half ")
        await asyncio.sleep(2.0)  # far past the wait, but the listener is still busy
        assert "Then" not in t.voiced("u")
        t.text("u", "a sentence.", end=True)
        await t.finish()
        assert t.voiced("u").endswith("Then half a sentence.")

    talk(body)


def test_a_flush_is_answered_after_its_audio(talk) -> None:  # type: ignore[no-untyped-def]
    async def body(t: Talk) -> None:
        t.text("u", "half a thought")
        t.session.receive(e.Flush("f1"))
        await asyncio.sleep(1)
        assert t.voiced("u") == "half a thought"
        assert isinstance(t.said[-1][1], e.Flushed)
        t.session.receive(e.Flush("f2"))
        await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        assert [flushed.flush_id for flushed in t.of(e.Flushed)] == ["f1", "f2"]
        t.text("u", "", end=True)
        await t.finish()

    talk(body)


def test_an_interruption_says_what_was_heard(talk) -> None:  # type: ignore[no-untyped-def]
    async def body(t: Talk) -> None:
        said = "Good morning, everyone in the room. How are you all today, my dear friends?"
        t.text("u", said, end=True)
        await asyncio.sleep(1.0)
        t.session.receive(e.Cancel("u", played_ms=700))
        await asyncio.sleep(1.0)
        (cut,) = t.of(e.Interrupted)
        assert cut.heard_text + cut.unheard_text == said
        assert cut.heard_text == "Good morning, "
        assert cut.heard_ms == 700
        assert isinstance(t.said[-1][1], e.Interrupted)
        assert not t.of(e.Done)
        assert t.workers["starter"].load == 0

    talk(body, lead_limit_ms=2000)


def test_after_an_interruption_the_next_utterance_speaks(talk) -> None:  # type: ignore[no-untyped-def]
    async def body(t: Talk) -> None:
        t.text("a", "One sentence that is rather long. And another one that follows.", end=True)
        await asyncio.sleep(0.3)
        t.session.receive(e.Cancel("a", played_ms=100))
        t.text("b", "The next one.", end=True)
        await t.finish()
        assert t.voiced("b") == "The next one."
        kinds = [type(event) for _, event in t.said]
        assert kinds.index(e.Interrupted) < kinds.index(e.Done)

    talk(body)


def test_what_is_done_but_still_playing_can_be_interrupted(talk) -> None:  # type: ignore[no-untyped-def]
    async def body(t: Talk) -> None:
        t.text("u", "A sentence of two seconds or so in all.", end=True)
        await asyncio.sleep(0.5)
        assert t.of(e.Done)
        t.session.receive(e.Cancel("", played_ms=450))
        await asyncio.sleep(0.1)
        (cut,) = t.of(e.Interrupted)
        assert cut.heard_text == "A "
        t.session.receive(e.Cancel("u", played_ms=450))
        await asyncio.sleep(0.1)
        assert t.of(e.Notice)[-1].code is e.WarningCode.UTTERANCE_ENDED

    talk(body, lead_limit_ms=60_000)


def test_a_wrong_position_does_not_stop_an_interruption(talk) -> None:  # type: ignore[no-untyped-def]
    async def body(t: Talk) -> None:
        t.text("u", "A sentence of two seconds or so in all.", end=True)
        await asyncio.sleep(0.2)
        t.session.receive(e.Cancel("u", played_ms=10**9))
        await asyncio.sleep(0.1)
        assert t.of(e.Refused)[0].error.field == "cancel.played_ms"
        assert t.of(e.Interrupted)

    talk(body)


def test_cancelling_everything_ends_each_utterance_once(talk) -> None:  # type: ignore[no-untyped-def]
    async def body(t: Talk) -> None:
        for name in "abc":
            t.text(name, f"This is utterance {name}, and it goes on.")
        await asyncio.sleep(0.1)
        t.session.receive(e.Cancel(""))
        await t.finish()
        assert [cut.utterance_id for cut in t.of(e.Interrupted)] == ["a", "b", "c"]
        assert not t.of(e.Done)

    talk(body)


def test_flush_marks_of_a_cancelled_utterance_are_still_answered(talk) -> None:  # type: ignore[no-untyped-def]
    async def body(t: Talk) -> None:
        t.text("u", "A long sentence that is being spoken. Another one.")
        t.session.receive(e.Flush("f"))
        await asyncio.sleep(0.05)
        t.session.receive(e.Cancel("u"))
        await t.finish()
        kinds = [type(event) for _, event in t.said]
        assert kinds.index(e.Interrupted) < kinds.index(e.Flushed)

    talk(body)


def test_an_engine_that_fails_before_it_was_heard_is_replaced(talk) -> None:  # type: ignore[no-untyped-def]
    broken = ScriptedWorker(Script(fail_at_step=0), name="voxcpm")

    async def body(t: Talk) -> None:
        t.text("u", "Somebody has to say this.", end=True)
        await t.finish()
        assert t.voiced("u") == "Somebody has to say this."
        assert {chunk.engine for chunk in t.of(e.Audio)} == {"starter"}
        assert e.WarningCode.ENGINE_SUBSTITUTED in [notice.code for notice in t.of(e.Notice)]
        assert t.of(e.Done)[0].reason is e.DoneReason.COMPLETED

    talk(body, broken, ScriptedWorker())


def test_an_engine_that_fails_in_mid_unit_hands_over_at_the_next(talk) -> None:  # type: ignore[no-untyped-def]
    broken = ScriptedWorker(Script(fail_at_step=2), name="voxcpm")

    async def body(t: Talk) -> None:
        t.text("u", "The first sentence breaks off. The second sentence is whole.", end=True)
        await t.finish()
        assert t.voiced("u") == "The first sentence breaks off."[:8] + "The second sentence is whole."
        assert e.WarningCode.ENGINE_FAILED in [notice.code for notice in t.of(e.Notice)]
        assert t.of(e.Done)[0].reason is e.DoneReason.FAILED

    talk(body, broken, ScriptedWorker())


def test_without_another_engine_the_utterance_fails_and_the_conversation_goes_on(talk) -> None:  # type: ignore[no-untyped-def]
    async def body(t: Talk) -> None:
        t.text("a", "This will not work.", end=True)
        await asyncio.sleep(0.1)
        t.workers["starter"].script.fail_at_step = None
        t.text("b", "This will.", end=True)
        await t.finish()
        first, second = t.of(e.Done)
        assert (first.reason, second.reason) == (e.DoneReason.FAILED, e.DoneReason.COMPLETED)
        assert t.voiced("b") == "This will."

    talk(body, ScriptedWorker(Script(fail_at_step=0)))


def test_text_without_anything_to_speak_is_rejected(talk) -> None:  # type: ignore[no-untyped-def]
    async def body(t: Talk) -> None:
        for name, text in (("a", ""), ("b", "  \n "), ("c", "?!…")):
            t.text(name, text, end=True)
        await t.finish()
        assert [done.reason for done in t.of(e.Done)] == [e.DoneReason.REJECTED] * 3
        assert {done.error.field for done in t.of(e.Done)} == {"text.delta"}

    talk(body)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"emotion": Emotion()}, "text.emotion"),
        ({"voice": "default"}, "text.voice"),
        ({"options": Options()}, "text.options"),
        ({"fault": CallerError("text.delta", "has U+0007")}, "text.delta"),
    ],
)
def test_a_bad_piece_rejects_its_utterance_and_no_other(talk, more, field) -> None:  # type: ignore[no-untyped-def]
    async def body(t: Talk) -> None:
        t.text("a", "This was fine, ")
        t.text("a", "but this is not.", **more)
        t.text("a", "Too late.")
        t.text("a", "Much too late.")
        t.text("b", "Another one.", end=True)
        await t.finish()
        first, second = t.of(e.Done)
        assert (first.utterance_id, first.reason, first.error.field) == ("a", e.DoneReason.REJECTED, field)
        assert second.reason is e.DoneReason.COMPLETED
        assert [notice.code for notice in t.of(e.Notice)] == [e.WarningCode.UTTERANCE_ENDED]

    talk(body)


def test_limits_reject_the_utterance(talk) -> None:  # type: ignore[no-untyped-def]
    async def body(t: Talk) -> None:
        t.text("long", "x" * 2001)
        for name in "abcde":
            t.text(name, "Hello there.")
        t.text("v", "Hello.", voice="nobody")
        t.session.receive(e.Cancel("never"))
        await t.finish()
        done = {event.utterance_id: event for event in t.of(e.Done)}
        assert done["long"].error.fault is Fault.TOO_LARGE
        assert isinstance(done["e"].error, OverloadError)
        assert done["a"].reason is e.DoneReason.COMPLETED
        assert t.of(e.Refused)[0].error.fault is Fault.NOT_FOUND

    talk(body)


def test_draining_finishes_what_is_open_and_starts_nothing(talk) -> None:  # type: ignore[no-untyped-def]
    async def body(t: Talk) -> None:
        t.text("a", "This one is open. ")
        await asyncio.sleep(0.05)
        t.session.drain()
        t.text("a", "It may be finished.", end=True)
        t.text("b", "This may not start.", end=True)
        await t._reader
        done = {event.utterance_id: event for event in t.of(e.Done)}
        assert done["a"].reason is e.DoneReason.COMPLETED
        assert isinstance(done["b"].error, ShutdownError)
        assert isinstance(t.failure, ShutdownError)
        assert t.of(e.Notice)[0].code is e.WarningCode.DRAINING

    talk(body)


def test_buffered_delivery_sends_whole_units(talk) -> None:  # type: ignore[no-untyped-def]
    async def body(t: Talk) -> None:
        text = "Forty characters of text, more or less."
        t.text("u", text, end=True)
        await t.finish()
        first = min(at for at, event in t.said if isinstance(event, e.Audio))
        steps = -(-len("Forty characters of text,") // 4)  # the first unit, four characters a step
        assert first == pytest.approx(t.when(e.Started) + 0.02 * steps)
        assert t.voiced("u") == text.replace(", ", ",")

    worker = ScriptedWorker(Script(step_s=0.02))
    talk(body, worker, buffered=True)


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
def test_whatever_happens(talk, actions, lead_limit_ms, two_engines) -> None:  # type: ignore[no-untyped-def]
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
                    t.session.receive(e.Cancel(name))
                case ("sleep", seconds):
                    await asyncio.sleep(seconds)
                case ("break", step):
                    worker.script.fail_at_step = step
                    worker.failing = False
        await t.finish()
        check_story(t, used, actions)

    talk(body, worker, *others, lead_limit_ms=lead_limit_ms)


def check_story(t: Talk, used: set[str], actions: list[Any]) -> None:
    """What holds for every conversation."""
    for name in used:
        ends = t.of(e.Done, name)
        cuts = t.of(e.Interrupted, name)
        assert len(ends) <= 1 and len(cuts) <= 1 and ends + cuts
        about = (e.Started, e.Audio, e.Done, e.Interrupted)
        own = [event for _, event in t.said if isinstance(event, about) and event.utterance_id == name]
        last_audio = max((i for i, event in enumerate(own) if isinstance(event, e.Audio)), default=-1)
        first_end = min(i for i, event in enumerate(own) if isinstance(event, e.Done | e.Interrupted))
        assert last_audio < first_end
        chunks = t.of(e.Audio, name)
        assert [chunk.sequence for chunk in chunks] == list(range(len(chunks)))
        if chunks:
            assert isinstance(own[0], e.Started)
    speakers = [event.utterance_id for event in t.of(e.Audio)]
    assert len(set(speakers)) == sum(
        1 for i, name in enumerate(speakers) if i == 0 or speakers[i - 1] != name
    ), "utterances never interleave"
    assert len(t.of(e.Flushed)) == sum(action[0] == "flush" for action in actions)
    assert all(worker.load == 0 for worker in t.workers.values())
