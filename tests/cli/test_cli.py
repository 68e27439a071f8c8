"""The command `intone` against a scripted server: console output, files, exit codes."""

import functools
import json
import os
import queue
import re
import shlex
import signal
import subprocess
import sys
import threading
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from intone.client.__main__ import main
from intone.client.commands import audio_outputs
from intone.client.commands.info import _plain_speech
from intone.client.playback import Player
from intone.client.server_info import EngineInfo
from tests.support.scripted_responses import (
    CHUNK_SAMPLES,
    RATE_HZ,
    Response,
    audio,
    closed,
    configured,
    done,
    refusal,
    respond,
    started,
    varied_utterance,
)
from tests.support.scripted_server import scripted_server

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
    for text in (
        "started",
        "plain talk",
        "first speech from starter",
        "completed",
        "first sound of the server",
        "language model",
    ):
        assert text in captured.err
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnframes()) == (RATE_HZ, CHUNK_SAMPLES)
    assert f"wrote {path}" in captured.err
    assert [request.text.delta for request in server.calls[0][1:]] == ["Hello there.", ""]


def test_say_prints_fillers_pauses_emotions_and_rerouting(capsys):
    def script(requests, number, context):
        next(requests)
        yield configured()
        yield from varied_utterance("say")

    with scripted_server(script) as server:
        assert main(["say", "Hello.", "--filler", "eager", "--server", server.target]) == 0
    output = capsys.readouterr().err
    expected = [
        "configured",
        f"pcm_s16le, {RATE_HZ} Hz",
        "started",
        "filler",
        "“Hmm”",
        "first speech from starter",
        "pause",
        "200 ms",
        "rerouted",
        "from character 7 on indextts",
    ]
    expected += ["happy 0.75, analyzed from the text: “great”", "read by keywords [emotion_approximated]", "done"]
    expected += ["first sound of the server 12 ms, predicted 150 ms, 100 ms of it covered by a filler"]
    expected += ["first sound of the server", "predicted 150 ms", "wait for the text", "first filler received"]
    positions = [output.find(text) for text in expected]
    assert -1 not in positions and positions == sorted(positions), list(zip(expected, positions, strict=True))
    config = server.calls[0][0].config
    assert (config.defaults.filler, config.service_class, config.max_lead_ms) == (3, 1, 600_000)


def test_say_json_prints_events_then_the_report(capsys):
    with scripted_server() as server:
        assert main(["say", "Hello.", "--json", "--server", server.target]) == 0
    captured = capsys.readouterr()
    printed = lines(captured.out)
    assert [event["event"] for event in printed] == ["configured", "started", "audio", "done", "report"]
    assert printed[0]["format"]["sample_rate_hz"] == RATE_HZ
    assert printed[1]["route"] == {"engine": "starter", "reason": "plain", "explanation": "plain talk"}
    assert (printed[2]["bytes"], printed[2]["text_span"]) == (2 * CHUNK_SAMPLES, {"start": 0, "end": 6})
    assert (printed[4]["server"]["ttfa_ms"], printed[4]["usage"]["speech_ms"]) == (12.5, 100)
    assert printed[4]["client"]["ttfa_ms"] > 0
    assert captured.err == ""


def test_say_sends_the_settings_of_its_flags(capsys):
    flags = "--voice ada --engine voxcpm --steps 4 --parameter guidance=1.5 --seed 9 --rate 8000 --encoding mulaw"
    flags += " --buffered --chunk-ms 20 --filler off --emotion 1,0,0,0,0,0,0,0.5 --language en-GB --text-format plain"
    flags += " --volume -6 --speed 1.5 --no-normalize --live --pronounce gif=jiff --pronounce tomato=/təˈmɑːtəʊ/"
    with scripted_server() as server:
        command = ["say", "x", *flags.split(), "--pronounce", "重庆=pinyin:chong2 qing4", "--json"]
        assert main([*command, "--server", server.target]) == 0
    config = server.calls[0][0].config
    speech = config.defaults
    assert (speech.voice, speech.engine, speech.language) == ("ada", "voxcpm", "en-GB")
    assert (speech.text_format, speech.filler, speech.normalization) == (1, 2, 2)
    assert (speech.volume_db, speech.speed, speech.seed) == (-6, 1.5, 9)
    assert dict(speech.engine_parameters) == {"steps": 4, "guidance": 1.5}
    assert (speech.emotion.weights.happy, speech.emotion.weights.calm) == (1, 0.5)
    sounds = [(entry.word, entry.WhichOneof("sounds")) for entry in speech.pronunciations]
    assert sounds == [("gif", "spoken_as"), ("tomato", "ipa"), ("重庆", "pinyin")]
    assert (speech.pronunciations[1].ipa, speech.pronunciations[2].pinyin) == ("təˈmɑːtəʊ", "chong2 qing4")
    assert (config.format.sample_rate_hz, config.format.encoding, config.chunk_ms) == (8000, 3, 20)
    assert (config.delivery, config.service_class, config.max_lead_ms) == (2, 1, 600_000)


def test_say_without_a_listener_is_offline(capsys):
    with scripted_server() as server:
        assert main(["say", "x", "--server", server.target]) == 0
        assert main(["say", "x", "--offline", "--filler", "auto", "--server", server.target]) == 0
    for call in server.calls:
        assert (call[0].config.service_class, call[0].config.HasField("max_lead_ms")) == (2, False)
    assert "was not saved" in capsys.readouterr().err


def test_a_recording_is_uploaded_and_its_emotion_followed(capsys, tmp_path: Path):
    clip = tmp_path / "clip.wav"
    clip.write_bytes(b"RIFF")
    with scripted_server() as server:
        assert main(["say", "x", "--emotion", f"@{clip}", "--json", "--server", server.target]) == 0
        assert main(["say", "x", "--emotion", "relieved:0.7", "--json", "--server", server.target]) == 0
    assert server.clips == [b"RIFF"]
    assert server.calls[0][0].config.defaults.emotion.clip_id
    emotion = server.calls[1][0].config.defaults.emotion
    assert (emotion.label, emotion.intensity) == ("relieved", pytest.approx(0.7))


def test_say_writes_raw_samples_to_standard_output(capfdbinary):
    with scripted_server() as server:
        assert main(["say", "Hello.", "--out", "-", "--server", server.target]) == 0
    assert capfdbinary.readouterr().out == np.full(CHUNK_SAMPLES, 0.5 * 32767, "<i2").tobytes()


def test_the_example_for_a_pipe_plays_at_the_right_rate(capfdbinary):
    with pytest.raises(SystemExit):
        main(["say", "--help"])
    (example,) = re.findall(r"intone (say .*) \| aplay -f S16_LE -r (\d+)", capfdbinary.readouterr().out.decode())
    with scripted_server() as server:
        assert main([*shlex.split(example[0]), "--server", server.target]) == 0
    asked = server.calls[0][0].config.format
    assert (asked.sample_rate_hz, asked.encoding) == (int(example[1]), 1), "16 bits"


def test_say_writes_a_wav_file_to_a_pipe(capsys, tmp_path: Path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with ThreadPoolExecutor(1) as pool, scripted_server() as server:
        read = pool.submit(path.read_bytes)
        assert main(["say", "Hello.", "--out", str(path), "--server", server.target]) == 0
        written = read.result(10)
    assert written.startswith(b"RIFF") and len(written) == 44 + 2 * CHUNK_SAMPLES


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


def test_say_reports_the_position_while_it_plays(capsys, monkeypatch):
    miniaudio = pytest.importorskip("miniaudio")
    monkeypatch.setattr(audio_outputs, "Player", functools.partial(Player, backends=[miniaudio.Backend.NULL]))

    def script(requests, number, context):
        next(requests)
        yield configured()
        yield started("say")
        for sequence in range(6):
            yield audio("say", sequence)
        if any(request.HasField("playback") for request in requests):
            yield done("say")

    with scripted_server(script) as server:
        assert main(["say", "Hello.", "--play", "--server", server.target]) == 0
    config = server.calls[0][0].config
    assert (config.service_class, config.HasField("max_lead_ms")) == (1, False)
    reports = [request.playback.played for request in server.calls[0] if request.HasField("playback")]
    assert reports[0].utterance_id == "say" and 0 < reports[0].sample <= 6 * CHUNK_SAMPLES


def test_ctrl_c_interrupts_the_utterance(capsys):
    def script(requests, number, context):
        def recorded():
            for request in requests:
                if not request.text.end_of_utterance:  # it is still open when it is interrupted
                    yield request
                else:
                    os.kill(os.getpid(), signal.SIGINT)

        yield from respond(recorded())

    with scripted_server(script) as server:
        assert main(["say", "A long story.", "--server", server.target]) == 130
    assert server.calls[0][-1].interrupt.utterance_ids == ["say"]
    assert "after 0.10 s (estimated); not heard: 'long story.'" in capsys.readouterr().err


def test_events_about_the_stream_are_printed(capsys):
    refused = refusal("text.delta", "is too long")

    def script(requests, number, context):
        next(requests)
        yield configured()
        yield Response(going_away={"grace_ms": 30_000})
        yield Response(request_refused={"request_index": 1, "error": refused})
        yield Response(interrupted={"interrupt_id": "?"})
        yield Response(timing={"utterance_id": "say", "words": [{"spoken": "hello"}], "final": True, "source": 2})
        yield done("say")
        yield closed()

    with scripted_server(script) as server:
        assert main(["say", "Hello.", "--server", server.target]) == 0
    output = capsys.readouterr().err
    for text in ("shuts down, in 30 s at the latest", "is too long", "nothing was left", "1 words, aligned, final"):
        assert text in output


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


def test_info_prints_engines_and_limits(capsys):
    with scripted_server() as server:
        assert main(["info", "--server", server.target]) == 0
    output = capsys.readouterr().out
    for text in (
        "9.9",
        "plain speech: en by starter",
        "tones",
        f"{RATE_HZ} Hz",
        "steps",
        "1 to 100",
        "max_streams",
        "max_lead_ms",
        "45 ms",
        "lexicon",
        "cuda:0, bf16, 54 graphs, 3.1 GB",
    ):
        assert text in output


def test_info_says_who_speaks_which_language():
    def engine(name: str, *languages: str, trained: bool = True) -> EngineInfo:
        return EngineInfo(name, "", 24_000, languages, trained, False, False, True, "cpu", False, None, 0, ())

    small, both, noise = engine("small", "en"), engine("both", "en", "zh"), engine("noise", "en", "zh", trained=False)
    assert _plain_speech([small, noise, both]) == "en by small, zh by both"
    assert _plain_speech([both, small]) == "en by both, zh by both"
    assert _plain_speech([noise, both]) == "en by noise, zh by noise"


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
