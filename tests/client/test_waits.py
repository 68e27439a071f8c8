"""Nobody waits for ever: not for a reader, a connection, a silent server, nor for one that waits itself."""

import asyncio
import time

import grpc
import pytest

from intone.client import AudioChunk, Done, IntoneCallError, SpeechClient, Started, connection, speech_client
from tests.support.scripted_server import audio, done, failure_of, proxy, scripted_server, started, talking

BOUND_S = 5.0


def test_who_only_sends_hears_why_the_call_ended_and_what_was_unread_stays_readable(run):
    def script(requests, number, context):
        next(requests)
        next(requests)
        yield started("u")
        for index in range(3):
            yield audio("u", index)
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")

    async def main(target: str) -> list[object]:
        async with SpeechClient(target) as client, client.converse() as conversation:
            with pytest.raises(IntoneCallError, match="RESOURCE_EXHAUSTED: enough"):
                while True:
                    await conversation.send("text ", "u")
            events = [await anext(conversation) for _ in range(4)]
            for _ in range(2):
                assert (await failure_of(anext(conversation))).message == "enough"
        return events

    with scripted_server(script) as server:
        assert [type(event) for event in run(main(server.target), BOUND_S)] == [
            Started,
            AudioChunk,
            AudioChunk,
            AudioChunk,
        ]


def test_text_and_audio_do_not_wait_for_each_other(run):
    """More audio than is let through unread, from a server that reads no more text before all of it has been taken."""
    chunks = 100
    narrow = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 16384)]

    def script(requests, number, context):
        next(requests)
        yield started("u")
        for index in range(chunks):
            yield audio("u", index)
        for request in requests:
            if request.text.end_of_utterance:
                yield done("u")

    async def main(target: str) -> int:
        async with SpeechClient(target) as client, client.converse() as conversation:
            for _ in range(30):
                await conversation.send("x" * 10_000, "u")
            await conversation.end("u")
            count = 0
            async for event in conversation:
                count += isinstance(event, AudioChunk)
                if isinstance(event, Done):
                    break
            return count

    with scripted_server(script, options=narrow) as server:
        assert run(main(server.target), BOUND_S) == chunks


def test_who_does_not_read_is_not_sent_more(run):
    """What has been taken in unread must stay small: an interruption would come after all of it."""
    sent = []

    def script(requests, number, context):
        next(requests)
        yield started("u")
        for index in range(100):
            yield audio("u", index)
            sent.append(index)
        for _ in requests:
            pass

    async def main(target: str) -> None:
        async with SpeechClient(target) as client, client.converse() as conversation:
            await anext(conversation)
            for _ in range(20):
                await conversation.progress(0)
                await asyncio.sleep(0.01)
            assert len(sent) < 50

    with scripted_server(script) as server:
        run(main(server.target), BOUND_S)


def test_cancelled_reader_loses_nothing(run):
    def script(requests, number, context):
        next(requests)
        for index, _ in enumerate(requests):
            yield audio("u", index) if index else started("u")

    async def main(target: str) -> list[object]:
        events = []
        async with SpeechClient(target) as client, client.converse() as conversation:
            for _ in range(20):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(anext(conversation), 0.001)
                await conversation.send("text ", "u")
                events.append(await anext(conversation))
        return events

    with scripted_server(script) as server:
        events = run(main(server.target), BOUND_S)
    assert [event.sequence for event in events[1:]] == list(range(1, 20))


def test_leaving_tells_those_who_still_send_and_read(run):
    async def main(target: str) -> None:
        frozen = asyncio.Event()
        async with proxy(target, frozen=frozen) as address, SpeechClient(address) as client:
            async with client.converse() as conversation:
                frozen.set()
                reader = asyncio.create_task(failure_of(anext(conversation)))

                async def send() -> None:
                    while True:
                        await conversation.send("x" * 5000, "u")

                sender = asyncio.create_task(failure_of(send()))
                await asyncio.sleep(0.05)
                assert not reader.done() and not sender.done()
            assert (await reader).code is (await sender).code is grpc.StatusCode.CANCELLED

    with scripted_server() as server:
        run(main(server.target), BOUND_S)


@pytest.mark.parametrize("pause_s", [0.0, 0.1, 0.3])
def test_leaving_while_a_lost_call_is_opened_again(run, pause_s: float):
    """In its first pause, or while the server that is gone is being called again: no task may be left behind."""

    def script(requests, number, context):
        next(requests)
        context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        yield

    async def main(target: str) -> IntoneCallError:
        frozen = asyncio.Event()
        async with proxy(target, frozen=frozen) as address, SpeechClient(address) as client:
            async with client.converse() as conversation:
                reader = asyncio.create_task(failure_of(anext(conversation)))
                await asyncio.sleep(0.05)
                frozen.set()
                await asyncio.sleep(pause_s)
            return await reader

    with scripted_server(script) as server:
        assert run(main(server.target), BOUND_S).code in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)


def test_leaving_while_the_connection_is_being_made(run):
    async def main(target: str) -> None:
        frozen = asyncio.Event()
        frozen.set()
        async with proxy(target, frozen=frozen) as address, SpeechClient(address) as client:
            saying = asyncio.create_task(client.say("Hello."))
            await asyncio.sleep(0.1)
            saying.cancel()
            with pytest.raises(asyncio.CancelledError):
                await saying

    with scripted_server() as server:
        run(main(server.target), BOUND_S)


def test_closing_the_client_ends_its_conversations(run):
    async def main(target: str) -> None:
        async with SpeechClient(target) as client:
            conversation = client.converse()
            await conversation.__aenter__()
            reader = asyncio.create_task(failure_of(anext(conversation)))
            await asyncio.sleep(0)
        assert (await reader).code is grpc.StatusCode.CANCELLED
        assert (await failure_of(conversation.send("text", "u"))).code is grpc.StatusCode.CANCELLED
        await conversation.__aexit__(None, None, None)

    with scripted_server() as server:
        run(main(server.target), BOUND_S)


def test_server_that_falls_silent_is_found_out(run, monkeypatch):
    options = dict(connection._CHANNEL_OPTIONS)
    timeouts = ("grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms")
    assert options["grpc.keepalive_time_ms"] + max(options[name] for name in timeouts) <= 30_000
    quick = options | dict.fromkeys(("grpc.keepalive_time_ms", *timeouts), 200)
    monkeypatch.setattr(connection, "_CHANNEL_OPTIONS", list(quick.items()))

    async def main(target: str) -> IntoneCallError:
        frozen = asyncio.Event()
        async with (
            proxy(target, frozen=frozen) as address,
            SpeechClient(address, reconnects=0) as client,
            client.converse() as conversation,
        ):
            await conversation.send("text", "u")
            await anext(conversation)
            frozen.set()
            while True:
                await anext(conversation)

    with scripted_server() as server:
        assert run(failure_of(main(server.target)), BOUND_S).code is grpc.StatusCode.UNAVAILABLE


def test_questions_have_a_deadline(run, monkeypatch):
    monkeypatch.setattr(speech_client, "RPC_TIMEOUT_S", 0.1)

    async def main(target: str) -> None:
        frozen = asyncio.Event()
        frozen.set()
        async with proxy(target, frozen=frozen) as address, SpeechClient(address) as client:
            assert not await client.serving()
            assert (await failure_of(client.server_info())).code is grpc.StatusCode.DEADLINE_EXCEEDED

    with scripted_server() as server:
        run(main(server.target), BOUND_S)


def test_server_far_away_can_be_reached(run):
    """A quarter of a second there and back, and TCP, HTTP/2 and the first answer need three of them."""

    async def main(target: str) -> float:
        async with proxy(target, delay_s=0.125) as address, SpeechClient(address, reconnects=0) as client:
            begin_s = time.monotonic()
            await client.say("Hello.")
            return time.monotonic() - begin_s

    with scripted_server(talking) as server:
        assert run(main(server.target), BOUND_S) > 0.4
