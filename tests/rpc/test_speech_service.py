"""SpeechService over real gRPC: order of messages, spans, formats, settings."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from intone.proto import audio_pb2, emotion_pb2, speech_pb2
from intone.server.audio.encoding import BYTES_PER_SAMPLE, Encoder, Resampler
from intone.server.domain import Step
from tests.support.fakes import RATE_HZ, Script, ScriptedEngine, ScriptedState, audio_of, text_of
from tests.support.live_server import (
    F32,
    GatedEngine,
    chunks,
    kind_and_message,
    live,
    samples,
    soon,
    spoken,
)

TEXT = "Well, hello there my dear friend. It is a fine day, is it not? I think so too, and so do they.  Bye"
AS_WRITTEN = speech_pb2.SpeechSettings(normalization=speech_pb2.SWITCH_OFF)


def seeded(seed):
    return speech_pb2.SpeechSettings(seed=seed)


def spans(answers):
    """The spans of the units, in order: each is on the first chunk of its unit only."""
    marked = [chunk.text_span for chunk in chunks(answers) if chunk.HasField("text_span")]
    return [(span.start, span.end) for span in marked]


def check_one_utterance(answers, text):
    """Check what the proto promises about order and counts of one utterance."""
    kinds = [kind for kind, _ in answers]
    assert kinds == ["started", *["audio"] * (len(kinds) - 2), "done"]
    audio = chunks(answers)
    assert [chunk.sequence for chunk in audio] == list(range(len(audio)))
    assert [chunk.sample_count for chunk in audio] == [len(chunk.data) // 4 for chunk in audio]
    ends = np.cumsum([chunk.sample_count for chunk in audio])
    assert [chunk.offset_samples for chunk in audio] == [0, *ends[:-1]]
    assert {chunk.kind for chunk in audio} == {speech_pb2.AUDIO_KIND_SPEECH}
    assert max(chunk.sample_count for chunk in audio) <= 160 * RATE_HZ // 1000
    tiles = spans(answers)
    assert audio[0].HasField("text_span") and len(tiles) == len(set(tiles))
    assert tiles[0][0] == 0 and tiles[-1][1] == len(text)
    assert all(left[1] == right[0] for left, right in pairwise(tiles))
    expected = np.concatenate([audio_of(" ".join(text[start:end].split())) for start, end in tiles])
    assert np.array_equal(samples(answers), expected)
    done = answers[-1][1]
    assert done.reason == speech_pb2.DONE_REASON_COMPLETED and not done.HasField("error")
    assert done.sample_count == len(expected)
    speech_ms = round(1000 * len(expected) / RATE_HZ)
    assert done.usage == speech_pb2.Usage(
        characters=len(text), spoken_characters=len(text), speech_ms=speech_ms, unit_count=len(tiles)
    )
    assert done.latency.ttfa_ms > 0 and done.latency.queue_ms >= 0 and done.latency.rtf > 0


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_one_utterance(run, size):
    async def main():
        async with live() as server:
            talk = server.open()
            configured = await talk.configure(defaults=AS_WRITTEN, max_lead_ms=600_000)
            assert configured.format == audio_pb2.AudioFormat(encoding=2, sample_rate_hz=RATE_HZ)
            for start in range(0, len(TEXT), size):
                await talk.say("u", TEXT[start : start + size], end=start + size >= len(TEXT))
            answers = await talk.until("done")
            check_one_utterance(answers, TEXT)
            assert len(spans(answers)) > 2
            started = answers[0][1]
            assert (started.utterance_id, started.route.engine, started.voice) == ("u", "starter", "default")
            assert started.route.reason == speech_pb2.ROUTE_REASON_PLAIN and started.route.explanation
            assert started.emotion.weights == emotion_pb2.EmotionWeights()
            assert started.emotion.source == speech_pb2.EMOTION_SOURCE_NONE and 0 <= started.seed < 2**53

    run(main())


def test_single_text_is_the_same_as_a_stream(run):
    async def main():
        async with live() as server:
            config = speech_pb2.StreamConfig(defaults=AS_WRITTEN, format=F32)
            call = server.speech.Synthesize(speech_pb2.SynthesizeRequest(text=TEXT, config=config))
            (kind, configured), *answers = [kind_and_message(answer) async for answer in call]
            assert kind == "configured" and configured.format == F32
            check_one_utterance(answers, TEXT)

    run(main())


def test_utterances_are_spoken_in_the_order_they_were_started(run):
    async def main():
        async with live() as server:
            talk = await server.talk()
            names = ["one", "two", "three"]
            for name in names:
                await talk.say(name, f"This is {name}", end=False)
            for name in reversed(names):  # the last to start is the first to be complete
                await talk.say(name, ".")
            await talk.half_close()
            answers = await talk.rest()
            told = [(kind, message.utterance_id) for kind, message in answers if kind not in ("audio", "closed")]
            assert told == [(kind, name) for name in names for kind in ("started", "done")]
            order = [chunk.utterance_id for chunk in chunks(answers)]
            assert order == sorted(order, key=names.index)
            for name in names:
                assert spoken(answers, name) == f"This is {name}."
                assert chunks(answers, name)[0].sequence == chunks(answers, name)[0].offset_samples == 0

    run(main())


def test_flush_is_answered_after_the_audio_before_it(run):
    async def main():
        async with live(wait_ms=60_000) as server:
            talk = await server.talk()
            await talk.flush("nothing to say")
            assert [kind for kind, _ in await talk.until("flushed")] == ["flushed"]
            await talk.say("u", "unfinished bus", end=False)
            await talk.flush("f")
            await talk.say("u", "iness", end=False)
            answers = await talk.until("flushed")
            assert answers[-1][1].flush_id == "f" and spoken(answers) == "unfinished bus"
            await talk.flush("")
            answers = await talk.until("flushed")
            assert answers[-1][1].flush_id == "" and spoken(answers) == "iness"
            await talk.say("u")
            assert [kind for kind, _ in await talk.until("done")] == ["done"]

    run(main())


def test_flush_is_answered_while_only_playback_is_behind(run):
    async def main():
        async with live() as server:
            talk = await server.talk(max_lead_ms=200)
            await talk.say("u", "Hello, you.")
            await talk.until("audio")
            await talk.playback("u", 0)  # from now on only reports move the position of playback
            await soon(lambda: server.jobs == 0 and bool(server.engine.stepped), "the engine is done")
            await talk.flush("late")
            while (answer := await talk.answer())[0] != "done":
                for chunk in chunks([answer]):
                    await talk.playback("u", chunk.offset_samples + chunk.sample_count)
            assert (await talk.until("flushed"))[-1][1].flush_id == "late"

    run(main())


def test_half_close_ends_the_text(run):
    async def main():
        async with live(wait_ms=60_000) as server:
            talk = await server.talk()
            await talk.say("u", "nobody said that this was the e", end=False)
            await talk.say("v", "nd", end=False)
            await talk.half_close()
            answers = await talk.rest()
            assert spoken(answers, "u") == "nobody said that this was the e" and spoken(answers, "v") == "nd"
            assert [kind for kind, _ in answers].count("done") == 2

    run(main())


# ---- formats and settings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number,name", [(0, "pcm_s16le"), (1, "pcm_s16le"), (3, "mulaw"), (4, "alaw")])
def test_encodings(run, number, name):
    async def main():
        async with live() as server:
            talk = server.open()
            configured = await talk.configure(format=audio_pb2.AudioFormat(encoding=number))
            assert configured.format == audio_pb2.AudioFormat(encoding=number or 1, sample_rate_hz=RATE_HZ)
            await talk.say("u", "Hello.")
            answers = await talk.until("done")
            data = b"".join(chunk.data for chunk in chunks(answers))
            assert data == Encoder(name).encode(audio_of("Hello."))
            assert [chunk.sample_count for chunk in chunks(answers)] == [
                len(chunk.data) // BYTES_PER_SAMPLE[name] for chunk in chunks(answers)
            ]

    run(main())


@pytest.mark.parametrize("rate_hz", [8000, 22050, 24000, 32000, 44100, 48000])
def test_rates(run, rate_hz):
    async def main():
        async with live() as server:
            talk = server.open()
            configured = await talk.configure(format=audio_pb2.AudioFormat(encoding=2, sample_rate_hz=rate_hz))
            assert configured.format.sample_rate_hz == rate_hz
            await talk.say("u", "Hello there.")
            answers = await talk.until("done")
            found = samples(answers)
            expected = Resampler(RATE_HZ, rate_hz).push(audio_of("Hello there."), last=True)
            assert len(found) == len(expected) == pytest.approx(len("Hello there.") * 0.05 * rate_hz, abs=2)
            assert np.abs(found - expected).max() <= 1e-6

    run(main())


def test_streamed_audio_leaves_before_the_unit_is_finished(run):
    async def main():
        engine = GatedEngine()
        async with live(engine) as server:
            try:
                talk = await server.talk()
                await talk.say("u", "twelve chars")
                engine.gate.release()
                chunk = (await talk.until("audio"))[-1][1]
                assert text_of(np.frombuffer(chunk.data, "<f4")) == "twe" and server.jobs == 1
            finally:
                engine.open()
            assert spoken(await talk.until("done")) == "lve chars"

    run(main())


def test_buffered_audio_waits_for_the_whole_unit(run):
    async def main():
        engine = GatedEngine()
        async with live(engine) as server:
            try:
                talk = await server.talk(delivery=speech_pb2.DELIVERY_BUFFERED)
                await talk.say("u", "twelve chars")
                for _ in range(2):
                    engine.gate.release()
                await soon(lambda: len(engine.stepped) == 2, "two of three steps are taken")
                await talk.interrupt("nobody")  # audio that was ready would arrive before its answer
                assert [kind for kind, _ in await talk.until("interrupted")] == ["started", "interrupted"]
            finally:
                engine.open()
            assert spoken(await talk.until("done")) == "twelve chars"

    run(main())


class NoisyEngine(ScriptedEngine):
    """Speaks noise that depends on seed and position only."""

    def step(self, states: Sequence[ScriptedState]) -> list[Step]:
        seeds = [np.random.default_rng((state.request.seed, state.position)) for state in states]
        steps = super().step(states)
        return [
            Step(seed.random(len(step.pcm), np.float32), step.done) for seed, step in zip(seeds, steps, strict=True)
        ]


def test_the_same_seed_gives_the_same_audio_and_a_drawn_one_is_reported(run):
    async def main():
        async with live(NoisyEngine()) as server:
            talk = await server.talk(max_lead_ms=600_000, defaults=seeded(7))
            heard, seeds = {}, {}

            async def speak(name, **settings):
                await talk.start(name, **settings)
                await talk.say(name, "Hello there. And hello to you over there.")
                answers = await talk.until("done")
                heard[name], seeds[name] = samples(answers).tobytes(), answers[0][1].seed

            await speak("of the stream")
            await speak("its own", seed=8)
            await speak("the same", seed=8)
            await speak("zero", seed=0)
            await speak("largest", seed=2**53 - 1)
            assert seeds == {"of the stream": 7, "its own": 8, "the same": 8, "zero": 0, "largest": 2**53 - 1}
            assert heard["its own"] == heard["the same"] and len(set(heard.values())) == 4
            talk = await server.talk(max_lead_ms=600_000)
            for number in range(20):
                await speak(f"drawn {number}")
            drawn = [seeds[f"drawn {number}"] for number in range(20)]
            assert len(set(drawn)) == 20 and all(0 <= seed < 2**53 for seed in drawn)
            assert max(drawn) >= 2**50  # all 53 bits are used: this fails once in 10**18 runs
            await speak("asked for", seed=drawn[0])
            assert heard["asked for"] == heard["drawn 0"] != heard["drawn 1"]

    run(main())


def test_speech_is_the_same_alone_and_in_a_batch(run):
    async def main():
        engine = NoisyEngine(Script(step_s=0.01))
        texts = {"a": "The first of two that speak together.", "b": "And the second one of these."}
        async with live(engine) as server:
            alone, together = {}, {}
            for name, text in texts.items():
                talk = await server.talk(defaults=seeded(3))
                await talk.say(name, text)
                alone[name] = samples(await talk.until("done")).tobytes()
            assert max(map(len, engine.stepped)) == 1
            talks = {name: await server.talk(defaults=seeded(3)) for name in texts}
            for name, talk in talks.items():
                await talk.say(name, texts[name])
            for name, talk in talks.items():
                together[name] = samples(await talk.until("done")).tobytes()
            assert max(map(len, engine.stepped)) == 2
            assert alone == together

    run(main())


@pytest.mark.parametrize("server_normalizes", [True, False])
def test_normalization(run, server_normalizes):
    async def main():
        async with live(normalize=server_normalizes) as server:
            for given, expected in ((0, server_normalizes), (1, True), (2, False)):
                talk = server.open()
                configured = await talk.configure(defaults=speech_pb2.SpeechSettings(normalization=given))
                assert configured.defaults.normalization == (1 if expected else 2)
                await talk.say("u", "I have 5 cats.")
                assert spoken(await talk.until("done")) == ("I have five cats." if expected else "I have 5 cats.")

    run(main())


def test_a_number_alone_is_read_in_the_language_of_the_conversation(run):
    async def main():
        engine = ScriptedEngine()
        async with live(engine) as server:
            talk = await server.talk()
            for number, text in enumerate(["10086。", "Two.", "5!", "好的。", "5!"]):
                await talk.say(str(number), text)
                await talk.until("done")
        texts = [unit for batch in engine.stepped for unit in batch]
        assert list(dict.fromkeys(texts)) == ["幺零零八六。", "Two.", "five!", "好的。", "五!"]

    run(main())
