"""The pictures of a conversation and of an utterance, and the table of turns, from events whose times are known."""

import io
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from intone.client import (
    AudioChunk,
    Cut,
    Done,
    EmotionWeights,
    Event,
    Format,
    LatencyReport,
    Rerouted,
    ResolvedEmotion,
    Route,
    SentText,
    Speech,
    SpeechSettings,
    Started,
    TextSpan,
)
from intone.client.tools import drawing
from intone.client.tools.conversation_picture import conversation_figure, draw_conversation
from intone.client.tools.listener import Listener
from intone.client.tools.script import Turn
from intone.client.tools.script_runner import ScriptRun, TurnRecord
from intone.client.tools.stages import named_stages
from intone.client.tools.turn_measures import measure_turn
from intone.client.tools.turn_report import turn_report, turn_report_to_json
from intone.client.tools.utterance_picture import draw_utterance, utterance_figure

RATE = Format("pcm_f32le", 1000)  # a sample is a millisecond
REPORT = LatencyReport(ttfa_ms=10.0, rtf=0.1, synthesis_ms=10.0, stage_ms={"lm": 8.0, "vae": 2.0})
STAGES = ("prefill", "lm", "diffusion", "vae", "gpt_gen_time", "gpt_forward_time", "s2mel_time", "bigvgan_time")
LONG = "Let me tell you how this works. First we look at the photographs that you send us, then we ask the depot. "


def chunk(received_s: float, length_ms: int, utterance_id: str, kind: str = "speech", filler: str = "") -> AudioChunk:
    data = np.full(length_ms, 0.5, "<f4").tobytes()
    return AudioChunk(received_s, utterance_id, 0, 0, length_ms, kind, data, None, filler, {}, RATE)


def started(at_s: float, utterance_id: str, engine: str = "starter", reason: str = "plain") -> Started:
    return Started(at_s, utterance_id, Route(engine, reason, ""), ResolvedEmotion(), "default", 1)


def rerouted(at_s: float, utterance_id: str) -> Rerouted:
    emotion = ResolvedEmotion(EmotionWeights(happy=0.8), 0.8, "text", "“great”")
    return Rerouted(at_s, utterance_id, Route("indextts", "strong_emotion", "strong"), emotion, TextSpan(5, 9))


def done(at_s: float, utterance_id: str, reason: str = "completed", latency: LatencyReport = REPORT) -> Done:
    return Done(at_s, utterance_id, reason, None, 0, latency=latency)


def add_turn(run: ScriptRun, record: TurnRecord, sent: list[SentText], events: list[Event]) -> None:
    """Add a turn to a run, and let the listener hear its audio."""
    run.turns.append(record)
    run.speeches[record.utterance_id] = Speech(sent, events, RATE)
    for event in events:
        if isinstance(event, AudioChunk):
            run.listener.receive(event)


def known_run() -> ScriptRun:
    """A turn with a filler, a pause, an underrun and a reroute; a Chinese one with a barge-in; a skipped one."""
    run = ScriptRun(Listener(lambda: 10.6))
    events = [
        started(5.1, "turn-1"),
        chunk(5.2, 100, "turn-1", "filler", "Hmm"),
        chunk(5.3, 200, "turn-1", "filler", "Hmm"),
        chunk(5.6, 800, "turn-1"),
        chunk(6.4, 200, "turn-1", "silence"),
        rerouted(6.5, "turn-1"),
        chunk(7.0, 500, "turn-1"),
        done(7.5, "turn-1"),
    ]
    sent = [SentText(5.0, "It costs $5 "), SentText(5.3, "and $6.")]
    add_turn(run, TurnRecord(1, Turn("It costs $5 and $6."), "turn-1", 5.0), sent, events)
    cut = Cut("turn-2", 400, 1, "一", "二", "reported")
    events = [started(10.1, "turn-2"), chunk(10.2, 900, "turn-2"), done(10.7, "turn-2", "interrupted")]
    record = TurnRecord(2, Turn("一二"), "turn-2", 10.0, barge_in_s=10.6, stopped_s=10.7, cut=cut)
    add_turn(run, record, [SentText(10.0, "一二")], events)
    run.listener.drop("turn-2")
    skipped = Turn("三", SpeechSettings(language="zh"))
    run.turns.append(TurnRecord(3, skipped, skipped="no engine speaks it"))
    return run


def crowded_run(turns: int, words: int) -> ScriptRun:
    """Turns in quick succession; fillers, barge-ins, reroutes and many stages among them."""
    now_s = 0.0
    run = ScriptRun(Listener(lambda: now_s))
    for number in range(1, turns + 1):
        utterance_id = f"turn-{number}"
        text = (LONG * 9).split()[:words]
        sent = [SentText(now_s + 0.04 * index, word) for index, word in enumerate(text)]
        record = TurnRecord(number, Turn(" ".join(text)), utterance_id, now_s)
        events = [started(now_s + 0.1, utterance_id, "voxcpm" if number % 3 else "indextts", "strong_emotion")]
        if number % 3 == 0:
            events += [chunk(now_s + 0.15, 400, utterance_id, "filler", filler) for filler in ("Hmm, well.", "Oh!")]
        events += [chunk(now_s + 0.3 + 0.1 * index, 150, utterance_id) for index in range(max(4, words // 3))]
        if number % 4 == 2:
            at_s = events[-1].received_s + 0.1
            events += [rerouted(at_s, utterance_id), chunk(at_s, 200, utterance_id, "silence")]
            events.append(chunk(at_s + 1, 500, utterance_id))
        add_turn(run, record, sent, events)
        report = LatencyReport(ttfa_ms=80.0, stage_ms=dict.fromkeys(STAGES, 12.0))
        now_s = run.listener.end_s
        if number % 2:
            now_s -= 0.2
            run.listener.drop(utterance_id)
            record.barge_in_s, record.stopped_s = now_s, now_s + 0.02
            record.cut = Cut(utterance_id, 100, 0, "", "", "reported")
            events.append(done(now_s + 0.02, utterance_id, "interrupted", report))
        else:
            events.append(done(now_s, utterance_id, "completed", report))
        now_s += 0.02
    return run


def crowded_speech(words: int, words_per_s: float) -> Speech:
    text = (LONG * 9).split()[:words]
    sent = [SentText(index / words_per_s, f"{word} ") for index, word in enumerate(text)]
    events = [started(0.1, "u", "indextts", "strong_emotion"), chunk(0.2, 300, "u", "filler", "Hmm")]
    events += [chunk(0.9 + 0.1 * index, 150, "u", "silence" if index == 3 else "speech") for index in range(words)]
    events.append(chunk(events[-1].received_s + 3, 300, "u"))
    report = LatencyReport(ttfa_ms=100.0, rtf=0.5, synthesis_ms=450.0, stage_ms=dict.fromkeys(STAGES, 12.0))
    return Speech(sent, (*events, done(99.0, "u", latency=report)), RATE)


# ---- the layout -----------------------------------------------------------------------------------------------------


def text_boxes(figure: Any) -> list[tuple[str, Any]]:
    """Every text that is drawn, and every legend as a whole, with its bounding box in pixels."""
    figure.draw_without_rendering()
    texts = list(figure.texts)
    boxes = []
    for axes in figure.axes:
        texts += [axes.title, axes._left_title, axes._right_title, *axes.texts]
        if axes.get_legend() is not None:
            boxes.append((f"legend of {axes.get_title(loc='left')!r}", axes.get_legend().get_window_extent()))
        if not axes.axison:
            continue
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            texts += [axis.label, axis.offsetText]
            texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    drawn = [text for text in texts if text is not None and text.get_visible() and text.get_text().strip()]
    return boxes + [(text.get_text(), text.get_window_extent()) for text in drawn]


def slow(*values: float) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


def assert_nothing_overlaps(figure: Any) -> list[str]:
    """Check the layout; returns the texts."""
    boxes = text_boxes(figure)
    page = figure.bbox
    outside = [name for name, box in boxes if box.x0 < 0 or box.y0 < -1 or box.x1 > page.x1 or box.y1 > page.y1 + 1]
    assert not outside
    overlaps = [(one, other) for (one, first), (other, second) in combinations(boxes, 2) if first.overlaps(second)]
    assert not overlaps
    lines = [line for axes in figure.axes for line in axes.findobj(lambda artist: artist.get_gid() == "barge-in")]
    crossed = [name for line in lines for name, box in boxes if box.overlaps(line.get_window_extent())]
    assert not crossed
    return [name for name, _ in boxes]


@pytest.mark.parametrize(("turns", "words"), [(1, 8), slow(12, 3), slow(12, 12), slow(5, 90)])
def test_texts_of_a_conversation_do_not_overlap(turns, words):
    pytest.importorskip("matplotlib")
    figure = conversation_figure(crowded_run(turns, words), title=LONG if turns == 5 else "A call")
    texts = " ".join(assert_nothing_overlaps(figure))
    for number in range(1, turns + 1):
        assert f"{number}." in texts
    assert "barge-in" in texts and "legend of 'What the listener waits for'" in texts


@pytest.mark.parametrize(("words", "words_per_s"), [(1, 20.0), slow(90, 20.0), slow(90, 1000.0)])
def test_texts_of_an_utterance_do_not_overlap(words, words_per_s):
    pytest.importorskip("matplotlib")
    texts = assert_nothing_overlaps(utterance_figure(crowded_speech(words, words_per_s)))
    assert "First sound of the server: 100 ms, after 800 ms of waiting for the text" in texts
    assert any(text.startswith("Let") for text in texts) and "Synthesis by stage: 96 ms" in texts


def test_what_no_font_can_draw_is_said_in_words(monkeypatch, recwarn):
    """As on a machine without Chinese fonts: no boxes and no warnings; the rest of a text stays."""
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(drawing, "_font_families", lambda: ("DejaVu Sans",))
    drawing.has_glyph.cache_clear()
    assert drawing.drawable("The word 你好 means $5.") == r"The word (2 Chinese characters) means \$5."
    assert drawing.drawable("你好！这句话还没有写完。") == "(10 Chinese characters)"
    assert drawing.drawable("好 and すし") == "(1 Chinese character) and (2 Japanese characters)"
    assert drawing.drawable("Fine \U0001fae0!") == "Fine !"
    run = known_run()
    figure = conversation_figure(run, title="你好，世界")
    assert_nothing_overlaps(figure)
    figure.savefig(io.BytesIO())
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]
    drawing.has_glyph.cache_clear()


def test_a_font_with_chinese_characters_is_used_where_there_is_one(monkeypatch):
    """Such fonts have these names; matplotlib falls back on them character by character."""
    font_manager = pytest.importorskip("matplotlib.font_manager")
    installed = [*font_manager.fontManager.ttflist, font_manager.FontEntry(name="Noto Sans CJK SC")]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", installed)
    drawing._font_families.cache_clear()
    try:
        assert drawing._font_families() == ("DejaVu Sans", "Noto Sans CJK SC")
    finally:
        drawing._font_families.cache_clear()


def test_one_color_means_one_thing():
    """What is heard, what is waited for, stages and engines have no colour in common."""
    stages = drawing.stage_colors(list(named_stages(dict.fromkeys((*STAGES, "a new one"), 1.0))))
    engines = [drawing.engine_color(name) for name in ("starter", "voxcpm", "indextts", "another")]
    marks = [drawing.SENT, drawing.FIRST, drawing.UNDERRUN, drawing.EMOTION]
    groups = [stages.values(), engines, marks, drawing.KIND_COLORS.values(), drawing.WAIT_COLORS.values()]
    for one, other in combinations(map(set, groups), 2):
        assert not one & other
    assert len(set(stages.values())) == len(stages) and len(set(engines)) == 4


def test_stages_have_plain_names():
    """Stages that are alike are one: those of the two engines, too."""
    named = named_stages({"lm": 8.0, "vae": 2.0, "gpt_gen_time": 1.0, "warm_up": 3.0})
    assert list(named.items()) == [("language model", 9.0), ("warm up", 3.0), ("decoding to sound", 2.0)]


def test_an_emotion_that_is_not_voiced_is_told_beside_the_emotion():
    pytest.importorskip("matplotlib")
    run = known_run()
    run.voicing = frozenset({"indextts"})
    assert "happy 0.80" in " ".join(assert_nothing_overlaps(conversation_figure(run)))
    run.voicing = frozenset()
    texts = assert_nothing_overlaps(conversation_figure(run))
    assert "happy, not voiced" in texts and "emotion" in texts
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(turn_report([measure_turn(run, record) for record in run.turns], 5.6))
    assert "not voiced" in console.export_text()


# ---- the contents ---------------------------------------------------------------------------------------------------


def test_picture_of_a_conversation_shows_every_kind_of_audio_and_event(tmp_path):
    image = pytest.importorskip("matplotlib.image")
    run = known_run()
    measures = [measure_turn(run, record) for record in run.turns]
    assert [turn.outcome for turn in measures] == ["completed", "interrupted", "skipped"]
    assert measures[0].engines == ("starter", "indextts")
    assert abs(measures[0].underrun_ms - 400) < 1e-6 and abs(measures[1].heard_ms - 400) < 1e-6
    draw_conversation(run, tmp_path / "a.png", title="Known")
    pixels = np.round(255 * image.imread(str(tmp_path / "a.png"))[:, :, :3]).astype(int)
    assert pixels.shape[1] == 1800
    colors = {"filler": "#e08a1e", "speech": "#2f6fde", "underrun": "#f5c6c6", "first word": "#d64545"}
    colors |= {"starter": "#6b7785", "indextts": "#7a3b69", "barge-in": "#1f2933", "pause": "#c8ced6"}
    for name, color in colors.items():
        wanted = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
        assert (np.abs(pixels - wanted).max(axis=2) <= 6).sum() > 100, name
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_conversation(ScriptRun(Listener(lambda: 0.0)), tmp_path / "b.png")


def test_picture_of_an_utterance_is_written(tmp_path):
    image = pytest.importorskip("matplotlib.image")
    speech = crowded_speech(12, 20.0)
    draw_utterance(speech, tmp_path / "a.png")
    pixels = image.imread(str(tmp_path / "a.png"))
    assert 1200 <= pixels.shape[1] <= 2000 and 800 <= pixels.shape[0] <= 1600
    assert 20_000 < (tmp_path / "a.png").stat().st_size < 1_000_000
    assert np.ptp(pixels[:, :, :3].mean(axis=2), axis=1).max() > 0.5  # not blank
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_utterance(Speech((), (), RATE), tmp_path / "a.png")


def test_table_of_turns_shows_every_measure():
    run = known_run()
    measures = [measure_turn(run, record) for record in run.turns]
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(turn_report(measures, 5.6))
    output = console.export_text()
    for text in (
        "starter",
        "→ indextts",
        "happy 0.80",
        "590",
        "600",
        "200",
        "“Hmm” It costs $5 and $6.",
        "400",
    ):
        assert text in output, text
    for text in ("一 ✂ barge-in", "100", "skipped: no engine speaks it", "2 turns in 5.6 s, 2.2 s heard", "fillers: 1"):
        assert text in output, text
    terminal = Console(width=80, record=True, file=io.StringIO())
    terminal.print(turn_report(measures, 5.6))
    assert "…" not in terminal.export_text()  # the columns fit the usual width of a terminal
    values = turn_report_to_json(measures, 5.6)
    assert [turn["outcome"] for turn in values["turns"]] == ["completed", "interrupted", "skipped"]
