"""No call waits forever: for a reader, a connection, an unresponsive server, or one that waits for the client."""

import asyncio
import time

import grpc
import pytest

from intone.client import AudioChunk, Done, IntoneCallError, SpeechClient, Started, connection, speech_client
from tests.support.scripted_server import audio, default_script, done, failure_of, proxy, scripted_server, started

TIMEOUT_S = 120.0  # against hanging; a loaded machine is slow


def test_a_client_that_only_sends_gets_the_status_and_can_still_read_the_responses(run):
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
        assert [type(event) for event in run(main(server.target), TIMEOUT_S)] == [
            Started,
            AudioChunk,
            AudioChunk,
            AudioChunk,
        ]


def test_sending_and_receiving_do_not_block_each_other(run):
    """The server sends more audio than flow control lets through, and reads no more text until all of it is sent."""
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
        assert run(main(server.target), TIMEOUT_S) == chunks


def test_a_client_that_does_not_read_receives_little(run):
    """Otherwise an interruption would queue behind all the audio that was received but not read."""
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
        run(main(server.target), TIMEOUT_S)


def test_cancelling_a_read_loses_no_event(run):
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
        events = run(main(server.target), TIMEOUT_S)
    assert [event.sequence for event in events[1:]] == list(range(1, 20))


def test_leaving_the_conversation_cancels_pending_sends_and_reads(run):
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
        run(main(server.target), TIMEOUT_S)


@pytest.mark.parametrize("pause_s", [0.0, 0.1, 0.3])
def test_leaving_during_a_reconnect(run, pause_s: float):
    """During the pause before a reconnect, or during the reconnect: no task may be left running."""

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
        assert run(main(server.target), TIMEOUT_S).code in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)


def test_cancelling_while_connecting(run):
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
        run(main(server.target), TIMEOUT_S)


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
        run(main(server.target), TIMEOUT_S)


def test_an_unresponsive_server_is_detected_by_keepalive(run, monkeypatch):
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
        assert run(failure_of(main(server.target)), TIMEOUT_S).code is grpc.StatusCode.UNAVAILABLE


def test_unary_calls_have_a_deadline(run, monkeypatch):
    monkeypatch.setattr(speech_client, "RPC_TIMEOUT_S", 0.1)

    async def main(target: str) -> None:
        frozen = asyncio.Event()
        frozen.set()
        async with proxy(target, frozen=frozen) as address, SpeechClient(address) as client:
            assert not await client.serving()
            assert (await failure_of(client.server_info())).code is grpc.StatusCode.DEADLINE_EXCEEDED

    with scripted_server() as server:
        run(main(server.target), TIMEOUT_S)


def test_a_server_with_a_long_round_trip_can_be_reached(run):
    """A round trip takes 0.25 s; TCP, HTTP/2 and the first response need three."""

    async def main(target: str) -> float:
        async with proxy(target, delay_s=0.125) as address, SpeechClient(address, reconnects=0) as client:
            begin_s = time.monotonic()
            await client.say("Hello.")
            return time.monotonic() - begin_s

    with scripted_server(default_script) as server:
        assert run(main(server.target), TIMEOUT_S) > 0.4
