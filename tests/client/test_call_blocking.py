"""No call waits forever: for a reader, a connection, an unresponsive server, or one that waits for the client."""

import asyncio
import signal
import threading
import time

import grpc
import pytest

from intone.client import (
    AsyncSpeechClient,
    AudioChunk,
    Cancelled,
    IntoneError,
    SpeechClient,
    TimedOut,
    Unavailable,
    connection,
)
from tests.support.scripted_responses import audio, configured, done, respond, started
from tests.support.scripted_server import failure_of, proxy, scripted_server

TIMEOUT_S = 120.0  # against hanging; a loaded machine is slow


async def chunks_of(turn) -> int:
    return sum([1 async for event in turn.events() if isinstance(event, AudioChunk)])


def test_a_client_that_only_sends_gets_the_status_and_can_still_read_the_events(run):
    def script(requests, number, context):
        next(requests)
        yield configured()
        next(requests)
        yield started("u1")
        for index in range(3):
            yield audio("u1", index)
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")

    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client, client.conversation() as talk:
            turn = talk.utterance()
            with pytest.raises(IntoneError, match="RESOURCE_EXHAUSTED: enough"):
                while True:
                    await turn.send("text ")
            events = turn.events()
            assert [type(await anext(events)).__name__ for _ in range(4)] == ["Started", *["AudioChunk"] * 3]
            for _ in range(2):
                assert (await failure_of(anext(events))).message == "enough"

    with scripted_server(script) as server:
        run(main(server.target), TIMEOUT_S)


def test_sending_and_receiving_do_not_block_each_other(run):
    """The server sends more audio than flow control lets through, and reads no more text until all of it is sent."""
    chunks = 100
    narrow = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 16384)]

    def script(requests, number, context):
        next(requests)
        yield configured()
        yield started("u1")
        for index in range(chunks):
            yield audio("u1", index)
        for request in requests:
            if request.text.end_of_utterance:
                yield done("u1")

    async def main(target: str) -> int:
        async with AsyncSpeechClient(target) as client, client.conversation() as talk:
            turn = talk.utterance()
            for _ in range(30):
                await turn.send("x" * 10_000)
            await turn.end()
            return await chunks_of(turn)

    with scripted_server(script, options=narrow) as server:
        assert run(main(server.target), TIMEOUT_S) == chunks


def test_an_utterance_that_nobody_reads_does_not_hold_up_another_one(run):
    async def main(target: str) -> int:
        async with AsyncSpeechClient(target) as client, client.conversation() as talk:
            unread = talk.utterance().speak(["x"] * 200)
            slow = talk.utterance().speak(["x"] * 5)
            count = 0
            async for _ in slow.audio():
                await asyncio.sleep(0.01)
                count += 1
            await unread.done()
            return count

    with scripted_server() as server:
        assert run(main(server.target), TIMEOUT_S) == 5


def test_cancelling_a_read_loses_no_event(run):
    async def main(target: str) -> list[int]:
        numbers = []
        async with AsyncSpeechClient(target) as client, client.conversation() as talk:
            turn = talk.utterance()
            events = turn.events()
            for _ in range(20):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(anext(events), 0.001)
                await turn.send("text ")
                event = await anext(events)
                if not isinstance(event, AudioChunk):
                    event = await anext(events)
                numbers.append(event.sequence)
        return numbers

    with scripted_server() as server:
        assert run(main(server.target), TIMEOUT_S) == list(range(20))


def test_leaving_the_conversation_cancels_pending_sends_and_reads(run):
    async def main(target: str) -> None:
        frozen = asyncio.Event()
        async with proxy(target, frozen=frozen) as address, AsyncSpeechClient(address) as client:
            async with client.conversation() as talk:
                frozen.set()
                turn = talk.utterance()

                async def send() -> None:
                    while True:
                        await turn.send("x" * 4000)

                tasks = [asyncio.create_task(failure_of(wait)) for wait in (turn.done(), talk.flush(), send())]
                await asyncio.sleep(0.05)
                assert not any(task.done() for task in tasks)
            assert all([isinstance(await task, Cancelled) for task in tasks])

    with scripted_server() as server:
        run(main(server.target), TIMEOUT_S)


def test_a_server_that_takes_no_message_times_out(run):
    async def main(target: str) -> None:
        frozen = asyncio.Event()
        async with (
            proxy(target, frozen=frozen) as address,
            AsyncSpeechClient(address, timeout_s=0.2) as client,
            client.conversation() as talk,
        ):
            frozen.set()

            async def send() -> None:
                while True:
                    await talk.utterance().send("x" * 4000)

            assert isinstance(await failure_of(send()), TimedOut)

    with scripted_server() as server:
        run(main(server.target), TIMEOUT_S)


@pytest.mark.parametrize("pause_s", [0.0, 0.1, 0.3])
def test_leaving_during_a_reconnect(run, pause_s: float):
    """During the pause before a reconnect, or during the reconnect: no task may be left running."""

    def script(requests, number, context):
        next(requests)
        yield configured()
        next(requests)
        context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    async def main(target: str) -> IntoneError:
        frozen = asyncio.Event()
        async with proxy(target, frozen=frozen) as address, AsyncSpeechClient(address) as client:
            async with client.conversation() as talk:
                reader = asyncio.create_task(failure_of(talk.utterance().speak("one").done()))
                await asyncio.sleep(0.05)
                frozen.set()
                await asyncio.sleep(pause_s)
            return await reader

    with scripted_server(script) as server:
        assert isinstance(run(main(server.target), TIMEOUT_S), Cancelled | Unavailable)


def test_cancelling_while_connecting(run):
    async def main(target: str) -> None:
        frozen = asyncio.Event()
        frozen.set()
        async with proxy(target, frozen=frozen) as address, AsyncSpeechClient(address) as client:
            saying = asyncio.create_task(client.say("Hello."))
            await asyncio.sleep(0.1)
            saying.cancel()
            with pytest.raises(asyncio.CancelledError):
                await saying

    with scripted_server() as server:
        run(main(server.target), TIMEOUT_S)


def test_closing_the_client_ends_its_conversations(run):
    async def main(target: str) -> None:
        async with AsyncSpeechClient(target) as client:
            talk = await client.conversation().open()
            turn = talk.utterance()
            reader = asyncio.create_task(failure_of(turn.done()))
            await asyncio.sleep(0)
        assert isinstance(await reader, Cancelled)
        assert isinstance(await failure_of(turn.send("text")), Cancelled)
        await talk.aclose()

    with scripted_server() as server:
        run(main(server.target), TIMEOUT_S)


def test_a_stream_of_audio_that_is_left_early_ends_its_call(run):
    async def main(target: str) -> None:
        async def endless():
            while True:
                yield "word "
                await asyncio.sleep(0.001)

        async with AsyncSpeechClient(target) as client:
            async for pcm in client.stream(endless()):
                assert pcm
                break

    with scripted_server() as server:
        run(main(server.target), TIMEOUT_S)


def test_an_unresponsive_server_is_detected_by_keepalive(run, monkeypatch):
    options = dict(connection._CHANNEL_OPTIONS)
    timeouts = ("grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms")
    assert options["grpc.keepalive_time_ms"] + max(options[name] for name in timeouts) <= 30_000
    quick = options | dict.fromkeys(("grpc.keepalive_time_ms", *timeouts), 200)
    monkeypatch.setattr(connection, "_CHANNEL_OPTIONS", list(quick.items()))

    async def main(target: str) -> None:
        frozen = asyncio.Event()
        async with (
            proxy(target, frozen=frozen) as address,
            AsyncSpeechClient(address, reconnect_s=0) as client,
            client.conversation() as talk,
        ):
            turn = talk.utterance()
            await turn.send("text")
            await anext(turn.audio())
            frozen.set()
            await turn.done()

    with scripted_server() as server:
        assert isinstance(run(failure_of(main(server.target)), TIMEOUT_S), Unavailable)


def test_unary_calls_have_a_deadline(run):
    async def main(target: str) -> None:
        frozen = asyncio.Event()
        frozen.set()
        async with proxy(target, frozen=frozen) as address, AsyncSpeechClient(address, timeout_s=0.1) as client:
            assert not await client.serving()
            assert isinstance(await failure_of(client.server_info()), TimedOut)

    with scripted_server() as server:
        run(main(server.target), TIMEOUT_S)


def test_a_server_with_a_long_round_trip_can_be_reached(run):
    """A round trip takes 0.25 s; TCP, HTTP/2 and the first response need three."""

    async def main(target: str) -> float:
        async with proxy(target, delay_s=0.125) as address, AsyncSpeechClient(address, reconnect_s=0) as client:
            begin_s = time.monotonic()
            await client.say("Hello.")
            return time.monotonic() - begin_s

    with scripted_server() as server:
        assert run(main(server.target), TIMEOUT_S) > 0.4


def test_an_interrupted_thread_leaves_the_client_usable(run):
    """Ctrl-C in the middle of a call of the client without asyncio cancels that call only."""

    def script(requests, number, context):
        if number:
            yield from respond(requests)
        else:
            next(requests)
            yield configured()
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # as Ctrl-C in a terminal
            for _ in requests:
                pass

    with scripted_server(script) as server, SpeechClient(server.target) as client:
        with pytest.raises(KeyboardInterrupt):
            client.say("Hello.")
        assert client.say("Hello.").samples.size
