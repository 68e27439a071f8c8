"""Prometheus metrics: the names, and the counts after utterances that end in each way."""

import asyncio
import os
from urllib.error import URLError

import pytest
from grpc import StatusCode

from intone.proto import speech_pb2
from intone.server.errors import ConfigError
from intone.server.rpc.collectors import ChildProcessMetrics
from tests.support.fakes import Script, ScriptedEngine
from tests.support.live_server import GatedEngine, free_port, live, scraped, scraped_until
from tests.support.rpc_status import failed

NAMES = {
    "tts_streams_active",
    "tts_utterances_open",
    "tts_time_to_first_audio_seconds_count",
    "tts_time_to_first_audio_seconds_bucket",
    "tts_queue_seconds_count",
    "tts_rtf_count",
    "tts_audio_seconds_total",
    "tts_route_total",
    "tts_utterances_ended_total",
    "tts_notices_total",
}


def test_counts_after_utterances(run):
    async def main():
        port = free_port()
        async with live(metrics_port=port) as server:
            talk = await server.talk(defaults={"speed": 2.0})
            await talk.say("spoken", "twenty characters ab")
            await talk.until("done")
            await talk.interrupt()
            await talk.until("interrupted")
            await talk.say("empty", "?!")
            await talk.until("done")
            await talk.say("refused", "\a")
            await talk.until("done")
            await talk.interrupt("barred")
            await talk.say("barred")
            await talk.until("done")
            found = await scraped(port)
            assert {name.split("{")[0] for name in found} >= NAMES
            assert found["tts_streams_active"] == 1
            assert found['tts_audio_seconds_total{engine="starter",kind="speech"}'] == pytest.approx(1.0)
            assert found['tts_route_total{engine="starter",reason="plain"}'] == 1
            assert found['tts_utterances_ended_total{how="completed"}'] == 1
            assert found['tts_utterances_ended_total{how="interrupted"}'] == 1
            assert found['tts_utterances_ended_total{how="empty"}'] == 1
            assert found['tts_utterances_ended_total{how="rejected"}'] == 1
            assert found['tts_notices_total{code="speed_unchanged"}'] == 1
            assert found['tts_time_to_first_audio_seconds_count{engine="starter",kind="speech"}'] == 1
            assert found["tts_queue_seconds_count"] == found["tts_rtf_count"] == 1
            await talk.half_close()
            await talk.rest()
            await scraped_until(port, lambda found: found["tts_streams_active"] == 0, "the stream is gone")
        with pytest.raises(URLError):
            await scraped(port)

    run(main())


def test_calls_with_one_text_are_counted(run):
    async def main():
        port = free_port()
        async with live(ScriptedEngine(Script(refuse=("Zzz.",))), metrics_port=port) as server:
            synthesize = server.speech.Synthesize
            assert [answer async for answer in synthesize(speech_pb2.SynthesizeRequest(text="Hello."))]
            error = await failed(synthesize(speech_pb2.SynthesizeRequest(text="Zzz.")))
            assert error.code() is StatusCode.FAILED_PRECONDITION
            found = await scraped(port)
            assert found['tts_audio_seconds_total{engine="starter",kind="speech"}'] == pytest.approx(0.3)
            assert found['tts_utterances_ended_total{how="completed"}'] == 1
            assert found['tts_utterances_ended_total{how="failed"}'] == 1

    run(main())


def test_a_port_that_is_in_use(run):
    async def main():
        port = free_port()
        async with live(metrics_port=port):
            with pytest.raises(ConfigError, match=f"metrics_port: .*{port}"):
                async with live(metrics_port=port):
                    raise AssertionError("two servers answer on one port")

    run(main())


def test_engines_are_watched(run):
    async def main():
        port = free_port()
        async with live(ScriptedEngine(Script(fail_at_step=0)), metrics_port=port) as server:
            names = ("load", "queued", "step_seconds_count", "batch_count", "queue_seconds_count")
            names += ("failing", "running_step_seconds", "failures_total", "not_finite_units_total")
            names += ("restarts_total", "hangs_total")
            found = await scraped(port)
            assert all(found[f'tts_engine_{name}{{engine="starter"}}'] == 0 for name in names)
            for _ in range(2):
                await failed(server.speech.Synthesize(speech_pb2.SynthesizeRequest(text="Hello.")))
            found = await scraped(port)
            assert found['tts_engine_failures_total{engine="starter"}'] == 2
            assert found['tts_engine_failing{engine="starter"}'] == 1

    run(main())


def test_wasted_audio_and_queues_are_counted(run):
    async def main():
        port = free_port()
        async with live(GatedEngine(), metrics_port=port) as server:
            talk = await server.talk(max_lead_ms=200)
            await talk.say("long", "forty characters which are spoken slowly.")
            server.engine.open()
            await talk.until("audio")
            found = await scraped_until(port, lambda found: found["tts_outbox_audio_seconds"] > 0.3, "audio waits")
            assert found["tts_outbox_events"] >= 1
            await talk.interrupt()
            await talk.until("interrupted")
            found = await scraped(port)
            assert found["tts_outbox_audio_seconds"] == 0
            assert found['tts_audio_wasted_seconds_total{stage="unsent"}'] > 0.3
            assert found['tts_audio_wasted_seconds_total{stage="unheard"}'] > 0
            await talk.say("next", "hello")
            await talk.until("done")
            found = await scraped(port)
            assert found['tts_engine_batch_sum{engine="starter"}'] >= 3
            assert found['tts_engine_queue_seconds_count{engine="starter"}'] == 2

    run(main())


def test_holes_that_listeners_hear_are_counted(run):
    async def main():
        port = free_port()
        async with live(GatedEngine(), metrics_port=port) as server:
            talk = await server.talk()
            await talk.say("a", "ab cd ef")
            server.engine.gate.release()
            await talk.until("audio")
            await asyncio.sleep(0.4)  # longer than what was spoken
            server.engine.open()
            await talk.until("done")
            found = await scraped(port)
            assert found["tts_listener_underruns_total"] == 1
            assert 0.02 < found["tts_listener_underrun_seconds_total"] < 5

    run(main())


def test_voices_texts_and_processes_are_watched(run):
    async def main():
        port = free_port()
        async with live(metrics_port=port) as server:
            found = await scraped(port)
            assert found["tts_voices"] == 1 and found["tts_voice_bytes"] >= 0
            assert found["tts_texts_waiting"] == 0 and found["tts_texts_unread_total"] == 0
            assert (
                found["process_resident_memory_bytes"] > 0 and found['python_gc_collections_total{generation="0"}'] >= 0
            )
            assert [sample async for sample in server.speech.Synthesize(speech_pb2.SynthesizeRequest(text="Hello."))]
            assert (await scraped(port))["tts_text_seconds_count"] == 1

    run(main())


def test_memory_and_time_of_child_processes():
    found = {
        (sample.name, sample.labels["process"]): sample.value
        for metric in ChildProcessMetrics(lambda: {"engine a": os.getpid(), "text 1": 2**22 + 1}).collect()
        for sample in metric.samples
    }
    assert found[("tts_child_resident_memory_bytes", "engine a")] > 1 << 20
    assert found[("tts_child_cpu_seconds_total", "engine a")] > 0
    assert len(found) == 2, "a process that has ended is left out"
