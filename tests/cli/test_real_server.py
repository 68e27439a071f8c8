"""The command `intone` against a real server in a process of its own."""

import json
import wave
from pathlib import Path
from typing import Any

import pytest

from intone.client.__main__ import main

pytestmark = pytest.mark.slow

LONG = "This answer goes on and on, from one clause to the next, and nobody on earth would want to wait for its end."
SCRIPT = f"""
[[turn]]
text = "Hello there."
engine = "starter"
[[turn]]
text = "{LONG}"
engine = "starter"
interrupt_after_ms = 400
words_per_second = 0
[[turn]]
text = "All right."
engine = "starter"
"""


@pytest.fixture(autouse=True)
def address(server_address: str, monkeypatch) -> None:
    monkeypatch.setenv("INTONE_SERVER", server_address)


def printed(capsys) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_say_writes_what_the_server_says_it_sent(capsys, tmp_path: Path):
    path = tmp_path / "hello.wav"
    assert main(["say", "Hello there.", "--engine", "starter", "--json", "--out", str(path)]) == 0
    events = printed(capsys)
    assert [event["event"] for event in events if event["event"] != "audio"] == [
        "configured",
        "started",
        "done",
        "report",
    ]
    done, report = events[-2:]
    assert (done["reason"], done["usage"]["characters"]) == ("completed", len("Hello there."))
    with wave.open(str(path)) as file:
        assert file.getnframes() == done["sample_count"]
        assert report["client"]["audio_ms"] == pytest.approx(1000 * file.getnframes() / file.getframerate(), abs=1)


def test_say_for_the_telephone_sends_whole_frames(capsys):
    command = [
        "say",
        "Hello there.",
        "--engine",
        "starter",
        "--rate",
        "8000",
        "--encoding",
        "mulaw",
        "--chunk-ms",
        "20",
    ]
    assert main([*command, "--json"]) == 0
    sizes = [event["bytes"] for event in printed(capsys) if event["event"] == "audio"]
    assert set(sizes[:-1]) == {160} and 0 < sizes[-1] <= 160


def test_chat_interrupts_at_a_position_and_finishes(capsys, tmp_path: Path):
    (tmp_path / "script.toml").write_text(SCRIPT, "utf8")
    assert main(["chat", str(tmp_path / "script.toml"), "--json", "--save", str(tmp_path / "heard.wav")]) == 0
    *events, turns = printed(capsys)
    assert [turn["outcome"] for turn in turns["turns"]] == ["completed", "interrupted", "completed"]
    (interrupted,) = [event for event in events if event["event"] == "interrupted"]
    (cut,) = interrupted["cuts"]
    assert (cut["utterance_id"], cut["source"]) == ("turn-2", "reported")
    assert cut["heard_text"] + cut["unheard_text"] == LONG
    rate_hz = events[0]["format"]["sample_rate_hz"]
    assert abs(1000 * cut["heard_samples"] / rate_hz - turns["turns"][1]["heard_ms"]) <= 20
    assert (events[-1]["event"], events[-1]["error"]) == ("closed", None)
    assert sum(event["event"] == "done" for event in events) == 3


def test_info_and_voices_tell_what_there_is(capsys):
    assert main(["info", "--json"]) == 0
    (info,) = printed(capsys)
    engines = {engine["name"]: engine for engine in info["engines"]}
    steps = next(parameter for parameter in engines["voxcpm"]["parameters"] if parameter["name"] == "steps")
    assert (steps["integer"], steps["min_value"]) == (True, 1)
    assert main(["voices", "list", "--json"]) == 0
    voices = printed(capsys)
    assert voices[0]["name"] == "default" and all(voice["built_in"] for voice in voices)
    assert {support["fidelity"] for support in voices[0]["engines"]} == {"native"}
    assert main(["say", "x", "--voice", "bob"]) == 1
    assert "Voices of this server: default, " in capsys.readouterr().err
    assert main(["say", "x", "--steps", str(2 * steps["max_value"])]) == 1
    assert "engine_parameters[steps]" in capsys.readouterr().err
