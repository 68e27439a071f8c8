"""Engines in processes of their own, over real gRPC: what callers are told of a crash, a hang, a NaN and a bad unit."""

import asyncio
import contextlib
import os
import signal
import statistics
import time

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from intone.proto import speech_pb2
from intone.server.app import serving
from intone.server.config import Config
from intone.server.runtime import process_worker
from intone.server.runtime import worker as worker_module
from tests.support import faulty_engine
from tests.support.faulty_engine import CRASHES, FREEZES, HANGS, MAKES_NAN, START_RAISES, STEP_RAISES
from tests.support.live_server import Live, messages_of, soon, spoken
from tests.support.process_workers import children_of, descriptors, eventually, runs
from tests.support.rpc_status import code_of, reason_of

pytestmark = pytest.mark.slow
LONG = ("words that take their time to be spoken " * 4).strip()
OFF = speech_pb2.SWITCH_OFF
PLAIN = {"defaults": speech_pb2.SpeechSettings(normalization=OFF)}
COMPLETED, FAILED = speech_pb2.DONE_REASON_COMPLETED, speech_pb2.DONE_REASON_FAILED
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
BACK_S, TOLD_S = 10.0, 1.0


@contextlib.asynccontextmanager
async def server(**settings):
    """A server with the engines of the settings, in processes, of which none is left in the end."""
    quiet = {
        "pause_scale": 0.0,
        "fillers": False,
        "match_loudness": False,
        "max_unit_characters": 1000,
        "max_load": 0.0,
    }
    config = Config.of(faulty_engine.ENTRIES, port=0, **{**quiet, **settings})
    others = set(children_of(os.getpid()))  # the server that other tests share is one
    async with serving(config) as app, grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel:
        children = set(children_of(os.getpid()))
        yield Live(app, channel, None)
        children |= set(children_of(os.getpid()))
    await eventually(lambda: not any(map(runs, children - others)))


def of_engine(name):
    """Settings that ask for this engine."""
    return speech_pb2.SpeechSettings(engine=name, normalization=OFF)


async def say(live, text):
    """The answers to one utterance on a stream of its own."""
    talk = await live.talk(**PLAIN)
    await talk.say("u", text)
    answers = await talk.until("done")
    talk.call.cancel()
    return answers


def ended(answers):
    """Why an utterance ended, and what the error says."""
    done = answers[-1][1]
    return done.reason, done.error.message


def test_speech_comes_from_another_process(run):
    async def main():
        async with server() as live:
            answers = await say(live, "Hello there.")
            assert spoken(answers) == "Hello there." and ended(answers) == (COMPLETED, "")
            worker = live.app.service.workers["plain"]
            assert worker.pid in children_of(os.getpid())

    run(main(), timeout_s=60)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CRASHES, "plain: its process is gone: it was ended by SIGSEGV"),
        (MAKES_NAN, "plain: it made audio that is not finite"),
        (STEP_RAISES, "plain: RuntimeError while it spoke"),
        (START_RAISES, "plain: ValueError before it spoke"),
        (HANGS, "plain: it hung: one step took more than 2 s; its process is ended"),
    ],
)
def test_a_bad_text_ends_its_own_utterance_and_the_engine_speaks_the_next(run, text, words):
    async def main():
        async with server() as live:
            talk = await live.talk(**PLAIN)
            await talk.say("u", text)
            answers = await talk.until("done")
            assert ended(answers) == (FAILED, words) and code_of(answers[-1][1].error) is StatusCode.INTERNAL
            assert reason_of(answers[-1][1].error) == "ENGINE_FAILED"
            began_s = time.monotonic()
            await talk.prove_alive()
            assert time.monotonic() - began_s < BACK_S
            talk.call.cancel()

    run(main(), timeout_s=60)


def test_a_unit_that_raises_does_not_end_those_that_are_spoken_with_it(run):
    async def main():
        async with server() as live:
            others = [asyncio.create_task(say(live, LONG)) for _ in range(4)]
            await soon(lambda: live.jobs == 4, "they are being spoken")
            assert ended(await say(live, STEP_RAISES))[0] == FAILED
            assert ended(await say(live, MAKES_NAN))[0] == FAILED
            for other in others:
                answers = await other
                assert spoken(answers) == LONG and ended(answers) == (COMPLETED, "")

    run(main(), timeout_s=60)


def test_another_engine_speaks_while_one_is_away(run):
    async def main():
        async with server(spare=True, plain_load_s="1") as live:
            talk = await live.talk(**PLAIN)
            other = await live.talk(defaults=of_engine("spare"))
            await other.say("o", LONG)
            await talk.say("u", LONG)
            assert (await talk.until("started"))[-1][1].route.engine == "plain"
            await talk.until("audio")
            os.kill(live.app.service.workers["plain"].pid, signal.SIGKILL)
            reason, words = ended(await talk.until("done"))
            assert reason == FAILED and "ended by SIGKILL, perhaps because memory ran out" in words
            told = await live.speech.GetServerInfo(speech_pb2.GetServerInfoRequest())
            assert {engine.name: engine.healthy for engine in told.engines} == {"plain": False, "spare": True}
            await talk.say("v", "Hello there.")
            answers = await talk.until("done")
            started = messages_of(answers, "started")[0]
            assert started.route.engine == "spare" and spoken(answers) == "Hello there."
            assert ended(answers)[0] == COMPLETED
            answers = await other.until("done")
            assert spoken(answers) == LONG and ended(answers)[0] == COMPLETED
            worker = live.app.service.workers["plain"]
            await soon(lambda: not worker.failing, "the engine is back", BACK_S)
            await talk.say("w", "Hello again.")
            answers = await talk.until("done")
            assert [message.route.engine for message in messages_of(answers, "started")] == ["plain"]
            for one in (talk, other):
                one.call.cancel()

    run(main(), timeout_s=60)


def test_texts_that_fail_before_they_sound_are_spoken_by_the_other_engine(run):
    """`start` raises on both here, so the unit is lost, but neither engine counts as failing."""

    async def main():
        async with server(spare=True) as live:
            for _ in range(3):
                assert ended(await say(live, START_RAISES))[0] == FAILED
            told = await live.speech.GetServerInfo(speech_pb2.GetServerInfoRequest())
            assert all(engine.healthy for engine in told.engines)

    run(main(), timeout_s=60)


def test_an_engine_that_is_killed_again_and_again_in_mid_utterance(run):
    """Streams of the other engine are untouched, callers are told at once, the engine comes back, nothing is left."""

    async def main():
        async with server(spare=True) as live:
            worker, told_s = live.app.service.workers["plain"], []
            await say(live, "Hello.")
            before = descriptors()
            for _ in range(10):
                other = asyncio.create_task(say_with(live, "spare", LONG))
                talk = await live.talk(**PLAIN)
                await talk.say("u", LONG)
                await talk.until("audio")
                killed_s = time.monotonic()
                os.kill(worker.pid, signal.SIGKILL)
                assert ended(await talk.until("done"))[0] == FAILED
                told_s.append(time.monotonic() - killed_s)
                await soon(lambda: not worker.failing, "the engine is back", BACK_S)
                await talk.prove_alive()
                talk.call.cancel()
                answers = await other
                assert spoken(answers) == LONG and ended(answers)[0] == COMPLETED
            assert statistics.median(told_s) < TOLD_S, told_s  # the machine may have stood still once
            assert worker.counts.restarts == 10
            await soon(lambda: live.idle and len(descriptors()) <= len(before), "nothing is left")

    run(main(), timeout_s=180)


async def say_with(live, engine, text):
    talk = await live.talk(defaults=of_engine(engine))
    await talk.say("u", text)
    answers = await talk.until("done")
    talk.call.cancel()
    return answers


@pytest.mark.parametrize("text", [HANGS, FREEZES], ids=["in a step", "without a heartbeat"])
def test_the_health_of_an_engine_that_hangs(run, monkeypatch, text):
    monkeypatch.setattr(worker_module, "SLOW_STEP", 0.002)  # of two minutes
    monkeypatch.setattr(process_worker, "LATE_S", 0.8)

    async def main():
        async with server(spare=True) as live:
            health = health_pb2_grpc.HealthStub(live.channel)
            watch = health.Watch(health_pb2.HealthCheckRequest(service="intone.engine.plain"))
            assert (await watch.read()).status == SERVING
            talk = await live.talk(**PLAIN)
            await talk.say("u", f"Hello, {text}.")
            assert (await asyncio.wait_for(watch.read(), 10)).status == NOT_SERVING
            for service in ("", "intone.engine.spare"):  # which speaks what comes now
                assert (await health.Check(health_pb2.HealthCheckRequest(service=service))).status == SERVING
            answers = await say(live, "Hello there.")
            assert messages_of(answers, "started")[0].route.engine == "spare" and ended(answers)[0] == COMPLETED
            watch.cancel()
            talk.call.cancel()

    run(main(), timeout_s=60)
