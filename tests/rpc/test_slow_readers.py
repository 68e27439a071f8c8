"""Clients that do not read what they are sent, over real gRPC: every streaming method gives their place back."""

import asyncio
import contextlib

import grpc
import pytest
from grpc import StatusCode
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from intone.proto import speech_pb2, speech_pb2_grpc
from intone.server.call_context import Call
from intone.server.rpc import writing
from tests.support.live_server import Live, Talk, live, soon
from tests.support.rpc_status import code_of, reason_of, status_of, values_of

LONG = "on and " * 1500  # 525 s of audio
PLAIN = {"defaults": speech_pb2.SpeechSettings(normalization=speech_pb2.SWITCH_OFF)}


@contextlib.asynccontextmanager
async def narrow(**settings):
    """A server, and a channel to it whose windows stay at 64 KiB: they are full soon."""
    async with (
        live(**settings) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.app.port}", [("grpc.http2.bdp_probe", 0)]) as channel,
    ):
        yield server, channel


async def opened(channel, method: str):
    if method == "Synthesize":
        request = speech_pb2.SynthesizeRequest(text=LONG, config=speech_pb2.StreamConfig(**PLAIN))
        return speech_pb2_grpc.SpeechServiceStub(channel).Synthesize(request)
    talk = Talk.over(channel)
    await talk.send(config=speech_pb2.StreamConfig(**PLAIN, max_lead_ms=600_000))
    await talk.say("u", LONG)
    return talk.call


async def reads_to_the_end(call) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        while await asyncio.wait_for(call.read(), 10) is not grpc.aio.EOF:
            pass
    return caught.value


def sample(server: Live, name: str, **labels: str) -> float:
    return server.app.metrics.registry.get_sample_value(name, labels) or 0.0


def cut_calls(server: Live) -> float:
    return sample(server, "tts_refusals_total", scope="call", reason="write_timeout")


@pytest.fixture
def played_at_once(monkeypatch):
    """Audio counts as played when it is sent, so that tests need not wait for it."""
    monkeypatch.setattr("intone.server.conversation.session.Session.unplayed_s", 0.0)


@pytest.mark.parametrize("method", ["StreamSynthesize", "Synthesize"])
def test_a_client_that_does_not_read_loses_its_place(run, played_at_once, method):
    async def main():
        async with narrow(write_timeout_s=0.5, max_streams=2) as (server, channel):
            calls = [await opened(channel, method) for _ in range(2)]
            await soon(lambda: server.jobs == 2, "both are spoken")
            await soon(lambda: server.idle, "both are cut, and their units are dropped")
            await (await server.talk()).prove_alive()
            for call in calls:  # who reads soon after all is told why
                status = status_of(await reads_to_the_end(call))
                assert code_of(status) is StatusCode.DEADLINE_EXCEEDED and "write_timeout_s" in status.message
                assert reason_of(status) == "WRITE_TIMEOUT" and values_of(status) == {"limit_s": "0.5"}
            await soon(lambda: cut_calls(server) == 2, "both are counted")

    run(main())


@pytest.mark.parametrize("method", ["StreamSynthesize", "Synthesize"])
def test_a_client_that_never_reads_leaves_no_call_behind(run, played_at_once, method):
    """Nor does the status wait for it."""

    async def main():
        async with narrow(write_timeout_s=0.1, max_calls=3, max_streams=3) as (server, channel):
            method_name = f"intone.v1.SpeechService/{method}"
            calls = [await opened(channel, method) for _ in range(3)]
            await soon(lambda: sample(server, "tts_rpc_in_flight", method=method_name) == 3, "all are open")
            await soon(lambda: sample(server, "tts_rpc_in_flight", method=method_name) == 0, "all are gone")
            assert cut_calls(server) == 3 and server.idle
            await (await server.talk()).prove_alive()
            assert reason_of(status_of(await reads_to_the_end(calls[0]))) == "WRITE_TIMEOUT"

    run(main())


def test_a_stream_that_can_be_resumed_is_held_before_its_place_is_given_back(run, played_at_once):
    """A connection that is as good as lost looks the same."""

    async def main():
        async with narrow(write_timeout_s=0.2, resume_s=0.5) as (server, channel):
            talk = Talk.over(channel)
            await talk.configure(**PLAIN, max_lead_ms=600_000, resumable=True)
            await talk.say("u", LONG)
            await soon(lambda: cut_calls(server) == 1, "the call is cut")
            assert server.app.service.open_streams == 1
            await soon(lambda: server.idle, "the stream ends, too")
            assert reason_of(status_of(await reads_to_the_end(talk.call))) == "WRITE_TIMEOUT"

    run(main())


def test_reflection_ends_for_a_client_that_does_not_read(run):
    async def main():
        async with live(write_timeout_s=0.2) as server:

            async def ask_without_end():
                name = "intone.v1.SpeechService"
                while True:
                    yield reflection_pb2.ServerReflectionRequest(file_containing_symbol=name)

            call = reflection_pb2_grpc.ServerReflectionStub(server.channel).ServerReflectionInfo(ask_without_end())
            await soon(lambda: cut_calls(server) == 1, "it is cut")
            call.cancel()
            await soon(lambda: server.idle, "it is gone")

    run(main())


def test_a_single_response_has_the_same_limit(run):
    """A client whose window is closed would hold a call of any method for ever."""

    class Context:
        status: object = None

        async def write(self, response: object) -> None:
            await asyncio.sleep(3600)

        async def abort_with_status(self, status: object) -> None:
            self.status = status
            await asyncio.sleep(3600)

    async def answer() -> str:
        return "a response"

    async def main():
        context = Context()
        with pytest.raises(asyncio.CancelledError):
            await writing.write_all(writing.only(answer()), context, Call("id", "method"), 0.05)
        assert context.status.code is StatusCode.DEADLINE_EXCEEDED

    run(main())


def test_a_client_that_reads_as_slowly_as_it_plays_is_not_cut(run):
    """It takes a message only when it has played the one before, so that gRPC's windows are full all the time."""

    async def main():
        async with narrow(write_timeout_s=0.05, chunk_ms=1000) as (server, channel):
            talk = Talk.over(channel)
            await talk.configure(**PLAIN, max_lead_ms=600_000)
            await talk.say("u", LONG)
            for _ in range(4):
                kind, message = await talk.answer()
                while kind != "audio":
                    kind, message = await talk.answer()
                await asyncio.sleep(len(message.data) / 4 / 24_000)
            assert server.app.service.open_streams == 1 and server.jobs == 1
            talk.call.cancel()
            await soon(lambda: server.idle, "it is gone")

    run(main())


def test_the_time_to_read_begins_when_what_was_sent_is_played(run):
    class Context:
        async def write(self, response: object) -> None:
            await asyncio.sleep(0.3)

    async def responses():
        yield "a response"

    async def main():
        call = Call("id", "method", unplayed_s=lambda: 10.0)
        await writing.write_all(responses(), Context(), call, 0.05)
        assert call.response_count == 1

    run(main())
