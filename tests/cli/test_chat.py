"""`intone chat` against a scripted server over gRPC: requests, console output, WAV file and picture."""

import functools
import json
import wave
from pathlib import Path

import numpy as np
import pytest

from intone.client.__main__ import main
from intone.client.playback import Player
from intone.client.tools import chat
from intone.client.tools.script import parse_script
from tests.support.scripted_responses import RATE_HZ, closed, configured, varied_utterance
from tests.support.scripted_server import default_script, scripted_server

SCRIPT = """
title = "It costs $5 and $6"
words_per_second = 50
[[turn]]
text = "Hello there."
emotion = "happy:0.5"
[[turn]]
text = "A long answer that goes on and on, with many more words than anybody wants to hear, until the user barges in."
pause_ms = 50
interrupt_after_ms = 150
[[turn]]
text = "二"
language = "zh"
[[turn]]
text = "Fine, 好的."
engine_parameters = { steps = 3 }
think_ms = 100
cover_after_ms = 50
"""


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "script.toml"
    path.write_text(SCRIPT, "utf8")
    return str(path)


def test_chat_prints_saves_and_draws_the_conversation(script, tmp_path: Path, capsys):
    image = pytest.importorskip("matplotlib.image")
    files = ["--save", str(tmp_path / "a.wav"), "--picture", str(tmp_path / "a.png")]
    with scripted_server() as server:
        assert main(["chat", script, *files, "--server", server.target]) == 0
    captured = capsys.readouterr()
    for text in ("the server's first sound", "neutral", "✂ barge-in", "skipped", "Fine", "3 turns in", "barge-ins: 1"):
        assert text in captured.out + captured.err, text
    requests = server.calls[0]
    (interrupt,) = (request.interrupt for request in requests if request.HasField("interrupt"))
    assert (interrupt.utterance_ids, interrupt.played.utterance_id) == (["turn-2"], "turn-2")
    heard_ms = 1000 * interrupt.played.sample / RATE_HZ
    assert 150 <= heard_ms <= 2000
    after = requests[[request.HasField("interrupt") for request in requests].index(True) + 1 :]
    texts = [request.text for request in after if request.HasField("text")]
    assert [text.delta for text in texts] == ["Fine,", " 好的.", ""]
    starts = [request.start for request in requests if request.HasField("start")]
    assert [start.utterance_id for start in starts] == ["turn-1", "turn-2", "turn-4"]
    assert (starts[0].settings.emotion.label, starts[0].settings.emotion.intensity) == ("happy", 0.5)
    assert (starts[2].settings.engine_parameters["steps"], starts[2].cover_after_ms) == (3, 50)
    assert requests[-1].HasField("finish")
    with wave.open(str(tmp_path / "a.wav")) as file:
        samples = np.frombuffer(file.readframes(10 * RATE_HZ), "<i2")
    assert set(np.unique(samples)) == {0, int(0.5 * 32767)}
    assert abs(1000 * (samples != 0).sum() / RATE_HZ - (200 + heard_ms + 200)) <= 2
    drawn = image.imread(str(tmp_path / "a.png"))
    assert drawn.shape[1] == 1800 and 500 <= drawn.shape[0] <= 1200
    assert np.ptp(drawn[:, :, :3].mean(axis=2), axis=1).max() > 0.5  # not blank


def test_chat_measures_fillers_emotions_and_rerouting(tmp_path: Path, capsys):
    def script(requests, number, context):
        next(requests)
        yield configured()
        for request in requests:
            if request.text.end_of_utterance:
                yield from varied_utterance(request.text.utterance_id)
            if request.HasField("finish"):
                yield closed()
                return

    (tmp_path / "one.toml").write_text("[[turn]]\ntext = 'Great!'\nwords_per_second = 0\n", "utf8")
    command = ["chat", str(tmp_path / "one.toml"), "--filler", "eager", "--json"]
    with scripted_server(script) as server:
        assert main([*command, "--server", server.target]) == 0
    assert server.calls[0][0].config.defaults.filler == 3
    (turn,) = json.loads(capsys.readouterr().out.splitlines()[-1])["turns"]
    assert (turn["engines"], turn["emotion"], turn["fillers"]) == (["starter", "indextts"], "happy 0.75", ["Hmm"])
    assert turn["covered_ms"] == pytest.approx(100, abs=1e-6)
    assert turn["first_word_ms"] - turn["first_sound_ms"] >= 100 - 1e-6


def test_chat_plays_on_a_sound_device(script, monkeypatch, capsys):
    miniaudio = pytest.importorskip("miniaudio")
    monkeypatch.setattr(chat, "Player", functools.partial(Player, backends=[miniaudio.Backend.NULL]))
    with scripted_server() as server:
        assert main(["chat", script, "--play", "--json", "--server", server.target]) == 0
    (played,) = (request.interrupt.played for request in server.calls[0] if request.HasField("interrupt"))
    assert played.utterance_id == "turn-2" and 0 < played.sample <= 2 * RATE_HZ
    outcomes = [turn["outcome"] for turn in json.loads(capsys.readouterr().out.splitlines()[-1])["turns"]]
    assert outcomes == ["completed", "interrupted", "skipped", "completed"]


def test_errors_are_printed_and_set_the_exit_code(script, tmp_path: Path, capsys):
    (tmp_path / "bad.toml").write_text("[[turn]]\ntext = 'bad'\nwords_per_second = 0\n", "utf8")
    (tmp_path / "wrong.toml").write_text("[[turn]]\nwords = 'bad'\n", "utf8")

    def closes(requests, number, context):
        yield from (response for response, _ in zip(default_script(requests, number, context), range(4), strict=False))

    with scripted_server() as server:
        assert main(["chat", str(tmp_path / "bad.toml"), "--server", server.target]) == 1
        assert "rejected: no good" in capsys.readouterr().out
        assert main(["chat", str(tmp_path / "wrong.toml"), "--server", server.target]) == 2
        assert "turn 1: unknown key 'words'" in capsys.readouterr().err
        assert main(["chat", str(tmp_path / "none.toml"), "--server", server.target]) == 1
    with scripted_server(closes) as server:
        assert main(["chat", script, "--server", server.target]) == 1
        assert "the server ended the stream before" in capsys.readouterr().err


def test_the_printed_built_in_script_can_be_parsed(capsys):
    assert main(["chat", "--print-script"]) == 0
    assert len(parse_script(capsys.readouterr().out).turns) >= 8
