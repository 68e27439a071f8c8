"""Utterances of the client against a scripted server: readers, interruptions, word times, the end of a stream."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intone.client import (
    AsyncSpeechClient,
    AudioChunk,
    AudioPosition,
    Done,
    FailedPrecondition,
    IntoneError,
    RequestRefused,
    SpeechClient,
    Started,
    TimedOut,
    Unsupported,
)
from intone.client.text import SurrogateJoiner
from intone.proto import speech_pb2
from tests.support.scripted_responses import (
    CHUNK_SAMPLES,
    Response,
    Talk,
    respond,
)
from tests.support.scripted_server import failure_of, scripted_server

PCM = int(0.5 * 32767).to_bytes(2, "little") * CHUNK_SAMPLES


def kinds(events):
    return [type(event) for event in events]


async def collect(items):
    return [item async for item in items]


def test_an_error_in_the_text_source_interrupts_only_its_utterance(run):
    async def main(target: str) -> list[object]:
        async def broken():
            yield "one"
            raise KeyError("the language model is gone")

        async with AsyncSpeechClient(target) as client, client.conversation() as talk:
            turn = talk.utterance().speak(broken())
            with pytest.raises(KeyError):
                await collect(turn.events())
            with pytest.raises(KeyError):
                await turn.done()
            return await collect(talk.utterance().speak("two").events())

    with scripted_server() as server:
        events = run(main(server.target))
    assert events[-1].reason == "completed"
    assert [request.WhichOneof("request") for request in server.calls[0]][:3] == ["config", "text", "interrupt"]


def halves(text: str) -> str:
    return "".join(map(chr, memoryview(text.encode("utf-16-le")).cast("H")))


@settings(max_examples=200, deadline=None)
@given(
    st.data(), st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.text(alphabet="a😀👍", max_size=9)
)
def test_halves_of_utf_16_pairs_are_joined(data: st.DataObject, text: str) -> None:
    joiner, written, joined = SurrogateJoiner(), halves(text), ""
    while written:
        length = data.draw(st.integers(1, len(written)))
        joined, written = joined + joiner.push(written[:length]), written[length:]
        joined.encode()
    joiner.finish()
    assert joined == text


@pytest.mark.parametrize(
    "deltas", [["Great \ud83d"], ["Great \ud83d", "news."], ["\ude00"], ["\ude00\ud83d", "\ude00"]]
)
def test_half_a_pair_is_an_error(deltas: list[str]) -> None:
    joiner = SurrogateJoiner()
    with pytest.raises(UnicodeEncodeError):
        for delta in deltas:
            joiner.push(delta)
        joiner.finish()


def test_an_emoji_cut_in_two_is_sent_whole(run):
    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client, client.conversation() as talk:
            assert (await talk.utterance().speak(["Great \ud83d", "\ude00 news."]).done()).reason == "completed"
            turn = talk.utterance()
            for delta in ("\ud83d", "\ude00", "!"):
                await turn.send(delta)
            await turn.end()
            await turn.done()

    with scripted_server() as server:
        run(main(server.target))
    sent = [request.text.delta for request in server.calls[0] if request.WhichOneof("request") == "text"]
    assert [delta for delta in sent if delta] == ["Great ", "😀 news.", "😀", "!"]


@pytest.mark.parametrize("text", ["Great \ud83d", ["Great \ud83d", " news."]])
def test_half_an_emoji_ends_the_reading(run, text):
    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client, client.conversation() as talk:
            with pytest.raises(UnicodeEncodeError):
                await collect(talk.utterance().speak(text).events())
            turn = talk.utterance()
            with pytest.raises(UnicodeEncodeError):
                await turn.send("\ude00")
            with pytest.raises(UnicodeEncodeError):
                await turn.send("\ud83d")
                await turn.end()

    with scripted_server() as server, SpeechClient(server.target) as client:
        with pytest.raises(UnicodeEncodeError):
            b"".join(client.stream(text))
        run(main(server.target))


def test_a_rejected_utterance_stops_its_sender_but_not_the_conversation(run):
    async def main(target: str) -> None:
        async def endless():
            yield "bad"
            await asyncio.Event().wait()

        async with AsyncSpeechClient(target) as client, client.conversation() as talk:
            first, second = talk.utterance().speak(endless()), talk.utterance().speak("two")
            done = await first.done()
            assert (done.reason, done.error.violations) == ("rejected", [("text.delta", "cannot be spoken")])
            assert (await failure_of(collect(first.audio()))).field == "text.delta"
            await first.send("late text is dropped")
            assert b"".join(await collect(second.audio())) == PCM

    with scripted_server() as server:
        run(main(server.target))
    assert "late text is dropped" not in str(server.calls[0])


def test_each_reader_of_an_utterance_gets_everything(run):
    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client, client.conversation() as talk:
            turn = talk.utterance()
            early = [asyncio.create_task(collect(turn.audio())) for _ in range(2)]
            turn.speak(["one ", "two"])
            assert await asyncio.gather(*early) == [[PCM, PCM]] * 2
            assert await collect(turn.audio()) == [PCM, PCM]
            assert kinds(await collect(turn.events())) == [Started, AudioChunk, AudioChunk, Done]
            assert turn.ended and turn.speech.text == "one two"

    with scripted_server() as server:
        run(main(server.target))


def test_interrupting_at_any_time_is_answered(run):
    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client, client.conversation() as talk:
            never = talk.utterance()
            assert await never.interrupt() is None  # before its start
            assert (await never.done()).reason == "interrupted"
            await never.send("late")
            assert await collect(never.audio()) == []

            turns = [talk.utterance() for _ in range(3)]
            for turn in turns:
                await turn.send("text ")
            cuts = await talk.interrupt(turns[1], "u4", position=AudioPosition("u3", 7))
            assert [(cut.utterance_id, cut.heard_samples) for cut in cuts] == [("u3", 7), ("u4", CHUNK_SAMPLES)]
            assert [cut.utterance_id for cut in await talk.interrupt()] == ["u2"]
            assert [turn.cut.utterance_id for turn in turns] == ["u2", "u3", "u4"]
            assert await turns[0].interrupt() is None
            assert await talk.interrupt("never heard of") == ()
            await talk.finish()
            assert await turns[0].interrupt() is None  # after the end of the stream

    with scripted_server() as server:
        run(main(server.target))
    assert "late" not in str(server.calls[0])


def test_an_interruption_stops_the_sender_and_the_readers(run):
    async def main(target: str) -> None:
        async def endless():
            while True:
                yield "word "
                await asyncio.sleep(0.001)

        async with AsyncSpeechClient(target) as client, client.conversation() as talk:
            turn = talk.utterance().speak(endless())
            audio = turn.audio()
            for _ in range(3):
                await anext(audio)
            assert (await turn.interrupt()).heard_text == "wo"
            assert await collect(audio) == []

    with scripted_server() as server:
        run(main(server.target))


def test_flush_is_answered_also_when_the_utterance_has_ended(run):
    def script(requests, number, context):
        talk = Talk()
        for request in requests:
            if not request.HasField("flush"):
                yield from talk.answer(request)

    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client, client.conversation(timeout_s=0.1) as talk:
            turn = talk.utterance()
            await turn.flush()  # nothing was sent yet
            await turn.send("one")
            with pytest.raises(TimedOut):
                await turn.flush(timeout_s=0.05)
            flushing = asyncio.create_task(turn.flush())
            await asyncio.sleep(0.01)
            await turn.end()
            await flushing
            with pytest.raises(TimedOut):
                await talk.flush(timeout_s=0.05)

    with scripted_server(script) as server:
        run(main(server.target))


def test_word_times(run):
    def script(requests, number, context):
        talk = Talk(["timings"])
        word = speech_pb2.TimedWord(
            text_span={"start": 0, "end": 2}, spoken="one", start_sample=10, end_sample=900, phones=[{"symbol": "w"}]
        )
        for request in requests:
            if request.text.end_of_utterance:
                source = speech_pb2.TIMING_SOURCE_ALIGNED
                yield Response(timing=speech_pb2.Timing(utterance_id="u1", words=[word, word], source=source))
            yield from talk.answer(request)

    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client:
            async with client.conversation(timings="aligned") as talk:
                turn = talk.utterance().speak("1.")
                words = await collect(turn.words())
                assert [(word.spoken, word.text_span, word.end_sample) for word in words] == [("one", (0, 2), 900)] * 2
                assert words[0].phones[0].symbol == "w"
            async with client.conversation() as talk:
                with pytest.raises(RuntimeError, match="timings='aligned'"):
                    talk.utterance().words()

    with scripted_server(script) as server:
        run(main(server.target))

    async def without(target: str) -> None:
        async with AsyncSpeechClient(target) as client, client.conversation(timings="aligned") as talk:
            with pytest.raises(Unsupported, match="no word times"):
                talk.utterance().words()

    with scripted_server() as server:
        run(without(server.target))


def test_finish_waits_for_the_end_of_the_stream(run):
    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client, client.conversation() as talk:
            turn = talk.utterance().speak("one")
            await turn.done()
            usage = await talk.finish()
            assert (usage.characters, usage.speech_ms) == (10, 100)
            assert await talk.finish() == usage
            with pytest.raises(FailedPrecondition):
                await talk.utterance().send("more")
            with pytest.raises(FailedPrecondition):
                await talk.utterance().done()

    with scripted_server() as server:
        run(main(server.target))
    assert [request.WhichOneof("request") for request in server.calls[0]][-1] == "finish"

    def without_finish(requests, number, context):
        for request in requests:
            if not request.HasField("finish"):
                yield from respond(iter([request]))

    async def wait(target: str) -> None:
        async with AsyncSpeechClient(target) as client, client.conversation() as talk:
            with pytest.raises(TimedOut):
                await talk.finish(timeout_s=0.05)

    with scripted_server(without_finish) as server:
        run(wait(server.target))


def test_a_refused_message_raises_where_its_answer_is_awaited_and_is_an_event(run):
    def script(requests, number, context):
        for index, request in enumerate(requests):
            if request.HasField("flush"):
                refused = speech_pb2.RequestRefused(request_index=index, utterance_id=request.flush.utterance_id)
                refused.error.code, refused.error.message = 12, "cannot flush"
                yield Response(request_refused=refused)
            else:
                yield from respond(iter([request]))

    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client, client.conversation() as talk:
            turn = talk.utterance()
            await turn.send("one")
            assert str(await failure_of(turn.flush())) == "UNIMPLEMENTED: cannot flush"
            assert isinstance(await failure_of(talk.flush()), Unsupported)
            assert isinstance((await collect_until(talk.events(), RequestRefused)), RequestRefused)

    with scripted_server(script) as server:
        run(main(server.target))


async def collect_until(events, kind):
    async for event in events:
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind.__name__}")


def test_an_error_of_the_event_callback_ends_the_conversation(run):
    def fail(event):
        if isinstance(event, AudioChunk):
            raise ZeroDivisionError

    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client, client.conversation(on_event=fail) as talk:
            turn = talk.utterance().speak("one")
            with pytest.raises(ZeroDivisionError):
                await turn.done()
            with pytest.raises(IntoneError):
                while True:
                    await talk.utterance().send("two")

    with scripted_server() as server:
        run(main(server.target))


def test_a_conversation_is_opened_once_and_before_it_is_used(run):
    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client:
            talk = client.conversation()
            await talk.aclose()
            with pytest.raises(RuntimeError, match="not open"):
                talk.utterance()
            with pytest.raises(RuntimeError, match="not open"):
                await talk.report_playback(AudioPosition("u1", 0))
            assert await talk.open() is talk
            with pytest.raises(RuntimeError, match="once"):
                await talk.open()
            turn = talk.utterance().speak("one")
            with pytest.raises(RuntimeError, match="before"):
                turn.speak("two")
            await turn.done()
            await talk.aclose()
            await talk.aclose()

    with scripted_server() as server:
        run(main(server.target))
