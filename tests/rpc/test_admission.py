"""Admission by prediction: as many streams as the engine can speak without holes, over real gRPC."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc import StatusCode

from intone.proto import audio_pb2, speech_pb2
from intone.server.app import serving
from intone.server.config import Config
from intone.server.conversation.speech_activity import DECAY_S, UNWANTED_DECAY_S, SpeechActivity
from intone.server.domain import Step
from intone.server.rpc.admission import PROCESSORS
from intone.server.runtime.step_costs import MIN_STEPS, StepCosts
from tests.support.fakes import Script, ScriptedEngine, ScriptedState, advance, info
from tests.support.faulty_engine import ENTRIES
from tests.support.live_server import Live, Talk, live, soon
from tests.support.rpc_status import code_of, details, reason_of, status_of, values_of

PLAIN = {"defaults": speech_pb2.SpeechSettings(normalization=speech_pb2.SWITCH_OFF)}
TEXT = "A sentence of some length, which takes three seconds to say. " * 2
ON = {"max_load": 0.6}
AT_THE_BEGINNING = audio_pb2.AudioPosition(utterance_id="u")


@dataclass
class CostlyEngine(ScriptedEngine):
    """A step of n units takes `alpha_s` + `beta_s` * n, and makes 200 ms of audio of each."""

    alpha_s: float = 0.02
    beta_s: float = 0.02

    def step(self, states: Sequence[ScriptedState]) -> list[Step]:
        self.stepped.append([state.request.text for state in states])
        time.sleep(self.alpha_s + self.beta_s * len(states))
        return [advance(state, self.script) for state in states]


# ---- what an engine can speak


def costs_of(*steps: tuple[int, int, float, float] | tuple[int, int, float, float, float]) -> StepCosts:
    costs = StepCosts()
    for step in steps:
        costs.observe(*step)
    return costs


def test_the_capacity_of_an_engine_that_has_not_spoken_is_unknown():
    assert costs_of(*((1, 1, 0.1, 0.2) for _ in range(MIN_STEPS - 1))).capacity(16) is None
    assert costs_of(*((1, 1, 0.1, 0.0) for _ in range(64))).capacity(16) is None


@pytest.mark.parametrize(
    ("alpha_s", "beta_s", "max_batch", "expected"),
    [
        (0.02, 0.02, 16, 9.0),  # steps of nine units take as long as their audio
        (0.02, 0.01, 16, 16 * 0.2 / 0.18),  # full batches, in turns
        (0.02, 0.02, 1, 5.0),  # one after the other
        (0.1, 0.0, 8, 16.0),
        (0.3, 0.1, 16, 0.5),  # not even one
    ],
)
def test_the_capacity_follows_from_the_cost_of_steps(alpha_s, beta_s, max_batch, expected):
    batches = [1 + i % max_batch for i in range(64)]
    costs = costs_of(*((n, 0, alpha_s + beta_s * n, 0.2 * n) for n in batches))
    assert costs.capacity(max_batch) == pytest.approx(expected, rel=0.1)


def test_with_steps_of_one_unit_alone_half_of_their_cost_is_taken_to_grow():
    costs = costs_of(*((1, 0, 0.04, 0.2) for _ in range(64)))
    assert costs.capacity(16) == pytest.approx(9.0, rel=0.1)


def test_one_stream_more_than_were_spoken_is_tried():
    """By the prior two streams are too many for an engine that takes 68 % of the time for one."""
    costs = costs_of(*((1, 0, 0.109, 0.16) for _ in range(64)))
    assert costs.max_streams(16, 0.85) == 2
    for _ in range(16):
        costs.observe(2, 0, 0.12, 0.32)
    assert costs.max_streams(16, 0.85) in (3, 4)
    for _ in range(64):
        costs.observe(2, 0, 0.2, 0.32)
    assert costs.max_streams(16, 0.85) == 2 and costs.max_streams(1, 0.85) == 1
    assert costs_of().max_streams(16, 0.85) is None
    assert costs_of(*((1, 0, 0.5, 0.16) for _ in range(64))).max_streams(16, 0.85) == 1


@pytest.mark.parametrize(
    ("alpha_s", "beta_s", "max_batch", "expected"),
    [(0.1, 0.1, 16, 5.0), (0.1, 0.1, 4, 6.0), (0.1, 0.1, 3, 7.5), (0.5, 0.0, 16, 6.0)],
)
def test_a_step_starts_one_unit_only(alpha_s, beta_s, max_batch, expected):
    """Units of 3 s: n streams start n units in that time, with a step for each. Beyond the batch steps grow no more."""
    batches = [3 * (1 + i % max_batch) for i in range(64)]
    costs = costs_of(*((n, 10 * n // 3, alpha_s + beta_s * n, 10.0 * n) for n in batches))
    assert costs.capacity(max_batch) == pytest.approx(expected, rel=0.1)


def test_a_stream_counts_less_the_longer_it_is_silent():
    now_s = 100.0
    activity = SpeechActivity(lambda: now_s, "plain")
    assert activity.share == 1.0
    now_s += DECAY_S
    assert activity.share == pytest.approx(0.368, abs=0.001)
    with activity.speaking("other"):
        now_s += 1000
        assert activity.share == 1.0 and activity.engine == "other"
    assert activity.share == 1.0
    now_s += 10 * DECAY_S
    assert activity.share < 0.001


def test_a_stream_counts_less_the_longer_its_audio_waits_for_its_client():
    unwanted_s = 0.0
    activity = SpeechActivity(lambda: 100.0, "plain", lambda: unwanted_s)
    with activity.speaking("plain"):
        assert activity.share == 1.0
        unwanted_s = UNWANTED_DECAY_S
        assert activity.share == pytest.approx(0.368, abs=0.001)
        unwanted_s = 0.0
        assert activity.share == 1.0


# ---- streams


async def speak_once(server: Live, text: str = TEXT) -> None:
    """Let the engine show what its steps cost."""
    talk = await server.talk(**PLAIN)
    await talk.say("first", text)
    await talk.until("done", "first")
    talk.call.cancel()
    await soon(lambda: server.idle, "the first stream is gone")


async def try_to_speak(server: Live) -> Talk | grpc.aio.AioRpcError:
    """A stream that speaks; or the error with which it was refused."""
    talk = server.open()
    await talk.send(config=speech_pb2.StreamConfig(**PLAIN))
    try:
        kind, _ = await talk.answer()
        if kind == "configured":
            await talk.say("u", TEXT)
            await talk.until("done", "u")
            return talk
        await talk.answer()
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("a stream that was refused goes on")


async def end(server: Live, talks: Sequence[Talk]) -> None:
    for talk in talks:
        talk.call.cancel()
    await soon(lambda: server.idle, "all are gone")


def sample(server: Live, name: str) -> float:
    return server.app.metrics.registry.get_sample_value(name) or 0.0


def test_of_a_burst_as_many_streams_are_admitted_as_can_be_spoken_and_none_has_a_hole(run):
    """A step makes a second of audio, so that a busy machine may be late by some hundred milliseconds."""

    async def main():
        engine = CostlyEngine(alpha_s=0.1, beta_s=0.1, script=Script(characters_per_step=20))
        async with live(engine, **ON) as server:
            for number in range(16):  # units of three seconds
                server.app.service.workers["starter"]._costs.observe(1, number % 3 == 0, 0.2, 1.0)
            ends = await asyncio.gather(*(try_to_speak(server) for _ in range(64)))
            talks = [end for end in ends if isinstance(end, Talk)]
            assert 2 <= len(talks) <= 4  # 0.6 of five: nine could speak, but not start their next sentences in time
            assert sample(server, "tts_listener_underruns_total") == 0
            for error in (end for end in ends if not isinstance(end, Talk)):
                status = status_of(error)
                assert code_of(status) is StatusCode.RESOURCE_EXHAUSTED and "max_load" in status.message
                assert reason_of(status) == "CAPACITY_EXHAUSTED" and int(values_of(status)["limit"]) <= 4
                assert details(status, error_details_pb2.RetryInfo).retry_delay.seconds == 2
            await end(server, talks)

    run(main(), timeout_s=60)


def test_the_metrics_show_what_an_engine_can_speak(run):
    async def main():
        async with live(CostlyEngine()) as server:
            await speak_once(server)
            capacity = server.app.metrics.registry.get_sample_value(
                "tts_engine_capacity_streams", {"engine": "starter"}
            )
            assert 1 < capacity < 12  # nine on an idle machine

    run(main())


def test_without_admission_all_of_them_are_admitted(run):
    async def main():
        async with live(CostlyEngine(beta_s=0.001)) as server:
            await speak_once(server)
            talks = await asyncio.gather(*(server.talk(**PLAIN) for _ in range(40)))
            assert len(talks) == 40
            await end(server, talks)

    run(main())


def test_a_first_sound_that_would_come_late_is_a_reason_to_refuse(run):
    """The engine has room for hundreds, but starts units one by one."""

    async def main():
        engine = CostlyEngine(alpha_s=0.05, beta_s=0.0)
        async with live(engine, max_load=10.0, max_first_sound_ms=400) as server:
            await speak_once(server)
            for load in [*range(8)] * 4:  # as many as the forecast looks at
                server.app.service._server.forecast.learn("starter", 40, load, 100.0 * (load + 1))
            talks = []
            while True:
                talk = server.open()
                await talk.send(config=speech_pb2.StreamConfig(**PLAIN))
                kind, _ = await talk.answer()
                if kind == "closed":
                    break
                talks.append(talk)
            status = status_of(await talk.call_error())
            assert reason_of(status) == "CAPACITY_EXHAUSTED" and "max_first_sound_ms" in status.message
            assert 2 <= len(talks) <= 6
            await end(server, talks)

    run(main())


def test_before_an_engine_has_spoken_as_many_streams_are_admitted_as_it_steps_together(run):
    async def main():
        async with live(CostlyEngine(), **ON, max_batch=4) as server:
            talks = [await server.talk(**PLAIN) for _ in range(4)]
            talk = server.open()
            await talk.send(config=speech_pb2.StreamConfig(**PLAIN))
            status = status_of(await talk.failure())
            assert reason_of(status) == "CAPACITY_EXHAUSTED" and values_of(status) == {"limit": "4"}
            await end(server, talks)

    run(main())


@pytest.mark.parametrize("pauses", [False, True])
def test_streams_whose_audio_nobody_takes_give_their_place_to_others(run, monkeypatch, pauses):
    """Two clients that read nothing, or whose playback stands still, beside an engine that can speak two streams."""
    monkeypatch.setattr("intone.server.conversation.speech_activity.UNWANTED_DECAY_S", 0.05)
    monkeypatch.setattr(StepCosts, "max_streams", lambda *_: 2)

    async def main():
        async with (
            live(ScriptedEngine(), **ON) as server,
            grpc.aio.insecure_channel(f"127.0.0.1:{server.app.port}", [("grpc.http2.bdp_probe", 0)]) as narrow,
        ):
            talks = [Talk.over(narrow) for _ in range(2)]
            for talk in talks:
                await talk.configure(**PLAIN, max_lead_ms=500 if pauses else 5000)
                await talk.say("u", TEXT * 40)  # four minutes: more than fits into gRPC's windows
            if pauses:
                for talk in talks:
                    await talk.until("audio")
                    await talk.send(playback=speech_pb2.PlaybackProgress(played=AT_THE_BEGINNING))
            assert isinstance(await try_to_speak(server), grpc.aio.AioRpcError)  # they may still be listening
            newcomer = await try_to_speak(server)
            while isinstance(newcomer, grpc.aio.AioRpcError):
                newcomer = await try_to_speak(server)
            assert server.app.service.open_streams == 3
            await end(server, [*talks, newcomer])

    run(main())


def test_an_engine_that_cannot_keep_up_with_one_stream_refuses_none(run):
    async def main():
        async with live(CostlyEngine(alpha_s=0.3, beta_s=0.1), **ON) as server:
            for _ in range(MIN_STEPS):
                server.app.service.workers["starter"]._costs.observe(1, 0, 0.4, 0.2)
            talks = [await server.talk(**PLAIN) for _ in range(5)]
            await end(server, talks)

    run(main())


def test_the_processors_that_an_engine_keeps_busy_do_not_depend_on_how_late_its_steps_are():
    """A step of n units takes 0.02 + 0.02 n of processor time, on two threads, and however long beside other work."""
    steps = [(1 + i % 8, 0, 0.1 * (i % 5), 0.2 * (1 + i % 8), 0.02 + 0.02 * (1 + i % 8)) for i in range(64)]
    costs = costs_of(*steps)
    assert costs.processors(16, 1) == pytest.approx(0.2, rel=0.05)  # five steps a second
    assert costs.processors(16, 8) == pytest.approx(0.9, rel=0.05)
    assert costs.processors(4, 8) == pytest.approx(2 * 0.5, rel=0.05)  # four at a time
    assert costs_of(*((1, 0, 0.1, 0.2) for _ in range(64))).processors(16, 1) is None
    assert costs_of(*((1, 0, 0.1, 0.0, 0.1) for _ in range(64))).processors(16, 1) is None


def test_engines_that_speak_at_once_share_the_processors(run):
    """Each of them could speak eight streams by its steps, and keeps a tenth of the machine busy for each."""

    async def main():
        engines = {name: ScriptedEngine(info=info(name)) for name in ("plain", "other")}
        loads = {name: (lambda engine=engine: engine) for name, engine in engines.items()}
        config = Config.of(ENTRIES, port=0, processes=False, fillers=False, match_loudness=False, max_load=0.65)
        async with serving(config, loads) as app, grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel:
            server = Live(app, channel, engines["plain"])
            for worker in app.service.workers.values():
                for n in [1, 2, 3, 4] * 8:
                    worker._costs.observe(n, 0, 0.02, 0.2 * n, 0.02 * n * PROCESSORS)

            def to(engine):
                return {"defaults": speech_pb2.SpeechSettings(engine=engine)}

            talks = [await server.talk(**to("plain")) for _ in range(3)]
            others = [await server.talk(**to("other")) for _ in range(3)]
            for engine in ("plain", "other"):
                talk = server.open()
                await talk.send(config=speech_pb2.StreamConfig(**to(engine)))
                status = status_of(await talk.failure())
                assert reason_of(status) == "CAPACITY_EXHAUSTED"
                assert f"{PROCESSORS} processors busy (max_load)" in status.message
            for talk in others:
                talk.call.cancel()
            await soon(lambda: app.service.open_streams == 3, "the other engine is silent")
            talks += [await server.talk(**to("plain")) for _ in range(5)]  # alone it is limited by its steps only
            await end(server, talks)

    run(main())


def test_texts_that_nobody_listens_to_wait_for_each_other(run):
    async def main():
        async with live(CostlyEngine(alpha_s=0.01, beta_s=0.05), **ON) as server:
            await speak_once(server)
            request = speech_pb2.SynthesizeRequest(text=TEXT, config=speech_pb2.StreamConfig(**PLAIN))
            calls = [server.speech.Synthesize(request) for _ in range(10)]
            await soon(lambda: server.app.service.open_streams == 10, "all are admitted")
            talk = server.open()
            await talk.send(config=speech_pb2.StreamConfig(**PLAIN))
            assert reason_of(status_of(await talk.failure())) == "CAPACITY_EXHAUSTED"
            for call in calls:
                call.cancel()
            await soon(lambda: server.idle, "all are gone")

    run(main())
