"""Conversations and utterances of the client against a scripted server over gRPC."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from intone.client import (
    AsyncSpeechClient,
    AudioChunk,
    AudioPosition,
    Closed,
    Configured,
    Done,
    GoingAway,
    Notice,
    Pronunciation,
    Rerouted,
    Speech,
    SpeechSettings,
    Started,
    StreamSettings,
    TextSpan,
    Unavailable,
)
from intone.proto import speech_pb2
from tests.support.scripted_responses import (
    CHUNK_SAMPLES,
    RATE_HZ,
    Response,
    configured,
    varied_utterance,
)
from tests.support.scripted_server import scripted_server

PCM = int(0.5 * 32767).to_bytes(2, "little") * CHUNK_SAMPLES


def kinds(events):
    return [type(event) for event in events]


async def collect(items):
    return [item async for item in items]


def test_say_returns_samples_events_and_latency(run):
    async def main(target: str) -> Speech:
        async with AsyncSpeechClient(target) as client:
            return await client.say(["Hello ", "there."], engine="starter", seed=3)

    with scripted_server() as server:
        speech = run(main(server.target))
    assert kinds(speech.events) == [Started, AudioChunk, AudioChunk, Done]
    assert (speech.text, speech.sample_rate_hz, speech.pcm) == ("Hello there.", RATE_HZ, 2 * PCM)
    expected = np.full(2 * CHUNK_SAMPLES, int(0.5 * 32767) / 32768, np.float32)
    assert np.array_equal(speech.samples, expected)
    assert speech.chunks[1].text_span == TextSpan(6, 12)
    assert dict(speech.report.stage_ms) == {"lm": 20.0, "vae": 5.0}
    assert (speech.report.filler_ttfa_ms, speech.usage.speech_ms) == (None, 100)
    assert 0 < speech.latency.ttfa_ms <= speech.latency.gaps_ms[0] + speech.latency.first_chunk_ms
    config = server.calls[0][0].config
    assert (config.defaults.engine, config.defaults.seed) == ("starter", 3)
    assert config.service_class == speech_pb2.SERVICE_CLASS_OFFLINE
    assert not config.HasField("max_lead_ms")


def test_audio_arrives_while_the_text_is_still_being_written(run):
    async def main(target: str) -> list[str]:
        heard = asyncio.Event()
        order: list[str] = []

        async def words():
            yield "One "
            await heard.wait()  # the second word is written after the audio of the first has arrived
            order.append("written")
            yield "two."

        async with AsyncSpeechClient(target) as client:
            async for _ in client.stream(words()):
                order.append("heard")
                heard.set()
        return order

    with scripted_server() as server:
        assert run(main(server.target)) == ["heard", "written", "heard"]


def test_a_source_that_blocks_is_read_in_a_thread(run):
    async def main(target: str) -> int:
        def words():
            for word in ("One ", "two."):
                # Waits for the event loop, which could not answer if it read this iterator itself.
                asyncio.run_coroutine_threadsafe(asyncio.sleep(0.01), loop).result()
                yield word

        loop = asyncio.get_running_loop()
        async with AsyncSpeechClient(target) as client:
            speech = await client.say(words())
        return len(speech.chunks)

    with scripted_server() as server:
        assert run(main(server.target)) == 2


def test_long_texts_are_split_into_deltas_that_join_to_the_text(run):
    text = "".join(chr(97 + index % 26) for index in range(9234))

    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client:
            await client.say(text)

    with scripted_server() as server:
        run(main(server.target))
    deltas = [request.text.delta for request in server.calls[0][1:]]
    assert max(map(len, deltas)) == 4000
    assert "".join(deltas) == text


def test_every_setting_reaches_the_server(run):
    settings = StreamSettings(
        encoding="mulaw",
        sample_rate_hz=8000,
        defaults=SpeechSettings(voice="ada", emotion="happy:0.5", filler="eager", normalization=False),
        max_lead_ms=900,
        delivery="buffered",
        service_class="live",
        timings="aligned",
        diagnostics=True,
        chunk_ms=20,
        playback_delay_ms=40,
        labels={"call": "7"},
    )

    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client, client.conversation(settings, voice="eve", chunk_ms=40) as talk:
            first = talk.utterance(
                language="en",
                text_format="plain",
                pronunciations=[Pronunciation("read", spoken_as="red")],
                speed=0.5,
                volume_db=-6,
                engine_parameters={"steps": 4},
                text_timeout_ms=500,
                cover_after_ms=300,
            )
            await first.send("one")
            second = talk.utterance(id="mine")
            await second.start()
            await second.send("two")
            with pytest.raises(ValueError, match="used before"):
                talk.utterance(id="mine")
            await talk.report_playback(AudioPosition("u1", 240))
            await talk.flush()

    with scripted_server() as server:
        run(main(server.target))
    requests = server.calls[0]
    sent = [request.WhichOneof("request") for request in requests]
    assert sent == ["config", "start", "text", "start", "text", "playback", "flush"]
    config = requests[0].config
    assert (config.format.encoding, config.format.sample_rate_hz) == (3, 8000)
    assert (config.max_lead_ms, config.chunk_ms, config.playback_delay_ms) == (900, 40, 40)
    assert (config.delivery, config.service_class, config.timings, config.diagnostics) == (2, 1, 2, True)
    assert (dict(config.labels), config.defaults.voice) == ({"call": "7"}, "eve")
    assert (config.defaults.emotion.label, config.defaults.emotion.intensity) == ("happy", 0.5)
    assert (config.defaults.filler, config.defaults.normalization) == (3, speech_pb2.SWITCH_OFF)
    start = requests[1].start
    assert (start.utterance_id, start.text_timeout_ms, start.cover_after_ms) == ("u1", 500, 300)
    assert (start.settings.language, start.settings.text_format, start.settings.speed) == ("en", 1, 0.5)
    assert (start.settings.volume_db, dict(start.settings.engine_parameters)) == (-6, {"steps": 4})
    assert start.settings.pronunciations[0].spoken_as == "red"
    assert not start.settings.HasField("seed")
    assert requests[3].start == speech_pb2.StartUtterance(utterance_id="mine")
    assert requests[5].playback.played.sample == 240


def test_an_emotion_clip_is_uploaded_and_its_id_sent(run, tmp_path: Path):
    clip = tmp_path / "clip.wav"
    clip.write_bytes(b"RIFF")

    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client, client.conversation(emotion=f"@{clip}") as talk:
            await talk.utterance(emotion=f"@{clip}").speak("One.").done()

    with scripted_server() as server:
        run(main(server.target))
    assert server.clips == [b"RIFF", b"RIFF"]
    config, start, *_ = server.calls[0]
    assert len(config.config.defaults.emotion.clip_id) == 64
    assert start.start.settings.emotion.clip_id == config.config.defaults.emotion.clip_id


def test_configured_and_events_of_the_stream(run):
    def script(requests, number, context):
        next(requests)
        yield configured(features=["timings"])
        yield Response()  # as a message that only a newer client knows
        code = speech_pb2.NOTICE_CODE_PLAYBACK_STALLED
        yield Response(notice=speech_pb2.Notice(code=code, message="nobody plays"))
        yield Response(notice=speech_pb2.Notice(code=777, message="from the future", utterance_id="gone"))
        yield Response(going_away=speech_pb2.GoingAway(grace_ms=250))
        yield Response(closed=speech_pb2.Closed())

    async def main(target: str) -> None:
        seen: list[object] = []
        async with AsyncSpeechClient(target) as client, client.conversation(on_event=seen.append) as talk:
            assert talk.configured.features == ("timings",)
            assert (talk.configured.stream_id, talk.configured.server_version) == ("s1", "9.9")
            assert (talk.configured.limits.max_lead_ms, talk.configured.defaults.text_format) == (5000, "tags")
            events = await collect(talk.events())
            assert kinds(events) == [Configured, Notice, Notice, GoingAway, Closed]
            assert events == seen
            assert [notice.code for notice in talk.notices] == ["playback_stalled", "777"]
            assert talk.going_away.grace_ms == 250
            with pytest.raises(Unavailable) as refused:
                talk.utterance()
            assert (refused.value.reason, refused.value.retryable) == ("GOING_AWAY", True)

    with scripted_server(script) as server:
        run(main(server.target))


def test_emotions_routes_fillers_and_pauses_are_decoded(run):
    def script(requests, number, context):
        next(requests)
        yield configured()
        next(requests)
        yield from varied_utterance("u1")

    async def main(target: str) -> list[object]:
        async with AsyncSpeechClient(target) as client, client.conversation(filler="eager") as talk:
            answer = await client.analyze_emotion("great")
            assert (answer.intensity, answer.explanation) == (0.75, "5 characters of joy")
            return await collect(talk.utterance().speak("One.").events())

    with scripted_server(script) as server:
        events = run(main(server.target))
    start, filler, speech, pause, _, rerouted, notice, _, end = events
    assert (start.emotion.source, start.emotion.intensity, start.route.reason) == ("none", 0.0, "plain")
    assert (filler.kind, filler.filler_text, filler.text_span) == ("filler", "Hmm", None)
    assert (speech.filler_text, speech.text_span) == ("", TextSpan(0, 7))
    assert (pause.kind, pause.text_span) == ("silence", None)
    assert isinstance(rerouted, Rerouted)
    assert (rerouted.route.engine, rerouted.route.reason, rerouted.text_span) == ("indextts", "strong_emotion", (7, 20))
    assert (rerouted.emotion.weights.happy, rerouted.emotion.source, rerouted.emotion.intensity) == (0.75, "text", 0.75)
    assert (notice.code, rerouted.emotion.explanation) == ("emotion_approximated", "“great”")
    assert (end.latency.covered_ms, end.latency.predicted_ttfa_ms) == (100, 150)
    assert (end.usage.pause_ms, end.usage.filler_count, end.sample_count) == (200, 1, 5 * CHUNK_SAMPLES)
