"""The client library against a scripted server over gRPC: sending text and receiving events."""

import asyncio
from contextlib import aclosing

import numpy as np
import pytest

from intone.client import (
    AudioChunk,
    Done,
    Flushed,
    Interrupted,
    Notice,
    Rerouted,
    Speech,
    SpeechClient,
    Started,
    SynthesisOptions,
    TextSpan,
    speak,
)
from intone.proto import emotion_pb2, speech_pb2
from tests.support.scripted_responses import varied_utterance
from tests.support.scripted_server import CHUNK_SAMPLES, RATE_HZ, Response, scripted_server


def test_say_returns_samples_events_and_latency(run):
    async def main(target: str) -> Speech:
        async with SpeechClient(target) as client:
            return await client.say(["Hello ", "there."], engine="starter", options=SynthesisOptions(seed=3))

    with scripted_server() as server:
        speech = run(main(server.target))
    assert [type(event) for event in speech.events] == [Started, AudioChunk, AudioChunk, Done]
    assert (speech.text, speech.sample_rate_hz) == ("Hello there.", RATE_HZ)
    expected = np.full(2 * CHUNK_SAMPLES, int(0.5 * 32767) / 32768, np.float32)
    assert len(speech.samples) == len(expected)
    assert np.abs(speech.samples - expected).max() == 0
    assert speech.chunks[1].text_span == TextSpan(0, 1)
    assert dict(speech.report.stage_ms) == {"lm": 20.0, "vae": 5.0}
    assert speech.report.filler_ttfa_ms is None
    assert 0 < speech.latency.ttfa_ms <= speech.latency.gaps_ms[0] + speech.latency.first_chunk_ms
    config = server.calls[0][0].config
    assert (config.engine, config.options.seed, config.lead_limit_ms) == ("starter", 3, 600_000)
    assert not config.options.HasField("steps")


def test_audio_arrives_while_the_text_is_still_being_written(run):
    async def main(target: str) -> list[str]:
        heard = asyncio.Event()
        order: list[str] = []

        async def words():
            yield "One "
            await heard.wait()  # the second word is written after the audio of the first has arrived
            order.append("written")
            yield "two."

        async with (
            SpeechClient(target) as client,
            client.converse() as conversation,
            aclosing(speak(conversation, words(), "u")) as events,
        ):
            async for event in events:
                if isinstance(event, AudioChunk):
                    order.append("heard")
                    heard.set()
        return order

    with scripted_server() as server:
        assert run(main(server.target)) == ["heard", "written", "heard"]


def test_long_texts_are_split_into_deltas_that_join_to_the_text(run):
    text = "".join(chr(97 + index % 26) for index in range(1234))

    async def main(target: str) -> None:
        async with SpeechClient(target) as client:
            await client.say(text)

    with scripted_server() as server:
        run(main(server.target))
    deltas = [request.text.delta for request in server.calls[0][1:]]
    assert max(map(len, deltas)) == 500
    assert "".join(deltas) == text


def test_conversation_sends_every_kind_of_message_and_receives_the_events(run):
    async def main(target: str) -> list[object]:
        async with SpeechClient(target) as client, client.converse(voice="ada", emotion="happy:0.5") as conversation:
            await conversation.send("one", "u1", emotion="sad", options=SynthesisOptions(steps=4))
            await conversation.flush("f1")
            await conversation.cancel("u1", played_ms=40)
            await conversation.progress(40)
            await conversation.send("two", "u2", voice="eve", end=True)
            await conversation.finish()
            with pytest.raises(RuntimeError):
                await conversation.send("three", "u3")
            return [event async for event in conversation]

    with scripted_server() as server:
        events = run(main(server.target))
    kinds = [type(event) for event in events]
    assert kinds == [Started, AudioChunk, Flushed, Interrupted, Started, AudioChunk, Done]
    assert events[2].flush_id == "f1"
    assert (events[3].heard_text, events[3].unheard_text, events[3].heard_ms) == ("so", "one", 40)
    config, first, _, _, progress, second = server.calls[0]
    assert (config.config.voice, config.config.emotion.label) == ("ada", emotion_pb2.EMOTION_LABEL_HAPPY)
    assert (first.text.emotion.label, first.text.options.steps) == (emotion_pb2.EMOTION_LABEL_SAD, 4)
    assert progress.progress.played_ms == 40
    assert (second.text.voice, second.text.end_of_utterance) == ("eve", True)


def test_warnings_become_notices_and_unknown_messages_are_skipped(run):
    def script(requests, number, context):
        next(requests)
        yield Response()  # as a message that only a newer client knows
        yield Response(
            warning=speech_pb2.Warning(
                code=speech_pb2.WARNING_CODE_UNTRAINED_WEIGHTS, message="noise", utterance_id="u1"
            )
        )
        yield Response(warning=speech_pb2.Warning(code=777, message="from the future"))

    async def main(target: str) -> list[object]:
        async with SpeechClient(target) as client, client.converse() as conversation:
            return [event async for event in conversation]

    with scripted_server(script) as server:
        events = run(main(server.target))
    assert [(event.code, event.message, event.utterance_id) for event in events] == [
        ("untrained_weights", "noise", "u1"),
        ("777", "from the future", ""),
    ]
    assert all(isinstance(event, Notice) for event in events)


def test_an_error_in_the_text_source_cancels_only_its_utterance(run):
    async def main(target: str) -> list[object]:
        async def broken():
            yield "one"
            raise KeyError("the language model is gone")

        async with SpeechClient(target) as client, client.converse() as conversation:
            with pytest.raises(KeyError):
                async with aclosing(speak(conversation, broken(), "u1")) as events:
                    async for _ in events:
                        pass
            async with aclosing(speak(conversation, "two", "u2")) as events:
                return [event async for event in events]

    with scripted_server() as server:
        events = run(main(server.target))
    assert isinstance(events[-1], Done)
    assert [request.WhichOneof("request") for request in server.calls[0]][:3] == ["config", "text", "cancel"]


def test_a_rejected_utterance_stops_its_sender_but_not_the_conversation(run):
    async def main(target: str) -> tuple[list[object], list[object]]:
        async def endless():
            yield "bad"
            await asyncio.Event().wait()

        async with SpeechClient(target) as client, client.converse() as conversation:
            async with aclosing(speak(conversation, endless(), "u1")) as events:
                first = [event async for event in events]
            async with aclosing(speak(conversation, "two", "u2")) as events:
                return first, [event async for event in events]

    with scripted_server() as server:
        first, second = run(main(server.target))
    assert first[0].reason == "rejected"
    assert first[0].error.violations == [("text.delta", "cannot be spoken")]
    assert second[-1].reason == "completed"


def test_emotions_routes_fillers_and_pauses_are_decoded(run):
    def script(requests, number, context):
        next(requests)
        yield from varied_utterance("u1")

    async def main(target: str) -> list[object]:
        async with SpeechClient(target) as client, client.converse(filler="eager") as conversation:
            answer = await client.analyze_emotion("great")
            assert (answer.intensity, answer.explanation) == (0.75, "5 characters of joy")
            return [event async for event in conversation]

    with scripted_server(script) as server:
        events = run(main(server.target))
    assert server.calls[0][0].config.filler == speech_pb2.FILLER_POLICY_EAGER
    start, filler, speech, pause, _, rerouted, warning, _, end = events
    assert (start.emotion_source, start.emotion_intensity) == ("none", 0.0)
    assert (filler.kind, filler.filler, filler.text_span) == ("filler", "Hmm", None)
    assert (speech.filler, speech.text_span) == ("", TextSpan(0, 1))
    assert (pause.kind, pause.text_span) == ("silence", None)
    assert isinstance(rerouted, Rerouted)
    assert (rerouted.engine, rerouted.route_reason, rerouted.text_span) == ("indextts", "strong_emotion", (7, 20))
    assert (rerouted.emotion[0], rerouted.emotion_source, rerouted.emotion_intensity) == (0.75, "text", 0.75)
    assert (warning.code, rerouted.emotion_explanation) == ("emotion_approximated", "“great”")
    report = end.report
    assert (report.covered_ms, report.predicted_ttfa_ms, report.pause_ms, report.fillers) == (100, 150, 200, 1)
