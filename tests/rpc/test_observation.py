"""What is known about a call: its id, its line in the log, and its metrics."""

import asyncio
import logging

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from intone.proto import speech_pb2
from intone.server.call_context import request_id, trace_id_of
from intone.server.rpc.observation import RateLimit
from tests.support.fakes import Script, ScriptedEngine
from tests.support.live_server import live, soon
from tests.support.rpc_status import failed

TRACE = "0af7651916cd43dd8448eb211c80319c"
STREAM = "intone.v1.SpeechService/StreamSynthesize"


@pytest.fixture
def lines(caplog):
    """The fields of the lines at the end of calls, the call's id among them."""
    caplog.set_level(logging.DEBUG, "intone")

    def ended():
        return [record.fields for record in caplog.records if record.getMessage() == "call ended"]

    return ended


def sample(server, name, **labels):
    return server.app.metrics.registry.get_sample_value(name, labels)


def metadata(call_metadata):
    return dict(call_metadata)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("order-17/Ä", False),
        ("order-17/A:b.c_d+e=f@g", True),
        ("", False),
        ("x" * 64, True),
        ("x" * 65, False),
        ("a b", False),
        ('a"b', False),
        ("a\n", False),
    ],
)
def test_an_id_of_the_client_is_kept_if_it_is_short_and_plain(given, kept):
    assert (request_id(given) == given) is kept
    assert request_id(given) and request_id("") != request_id("")


@pytest.mark.parametrize(
    ("traceparent", "trace"),
    [
        (f"00-{TRACE}-b7ad6b7169203331-01", TRACE),
        (f"01-{TRACE}-b7ad6b7169203331-01-more", TRACE),
        (f"00-{TRACE}-b7ad6b7169203331-01-more", ""),
        (f"ff-{TRACE}-b7ad6b7169203331-01", ""),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (f"00-{TRACE.upper()}-b7ad6b7169203331-01", ""),
        (f"00-{TRACE[1:]}-b7ad6b7169203331-01", ""),
        ("", ""),
    ],
)
def test_the_trace_of_a_traceparent(traceparent, trace):
    assert trace_id_of(traceparent) == trace


def test_a_call_returns_its_id_and_leaves_one_line(run, lines, caplog):
    async def main():
        async with live() as server:
            sent = (("x-request-id", "order-17"), ("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"))
            call = server.speech.Synthesize(speech_pb2.SynthesizeRequest(text="Secret."), metadata=sent)
            answers = [answer async for answer in call]
            assert metadata(await call.initial_metadata())["x-request-id"] == "order-17"
            other = server.speech.Synthesize(
                speech_pb2.SynthesizeRequest(text="Secret."), metadata=(("x-request-id", "not an id"),)
            )
            assert [answer async for answer in other]
            made = metadata(await other.initial_metadata())["x-request-id"]
            assert made and made != "not an id"
            await soon(lambda: len(lines()) == 2, "both lines")
            first = lines()[0]
            assert first["method"] == "intone.v1.SpeechService/Synthesize" and first["code"] == "OK"
            assert first["responses"] == len(answers) and first["characters"] == 7 and first["units"] == 1
            assert first["peer"].startswith("ipv4:127.0.0.1:") and first["speech_ms"] > 0 and first["duration_ms"] > 0
            assert sample(server, "tts_rpc_total", method=first["method"], code="OK") == 2
            assert sample(server, "tts_rpc_seconds_count", method=first["method"]) == 2
            assert sample(server, "tts_rpc_in_flight", method=first["method"]) == 0

    run(main())
    assert "Secret" not in caplog.text and not any("Secret" in str(line) for line in lines())


def test_every_way_a_call_ends_has_its_code(run, lines):
    async def main():
        engine = ScriptedEngine(Script(refuse=("Zzz.",), step_s=0.01))
        async with live(engine) as server:
            talk = await server.talk()
            assert sample(server, "tts_rpc_in_flight", method=STREAM) == 1
            await talk.finish()
            await talk.rest()
            talk = await server.talk()
            talk.call.cancel()
            talk = server.open(timeout=0.2)
            await talk.configure()
            await talk.call_error()
            error = await failed(server.speech.Synthesize(speech_pb2.SynthesizeRequest(text="Zzz.")))
            assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
            unknown = server.channel.unary_unary("/intone.v1.SpeechService/Sing")
            assert (await failed(unknown(b""))).code() is grpc.StatusCode.UNIMPLEMENTED
            talk = server.open()
            await talk.half_close()  # without a config
            await talk.failure()
            await soon(lambda: len(lines()) >= 5, "all lines")
            codes = [line["code"] for line in lines()]
            assert sorted(codes) == sorted(
                ["OK", "CANCELLED", "DEADLINE_EXCEEDED", "FAILED_PRECONDITION", "INVALID_ARGUMENT"]
            )
            assert [line["reason"] for line in lines() if line["code"] == "FAILED_PRECONDITION"] == ["text_unspeakable"]
            assert sample(server, "tts_refusals_total", scope="call", reason="text_unspeakable") == 1
            assert sample(server, "tts_rpc_total", method="", code="UNIMPLEMENTED") == 1
            assert sample(server, "tts_rpc_in_flight", method=STREAM) == 0

    run(main())


def test_every_line_inside_a_call_belongs_to_it(run, monkeypatch):
    seen = []

    class Collector(logging.Handler):
        def emit(self, record):
            from intone.server.call_context import current_call

            seen.append((record.getMessage(), current_call() and current_call().id))

    async def main():
        async with live(ScriptedEngine(Script(fail_at_step=0))) as server:
            sent = (("x-request-id", "order-17"),)
            await failed(server.speech.Synthesize(speech_pb2.SynthesizeRequest(text="Hello."), metadata=sent))
            await soon(lambda: any(message == "call ended" for message, _ in seen), "the last line")

    logger, collector = logging.getLogger("intone.server"), Collector()
    monkeypatch.setattr(logger, "level", logging.INFO)
    logger.addHandler(collector)
    try:
        run(main())
    finally:
        logger.removeHandler(collector)
    ids = dict(seen)
    assert ids["stream opened"] == ids["call ended"] == "order-17"
    assert [one for message, one in seen if "unit 0 failed" in message] == ["order-17"]


def test_calls_without_authentication_are_counted_and_their_lines_limited(run, lines):
    async def main():
        async with live(token="right") as server:
            request = speech_pb2.GetServerInfoRequest()
            for _ in range(50):
                error = await failed(server.speech.GetServerInfo(request, metadata=(("authorization", "Bearer no"),)))
                assert error.code() is grpc.StatusCode.UNAUTHENTICATED
            counted = "tts_auth_failures_total"  # after the client has its answer
            await soon(lambda: sample(server, counted, code="UNAUTHENTICATED") == 50, "all are counted")
            refused = [line for line in lines() if line["code"] == "UNAUTHENTICATED"]
            assert 20 <= len(refused) < 50 and all(line["peer"] for line in refused)
            assert not any("Bearer" in str(line) for line in lines())

    run(main())


def test_messages_that_cannot_be_decoded_are_counted(run):
    async def main():
        async with live() as server:
            talk = await server.talk()
            await talk.send(b"\xff\xff")
            await talk.until("request_refused")
            assert sample(server, "tts_undecodable_messages_total") == 1
            assert sample(server, "tts_refusals_total", scope="message", reason="message_malformed") == 1
            await talk.prove_alive()

    run(main())


def test_probes_leave_no_lines_at_the_usual_level(run, caplog):
    caplog.set_level(logging.INFO, "intone")

    async def main():
        async with live() as server:
            stub = health_pb2_grpc.HealthStub(server.channel)
            await stub.Check(health_pb2.HealthCheckRequest())
            method = "grpc.health.v1.Health/Check"
            await soon(lambda: sample(server, "tts_rpc_total", method=method, code="OK") == 1, "it is counted")
            assert not [record for record in caplog.records if record.getMessage() == "call ended"]

    run(main())


def test_lines_beyond_a_rate_are_left_out_and_counted():
    now_s = 0.0
    limit = RateLimit(per_s=1.0, burst=2, clock=lambda: now_s)
    assert [limit.suppressed() for _ in range(5)] == [0, 0, None, None, None]
    now_s = 1.0
    assert [limit.suppressed() for _ in range(2)] == [3, None]
    now_s = 100.0
    assert [limit.suppressed() for _ in range(3)] == [1, 0, None]


def test_the_loop_of_a_server_that_is_held_up_shows_it(run):
    async def main():
        import time

        async with live() as server:
            await asyncio.sleep(0.15)
            time.sleep(0.3)  # noqa: ASYNC251  (what must not happen in a server)
            await asyncio.sleep(0.15)
            whole = sample(server, "tts_loop_lag_seconds_count")
            assert whole - sample(server, "tts_loop_lag_seconds_bucket", le="0.1") >= 1

    run(main())
