"""The command `intone` against a scripted server: console output, files, exit codes."""

import functools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import wave
from pathlib import Path

import numpy as np
import pytest
from google.rpc import code_pb2

from intone.client.__main__ import main
from intone.client.commands import audio_outputs
from intone.client.playback import Player
from tests.support.scripted_responses import varied_utterance
from tests.support.scripted_server import (
    CHUNK_SAMPLES,
    RATE_HZ,
    abort,
    audio,
    done,
    refusal,
    respond,
    scripted_server,
    started,
)

COMMANDS = [
    [],
    ["say"],
    ["chat"],
    ["voices"],
    ["voices", "list"],
    ["voices", "show"],
    ["voices", "create"],
    ["voices", "delete"],
    ["voices", "fillers"],
    ["emotion"],
    ["read"],
    ["info"],
    ["bench"],
]


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_say_writes_a_wav_file_and_prints_events_and_the_report(capsys, tmp_path: Path):
    path = tmp_path / "hello.wav"
    with scripted_server() as server:
        assert main(["say", "Hello", "there.", "--out", str(path), "--server", server.target]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    for text in ("started", "plain talk", "first speech from starter", "completed", "TTFA", "lm", "vae"):
        assert text in captured.err
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnframes()) == (RATE_HZ, CHUNK_SAMPLES)
    assert server.calls[0][1].text.delta == "Hello there."


def test_say_prints_fillers_pauses_emotions_and_rerouting(capsys):
    def script(requests, number, context):
        next(requests)
        yield from varied_utterance("say")

    with scripted_server(script) as server:
        assert main(["say", "Hello.", "--filler", "eager", "--server", server.target]) == 0
    output = capsys.readouterr().err
    expected = [
        "started",
        "filler",
        "“Hmm”",
        "first speech",
        "pause",
        "200 ms",
        "rerouted",
        "from character 7 on indextts",
    ]
    expected += ["happy 0.75, analyzed from the text: “great”", "read by keywords [emotion_approximated]", "done"]
    expected += ["12 ms, predicted 150 ms, covered 100 ms", "TTFA, predicted", "wait covered"]
    positions = [output.find(text) for text in expected]
    assert -1 not in positions and positions == sorted(positions), list(zip(expected, positions, strict=True))
    assert server.calls[0][0].config.filler == 3


def test_say_json_prints_events_then_the_report(capsys):
    with scripted_server() as server:
        assert main(["say", "Hello.", "--json", "--server", server.target]) == 0
    captured = capsys.readouterr()
    printed = lines(captured.out)
    assert [event["event"] for event in printed] == ["started", "audio", "done", "report"]
    assert (printed[1]["bytes"], printed[1]["encoding"], printed[1]["text_span"]) == (
        2 * CHUNK_SAMPLES,
        "pcm_s16le",
        [0, 1],
    )
    assert printed[3]["server"]["ttfa_ms"] == 12.5
    assert printed[3]["client"]["ttfa_ms"] > 0
    assert captured.err == ""


def test_say_sends_the_settings_of_its_flags(capsys):
    options = "--voice ada --engine voxcpm --steps 4 --guidance 1.5 --seed 9 --rate 8000 --encoding mulaw --buffered"
    with scripted_server() as server:
        command = ["say", "x", *options.split(), "--no-filler", "--emotion", "1,0,0,0,0,0,0,0.5", "--json"]
        assert main([*command, "--server", server.target]) == 0
    config = server.calls[0][0].config
    assert (config.voice, config.engine, config.delivery, config.filler) == ("ada", "voxcpm", 2, 2)
    assert (config.options.steps, config.options.guidance, config.options.seed) == (4, 1.5, 9)
    assert (config.format.sample_rate_hz, config.format.encoding) == (8000, 3)
    assert list(config.emotion.vector.weights) == [1, 0, 0, 0, 0, 0, 0, 0.5]
    assert config.lead_limit_ms == 600_000


def test_say_writes_raw_samples_to_standard_output(capfdbinary):
    with scripted_server() as server:
        assert main(["say", "Hello.", "--out", "-", "--server", server.target]) == 0
    assert capfdbinary.readouterr().out == np.full(CHUNK_SAMPLES, 0.5 * 32767, "<i2").tobytes()


def test_standard_input_is_sent_as_it_arrives(capsys, monkeypatch):
    first_received = threading.Event()

    def script(requests, number, context):
        def recorded():
            for request in requests:
                yield request
                if request.text.delta:
                    first_received.set()

        yield from respond(recorded())

    read_end, write_end = os.pipe()

    def write() -> None:
        with os.fdopen(write_end, "wb", buffering=0) as pipe:
            pipe.write("Häl".encode()[:2])  # ends in the middle of a character
            assert first_received.wait(60)  # the rest is written after the server has received the beginning
            pipe.write("Häl".encode()[2:] + b"lo.")

    writer = threading.Thread(target=write)
    with scripted_server(script) as server, os.fdopen(read_end, "r") as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        writer.start()
        assert main(["say", "-", "--json", "--server", server.target]) == 0
        writer.join()
    assert [request.text.delta for request in server.calls[0][1:]] == ["H", "ällo.", ""]


def test_say_reports_playback_progress_while_it_plays(capsys, monkeypatch):
    miniaudio = pytest.importorskip("miniaudio")
    monkeypatch.setattr(audio_outputs, "Player", functools.partial(Player, backends=[miniaudio.Backend.NULL]))

    def script(requests, number, context):
        next(requests)
        yield started("say")
        for sequence in range(6):
            yield audio("say", sequence)
        if any(request.HasField("progress") for request in requests):
            yield done("say")

    with scripted_server(script) as server:
        assert main(["say", "Hello.", "--play", "--server", server.target]) == 0
    config = server.calls[0][0].config
    assert not config.HasField("lead_limit_ms")
    reports = [request.progress.played_ms for request in server.calls[0] if request.HasField("progress")]
    assert reports and 0 < reports[0] <= 600


def test_ctrl_c_cancels_the_utterance(capsys):
    def script(requests, number, context):
        def recorded():
            for request in requests:
                yield request
                if request.text.end_of_utterance:
                    os.kill(os.getpid(), signal.SIGINT)

        for response in respond(recorded()):
            if not response.HasField("done"):
                yield response

    with scripted_server(script) as server:
        assert main(["say", "A long story.", "--server", server.target]) == 130
    assert server.calls[0][-1].cancel.utterance_id == "say"
    assert "interrupted" in capsys.readouterr().err


def test_ctrl_c_ends_the_program_while_it_waits_for_its_input():
    process_ids: queue.Queue[int] = queue.Queue()

    def script(requests, number, context):
        def recorded():
            for request in requests:
                yield request
                if request.text.delta:
                    os.kill(process_ids.get(timeout=60), signal.SIGINT)

        yield from respond(recorded())

    with scripted_server(script) as server:
        command = [sys.executable, "-m", "intone.client", "say", "-", "--server", server.target]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            process.stdin.write("This pipe stays open. ")
            process.stdin.flush()
            process_ids.put(process.pid)
            assert process.wait(60) == 130
            assert "Fatal" not in process.stderr.read()


def test_errors_are_printed_with_a_hint(capsys):
    def refuse(requests, number, context):
        next(requests)
        abort(context, refusal("config.options.steps", "1 to 100", code_pb2.INVALID_ARGUMENT, retry_s=2))
        yield

    with scripted_server(refuse) as server:
        assert main(["say", "Hello.", "--steps", "0", "--server", server.target]) == 1
        output = capsys.readouterr().err
        assert "INVALID_ARGUMENT: no good" in output
        assert "config.options.steps: 1 to 100" in output
        assert "Try again in 2.0 s" in output
    assert main(["info", "--server", server.target]) == 3
    assert "intone-server" in capsys.readouterr().err
    with scripted_server() as server:
        assert main(["say", "bad", "--server", server.target]) == 1
        assert "text.delta: cannot be spoken" in capsys.readouterr().err
        assert main(["say", "x", "--out", "/nowhere/at/all.wav", "--server", server.target]) == 1
        assert "/nowhere/at/all.wav" in capsys.readouterr().err
        assert main(["say", "x", "--json", "--out", "-", "--server", server.target]) == 2
    with pytest.raises(SystemExit) as wrong:
        main(["say", "x", "--emotion", "cheerful"])
    assert wrong.value.code == 2
    assert "happy, angry, sad" in capsys.readouterr().err


def test_server_and_token_are_read_from_the_environment(capsys, monkeypatch):
    with scripted_server(token="secret") as server:
        monkeypatch.setenv("INTONE_SERVER", server.target)
        assert main(["info"]) == 1
        assert "INTONE_TOKEN" in capsys.readouterr().err
        monkeypatch.setenv("INTONE_TOKEN", "secret")
        assert main(["info", "--json"]) == 0
    assert lines(capsys.readouterr().out)[0]["version"] == "9.9"


def test_info_prints_engines_and_limits(capsys):
    with scripted_server() as server:
        assert main(["info", "--server", server.target]) == 0
    output = capsys.readouterr().out
    for text in ("9.9", "starter", "tones", f"{RATE_HZ} Hz", "untrained", "max_streams", "45 ms", "lexicon"):
        assert text in output


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_says_what_the_command_does_and_gives_an_example(command: list[str], capsys):
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    output = capsys.readouterr().out
    usage, _, rest = output.partition("\n\n")
    assert usage.startswith(f"usage: {' '.join(['intone', *command])} ")
    assert rest[0].isupper() and rest.split("\n\n")[0].rstrip().endswith(".")  # the description, a sentence
    assert "example" in rest and f"intone {' '.join(command)}" in rest
