"""Draining: open streams finish, new ones are refused, and health watches are notified."""

import asyncio
import signal
import subprocess
import sys
import time

import grpc
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from intone.proto import speech_pb2
from tests.support.fakes import SAMPLES_PER_CHARACTER
from tests.support.live_server import GatedEngine, Talk, kind_and_message, live, messages_of, soon, spoken
from tests.support.rpc_status import code_of, reason_of, status_of

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def test_open_utterance_is_finished(run):
    async def main():
        engine = GatedEngine()
        async with live(engine) as server:
            speaking, single = await server.talk(), None
            try:
                await speaking.say("u", "Hello there.", end=False)
                single = server.speech.Synthesize(speech_pb2.SynthesizeRequest(text="Good bye."))
                await soon(lambda: server.jobs == 2, "both are being spoken")
                stopping = asyncio.create_task(server.app.stop(10))
                assert (await speaking.until("going_away"))[-1][1].grace_ms == 10_000
                await speaking.say("v", "Another one.")
                refused = (await speaking.until("done"))[-1][1]
                assert (refused.utterance_id, refused.reason) == ("v", speech_pb2.DONE_REASON_FAILED)
                assert code_of(refused.error) is StatusCode.UNAVAILABLE and reason_of(refused.error) == "GOING_AWAY"
                await speaking.say("u", "")  # the open utterance may be ended
            finally:
                engine.open()
            answers = await speaking.until("done")
            assert answers[-1][1].reason == speech_pb2.DONE_REASON_COMPLETED and spoken(answers) == "Hello there."
            error = await speaking.failure()
            assert error.code() is StatusCode.UNAVAILABLE and "shutting down" in (error.details() or "")
            assert reason_of(status_of(error)) == "GOING_AWAY"
            kinds = [kind_and_message(answer)[0] async for answer in single]
            assert kinds[-1] == "done" and await single.code() is StatusCode.OK
            await stopping

    run(main())


def test_a_half_closed_stream_ends_with_ok(run):
    async def main():
        engine = GatedEngine()
        async with live(engine) as server:
            talk = await server.talk()
            try:
                await talk.say("u", "Hello there.")
                await talk.half_close()
                await soon(lambda: server.jobs == 1, "it is being spoken")
                stopping = asyncio.create_task(server.app.stop(10))
                await talk.until("going_away")
            finally:
                engine.open()
            answers = await talk.rest()
            assert spoken(answers) == "Hello there."
            await stopping

    run(main())


def test_an_idle_stream_is_ended_at_once_and_a_watch_does_not_delay_the_stop(run):
    async def main():
        async with live() as server:
            talk = await server.talk()
            await talk.prove_alive()
            watch = health_pb2_grpc.HealthStub(server.channel).Watch(health_pb2.HealthCheckRequest())
            assert (await watch.read()).status == SERVING
            began_s = time.monotonic()
            await server.app.stop(60)
            assert time.monotonic() - began_s < 30
            assert (await watch.read()).status == NOT_SERVING
            assert (await talk.failure()).code() is StatusCode.UNAVAILABLE
            assert (await server.open().call_error()).code() is StatusCode.UNAVAILABLE

    run(main())


def test_a_stream_is_played_to_its_end_and_interrupts_are_answered_meanwhile(run):
    async def main():
        async with live() as server:
            left_alone, interrupted = await server.talk(), await server.talk()
            for talk in (left_alone, interrupted):
                await talk.say("u", "These fifty characters take two and a half seconds")
                await talk.until("done")
            began_s = time.monotonic()
            stopping = asyncio.create_task(server.app.stop(20))
            for talk in (left_alone, interrupted):
                assert (await talk.until("going_away"))[-1][1].grace_ms == 20_000
            await interrupted.interrupt("u", interrupt_id="stop", played=("u", 9 * SAMPLES_PER_CHARACTER))
            answers, error = await interrupted.answers_and_failure()
            assert [kind for kind, _ in answers] == ["interrupted", "closed"]
            assert answers[0][1].cuts[0].heard_text == "These " and error.code() is StatusCode.UNAVAILABLE
            assert time.monotonic() - began_s < 2
            answers, error = await left_alone.answers_and_failure()
            assert [kind for kind, _ in answers] == ["closed"] and error.code() is StatusCode.UNAVAILABLE
            assert 1.8 < time.monotonic() - began_s < 10
            assert answers[0][1].usage.speech_ms == 2500
            await stopping

    run(main())


def test_a_stream_that_was_finished_ends_with_ok(run):
    async def main():
        async with live() as server:
            talk = await server.talk()
            await talk.say("u", "Half a sec")
            await talk.until("done")
            await talk.finish()
            stopping = asyncio.create_task(server.app.stop(10))
            answers = await talk.rest()
            assert [kind for kind, _ in answers] == ["going_away", "closed"]
            await stopping

    run(main())


def test_a_stream_that_does_not_end_is_aborted_after_the_grace_period(run):
    async def main():
        engine = GatedEngine()
        async with live(engine) as server:
            talk = await server.talk()
            try:
                await talk.say("u", "Hello.")
                await soon(lambda: server.jobs == 1, "it is being spoken")
                stopping = asyncio.create_task(server.app.stop(0.2))
                answers, error = await talk.answers_and_failure()
                await stopping
                await soon(lambda: server.idle, "nothing is left of it")
            finally:
                engine.open()
            assert error.code() is StatusCode.UNAVAILABLE and reason_of(status_of(error)) == "GOING_AWAY"
            (done,) = messages_of(answers, "done")
            assert (done.utterance_id, done.reason) == ("u", speech_pb2.DONE_REASON_FAILED)
            assert reason_of(done.error) == "GOING_AWAY"

    run(main())


# ---- the process ----------------------------------------------------------------------------------------------------


async def speak_while_it_stops(process: subprocess.Popen[bytes], port: int) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == SERVING
        talk = Talk.over(channel)
        await talk.configure()
        await talk.start("u", engine_parameters={"max_audio_ms": 400})
        await talk.say("u", "Hello there, you. ", end=False)  # open until we say more
        await talk.until("audio")
        process.send_signal(signal.SIGTERM)
        assert (await watch.read()).status == NOT_SERVING
        assert (await talk.until("going_away"))[-1][1].grace_ms == 60_000
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as late:
            assert (await Talk.over(late).call_error()).code() is StatusCode.UNAVAILABLE
        await talk.say("u", "Bye.")
        assert (await talk.until("done"))[-1][1].reason == speech_pb2.DONE_REASON_COMPLETED
        assert (await talk.failure()).code() is StatusCode.UNAVAILABLE


def test_sigterm_drains_the_process(run, tmp_path):
    voice = ["--no-starter", "--voxcpm", "nano", "--random-weights", "--threads", "1"]
    flags = ["--drain-s", "60", "--port", "0", "--port-file"]
    port_file = tmp_path / "port"
    process = subprocess.Popen([sys.executable, "-m", "intone.server", *voice, *flags, str(port_file)])

    async def main() -> None:
        await soon(lambda: port_file.exists() or process.poll() is not None, "the server serves", 120)
        await speak_while_it_stops(process, int(port_file.read_text("ascii")))
        await soon(lambda: process.poll() is not None, "the process ends", 60)

    try:
        run(main(), timeout_s=200)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
