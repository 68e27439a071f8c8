"""Calls that are made again: after a refusal, through a restart, within a set time; and their deadlines."""

import asyncio
import itertools
import threading
import time
from collections import Counter
from itertools import chain

from google.rpc import code_pb2

from intone.client import AsyncSpeechClient, IntoneError, Overloaded, Speech, TimedOut
from intone.client.sent_requests import MAX_BYTES, MAX_UNANSWERED_BYTES, Request, SentRequests
from intone.proto import speech_pb2
from tests.support.scripted_responses import Response, audio, configured, done, refusal, respond
from tests.support.scripted_server import ScriptedServer, abort, failure_of, scripted_server


def test_a_refusal_with_a_delay_is_tried_again_after_it(run):
    refused_s: list[float] = []

    def script(requests, number, context):
        refused_s.append(time.monotonic())
        next(requests)
        if number < 3:
            abort(context, refusal("", "full", code_pb2.RESOURCE_EXHAUSTED, 0.1, "STREAMS_EXHAUSTED"))
        yield from respond(chain([Request(config={})], requests))

    retries: list[tuple[str, float]] = []

    async def main(target: str) -> Speech:
        def note(failure: IntoneError, pause_s: float) -> None:
            retries.append((failure.reason, pause_s))

        async with AsyncSpeechClient(target, on_retry=note) as client:
            return await client.say("Hello.")

    with scripted_server(script) as server:
        assert run(main(server.target)).samples.size
    assert [reason for reason, _ in retries] == ["STREAMS_EXHAUSTED"] * 3
    assert all(later - before >= 0.1 for before, later in itertools.pairwise(refused_s))
    assert len({pause_s for _, pause_s in retries}) == 3  # at random


def test_a_refusal_is_an_error_after_the_set_time(run):
    def script(requests, number, context):
        next(requests)
        abort(context, refusal("", "full", code_pb2.RESOURCE_EXHAUSTED, 0.05, "STREAMS_EXHAUSTED"))
        yield

    async def main(target: str) -> None:
        async with AsyncSpeechClient(target, reconnect_s=0.4) as client:
            began_s = time.monotonic()
            assert isinstance(await failure_of(client.say("Hello.")), Overloaded)
            assert time.monotonic() - began_s < 2

    with scripted_server(script) as server:
        run(main(server.target))
    assert len(server.calls) > 1


def test_unary_calls_and_uploads_honour_the_delay_and_have_deadlines(run, tmp_path, monkeypatch):
    recording = tmp_path / "ada.wav"
    recording.write_bytes(bytes(100_000))
    attempts: Counter[str] = Counter()
    stalling: list[bool] = []
    stalled = threading.Event()

    def refused_once(method):
        def answer(self, request, context):
            attempts[method.__name__] += 1
            if attempts[method.__name__] == 1:
                abort(context, refusal("", "busy", code_pb2.UNAVAILABLE, 0.02, "STORAGE_FULL"))
            if stalling:
                stalled.wait(5)
            return method(self, request, context)

        return answer

    for name in ("GetServerInfo", "CreateVoice", "UploadEmotionClip"):
        monkeypatch.setattr(ScriptedServer, name, refused_once(getattr(ScriptedServer, name)))

    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client:
            assert (await client.server_info()).version == "9.9"
            assert (await client.voices.create(recording, "ada")).voice.name == "ada"
            assert (await client.voices.upload_emotion_clip(recording)).duration_ms == 100_000
        assert set(attempts.values()) == {2}
        stalling.append(True)
        async with AsyncSpeechClient(target, timeout_s=0.1, upload_timeout_s=0.2) as client:
            assert isinstance(await failure_of(client.server_info()), TimedOut)
            assert isinstance(await failure_of(client.voices.create(recording, "eva")), TimedOut)
            stalled.set()

    with scripted_server() as server:
        run(main(server.target))


def test_a_stream_that_has_not_sounded_outlasts_a_restart_of_the_server(run):
    with scripted_server() as first:
        port = first.target.rpartition(":")[2]

    async def main(target: str) -> Speech:
        async with AsyncSpeechClient(target) as client:
            speaking = asyncio.create_task(client.say("Hello."))
            await asyncio.sleep(0.5)
            assert not speaking.done()
            with scripted_server(port=int(port)):
                return await speaking

    assert run(main(first.target)).samples.size


def test_what_a_server_that_shuts_down_does_not_speak_is_spoken_by_the_next(run):
    def script(requests, number, context):
        if number == 0:
            next(requests)
            yield configured()
            yield Response(going_away=speech_pb2.GoingAway(grace_ms=1000))
            next(requests)
            yield done("u1", refusal("", "shutting down", code_pb2.UNAVAILABLE, reason="GOING_AWAY"))
            for _ in requests:
                pass
        yield from respond(requests)

    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client, client.conversation() as talk:
            while talk.going_away is None:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            turn = talk.utterance().speak("Hello.")
            assert (await turn.done()).reason == "completed"
            assert turn.speech.samples.size

    with scripted_server(script) as server:
        run(main(server.target))
    assert len(server.calls) == 2


def text(number: int, size: int) -> Request:
    return Request(text=speech_pb2.TextInput(utterance_id=f"u{number}", delta="x" * size))


def test_messages_are_kept_as_far_as_they_may_be_needed_again():
    sent = SentRequests(Request(config={}))
    for number in range(1, 6):
        sent.add(text(number, 10))
    assert [request.text.utterance_id for request in sent.since(3)] == ["u3", "u4", "u5"]
    assert sent.since(6) == [] and sent.since(7) is None
    sent.answered(done("u2"))
    assert [request.text.utterance_id for request in sent.restart()] == ["", "u1", "u3", "u4", "u5"]
    assert [request.text.utterance_id for request in sent.since(3)] == ["u4", "u5"]  # numbered anew
    sent.answered(audio("u1", 0))
    assert not sent.can_restart


def test_messages_that_are_kept_are_bounded():
    sent = SentRequests(Request(config={}))
    count = 2 * MAX_UNANSWERED_BYTES // 10_000
    for number in range(count):
        sent.add(text(number, 10_000))
    assert not sent.can_restart
    assert sent.since(0) is None
    kept = sent.since(count - MAX_BYTES // 10_000 + 5)
    assert kept is not None and sum(request.ByteSize() for request in kept) <= MAX_BYTES
    assert sent.since(count - MAX_BYTES // 10_000 - 5) is None
