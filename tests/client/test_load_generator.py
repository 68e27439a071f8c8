"""The load generator: its statistics, and runs against a scripted server."""

import json
import time
from pathlib import Path

import grpc
import pytest

from intone.client import AsyncSpeechClient
from intone.client.__main__ import main
from intone.client.commands.bench import _without_token
from intone.client.latency import Latency
from intone.client.tools.load_generator import SENTENCES, Distribution, Load, LoadResult, distribution, run_load
from tests.support.scripted_responses import CHUNK_SAMPLES, RATE_HZ, respond
from tests.support.scripted_server import failure_of, scripted_server


def latency(ttfa_ms: float | None, gaps_ms: tuple[float, ...], audio_ms: float, underrun_s: float) -> Latency:
    return Latency(ttfa_ms, None, ttfa_ms, gaps_ms, 0.5, audio_ms, underrun_s, underrun_s <= 0.1)


def test_distribution_has_mean_and_percentiles():
    assert distribution([float(value) for value in range(101)]) == Distribution(50.0, 90.0, 95.0, 99.0)
    assert distribution([3.0]) == Distribution(3.0, 3.0, 3.0, 3.0)
    assert distribution([]) == Distribution(None, None, None, None)


def test_summary_of_a_result():
    latencies = (
        latency(100.0, (10.0, 20.0), 1500.0, 0.0),
        latency(300.0, (30.0,), 2500.0, 0.05),
        latency(None, (), 0.0, 0.0),
        latency(200.0, (), 4000.0, 0.25),
    )
    figures = LoadResult(4.0, latencies, (50.0, 70.0), ("UNAVAILABLE: gone",), (8.0, 12.0)).summary()
    assert (figures["utterances"], figures["errors"], figures["audio_s"], figures["rtfx"]) == (4, 1, 8.0, 2.0)
    assert figures["latency_to_first_audio_ms"]["avg"] == 200.0
    assert figures["latency_to_first_audio_ms"]["p90"] == pytest.approx(280.0, abs=1e-9)
    assert figures["inter_chunk_ms"]["avg"] == 20.0
    assert (figures["server_ttfa_ms"]["avg"], figures["stop_ms"]["avg"]) == (60.0, 10.0)
    assert (figures["underrun_s"], figures["continuity_percent"]) == (pytest.approx(0.3, abs=1e-12), 75.0)
    nothing = LoadResult(0.0, (), (), ()).summary()
    assert (nothing["rtfx"], nothing["continuity_percent"]) == (None, None)


def test_each_stream_speaks_its_texts_in_turn_on_one_conversation(run):
    ticks = []
    load = Load(streams=2, iterations=3, texts=("a", "bad", "c"), warm_up=2)

    async def measured(target: str) -> LoadResult:
        return await run_load(lambda: AsyncSpeechClient(target), load, time.monotonic, lambda: ticks.append(1))

    with scripted_server() as server:  # the second text of the warm-up is rejected
        assert "cannot be spoken" in str(run(failure_of(measured(server.target))))
    load.warm_up = 1
    with scripted_server() as server:
        result = run(measured(server.target))
    assert len(server.calls) == 3  # the warm-up and two conversations
    spoken = sorted([request.text.delta for request in call[1:] if request.text.delta] for call in server.calls)
    assert spoken == [["a"], ["a", "bad", "c"], ["bad", "c", "a"]]
    assert (len(result.latencies), len(result.errors), len(ticks)) == (4, 2, 6)
    assert result.server_ttfa_ms == (12.5,) * 4
    assert all(item.audio_ms == 100 for item in result.latencies)


def test_a_load_of_interruptions_measures_their_answers(run, capsys):
    def script(requests, number, context):
        def unended():
            for request in requests:
                if not request.text.end_of_utterance:  # each is open until it is interrupted
                    yield request

        yield from respond(unended())

    with scripted_server(script) as server:
        command = ["bench", "--iterations", "3", "--warm-up", "0", "--interrupt-after-ms", "20"]
        assert main([*command, "--server", server.target]) == 0
        assert "barge-in to stop" in capsys.readouterr().out
        load = Load(iterations=3, warm_up=0, interrupt_after_ms=20)
        connect = lambda: AsyncSpeechClient(server.target)  # noqa: E731
        result = run(run_load(connect, load, time.monotonic, lambda: None))
    interrupts = [request.interrupt.utterance_ids for request in server.calls[1] if request.HasField("interrupt")]
    assert len(interrupts) == 3 and all(len(ids) == 1 for ids in interrupts)
    assert (len(result.stop_ms), len(result.latencies), result.errors) == (3, 3, ())
    assert all(0 < stop_ms < 5000 for stop_ms in result.stop_ms)
    assert result.latencies[0].audio_ms == 1000 * CHUNK_SAMPLES / RATE_HZ


def test_lost_calls_are_counted_and_another_is_opened(run):
    def script(requests, number, context):
        if number == 1:
            context.abort(grpc.StatusCode.INTERNAL, "broken")
        for response in respond(requests):
            yield response
            if number == 0 and response.HasField("done"):
                context.abort(grpc.StatusCode.INTERNAL, "broken")

    async def measured(target: str) -> LoadResult:
        load = Load(iterations=4, texts=("a", "b"), warm_up=0)
        return await run_load(lambda: AsyncSpeechClient(target), load, time.monotonic, lambda: None)

    with scripted_server(script) as server:
        result = run(measured(server.target))
    # The first call is lost after its first text, the second before any: each costs one text.
    assert (len(server.calls), len(result.latencies)) == (3, 2)
    assert result.errors == ("INTERNAL: broken",) * 2


def test_bench_prints_a_table_and_writes_results_with_their_conditions(capsys, tmp_path: Path):
    path, texts = tmp_path / "bench.json", tmp_path / "texts"
    texts.write_text("One.\n\nTwo.\n")
    with scripted_server(token="t") as server:
        command = ["bench", "--streams", "2", "--iterations", "2", "--text", str(texts), "--json", str(path)]
        assert main([*command, "--token", "t", "--server", server.target]) == 0
    output = capsys.readouterr().out
    for text in ("p90", "p95", "p99", "first sound of the server", "between chunks", "speed", "in 0 of 4"):
        assert text in output
    figures = json.loads(path.read_text())
    assert (figures["utterances"], figures["errors"], figures["audio_s"]) == (4, 0, pytest.approx(0.4, abs=1e-9))
    assert figures["conditions"]["server"]["version"] == "9.9"
    assert {"date", "command", "client_commit", "client_machine", "client_version"} <= figures["conditions"].keys()
    config = server.calls[1][0].config
    assert (config.service_class, config.max_lead_ms) == (1, 600_000)


def test_bench_fails_if_an_utterance_failed(capsys, tmp_path: Path):
    texts = tmp_path / "texts"
    texts.write_text("bad\n")
    with scripted_server() as server:
        command = ["bench", "--warm-up", "0", "--iterations", "1", "--text", str(texts), "--json", "-"]
        assert main([*command, "--server", server.target]) == 1
        assert json.loads(capsys.readouterr().out)["error_messages"] == [
            "INVALID_ARGUMENT: no good (text.delta: cannot be spoken)"
        ]
        texts.write_text("\n")
        assert main([*command, "--server", server.target]) == 2
    with pytest.raises(SystemExit):
        main(["bench", "--streams", "0"])


def test_published_command_lines_hide_the_token():
    assert _without_token(["--token", "a", "--token=b", "x"]) == ["--token", "***", "***", "x"]
    assert len(SENTENCES) == len(set(SENTENCES)) == 10
