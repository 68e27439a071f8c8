"""Limits of what a stream may send, over real gRPC: messages that cannot be decoded, answers that are not read."""

import asyncio
import time

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc import StatusCode

from intone.proto import speech_pb2
from intone.server.config import Config
from intone.server.conversation import cuts
from intone.server.conversation.utterance_registry import MAX_SENT_UTTERANCES
from intone.server.events import Cut, Done, Finish, HeardSource, TextInput
from intone.server.rpc import connections
from intone.server.rpc.rates import StreamRates
from intone.server.rpc.token_bucket import TokenBucket
from intone.server.rpc.wire import decoding, requests
from intone.server.voices.emotion_clips import MAX_EMOTION_CLIP_BYTES
from tests.support.live_server import Talk, live, soon
from tests.support.rpc_status import code_of, details, failed, reason_of, status_of, values_of

Request = speech_pb2.StreamSynthesizeRequest
UNKNOWN_FIELD = b"\x78\x01"
BAD_TEXT = b"\x12\x03\x0a\x01\xff"  # text.utterance_id
PLAIN = {"defaults": speech_pb2.SpeechSettings(normalization=speech_pb2.SWITCH_OFF)}


def labels(count: int) -> bytes:
    return Request(config=speech_pb2.StreamConfig(labels={str(i): "" for i in range(count)})).SerializeToString()


# ---- decoding takes little time, whatever comes


def test_a_bad_string_is_looked_for_in_a_bounded_number_of_fields():
    few = decoding.decode(Request, UNKNOWN_FIELD * 1000 + BAD_TEXT)
    assert few.error.field == "text.utterance_id"
    many = decoding.decode(Request, UNKNOWN_FIELD * decoding.MAX_FIELDS + BAD_TEXT)
    assert many.error.field == "" and "not valid protobuf" in many.error.message


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(labels(200_000), id="labels"),  # parsing them takes half a second
        pytest.param(
            Request(interrupt=speech_pb2.Interrupt(utterance_ids=[""] * 500_000)).SerializeToString(), id="ids"
        ),
        pytest.param(UNKNOWN_FIELD * 1_500_000 + BAD_TEXT, id="unknown fields"),
        pytest.param(Request(config=speech_pb2.StreamConfig()).SerializeToString() * 500_000, id="configs"),
    ],
)
def test_millions_of_fields_are_refused_without_being_parsed(data, monkeypatch):
    class Unparsed:
        DESCRIPTOR = Request.DESCRIPTOR

        @staticmethod
        def FromString(data: bytes) -> None:
            raise AssertionError(f"{len(data)} bytes are parsed")

    refused = decoding.decode(Unparsed, data)
    assert refused.error.reason.name == "MESSAGE_MALFORMED" and refused.error.values == {"limit": "6000"}
    assert "more than 6000 fields" in refused.error.message


def test_the_largest_settings_are_decoded():
    entries = [speech_pb2.Pronunciation(word=f"w{i}", ipa="a", language="en-GB") for i in range(1000)]
    parameters = {str(i): 1.0 for i in range(requests.MAX_PARAMETERS)}
    settings = speech_pb2.SpeechSettings(pronunciations=entries, engine_parameters=parameters)
    own = {str(i): "x" * requests.MAX_LABEL_VALUE_CHARACTERS for i in range(requests.MAX_LABELS)}
    message = Request(config=speech_pb2.StreamConfig(defaults=settings, labels=own))
    data = message.SerializeToString()
    assert len(data) > decoding.SMALL_BYTES and decoding.decode(Request, data) == message


def test_a_message_of_unknown_fields_is_answered_without_a_look_at_each():
    began_s = time.monotonic()
    event = requests.client_event(Request.FromString(UNKNOWN_FIELD * 1_500_000), None)
    assert event.error.reason.name == "UNSUPPORTED"
    assert time.monotonic() - began_s < 0.5  # two seconds, when an object was made for each


def test_messages_may_be_as_long_as_the_largest_valid_one(run):
    config = Config()
    assert connections.max_message_bytes(config) == MAX_EMOTION_CLIP_BYTES + connections.SETTINGS_BYTES
    long = Config(max_utterance_characters=1 << 22, max_stream_characters=1 << 22)
    assert connections.max_message_bytes(long) == (1 << 24) + connections.SETTINGS_BYTES

    async def main():
        async with live() as server:
            text = "x" * connections.max_message_bytes(config)
            error = await failed(server.speech.Synthesize(speech_pb2.SynthesizeRequest(text=text)))
            assert error.code() is StatusCode.RESOURCE_EXHAUSTED and str(len(text))[:3] in (error.details() or "")

    run(main())


# ---- streams that send what cannot be decoded, or read nothing


def test_a_stream_of_undecodable_messages_is_ended(run):
    async def main():
        async with live(max_malformed_messages=3) as server:
            talk = await server.talk()
            for _ in range(3):
                await talk.send(b"\xff\xff")
                assert (await talk.answer())[0] == "request_refused"
            await talk.prove_alive()
            await talk.send(b"\xff\xff")
            answers, error = await talk.answers_and_failure()
            status = status_of(error)
            assert [kind for kind, _ in answers] == ["request_refused", "closed"]
            assert code_of(status) is StatusCode.INVALID_ARGUMENT and "max_malformed_messages" in status.message
            assert reason_of(status) == "MESSAGE_MALFORMED" and values_of(status) == {"limit": "3"}
            await soon(lambda: server.idle, "it is gone")

    run(main())


async def check_unread(talk: Talk) -> None:
    _, error = await talk.answers_and_failure()
    status = status_of(error)
    assert code_of(status) is StatusCode.RESOURCE_EXHAUSTED and "max_waiting_answers" in status.message
    assert reason_of(status) == "ANSWERS_UNREAD" and values_of(status) == {"limit": "10"}
    assert details(status, error_details_pb2.RetryInfo).retry_delay.seconds == 1


UNREAD = {
    "empty messages": Request(),
    "texts for an utterance without an id": Request(text=speech_pb2.TextInput(delta="x")),
    "interrupts": Request(interrupt=speech_pb2.Interrupt(interrupt_id="i" * 128)),
}


@pytest.mark.parametrize("message", UNREAD.values(), ids=UNREAD)
def test_answers_that_are_not_read_end_the_stream(run, message):
    async def main():
        options = [("grpc.http2.bdp_probe", 0)]  # windows stay at 64 KiB
        async with (
            live(max_waiting_answers=10) as server,
            grpc.aio.insecure_channel(f"127.0.0.1:{server.app.port}", options) as channel,
        ):
            talk = Talk.over(channel)
            await talk.configure()
            for _ in range(2000):
                await talk.send(message.SerializeToString())
            await check_unread(talk)

    run(main())


def test_flushes_behind_audio_that_is_held_back_are_bounded(run):
    async def main():
        async with live(max_waiting_answers=10) as server:
            talk = await server.talk(**PLAIN, max_lead_ms=200)
            await talk.say("u", "on and " * 300, end=False)
            await talk.until("audio")
            await talk.playback("u", 0)
            for _ in range(11):
                await talk.flush()
            await check_unread(talk)

    run(main())


# ---- rates


def test_a_stream_that_sends_too_fast_is_read_more_slowly(run):
    async def main():
        async with live(max_messages_per_s=20) as server:
            talk = await server.talk()
            for number in range(110):  # what five seconds allow, and ten more
                await talk.flush(str(number))
            answers = [await talk.answer() for _ in range(111)]
            flushed = [answer.flush_id for kind, answer in answers if kind == "flushed"]
            assert flushed == [str(number) for number in range(110)]
            (notice,) = [answer for kind, answer in answers if kind == "notice"]  # of ten waits, the first is told
            assert notice.code == speech_pb2.NOTICE_CODE_STREAM_THROTTLED and not notice.utterance_id
            assert "20 a second" in notice.message
            assert (server.app.metrics.registry.get_sample_value("tts_throttled_seconds_total") or 0.0) > 0.01
            await talk.prove_alive()

    run(main())


def test_characters_count_as_well():
    now_s = 0.0
    bucket = TokenBucket(per_s=1000.0, burst=5000.0, clock=lambda: now_s)
    assert bucket.take(5000) == 0
    assert bucket.take(500) == 0.5
    now_s = 0.75
    assert bucket.take(250) == 0
    assert bucket.take(1000) == 1.0
    now_s = 100.0
    assert bucket.left == 5000


def test_a_rate_leaves_text_messages_of_full_length_alone():
    rates = StreamRates(Config(max_characters_per_s=100.0))
    assert rates.wait_s(TextInput("u", "x" * 16_384)) == 0
    assert rates.wait_s(TextInput("u", "x" * 100)) == pytest.approx(1.0, abs=0.1)
    assert rates.wait_s(Finish()) == pytest.approx(1.0, abs=0.1)


# ---- long texts


def test_a_long_text_holds_up_nobody(run):
    """It is made into units slice by slice, and other things happen between two slices."""

    async def main():
        async with live(wait_ms=60_000) as server:
            talk = await server.talk()
            turns = 0

            async def count_turns():
                nonlocal turns
                while True:
                    await asyncio.sleep(0)
                    turns += 1

            counting = asyncio.create_task(count_turns())
            session = next(iter(server.app.service._sessions))
            before = turns
            session.receive(TextInput("u", "Words and more words, and so on. " * 450, end=True))
            await session.settle()
            assert turns - before >= 50  # 60 slices
            counting.cancel()
            answers = await talk.until("audio")
            assert answers
            talk.call.cancel()
            await soon(lambda: server.idle, "it is gone")

    run(main())


def test_the_texts_of_all_open_utterances_are_bounded_together(run):
    async def main():
        async with live(max_utterance_characters=1000, max_text_characters=1000, max_stream_characters=1500) as server:
            talk = await server.talk(max_lead_ms=200)
            await talk.say("a", "on and " * 140)
            await talk.say("b", "on and " * 140)
            done = (await talk.until("done", "b"))[-1][1]
            assert done.reason == speech_pb2.DONE_REASON_FAILED
            assert reason_of(done.error) == "TOO_MANY_UTTERANCES" and values_of(done.error) == {"limit": "1500"}
            assert "max_stream_characters" in done.error.message
            await talk.interrupt("a")
            await talk.until("interrupted")
            await talk.prove_alive()

    run(main())


def test_the_answer_to_an_interrupt_has_a_size_that_clients_take(monkeypatch):
    monkeypatch.setattr(cuts, "MAX_CUT_CHARACTERS", 10)
    made = [Cut("a", 1, "heard", "rest", HeardSource.REPORTED), Cut("b", 0, "", "more text", HeardSource.REPORTED)]
    short = cuts.shortened(made)
    assert [(cut.heard_text, cut.unheard_text) for cut in short] == [("heard", "rest"), ("", "m")]
    assert cuts.shortened(made[:1]) == (made[0],)


def test_many_utterances_that_nobody_has_heard_are_forgotten(talk):
    async def body(t):
        for number in range(300):
            t.text(f"u{number}", "A", end=True)
            await asyncio.sleep(0.1)
        assert len(t.of(Done)) == 300
        assert len(list(t.session._utterances)) <= MAX_SENT_UTTERANCES + 1

    talk(body, max_lead_ms=600_000, playback_delay_ms=5000)


def test_analyses_take_turns(run):
    async def main():
        async with live(max_characters_per_s=100) as server:
            text = "Happy! " * 71  # 497 characters; 500 may come at once
            await server.speech.AnalyzeEmotion(speech_pb2.AnalyzeEmotionRequest(text=text))
            began_s = time.monotonic()
            await server.speech.AnalyzeEmotion(speech_pb2.AnalyzeEmotionRequest(text="Happy! " * 6))
            assert time.monotonic() - began_s > 0.1

    run(main())
