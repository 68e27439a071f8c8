"""Clients that share no code with intone, against the real server: grpc-js in Node, connect-go in `buf curl`."""

import base64
import json
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from intone.proto import speech_pb2, speech_pb2_grpc

ROOT = Path(__file__).resolve().parents[2]
FOREIGN = ROOT / "tests" / "foreign"
NODE_HOME = ROOT / "build" / "foreign"  # kept between runs
BUF = Path(sysconfig.get_path("scripts")) / "buf"

RATE_HZ, MAX_UNIT_MS = 16000, 960
CONFIG = {
    "format": {"encoding": "AUDIO_ENCODING_PCM_S16LE", "sample_rate_hz": RATE_HZ},
    "engine": "voxcpm",
    "options": {"seed": 7, "steps": 4, "max_audio_ms": MAX_UNIT_MS},
}
PIECES = ["The rain ", "has stop", "ped at last. ", "Let us ", "go out for a walk."]
LONG_TEXT = "Here is a sentence that takes a while to speak. " * 8


def utterance(name: str, pieces: list[str]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [{"text": {"utterance_id": name, "delta": piece}} for piece in pieces]
    messages[-1]["text"]["end_of_utterance"] = True
    return messages


@pytest.fixture(scope="module")
def node(require, server_address):
    """`node(script, arguments)`: the output of the script, parsed as JSON."""
    program = require("node", shutil.which("node") and shutil.which("npm"), "node and npm are not installed")
    wanted = (FOREIGN / "package-lock.json").read_bytes()
    done = NODE_HOME / "node_modules" / ".package-lock.json"
    lock = NODE_HOME / "package-lock.json"
    if not (done.exists() and lock.exists() and lock.read_bytes() == wanted):
        NODE_HOME.mkdir(parents=True, exist_ok=True)
        shutil.copy(FOREIGN / "package.json", NODE_HOME)
        lock.write_bytes(wanted)
        npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        installed = subprocess.run(npm, cwd=NODE_HOME, capture_output=True, text=True, timeout=300)
        require("node", installed.returncode == 0, f"npm ci failed: {installed.stderr[-500:]}")

    def call(script: str, arguments: dict[str, Any]) -> Any:
        done = subprocess.run(
            ["node", FOREIGN / script, server_address, json.dumps(arguments)],
            env={**os.environ, "NODE_PATH": str(NODE_HOME / "node_modules")},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert program
    return call


@pytest.fixture
def buf_curl(server_address):
    """`buf_curl(path, *arguments, messages=…)`: the output of `buf curl`."""

    def call(path: str, *arguments: str, messages: list[dict[str, Any]] | None = None) -> str:
        given = [] if messages is None else ["--data", "@-"]
        done = subprocess.run(
            [
                BUF,
                "curl",
                "--protocol",
                "grpc",
                "--http2-prior-knowledge",
                *arguments,
                *given,
                f"http://{server_address}{path}",
            ],
            input="\n".join(json.dumps(message) for message in messages or []),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def json_values(text: str) -> list[Any]:
    """Concatenated JSON values."""
    decoder, values, at = json.JSONDecoder(), [], 0
    while at < len(text.rstrip()):
        value, at = decoder.raw_decode(text, at)
        values.append(value)
        at += len(text[at:]) - len(text[at:].lstrip())
    return values


def speak_from_python(address: str, messages: list[dict[str, Any]]) -> bytes:
    """The audio of a stream through the Python stubs."""
    requests = [json_format.ParseDict(message, speech_pb2.StreamSynthesizeRequest()) for message in messages]
    with grpc.insecure_channel(address) as channel:
        answers = list(speech_pb2_grpc.SpeechServiceStub(channel).StreamSynthesize(iter(requests), timeout=60))
    return b"".join(answer.audio.data for answer in answers)


def check_utterance(events: list[dict[str, Any]], name: str, text: str) -> bytes:
    """Check order and contents of the events of one completed utterance; return its audio."""
    mine = [event for event in events if event.get("utterance_id") == name and event["event"] != "warning"]
    order = [event["event"] for event in mine]
    assert order == ["started", *["audio"] * (len(order) - 2), "done"] and len(order) > 2
    started, *chunks, done = mine
    assert (started["engine"], started["route_reason"]) == ("voxcpm", "ROUTE_REASON_PREFERENCE")
    assert started["format"] == CONFIG["format"] and started["seed"] == CONFIG["options"]["seed"]
    assert done["reason"] == "DONE_REASON_COMPLETED" and done["report"]["ttfa_ms"] > 0
    audio, spans, spoken = b"", [], 0
    for sequence, chunk in enumerate(chunks):
        assert (chunk["sequence"], chunk["offset_samples"] * 2) == (sequence, len(audio))
        data = bytes.fromhex(chunk["data"])
        assert data and len(data) % 2 == 0
        audio += data
        if chunk["kind"] == "AUDIO_KIND_SPEECH":
            spans.append((chunk["text_span"]["start"], chunk["text_span"]["end"]))
            spoken += len(data)
        else:
            assert chunk["kind"] == "AUDIO_KIND_SILENCE" and not any(data)
    assert spans == sorted(spans) and spans[0][0] == 0 and spans[-1][1] == len(text)
    assert 0 < spoken / 2 / RATE_HZ <= len(set(spans)) * MAX_UNIT_MS / 1000
    assert done["report"]["units"] == len(set(spans)) > 1
    return audio


def test_node_receives_the_audio_that_python_receives(node, server_address):
    messages = utterance("u1", PIECES) + utterance("u2", ["Two."])
    answer = node("talk.js", {"config": CONFIG, "messages": utterance("u1", PIECES)})
    assert answer["status"]["code"] == "OK"
    audio = check_utterance(answer["events"], "u1", "".join(PIECES))
    assert audio == speak_from_python(server_address, [{"config": CONFIG}, *utterance("u1", PIECES)])
    both = node("talk.js", {"config": CONFIG, "messages": messages})
    order = [event["utterance_id"] for event in both["events"] if event["event"] in {"started", "done"}]
    assert order == ["u1", "u1", "u2", "u2"]
    # Untrained weights always cause a warning.
    assert "WARNING_CODE_UNTRAINED_WEIGHTS" in {event.get("code") for event in answer["events"]}


def test_node_cancels_an_utterance_and_a_call(node):
    answer = node("cancel.js", {"config": CONFIG, "text": LONG_TEXT, "played_ms": 40})
    events = answer["barge_in"]["events"]
    assert answer["barge_in"]["status"]["code"] == "OK"
    first = [event for event in events if event.get("utterance_id") == "first" and event["event"] != "warning"]
    assert [event["event"] for event in first if event["event"] != "audio"] == ["started", "interrupted"]
    assert first[-1]["event"] == "interrupted", "audio of an utterance came after it was interrupted"
    assert first[-1]["heard_text"] + first[-1]["unheard_text"] == LONG_TEXT
    assert first[-1]["heard_ms"] == 40
    second = [event for event in events if event.get("utterance_id") == "second" and event["event"] == "done"]
    assert [event["reason"] for event in second] == ["DONE_REASON_COMPLETED"]
    assert answer["dropped"] == {"status": answer["dropped"]["status"], "open_streams": 0}
    assert answer["dropped"]["status"]["code"] == "CANCELLED"


def test_node_receives_error_details(node):
    answer = node("errors.js", {"config": CONFIG})
    for name, field in [
        ("text_first", "config"),
        ("bad_rate", "config.format.sample_rate_hz"),
        ("bad_steps", "config.options.steps"),
    ]:
        assert (answer[name]["code"], answer[name]["fields"]) == ("INVALID_ARGUMENT", [field]), name
        assert field in answer[name]["message"]
    assert "12345" in answer["bad_rate"]["message"]
    assert answer["no_voice"]["failure"]["code"] == "NOT_FOUND"
    assert answer["too_long"]["failure"]["code"] == "INVALID_ARGUMENT"


def test_a_stream_of_node_goes_on_after_errors(node):
    inside = node("errors.js", {"config": CONFIG})["inside"]
    assert inside["status"]["code"] == "OK"
    errors = [event for event in inside["events"] if event["event"] == "error"]
    assert [event["fields"] for event in errors] == [["config"], ["cancel.utterance_id"]]
    assert all(event["status"]["code"] != 0 and event["status"]["message"] for event in errors)
    done = {event["utterance_id"]: event for event in inside["events"] if event["event"] == "done"}
    assert (done["bad"]["reason"], done["bad"]["fields"]) == ("DONE_REASON_REJECTED", ["text.delta"])
    assert "U+0007" in done["bad"]["error"]["message"]
    assert done["good"]["reason"] == "DONE_REASON_COMPLETED"


def test_buf_curl_finds_everything_by_reflection(buf_curl):
    assert set(buf_curl("", "--list-services").split()) == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "intone.v1.SpeechService",
        "intone.v1.VoiceService",
    }
    methods = [method.name for method in speech_pb2.DESCRIPTOR.services_by_name["SpeechService"].methods]
    listed = buf_curl("", "--list-methods").split()
    assert {f"intone.v1.SpeechService/{method}" for method in methods} <= set(listed)


def test_buf_curl_checks_health(buf_curl):
    for service in ("", "intone.v1.SpeechService"):
        (answer,) = json_values(buf_curl("/grpc.health.v1.Health/Check", messages=[{"service": service}]))
        assert answer == {"status": "SERVING"}


def test_buf_curl_talks(buf_curl, server_address):
    messages = [{"config": CONFIG}, *utterance("u1", PIECES)]
    answers = json_values(buf_curl("/intone.v1.SpeechService/StreamSynthesize", messages=messages))
    assert answers[-1]["done"]["reason"] == "DONE_REASON_COMPLETED"
    audio = b"".join(base64.b64decode(answer["audio"]["data"]) for answer in answers if "audio" in answer)
    assert audio and audio == speak_from_python(server_address, messages)
