"""Clients that share no code with intone, against the real server: grpc-js in Node, connect-go in `buf curl`."""

import base64
import json
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from intone.proto import speech_pb2, speech_pb2_grpc
from tests.support.foreign_clients import FOREIGN, node_environment

BUF = Path(sysconfig.get_path("scripts")) / "buf"

RATE_HZ, MAX_UNIT_MS = 16000, 960
CONFIG = {
    "format": {"encoding": "AUDIO_ENCODING_PCM_S16LE", "sample_rate_hz": RATE_HZ},
    "defaults": {"engine": "voxcpm", "seed": 7, "engine_parameters": {"steps": 4, "max_audio_ms": MAX_UNIT_MS}},
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
    environment = node_environment(require)

    def call(script: str, arguments: dict[str, Any]) -> Any:
        command = ["node", FOREIGN / script, server_address, json.dumps(arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

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
    mine = [event for event in events if event.get("utterance_id") == name and event["event"] != "notice"]
    order = [event["event"] for event in mine]
    assert order == ["started", *["audio"] * (len(order) - 2), "done"] and len(order) > 2
    started, *chunks, done = mine
    route = started["route"]
    assert (route["engine"], route["reason"]) == ("voxcpm", "ROUTE_REASON_PREFERENCE")
    assert started["seed"] == CONFIG["defaults"]["seed"]
    assert done["reason"] == "DONE_REASON_COMPLETED" and done["latency"]["ttfa_ms"] > 0
    audio, spans, spoken = b"", [], 0
    for sequence, chunk in enumerate(chunks):
        assert (chunk["sequence"], chunk["offset_samples"] * 2) == (sequence, len(audio))
        data = bytes.fromhex(chunk["data"])
        assert data and len(data) == 2 * chunk["sample_count"]
        audio += data
        if chunk["text_span"]:
            spans.append((chunk["text_span"]["start"], chunk["text_span"]["end"]))
        if chunk["kind"] == "AUDIO_KIND_SPEECH":
            spoken += len(data)
        else:
            assert chunk["kind"] == "AUDIO_KIND_SILENCE" and not any(data)
    assert "".join(text[start:end] for start, end in spans) == text
    assert 0 < spoken / 2 / RATE_HZ <= len(spans) * MAX_UNIT_MS / 1000
    usage = done["usage"]
    assert usage["unit_count"] == len(spans) > 1 and usage["characters"] == len(text)
    assert done["sample_count"] * 2 == len(audio) and usage["speech_ms"] == pytest.approx(spoken / 32, abs=1)
    return audio


def test_node_receives_the_audio_that_python_receives(node, server_address):
    messages = utterance("u1", PIECES) + utterance("u2", ["Two."])
    answer = node("talk.js", {"config": CONFIG, "messages": utterance("u1", PIECES)})
    assert answer["status"]["code"] == "OK"
    configured, closed = answer["events"][0], answer["events"][-1]
    assert configured["event"] == "configured" and configured["format"].items() >= CONFIG["format"].items()
    assert configured["defaults"]["engine"] == "voxcpm" and len(configured["stream_id"]) == 16
    assert (closed["event"], closed["status"]["code"]) == ("closed", 0)
    audio = check_utterance(answer["events"], "u1", "".join(PIECES))
    assert audio == speak_from_python(server_address, [{"config": CONFIG}, *utterance("u1", PIECES)])
    both = node("talk.js", {"config": CONFIG, "messages": messages})
    order = [event["utterance_id"] for event in both["events"] if event["event"] in {"started", "done"}]
    assert order == ["u1", "u1", "u2", "u2"]
    # Untrained weights always cause a notice.
    assert "NOTICE_CODE_UNTRAINED_WEIGHTS" in {event.get("code") for event in answer["events"]}


def test_node_interrupts_an_utterance_and_cancels_a_call(node):
    answer = node("interrupt.js", {"config": CONFIG, "text": LONG_TEXT, "sample": 640})
    events = answer["barge_in"]["events"]
    assert answer["barge_in"]["status"]["code"] == "OK"
    first = [event for event in events if event.get("utterance_id") == "first" and event["event"] != "notice"]
    assert [event["event"] for event in first if event["event"] != "audio"] == ["started", "done"]
    assert first[-1]["reason"] == "DONE_REASON_INTERRUPTED", "audio of an utterance came after it was interrupted"
    (interrupted,) = [event for event in events if event["event"] == "interrupted"]
    (cut,) = interrupted["cuts"]
    assert (interrupted["interrupt_id"], cut["utterance_id"]) == ("barge-in", "first")
    assert cut["heard_text"] + cut["unheard_text"] == LONG_TEXT
    assert (cut["heard_samples"], cut["source"]) == (640, "HEARD_SOURCE_REPORTED")
    second = [event for event in events if event.get("utterance_id") == "second" and event["event"] == "done"]
    assert [event["reason"] for event in second] == ["DONE_REASON_COMPLETED"]
    assert events[-1]["event"] == "closed"
    assert answer["dropped"] == {"status": answer["dropped"]["status"], "open_stream_count": 0}
    assert answer["dropped"]["status"]["code"] == "CANCELLED"


def test_node_receives_error_details(node):
    answer = node("errors.js", {"config": CONFIG})
    for name, field, reason in [
        ("text_first", "config", "CONFIG_MISSING"),
        ("bad_rate", "config.format.sample_rate_hz", "VALUE_OUT_OF_RANGE"),
        ("bad_steps", "config.defaults.engine_parameters[steps]", "VALUE_OUT_OF_RANGE"),
    ]:
        status, (closed,) = answer[name]["status"], answer[name]["events"]
        assert (status["code"], status["fields"], status["reason"]) == ("INVALID_ARGUMENT", [field], reason), name
        assert field in status["message"]
        told = {key: status[key] for key in ("reason", "metadata", "fields")}
        assert (closed["event"], closed["told"]) == ("closed", told)
    assert "12345" in answer["bad_rate"]["status"]["message"]
    assert answer["bad_steps"]["status"]["metadata"] == {"low": "1", "high": "50"}
    for name, code, reason in [
        ("no_voice", "NOT_FOUND", "VOICE_NOT_FOUND"),
        ("too_long", "INVALID_ARGUMENT", "TEXT_TOO_LONG"),
    ]:
        assert (answer[name]["failure"]["code"], answer[name]["failure"]["reason"]) == (code, reason)


def test_a_stream_of_node_goes_on_after_errors(node):
    inside = node("errors.js", {"config": CONFIG})["inside"]
    assert inside["status"]["code"] == "OK"
    refused = [event for event in inside["events"] if event["event"] == "request_refused"]
    assert [event["told"]["fields"] for event in refused] == [["config"], ["flush.flush_id"]]
    assert [event["told"]["reason"] for event in refused] == ["CONFIG_REPEATED", "TEXT_TOO_LONG"]
    assert [event["request_index"] for event in refused] == [1, 4]
    assert all(event["error"]["code"] != 0 and event["error"]["message"] for event in refused)
    (interrupted,) = [event for event in inside["events"] if event["event"] == "interrupted"]
    assert interrupted["cuts"] == []
    done = {event["utterance_id"]: event for event in inside["events"] if event["event"] == "done"}
    assert (done["bad"]["reason"], done["bad"]["told"]["fields"]) == ("DONE_REASON_REJECTED", ["text.delta"])
    assert "U+0007" in done["bad"]["error"]["message"] and done["bad"]["told"]["reason"] == "TEXT_INVALID"
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
    assert "configured" in answers[0] and answers[-1]["closed"]["status"] == {}
    assert answers[-2]["done"]["reason"] == "DONE_REASON_COMPLETED"
    audio = b"".join(base64.b64decode(answer["audio"]["data"]) for answer in answers if "audio" in answer)
    assert audio and audio == speak_from_python(server_address, messages)
