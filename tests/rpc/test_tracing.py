"""Traces of calls: spans under the client's `traceparent`, and nothing where no traces are asked for."""

import asyncio
import builtins
import sys

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from intone.proto import speech_pb2
from intone.server.errors import ConfigError
from intone.server.rpc import tracing
from intone.server.rpc.tracing import CallTracing
from intone.server.spans import NO_SPAN, current_span
from tests.support.fakes import Script, ScriptedEngine
from tests.support.live_server import live
from tests.support.rpc_status import failed

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET = "Nobody may read this."
ENDPOINT = "http://collector.invalid:4317"


@pytest.fixture
def spans(monkeypatch):
    """The spans that servers export, with attributes of those whose name is given; in place of an OTLP exporter."""
    exporter = InMemorySpanExporter()
    monkeypatch.setattr(tracing, "_exporter", lambda endpoint: exporter)

    def named(name):
        return [span for span in exporter.get_finished_spans() if span.name == name]

    named.all = exporter.get_finished_spans
    return named


def parent(sampled="01"):
    return (("traceparent", f"00-{TRACE}-{PARENT}-{sampled}"), ("x-request-id", "order-17"))


async def spoken(server, text=SECRET, metadata=()):
    talk = server.open(metadata=metadata)
    await talk.configure()
    await talk.say("u7", text)
    await talk.until("done")
    await talk.half_close()
    await talk.rest()


def test_a_call_and_the_parts_of_its_work_are_spans(run, spans):
    class Staged(ScriptedEngine):
        def step(self, states):
            steps = super().step(states)
            for step in steps:
                step.stage_ms.update({"prefill": 1.0, "vae": 2.0})
            return steps

    async def main():
        async with live(Staged(), traces_endpoint=ENDPOINT) as server:
            await spoken(server, metadata=parent())

    run(main())
    (call,) = spans("intone.v1.SpeechService/StreamSynthesize")
    assert f"{call.context.trace_id:032x}" == TRACE and f"{call.parent.span_id:016x}" == PARENT
    assert call.kind is SpanKind.SERVER and call.resource.attributes["service.name"] == "intone"
    assert call.attributes["intone.call"] == "order-17" and call.attributes["intone.code"] == "OK"
    assert call.attributes["rpc.method"] == "StreamSynthesize"
    found = {}
    for name, over in {
        "utterance": call.name, "unit": "utterance", "text": "unit", "queue": "unit", "engine": "unit",
        "prefill": "engine", "vae": "engine", "first chunk": "unit",
    }.items():  # fmt: skip
        (found[name],) = spans(name)
        (above,) = spans(over)
        assert found[name].parent.span_id == above.context.span_id, name
        assert found[name].start_time <= found[name].end_time
    order = ["text", "queue", "engine"]
    assert [found[name].start_time for name in order] == sorted(found[name].start_time for name in order)
    assert found["queue"].end_time == found["engine"].start_time == found["prefill"].start_time
    assert found["prefill"].end_time == found["vae"].start_time
    assert found["utterance"].attributes["intone.utterance"] == "u7"
    assert found["unit"].attributes["intone.characters"] == len(SECRET)
    steps = found["engine"].attributes["intone.steps"]
    assert steps == -(-len(SECRET) // 4)
    assert found["engine"].attributes["intone.stage.vae_ms"] == 2.0 * steps
    assert len({span.context.trace_id for span in spans.all()}) == 1
    assert not any(SECRET[:10] in str(span.to_json()) for span in spans.all())


def test_what_fails_and_what_is_interrupted_ends_its_spans(run, spans):
    async def main():
        engine = ScriptedEngine(Script(refuse=("Zzz.",), step_s=0.01))
        async with live(engine, traces_endpoint=ENDPOINT) as server:
            await failed(server.speech.Synthesize(speech_pb2.SynthesizeRequest(text="Zzz.")))
            talk = await server.talk()
            await talk.say("long", "words that take their time to be spoken")
            await talk.until("audio")
            await talk.interrupt()
            await talk.until("interrupted")
            await talk.half_close()
            await talk.rest()
            await failed(server.channel.unary_unary("/no.Such/Method")(b""))

    run(main())
    (failing,) = spans("intone.v1.SpeechService/Synthesize")
    assert failing.status.status_code is StatusCode.ERROR
    assert failing.attributes["intone.code"] == "FAILED_PRECONDITION"
    refused, interrupted = spans("utterance")
    assert refused.status.status_code is StatusCode.ERROR and interrupted.status.status_code is StatusCode.UNSET
    assert len(spans("unit")) == len(spans("queue")) == 2 and len(spans("engine")) == 1
    (unknown,) = spans("no.Such/Method")
    assert unknown.status.description == "UNIMPLEMENTED"


def test_a_trace_that_the_client_does_not_sample_is_not_recorded(run, spans):
    async def main():
        async with live(traces_endpoint=ENDPOINT) as server:
            await spoken(server, metadata=parent(sampled="00"))
            await spoken(server, metadata=(("traceparent", "nonsense"),))

    run(main())
    (call,) = spans("intone.v1.SpeechService/StreamSynthesize")
    assert call.parent is None and f"{call.context.trace_id:032x}" != TRACE


def test_without_an_endpoint_nothing_is_imported_or_recorded(run, spans, monkeypatch):
    present = builtins.__import__

    def refused(name, *arguments, **named):
        assert not name.startswith("opentelemetry"), "it is imported"
        return present(name, *arguments, **named)

    async def main():
        async with live() as server:
            monkeypatch.setattr(builtins, "__import__", refused)
            await spoken(server, metadata=parent())
            monkeypatch.setattr(builtins, "__import__", present)

    run(main())
    assert not spans.all()
    assert CallTracing().call("a.B/C", {}, "id") is NO_SPAN is current_span()
    assert NO_SPAN.child("x", 1.0, size=3) is NO_SPAN and NO_SPAN.trace_id == ""


def test_without_the_extra_an_endpoint_is_refused(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    async def main():
        with pytest.raises(ConfigError, match=r"traces_endpoint needs OpenTelemetry: pip install 'intone\[otel\]'"):
            async with live(traces_endpoint=ENDPOINT):
                raise AssertionError("it serves")

    run(main())


def test_a_collector_that_does_not_answer_holds_nothing_up(run, monkeypatch):
    monkeypatch.setattr(tracing, "EXPORT_TIMEOUT_S", 0.2)

    async def main():
        began_s = asyncio.get_running_loop().time()
        async with live(traces_endpoint="http://127.0.0.1:1") as server:
            await spoken(server)
        assert asyncio.get_running_loop().time() - began_s < 10

    run(main())
