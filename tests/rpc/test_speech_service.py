"""SpeechService over real gRPC: order of messages, spans, formats, settings."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from grpc import StatusCode

from intone.proto import audio_pb2, speech_pb2
from intone.server.audio.encoding import Encoder, Resampler
from intone.server.domain import Step
from tests.support.fakes import RATE_HZ, Script, ScriptedEngine, ScriptedState, audio_of, text_of
from tests.support.live_server import GatedEngine, chunks, live, samples, soon, spoken

TEXT = "Well, hello there my dear friend. It is a fine day, is it not? I think so too, and so do they.  Bye"


def spans(answers):
    """The distinct spans of the audio, in order."""
    found = [(chunk.text_span.start, chunk.text_span.end) for chunk in chunks(answers)]
    return [span for index, span in enumerate(found) if index == 0 or found[index - 1] != span]


def check_one_utterance(answers, text):
    """Check what the proto promises about order and counts of one utterance."""
    kinds = [kind for kind, _ in answers]
    assert kinds == ["started", *["audio"] * (len(kinds) - 2), "done"]
    audio = chunks(answers)
    assert [chunk.sequence for chunk in audio] == list(range(len(audio)))
    ends = np.cumsum([len(chunk.data) // 4 for chunk in audio])
    assert [chunk.offset_samples for chunk in audio] == [0, *ends[:-1]]
    assert {chunk.kind for chunk in audio} == {speech_pb2.AUDIO_KIND_SPEECH}
    assert max(len(chunk.data) // 4 for chunk in audio) <= 160 * RATE_HZ // 1000
    tiles = spans(answers)
    assert tiles[0][0] == 0 and tiles[-1][1] == len(text)
    assert all(left[1] == right[0] for left, right in pairwise(tiles))
    expected = np.concatenate([audio_of(" ".join(text[start:end].split())) for start, end in tiles])
    assert np.array_equal(samples(answers), expected)
    report = answers[-1][1].report
    assert answers[-1][1].reason == speech_pb2.DONE_REASON_COMPLETED and not answers[-1][1].HasField("error")
    assert report.units == len(tiles)
    assert report.audio_ms == pytest.approx(1000 * len(expected) / RATE_HZ)
    assert report.ttfa_ms > 0 and report.queue_ms >= 0 and report.rtf > 0


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_one_utterance(run, size):
    async def main():
        async with live() as server:
            talk = await server.talk(normalize=False, lead_limit_ms=600_000)
            for start in range(0, len(TEXT), size):
                await talk.say("u", TEXT[start : start + size], end=start + size >= len(TEXT))
            answers = await talk.until("done")
            check_one_utterance(answers, TEXT)
            assert len(spans(answers)) > 2
            started = answers[0][1]
            assert (started.utterance_id, started.engine, started.voice) == ("u", "starter", "default")
            assert started.route_reason == speech_pb2.ROUTE_REASON_PLAIN and started.route_explanation
            assert started.format == audio_pb2.AudioFormat(encoding=2, sample_rate_hz=RATE_HZ)
            assert list(started.emotion.weights) == [0.0] * 8

    run(main())


def test_single_text_is_the_same_as_a_stream(run):
    async def main():
        async with live() as server:
            config = speech_pb2.StreamConfig(normalize=False, format={"encoding": 2, "sample_rate_hz": RATE_HZ})
            call = server.speech.Synthesize(speech_pb2.SynthesizeRequest(text=TEXT, config=config))
            answers = [(a.WhichOneof("response"), getattr(a, a.WhichOneof("response"))) async for a in call]
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
            await talk.end()
            answers = await talk.rest()
            told = [(kind, message.utterance_id) for kind, message in answers if kind != "audio"]
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
            talk = await server.talk(lead_limit_ms=200)
            await talk.progress(0)  # from now on only reports move the position of playback
            await talk.say("u", "Hello, you.")
            await soon(lambda: server.jobs == 0 and bool(server.engine.stepped), "the engine is done")
            await talk.flush("late")
            heard_ms = 0.0
            while (answer := await talk.answer())[0] != "done":
                heard_ms += 1000 * len(samples([answer])) / RATE_HZ
                await talk.progress(round(heard_ms))
            assert (await talk.until("flushed"))[-1][1].flush_id == "late"

    run(main())


def test_half_close_ends_the_text(run):
    async def main():
        async with live(wait_ms=60_000) as server:
            talk = await server.talk()
            await talk.say("u", "nobody said that this was the e", end=False)
            await talk.say("v", "nd", end=False)
            await talk.end()
            answers = await talk.rest()
            assert spoken(answers, "u") == "nobody said that this was the e" and spoken(answers, "v") == "nd"
            assert [kind for kind, _ in answers].count("done") == 2
            assert await talk.call.code() is StatusCode.OK

    run(main())


# ---- formats and settings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number,name", [(0, "pcm_s16le"), (1, "pcm_s16le"), (3, "mulaw"), (4, "alaw")])
def test_encodings(run, number, name):
    async def main():
        async with live() as server:
            talk = await server.talk(format=audio_pb2.AudioFormat(encoding=number))
            await talk.say("u", "Hello.")
            answers = await talk.until("done")
            data = b"".join(chunk.data for chunk in chunks(answers))
            assert data == Encoder(name).encode(audio_of("Hello."))
            assert answers[0][1].format == audio_pb2.AudioFormat(encoding=number or 1, sample_rate_hz=RATE_HZ)

    run(main())


@pytest.mark.parametrize("rate_hz", [8000, 22050, 24000, 32000, 44100, 48000])
def test_rates(run, rate_hz):
    async def main():
        async with live() as server:
            talk = await server.talk(format=audio_pb2.AudioFormat(encoding=2, sample_rate_hz=rate_hz))
            await talk.say("u", "Hello there.")
            answers = await talk.until("done")
            found = samples(answers)
            expected = Resampler(RATE_HZ, rate_hz).push(audio_of("Hello there."), last=True)
            assert len(found) == len(expected) == pytest.approx(len("Hello there.") * 0.05 * rate_hz, abs=2)
            assert np.abs(found - expected).max() <= 1e-6
            assert answers[0][1].format.sample_rate_hz == rate_hz

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
                await talk.cancel("nobody")  # audio that was ready would arrive before its answer
                assert [kind for kind, _ in await talk.until("error")] == ["started", "error"]
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
            talk = await server.talk(lead_limit_ms=600_000, options=speech_pb2.SynthesisOptions(seed=7))
            heard, seeds = {}, {}

            async def speak(name, **settings):
                await talk.say(name, "Hello there. And hello to you over there.", **settings)
                answers = await talk.until("done")
                heard[name], seeds[name] = samples(answers).tobytes(), answers[0][1].seed

            await speak("of the stream")
            await speak("its own", options=speech_pb2.SynthesisOptions(seed=8))
            await speak("the same", options=speech_pb2.SynthesisOptions(seed=8))
            await speak("zero", options=speech_pb2.SynthesisOptions(seed=0))
            assert seeds == {"of the stream": 7, "its own": 8, "the same": 8, "zero": 0}
            assert heard["its own"] == heard["the same"] and len(set(heard.values())) == 3
            talk = await server.talk(lead_limit_ms=600_000)
            await speak("drawn")
            await speak("drawn again")
            await speak("asked for", options=speech_pb2.SynthesisOptions(seed=seeds["drawn"]))
            assert heard["asked for"] == heard["drawn"] != heard["drawn again"]

    run(main())


def test_speech_is_the_same_alone_and_in_a_batch(run):
    async def main():
        engine = NoisyEngine(Script(step_s=0.01))
        texts = {"a": "The first of two that speak together.", "b": "And the second one of these."}
        async with live(engine) as server:
            alone, together = {}, {}
            seeded = {"options": speech_pb2.SynthesisOptions(seed=3)}
            for name, text in texts.items():
                talk = await server.talk(**seeded)
                await talk.say(name, text)
                alone[name] = samples(await talk.until("done")).tobytes()
            assert max(map(len, engine.stepped)) == 1
            talks = {name: await server.talk(**seeded) for name in texts}
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
            for given, expected in ((None, server_normalizes), (True, True), (False, False)):
                talk = await server.talk(**({} if given is None else {"normalize": given}))
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
