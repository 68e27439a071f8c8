"""Streams whose connection is lost: held, resumed, and given up."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from intone.proto import speech_pb2
from intone.server.rpc.tokens_file import new_token
from tests.support.chaos_proxy import ChaosProxy, chaos_proxy
from tests.support.fakes import Script, ScriptedEngine
from tests.support.live_server import Live, Talk, chunks, live, messages_of, soon, spoken
from tests.support.rpc_status import status_of

TEXT = "A sentence that is long enough to be lost in the middle of it."


@contextlib.asynccontextmanager
async def network(**settings: Any) -> AsyncIterator[tuple[Live, ChaosProxy, Any]]:
    """A server, a proxy to it that may be cut, and a channel over the proxy."""
    async with (
        live(ScriptedEngine(), **settings) as running,
        chaos_proxy(f"127.0.0.1:{running.app.port}") as proxy,
        grpc.aio.insecure_channel(proxy.target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel,
    ):
        yield running, proxy, channel


async def lost(talk: Talk, proxy: ChaosProxy, channel: Any) -> list[tuple[str, Any]]:
    """Cut the connection; what the client received until then. Later calls are made over another one."""
    proxy.reset()
    answers = []
    with pytest.raises(grpc.aio.AioRpcError) as error:
        while True:
            answers.append(await talk.answer())
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    if (state := channel.get_state()) is grpc.ChannelConnectivity.READY:  # it has not seen that its connection is gone
        await asyncio.wait_for(channel.wait_for_state_change(state), 10)
    return answers


async def resume(channel: Any, configured: Any, received: int, token: str | None = None, **call: Any) -> Talk:
    talk = Talk.over(channel, **call)
    await talk.send(
        resume=speech_pb2.Resume(
            stream_id=configured.stream_id,
            resume_token=configured.resume_token if token is None else token,
            received_count=received,
        )
    )
    return talk


async def refusal(talk: Talk) -> str:
    error = await talk.failure()
    assert error.code() is grpc.StatusCode.NOT_FOUND
    return messages_reason(error)


def messages_reason(error: grpc.aio.AioRpcError) -> str:
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status_of(error).details)
    return info.reason


def test_only_a_client_that_asks_for_it_can_resume(run):
    async def main() -> None:
        async with network() as (running, proxy, channel):
            talk = Talk.over(channel)
            configured = await talk.configure()
            assert (configured.resume_token, configured.resume_ms) == ("", 0)
            await lost(talk, proxy, channel)
            await soon(lambda: running.idle, "the stream has ended")
            talk = Talk.over(channel)
            configured = await talk.configure(resumable=True)
            assert len(configured.resume_token) >= 22 and configured.resume_ms == 10_000
            assert "resume" in configured.features
            await talk.send(leave=speech_pb2.Leave())
            assert [kind for kind, _ in await talk.rest()] == ["closed"]
            await soon(lambda: running.idle, "the stream has ended")

    run(main())


def test_a_resumed_stream_goes_on_where_the_client_was(run):
    async def main() -> None:
        async with network(max_lead_ms=1000) as (running, proxy, channel):
            talk = Talk.over(channel)
            configured = await talk.configure(resumable=True)
            await talk.say("u1", TEXT, end=False)
            answers = await talk.until("audio")
            answers += await lost(talk, proxy, channel)
            assert running.app.service.open_streams == 1
            again = await resume(channel, configured, 1 + len(answers))
            kind, resumed = await again.answer()
            assert (kind, resumed.received_count) == ("resumed", 2)
            await again.say("u1")
            await again.finish()
            answers += await again.until("closed")
            assert spoken(answers) == TEXT
            assert [chunk.sequence for chunk in chunks(answers)] == list(range(len(chunks(answers))))
            assert len(messages_of(answers, "done")) == 1
            # The end is kept until the client has it.
            assert len(answers) > 3
            proxy.reset()
            with pytest.raises(grpc.aio.AioRpcError):
                await again.rest()
            last = await resume(channel, configured, len(answers))
            assert [kind for kind, _ in [await last.answer(), await last.answer()]] == ["resumed", "closed"]
            await last.send(leave=speech_pb2.Leave())
            assert await last.call.read() is grpc.aio.EOF
            assert await last.call.code() is grpc.StatusCode.OK
            await soon(lambda: running.idle, "the stream has ended")

    run(main())


def test_a_stream_is_taken_over_from_a_call_that_is_still_there(run):
    async def main() -> None:
        async with network() as (running, _, channel):
            talk = Talk.over(channel)
            configured = await talk.configure(resumable=True)
            again = await resume(running.channel, configured, 1)
            assert (await again.answer())[0] == "resumed"
            assert (await talk.call_error()).code() is grpc.StatusCode.NOT_FOUND
            await again.say("u1", "Hello.")
            assert spoken(await again.until("done")) == "Hello."
            assert running.app.service.open_streams == 1
            await again.send(leave=speech_pb2.Leave())
            await again.rest()

    run(main())


def test_a_wrong_token_an_unknown_stream_and_a_wrong_count_are_refused_alike(run):
    async def main() -> None:
        async with network() as (running, proxy, channel):
            talk = Talk.over(channel)
            configured = await talk.configure(resumable=True)
            await lost(talk, proxy, channel)
            for token, received in (("", 1), ("x" * 22, 1), (None, 99), (None, -1)):
                assert await refusal(await resume(channel, configured, received, token)) == "STREAM_NOT_HELD"
            unknown = speech_pb2.Configured(stream_id="unknown", resume_token=configured.resume_token)
            assert await refusal(await resume(channel, unknown, 1)) == "STREAM_NOT_HELD"
            assert (await (await resume(channel, configured, 1)).answer())[0] == "resumed"  # which did it no harm

    run(main())


def test_a_stream_is_held_for_its_time_and_then_gives_its_place_back(run, caplog):
    caplog.set_level(logging.INFO)

    async def main() -> None:
        async with network(resume_s=0.2, max_streams=1) as (running, proxy, channel):
            talk = Talk.over(channel)
            configured = await talk.configure(resumable=True)
            await talk.say("u1", TEXT * 20)
            await talk.until("audio")
            await lost(talk, proxy, channel)
            full = Talk.over(channel)
            await full.send(config=speech_pb2.StreamConfig())
            assert (await full.failure()).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            await soon(lambda: running.idle, "its place is given back")
            ended = next(record for record in caplog.records if "without being resumed" in record.message)
            assert ended.fields["stream"] == configured.stream_id
            assert await refusal(await resume(channel, configured, 1)) == "STREAM_NOT_HELD"
            assert await Talk.over(channel).configure() is not None

    run(main())


def test_no_more_than_so_many_are_held_and_so_much_of_each(run):
    async def main() -> None:
        async with network(max_held_streams=2, max_resume_bytes=20_000) as (running, proxy, channel):
            talks = [Talk.over(channel) for _ in range(3)]
            configured = [await talk.configure(resumable=True, service_class="SERVICE_CLASS_OFFLINE") for talk in talks]
            await talks[0].say("u1", TEXT)
            received = 1 + len(await talks[0].until("done"))
            # More than 20 kB of audio were sent, so that the oldest are not kept.
            assert await refusal(await resume(running.channel, configured[0], 1)) == "STREAM_NOT_HELD"
            again = await resume(running.channel, configured[0], received)
            assert (await again.answer())[0] == "resumed"
            await again.send(leave=speech_pb2.Leave())
            await again.rest()
            talks[0] = Talk.over(channel)
            await talks[0].configure(resumable=True)
            proxy.reset()
            await soon(lambda: running.app.service.open_streams == 2, "one of three has ended")
            await asyncio.sleep(0.05)
            assert running.app.service.open_streams == 2

    run(main())


def test_a_server_that_shuts_down_holds_nothing(run):
    async def main() -> None:
        async with network(resume_s=600) as (running, proxy, channel):
            talk = Talk.over(channel)
            await talk.configure(resumable=True)
            await lost(talk, proxy, channel)
            assert running.app.service.open_streams == 1
            await asyncio.wait_for(running.app.stop(600), 5.0)
            assert running.app.service.open_streams == 0

    run(main())


def test_synthesis_goes_no_further_ahead_while_nobody_is_connected(run):
    async def main() -> None:
        engine = ScriptedEngine(Script(characters_per_step=2))
        async with live(engine) as running, chaos_proxy(f"127.0.0.1:{running.app.port}") as proxy:
            channel = grpc.aio.insecure_channel(proxy.target, options=[("grpc.use_local_subchannel_pool", 1)])
            async with channel:
                talk = Talk.over(channel)
                await talk.configure(resumable=True, service_class="SERVICE_CLASS_LIVE", max_lead_ms=200)
                await talk.say("u1", "One long sentence of a hundred and fifty characters, " * 3)
                await talk.until("audio")
                await lost(talk, proxy, channel)
                await asyncio.sleep(0.2)
                steps = len(engine.stepped)
                await asyncio.sleep(0.3)
                assert len(engine.stepped) == steps < 50

    run(main())


def test_a_half_close_is_no_lost_connection(run):
    async def main() -> None:
        async with network() as (running, _, channel):
            talk = Talk.over(channel)
            await talk.configure(resumable=True)
            await talk.say("u1", "Hello there.", end=False)
            await talk.half_close()
            answers = await talk.until("closed")
            assert spoken(answers) == "Hello there."
            await soon(lambda: running.jobs == 0, "nothing is spoken")

    run(main())


def test_only_the_caller_who_opened_a_stream_may_resume_it(run, tmp_path):
    tokens, lines = zip(*(new_token(name, ["speak"]) for name in ("ada", "eva")), strict=True)
    (tmp_path / "tokens").write_text("\n".join(lines))
    ada, eva = ((("authorization", f"Bearer {token}"),) for token in tokens)

    async def main() -> None:
        async with network(tokens_file=str(tmp_path / "tokens")) as (_, proxy, channel):
            talk = Talk.over(channel, metadata=ada)
            configured = await talk.configure(resumable=True)
            await lost(talk, proxy, channel)
            assert await refusal(await resume(channel, configured, 1, metadata=eva)) == "STREAM_NOT_HELD"
            assert (await (await resume(channel, configured, 1, metadata=ada)).answer())[0] == "resumed"

    run(main())
