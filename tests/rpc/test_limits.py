"""Limits over real gRPC: lead limit, admission, timeouts; and the cleanup after dropped calls."""

import asyncio
import random
import time
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc import StatusCode

from intone.client import connection
from intone.proto import speech_pb2
from intone.server.config import Config
from intone.server.rpc import connections
from tests.support.fakes import RATE_HZ, Script, ScriptedEngine
from tests.support.live_server import GatedEngine, Live, Talk, live, messages_of, soon
from tests.support.rpc_status import code_and_field, code_of, details, failed, reason_of, status_of, values_of
from tests.support.scripted_server import proxy

LONG = "on and " * 1500  # 525 s of audio, in units of 10 s; normalizing it would take longer than the test
PLAIN = {"defaults": speech_pb2.SpeechSettings(normalization=speech_pb2.SWITCH_OFF)}
MS = RATE_HZ // 1000


def audio_sent_ms(server: Live) -> float:
    """Speech that the server has handed to its streams, by its own metrics."""
    collected = server.app.metrics.registry.collect()
    samples = [sample for metric in collected if metric.name == "tts_audio_seconds" for sample in metric.samples]
    return 1000 * sum(sample.value for sample in samples if sample.name.endswith("_total"))


@pytest.mark.parametrize("max_lead_ms", [200, 2000])
def test_without_reports_playback_is_assumed_to_run_in_real_time(run, max_lead_ms):
    async def main():
        async with live() as server:
            talk = await server.talk(**PLAIN, max_lead_ms=max_lead_ms)
            await talk.say("u", LONG)
            began_s = time.monotonic()
            await soon(lambda: audio_sent_ms(server) > 0, "the first audio")
            for _ in range(5):
                await asyncio.sleep(0.1)
                sent_ms = audio_sent_ms(server)
                assert sent_ms <= max_lead_ms + 1000 * (time.monotonic() - began_s)
            await soon(lambda: audio_sent_ms(server) >= max_lead_ms, "audio is sent up to the limit")
            talk.call.cancel()

    run(main())


@pytest.mark.parametrize("max_lead_ms", [200, 1000, 5000])
def test_a_position_that_stands_still_stops_the_server_at_the_limit(run, max_lead_ms):
    async def main():
        async with live() as server:
            talk = await server.talk(**PLAIN, max_lead_ms=max_lead_ms)
            await talk.say("u", LONG)
            await talk.until("audio")
            await talk.playback("u", 0)
            await soon(lambda: audio_sent_ms(server) > max_lead_ms - 160, "the limit is reached")
            await soon(lambda: server.jobs == 1, "the engine waits")
            for _ in range(5):
                await asyncio.sleep(0.05)
                assert audio_sent_ms(server) <= max_lead_ms + 1e-6
            await talk.playback("u", 160 * MS)
            await soon(lambda: audio_sent_ms(server) > max_lead_ms, "a report lets more out")
            await asyncio.sleep(0.1)
            assert audio_sent_ms(server) <= max_lead_ms + 160 + 1e-6
            steps = sum(map(len, server.engine.stepped))
            assert steps * 200 <= max_lead_ms + 160 + 400 + 7 * 200  # the model does not run ahead either
            talk.call.cancel()
            await soon(lambda: server.idle, "the call is gone")

    run(main())


# ---- calls that are dropped -----------------------------------------------------------------------------------------


def test_rpc_cancelled_while_the_engine_works(run):
    async def main():
        engine = GatedEngine()
        async with live(engine) as server:
            try:
                talk = await server.talk(**PLAIN)
                await talk.say("u", LONG)
                engine.gate.release()
                await talk.until("audio")
                talk.call.cancel()
                await soon(lambda: server.idle, "the job is released while the next step runs")
            finally:
                engine.open()
        assert len(engine.stepped) <= 2

    run(main())


def test_rpc_cancelled_while_a_write_is_blocked(run):
    """With the longest lead limit and a client that does not read, flow control blocks the server in a write."""

    async def main():
        async with live() as server:
            talk = await server.talk(**PLAIN, max_lead_ms=600_000)
            await talk.say("u", LONG)
            await soon(lambda: server.jobs == 1, "the engine has work")
            steps, before = 0, -1
            while steps != before:
                await asyncio.sleep(0.2)
                before, steps = steps, sum(map(len, server.engine.stepped))
            assert server.jobs == 1 and 0 < steps * 4 < len(LONG), "it was not blocked"
            talk.call.cancel()
            await soon(lambda: server.idle, "the job is released")
            assert sum(map(len, server.engine.stepped)) <= steps + 1

    run(main())


def test_rpc_cancelled_while_waiting_for_the_listener_and_for_text(run):
    async def main():
        async with live(wait_ms=60_000) as server:
            ahead = await server.talk(**PLAIN, max_lead_ms=200)
            await ahead.say("u", LONG)
            await ahead.until("audio")
            await ahead.playback("u", 0)
            silent = await server.talk()
            await silent.say("u", "not yet", end=False)
            await soon(lambda: server.app.service.open_streams == 2 and server.jobs == 1, "both wait")
            ahead.call.cancel()
            silent.call.cancel()
            await soon(lambda: server.idle, "both are released")

    run(main())


def test_single_text_cancelled(run):
    async def main():
        engine = GatedEngine()
        async with live(engine) as server:
            try:
                request = speech_pb2.SynthesizeRequest(text=LONG, config=speech_pb2.StreamConfig(**PLAIN))
                call = server.speech.Synthesize(request)
                engine.gate.release()
                while (await call.read()).WhichOneof("response") != "audio":
                    pass
                call.cancel()
                await soon(lambda: server.idle, "the job is released while the next step runs")
            finally:
                engine.open()
        assert len(engine.stepped) <= 2

    run(main())


async def open_and_drop(server, draw: random.Random) -> None:
    """A stream that the client drops at a random stage."""
    stop = draw.choice(("unused", "configured", "text", "waiting", "audio", "interrupted", "blocked"))
    talk = server.open()
    if stop != "unused":
        await talk.send(config=speech_pb2.StreamConfig(**PLAIN, max_lead_ms=200 if stop != "blocked" else 600_000))
    if stop in ("text", "audio", "interrupted", "blocked"):
        await talk.say("u", LONG[: 2000 if stop == "blocked" else 200])
    if stop == "waiting":
        await talk.say("u", "never fin", end=False)
    if stop in ("audio", "interrupted"):
        await talk.until("audio")
    if stop == "interrupted":
        await talk.interrupt("u")
        await talk.until("interrupted")
    await asyncio.sleep(draw.random() * 0.005)
    talk.call.cancel()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_thousand_dropped_streams_leave_nothing(run, caplog):
    async def main():
        draw = random.Random(0)
        async with live(ScriptedEngine(Script(step_s=0.001)), max_streams=1000) as server:
            await asyncio.gather(*(open_and_drop(server, draw) for _ in range(50)))
            await soon(lambda: server.idle, "the warm-up is over")
            tasks, files = len(asyncio.all_tasks()), open_files()
            for _ in range(20):
                await asyncio.gather(*(open_and_drop(server, draw) for _ in range(50)))
            await soon(lambda: server.idle, "every session and job is gone")
            await soon(lambda: len(asyncio.all_tasks()) <= tasks, "every task is gone")
            # All streams share one connection, so no file may be left; another thread may hold one for a moment.
            await soon(lambda: open_files() <= files, "every file is closed")
            talk = await server.talk()
            await talk.prove_alive()
        assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]

    run(main(), timeout_s=60)


# ---- admission and time ---------------------------------------------------------------------------------------------


def test_a_full_server_says_when_to_retry(run):
    async def main():
        async with live(max_streams=2) as server:
            talks = [await server.talk() for _ in range(2)]
            for talk in talks:
                await talk.prove_alive()
            third = server.open()
            await third.send(config=speech_pb2.StreamConfig())
            synthesize = server.speech.Synthesize(speech_pb2.SynthesizeRequest(text="Hello."))
            for error in (await third.failure(), await failed(synthesize)):
                status = status_of(error)
                assert code_of(status) is StatusCode.RESOURCE_EXHAUSTED
                assert reason_of(status) == "STREAMS_EXHAUSTED" and values_of(status) == {"limit": "2"}
                assert details(status, error_details_pb2.RetryInfo).retry_delay.seconds == 1
            await talks[0].half_close()
            await talks[0].rest()
            await soon(lambda: server.app.service.open_streams == 1, "a place is free")
            await (await server.talk()).prove_alive()
            await talks[1].prove_alive()

    run(main())


def test_channel_options_exist():
    """gRPC ignores an option that it does not know without a word."""
    from grpc._cython import cygrpc

    known = Path(cygrpc.__file__).read_bytes()
    for name, _ in [*connections.channel_options(Config()), *connection._CHANNEL_OPTIONS]:
        assert f"{name}\0".encode() in known, f"this gRPC has no option {name}"


def test_an_idle_conversation_with_a_client_that_pings_stays_open(run, monkeypatch):
    """As between our server and client, a hundred times faster: 0.2 s between pings, where 0.1 s is allowed."""
    server_options = dict(connections.CHANNEL_OPTIONS) | {"grpc.http2.min_ping_interval_without_data_ms": 100}
    assert dict(connections.CHANNEL_OPTIONS)["grpc.http2.min_ping_interval_without_data_ms"] < 20_000
    monkeypatch.setattr(connections, "CHANNEL_OPTIONS", list(server_options.items()))
    client_options = dict(connection._CHANNEL_OPTIONS) | {"grpc.keepalive_time_ms": 200}

    async def main():
        async with (
            live() as server,
            grpc.aio.insecure_channel(f"127.0.0.1:{server.app.port}", list(client_options.items())) as channel,
        ):
            talk = Talk.over(channel)
            await talk.configure()
            await asyncio.sleep(5)
            await talk.prove_alive()

    run(main())


def test_a_client_that_hangs_is_detected(run, monkeypatch):
    options = dict(connections.CHANNEL_OPTIONS)
    timeouts = ("grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms")
    assert options["grpc.keepalive_time_ms"] + max(options[name] for name in timeouts) <= 60_000
    quick = options | dict.fromkeys(("grpc.keepalive_time_ms", *timeouts), 200)
    monkeypatch.setattr(connections, "CHANNEL_OPTIONS", list(quick.items()))

    async def main():
        frozen = asyncio.Event()
        async with (
            live() as server,
            proxy(f"127.0.0.1:{server.app.port}", frozen=frozen) as address,
            grpc.aio.insecure_channel(address) as channel,
        ):
            talk = Talk.over(channel)
            await talk.configure()
            await talk.prove_alive()
            frozen.set()
            await soon(lambda: server.idle, "the stream is ended")

    run(main())


def test_deadline_of_the_client(run):
    async def main():
        engine = GatedEngine()
        async with live(engine) as server:
            try:
                talk = server.open(timeout=0.3)
                await talk.configure()
                await talk.say("u", "Hello.")
                await soon(lambda: server.jobs == 1, "the engine has work")
                assert (await talk.call_error()).code() is StatusCode.DEADLINE_EXCEEDED
                await soon(lambda: server.idle, "the job is released before its first step ends")
                single = server.speech.Synthesize(speech_pb2.SynthesizeRequest(text="Hello."), timeout=0.3)
                await soon(lambda: server.jobs == 1, "the engine has work")
                assert (await failed(single)).code() is StatusCode.DEADLINE_EXCEEDED
                await soon(lambda: server.idle, "the job is released before its first step ends")
                assert not engine.stepped
            finally:
                engine.open()

    run(main())


def test_a_config_that_does_not_come_in_time(run):
    async def main():
        async with live(config_timeout_s=0.1) as server:
            talk = server.open()
            await talk.call.wait_for_connection()
            error = await talk.failure()
            assert code_and_field(status_of(error)) == (StatusCode.DEADLINE_EXCEEDED, "config")
            assert reason_of(status_of(error)) == "CONFIG_TIMEOUT"

    run(main())


def test_a_stream_without_activity_is_ended(run):
    async def main():
        async with live(idle_timeout_s=1) as server:
            talk = await server.talk()
            began_s = time.monotonic()
            answers, error = await talk.answers_and_failure()
            assert [kind for kind, _ in answers] == ["closed"]
            assert error.code() is StatusCode.DEADLINE_EXCEEDED and "1 s" in (error.details() or "")
            assert reason_of(status_of(error)) == "IDLE" and values_of(status_of(error)) == {"limit_s": "1"}
            assert 0.9 < time.monotonic() - began_s < 5
            await soon(lambda: server.idle, "it is gone")

    run(main())


def test_idle_time_does_not_run_while_audio_is_unplayed(run):
    async def main():
        async with live(idle_timeout_s=1) as server:
            talk = server.open()
            configured = await talk.configure()
            assert configured.limits.idle_timeout_ms == 1000
            await talk.say("u", "These fifty characters take two and a half seconds")
            await talk.until("done")
            began_s = time.monotonic()
            error = await talk.failure()
            assert reason_of(status_of(error)) == "IDLE"
            assert 3.2 < time.monotonic() - began_s < 10  # 2.5 s of audio, then a second of silence

    run(main())


def test_an_open_utterance_does_not_keep_an_idle_stream(run):
    async def main():
        async with live(idle_timeout_s=1, wait_ms=60_000) as server:
            talk = await server.talk()
            await talk.say("u", "never fin", end=False)
            answers, error = await talk.answers_and_failure()
            (done,) = messages_of(answers, "done")
            assert (done.utterance_id, done.reason) == ("u", speech_pb2.DONE_REASON_FAILED)
            assert reason_of(done.error) == reason_of(status_of(error)) == "IDLE"

    run(main())


def test_messages_keep_a_stream_from_being_idle(run):
    async def main():
        async with live(idle_timeout_s=1) as server:
            talk = await server.talk()
            for _ in range(5):
                await asyncio.sleep(0.4)
                await talk.playback("nobody", 0)
            await talk.prove_alive()

    run(main())


@pytest.mark.parametrize("stops", ["the position stands still", "no report comes any more"])
def test_playback_that_stalls_is_told_once_each_time(run, stops):
    async def main():
        async with live() as server:
            talk = await server.talk(**PLAIN, max_lead_ms=200)
            await talk.say("u", LONG)
            await talk.until("audio")
            for sample in (0, 300 * MS):
                await talk.playback("u", sample)
                answers = []
                while not (answers and answers[-1][0] == "notice"):
                    answers += [await talk.answer()]
                    if stops == "the position stands still" and answers[-1][0] != "notice":
                        await talk.playback("u", sample)
                notice = answers[-1][1]
                assert (notice.code, notice.utterance_id) == (speech_pb2.NOTICE_CODE_PLAYBACK_STALLED, "")
                await talk.playback("u", sample)
                await talk.interrupt("nobody")  # its answer would come after a second notice
                assert [kind for kind, _ in await talk.until("interrupted")] == ["interrupted"]
            await talk.interrupt("u")
            await talk.until("interrupted")
            await talk.say("v", "Fine")  # nothing is ahead of playback any more
            assert (await talk.until("done", "v"))[-1][1].reason == speech_pb2.DONE_REASON_COMPLETED

    run(main())


def test_a_message_over_the_size_of_grpc_ends_its_call_only(run):
    async def main():
        async with live() as server:
            talk, other = await server.talk(), await server.talk()
            await talk.send(b"\x12" + bytes(5 << 20))
            assert (await talk.call_error()).code() is StatusCode.RESOURCE_EXHAUSTED
            await other.prove_alive()

    run(main())
