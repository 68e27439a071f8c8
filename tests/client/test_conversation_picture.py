"""The table and the picture of a conversation, from one whose times are known."""

import io

import numpy as np
import pytest
from rich.console import Console

from intone.client import AudioChunk, Done, Format, Interrupted, Rerouted, Started, TextSpan
from intone.client.events import LatencyReport
from intone.client.speech import SentText
from intone.client.tools.conversation_picture import draw_conversation
from intone.client.tools.listener import Listener
from intone.client.tools.script import Turn
from intone.client.tools.script_runner import ScriptRun, TurnRecord
from intone.client.tools.turn_measures import measure_turn
from intone.client.tools.turn_report import turn_report, turn_report_to_json

RATE = Format("pcm_f32le", 1000)  # a sample is a millisecond
REPORT = LatencyReport(10.0, None, 0.0, 0.1, 100.0, 0.0, 10.0, {"lm": 8.0, "vae": 2.0}, 1)


def chunk(received_s: float, length_ms: int, utterance: str, kind: str = "speech", filler: str = "") -> AudioChunk:
    data = np.full(length_ms, 0.5, "<f4").tobytes()
    return AudioChunk(received_s, utterance, 0, 0, kind, data, "starter", None, {}, RATE, filler)


def lively_chat() -> ScriptRun:
    """Three turns: a filler, a pause, a underrun and a change of engine; Chinese, and a barge-in; nothing heard."""
    chat = ScriptRun(Listener(lambda: 10.6))
    how = ("starter", "plain", "plain talk", (0.0,) * 8, RATE, "default", 1)
    emotion = ("indextts", "strong_emotion", "strong", (0.8, *[0.0] * 7), "text", "“great”", 0.8)
    first = [
        Started(5.1, "turn-1", *how),
        chunk(5.2, 300, "turn-1", "filler", "Hmm"),
        chunk(5.6, 800, "turn-1"),
        chunk(6.4, 200, "turn-1", "silence"),
        Rerouted(6.5, "turn-1", *emotion, TextSpan(5, 9)),
        chunk(7.0, 500, "turn-1"),
        Done(7.5, "turn-1", "completed", None, REPORT),
    ]
    second = [Started(10.1, "turn-2", *how), chunk(10.2, 900, "turn-2")]
    second += [Interrupted(10.7, "turn-2", "一", "二", 400, REPORT)]
    chat.log.sent += [
        SentText(5.0, "turn-1", "It costs $5 "),
        SentText(5.3, "turn-1", "and $6."),
        SentText(10.0, "turn-2", "一二"),
    ]
    chat.log.events += first + second
    for event in chat.log.events:
        if isinstance(event, AudioChunk):
            chat.listener.receive(event)
    chat.listener.drop("turn-2")
    chat.turns += [
        TurnRecord(1, Turn("It costs $5 and $6."), "turn-1"),
        TurnRecord(2, Turn("一二"), "turn-2", "", 10.6, 10.7),
    ]
    chat.turns.append(TurnRecord(3, Turn("三", language="zh"), skipped="no one speaks it"))
    return chat


def test_picture_shows_everything(tmp_path):
    image = pytest.importorskip("matplotlib.image")
    chat = lively_chat()
    measures = [measure_turn(chat, turn) for turn in chat.turns]
    assert [turn.outcome for turn in measures] == ["completed", "interrupted", "skipped"]
    assert measures[0].engines == ("starter", "indextts")
    assert abs(measures[0].underrun_ms - 400) < 1e-6 and abs(measures[1].heard_ms - 400) < 1e-6
    draw_conversation(chat, tmp_path / "a.png", title="Lively")
    drawn = np.round(255 * image.imread(str(tmp_path / "a.png"))[:, :, :3]).astype(int)
    assert drawn.shape[1] == 1800
    colors = {
        "filler": "#e08a1e",
        "speech": "#2f6fde",
        "underrun": "#f5c6c6",
        "indextts": "#cb60a9",
        "starter": "#3dac9b",
    }
    colors |= {"first word": "#d64545", "barge-in": "#1f2933", "pause": "#c8ced6"}
    for name, color in colors.items():
        wanted = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
        assert (np.abs(drawn - wanted).max(axis=2) <= 6).sum() > 100, name
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_conversation(ScriptRun(Listener(lambda: 0.0)), tmp_path / "b.png")


def test_the_table_says_everything():
    chat = lively_chat()
    measures = [measure_turn(chat, turn) for turn in chat.turns]
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(turn_report(measures, 5.6))
    told = console.export_text()
    for words in ("starter", "→ indextts", "happy 0.80", "200", "600", "300", "“Hmm” It costs $5 and $6.", "400"):
        assert words in told, words
    for words in ("一 ✂ barge-in", "100", "skipped: no one speaks it", "2 turns in 5.6 s, 2.2 s heard", "fillers: 1"):
        assert words in told, words
    values = turn_report_to_json(measures, 5.6)
    assert [turn["outcome"] for turn in values["turns"]] == ["completed", "interrupted", "skipped"]
