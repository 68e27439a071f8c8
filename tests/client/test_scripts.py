"""Scripted conversations: parsing, the simulated listener, barge-ins, and the measures of turns."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import pytest

from intone.client import AudioChunk, ConversationLog, Done, Format, Interrupted, IntoneCallError, Notice, Started
from intone.client.events import LatencyReport
from intone.client.speech import SentText
from intone.client.tools.example_script import EXAMPLE_SCRIPT
from intone.client.tools.listener import Listener
from intone.client.tools.script import DEFAULT_PAUSE_MS, Script, Turn, parse_script
from intone.client.tools.script_runner import ScriptRun, ScriptRunner
from intone.client.tools.turn_measures import measure_turn

EXAMPLES = Path(__file__).parents[2] / "examples"
RATE = Format("pcm_f32le", 1000)  # a sample is a millisecond
REPORT = LatencyReport(10.0, None, 0.0, 0.1, 100.0, 0.0, 10.0, {}, 1)


def chunk(
    received_s: float, length_ms: int, utterance_id: str = "u", kind: str = "speech", filler: str = ""
) -> AudioChunk:
    data = np.full(length_ms, 0.5, "<f4").tobytes()
    return AudioChunk(received_s, utterance_id, 0, 0, kind, data, "starter", None, {}, RATE, filler)


# ---- the script -----------------------------------------------------------------------------------------------------


def test_the_built_in_script_uses_every_feature():
    script = parse_script(EXAMPLE_SCRIPT)
    assert 8 <= len(script.turns) <= 10
    assert any(turn.emotion is not None for turn in script.turns)
    assert any(turn.text.startswith("[") for turn in script.turns)
    assert any(turn.language == "zh" for turn in script.turns)
    interrupted = next(index for index, turn in enumerate(script.turns) if turn.interrupt_after_ms)
    assert script.turns[interrupted + 1].pause_ms is None  # follows at once


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_example_files_are_valid_scripts(path):
    assert parse_script(path.read_text("utf8")).title


def test_parsing_sets_every_field_of_a_turn():
    script = parse_script(
        """
        words_per_second = 8
        [[turn]]
        text = "One  two\\nthree. "
        emotion = "sad:0.5"
        voice = "ada"
        options = { steps = 4, speed = 1.5 }
        [[turn]]
        text = "四个字啊"
        emotion = [0, 0.5, 0, 0, 0, 0, 0, 0]
        characters_per_second = 50
        """
    )
    first, second = script.turns
    assert (first.emotion.intensity, first.voice, first.options.steps, first.options.speed) == (0.5, "ada", 4, 1.5)
    assert first.deltas(8) == [(0.125, "One"), (0.125, "  two"), (0.125, "\nthree. ")]
    assert list(second.emotion.vector.weights) == [0, 0.5, 0, 0, 0, 0, 0, 0]
    assert second.deltas(8) == [(0.02, character) for character in "四个字啊"]
    assert Turn("Whole.", words_per_second=0).deltas(8) == [(0.0, "Whole.")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no turns"),
        ("[[turn]", "not valid TOML"),
        ("[turn]\ntext = 'x'", "no turns"),
        ("[[turn]]\ntext = ' '", "turn 1: text is missing"),
        ("[[turn]]\ntext = 'x'\n[[turn]]\ntexts = 'x'", "turn 2: unknown key 'texts'; known keys: text, emotion"),
        ("[[turn]]\ntext = 'x'\npause_ms = 0.5", "turn 1: pause_ms must be a whole number"),
        ("[[turn]]\ntext = 'x'\npause_ms = -5", "turn 1: pause_ms must not be negative"),
        ("[[turn]]\ntext = 'x'\nemotion = 'cheerful'", "turn 1: emotion: 'cheerful' is not one of"),
        ("[[turn]]\ntext = 'x'\nemotion = [1, 2]", "turn 1: emotion: an emotion vector has 8 numbers"),
        ("[[turn]]\ntext = 'x'\nemotion = 3", "turn 1: emotion"),
        ("[[turn]]\ntext = 'x'\noptions = { step = 3 }", "turn 1: options: unknown key 'step'; known keys: steps"),
        (
            "[[turn]]\ntext = 'x'\nwords_per_second = 1\ncharacters_per_second = 1",
            "turn 1: .*, not both",
        ),
        ("voice = 'ada'\n[[turn]]\ntext = 'x'", "the script: unknown key 'voice'; known keys: title"),
    ],
)
def test_errors_in_a_script_name_the_turn_and_the_key(text, message):
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        parse_script(text)


# ---- the listener ---------------------------------------------------------------------------------------------------


def test_listener_plays_chunks_in_order_in_real_time_and_notes_underruns():
    now = [10.0]
    listener = Listener(lambda: now[0])
    assert (listener.played_ms, listener.end_s) == (0, -np.inf)
    for arrived in (chunk(10.0, 200), chunk(10.1, 100), chunk(10.5, 100)):
        assert listener.receive(arrived)
    assert [(heard.start_s, round(heard.end_s, 6)) for heard in listener.heard("u")] == [
        (10.0, 10.2),
        (10.2, 10.3),
        (10.5, 10.6),
    ]
    (underrun,) = listener.underruns("u")
    assert max(abs(underrun.start_s - 10.3), abs(underrun.end_s - 10.5)) < 1e-9
    played = []
    for now[0] in (10.05, 10.25, 10.4, 10.55, 11.0):
        played.append(listener.heard_ms("u"))
    assert np.abs(np.array(played) - [50, 250, 300, 350, 400]).max() < 1e-6
    heard = listener.recording(9.9)
    expected = np.concatenate([np.zeros(100), np.full(300, 0.5), np.zeros(200), np.full(100, 0.5)])
    assert heard.shape == expected.shape and np.abs(heard - expected).max() == 0


def test_listener_discards_unplayed_and_late_audio_of_a_dropped_utterance():
    now = [1.0]
    listener = Listener(lambda: now[0])
    for arrived in (chunk(1.0, 100), chunk(1.0, 100), chunk(1.0, 100)):
        listener.receive(arrived)
    now[0] = 1.15
    listener.drop("u")
    assert not listener.receive(chunk(1.16, 300))
    assert listener.receive(chunk(1.2, 100, "v"))
    now[0] = 5.0
    assert (round(listener.heard_ms("u"), 6), listener.late_ms("u"), listener.played_ms) == (150, 300, 250)
    assert [len(heard.samples) for heard in listener.heard()] == [100, 50, 100]
    assert listener.underruns("u") == listener.underruns("v") == ()


# ---- the runner, on virtual time ------------------------------------------------------------------------------------


@dataclass
class FakeConversation:
    """Answers the first text with a filler after 0.1 s, and each text with 100 ms of speech after `delay_s`."""

    log: ConversationLog
    delay_s: float = 0.3
    fail_at: str | None = None
    sent: list[tuple[str, float, object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._inbox: asyncio.Queue[object] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def _later(self, delay_s: float, make) -> None:
        self._loop.call_later(delay_s, lambda: self._inbox.put_nowait(make(self._loop.time())))

    async def send(self, text, utterance_id, *, emotion=None, voice="", options=None, end=False) -> None:
        now_s = self._loop.time()
        if text == self.fail_at:
            self._inbox.put_nowait(IntoneCallError(grpc.StatusCode.UNAVAILABLE, "gone"))
        new = not any(known == utterance_id for known, _, _ in self.sent)
        self.sent.append((utterance_id, now_s, text))
        if new:
            route = ("starter", "plain", "neutral", (0.0,) * 8, RATE, "default", 1)
            self._later(0.1, lambda at_s: Started(at_s, utterance_id, *route))
            self._later(0.1, lambda at_s: chunk(at_s, 150, utterance_id, "filler", "Hmm"))
        if text:
            self.log.sent.append(SentText(now_s, utterance_id, text))
            self._later(self.delay_s, lambda at_s: chunk(at_s, 100, utterance_id))
        if end:
            self._later(self.delay_s, lambda at_s: Done(at_s, utterance_id, "completed", None, REPORT))

    async def cancel(self, utterance_id="", played_ms=None) -> None:
        self.sent.append((utterance_id, self._loop.time(), played_ms))
        self._later(0.02, lambda at_s: Interrupted(at_s, utterance_id, "so far", "the rest", played_ms, REPORT))

    async def progress(self, played_ms: int) -> None:
        self.sent.append(("", self._loop.time(), played_ms))

    async def __aiter__(self):
        while True:
            event = await self._inbox.get()
            if isinstance(event, IntoneCallError):
                raise event
            if event is None:
                return
            self.log.events.append(event)
            yield event


class EndedBeforeCancel(FakeConversation):
    """Answers a cancel as a server does whose utterance has already ended."""

    async def cancel(self, utterance_id="", played_ms=None) -> None:
        self._later(0.01, lambda at_s: Notice(at_s, "utterance_ended", "too late", utterance_id))


def run_script(
    run_virtual, *turns: Turn, languages=None, fake=FakeConversation, **behaviour
) -> tuple[ScriptRun, FakeConversation]:
    async def main() -> tuple[ScriptRun, FakeConversation]:
        clock = asyncio.get_running_loop().time
        run = ScriptRun(Listener(clock))
        conversation = fake(run.log, **behaviour)
        runner = ScriptRunner(run, clock, languages=languages)
        await runner.run(conversation, Script(turns, words_per_second=10))
        return run, conversation

    return run_virtual(main())


def test_a_turn_starts_after_the_one_before_was_heard_and_a_pause(run_virtual):
    run, fake = run_script(run_virtual, Turn("One two three"), Turn("Four", pause_ms=250), Turn("Five"))
    first, second, third = (min(at_s for name, at_s, _ in fake.sent if name == f"turn-{n}") for n in (1, 2, 3))
    # Text is sent at 0, .1 and .2 s. Heard: the filler from .1 s and speech from .3 to .6 s; then up to 10 ms until
    # the runner notices the end, and the pause.
    assert 0.85 <= second - first <= 0.87
    assert 0.4 + DEFAULT_PAUSE_MS / 1000 <= third - second <= 0.42 + DEFAULT_PAUSE_MS / 1000
    measures = measure_turn(run, run.turns[0])
    assert (measures.outcome, measures.engines, measures.heard_text) == ("completed", ("starter",), "One two three")
    assert measures.first_sound_ms == pytest.approx(100, abs=1e-6)
    assert measures.first_word_ms == pytest.approx(300, abs=1e-6)
    assert (round(measures.covered_ms, 6), measures.fillers) == (150, ("Hmm",))
    assert (round(measures.heard_ms, 6), round(measures.underrun_ms, 6)) == (450, 0)
    reported_ms = [played_ms for name, _, played_ms in fake.sent if not name]
    assert reported_ms == sorted(reported_ms) and reported_ms[-1] <= run.listener.played_ms


def test_a_barge_in_stops_playback_cancels_with_the_position_and_starts_the_next_turn_at_once(run_virtual):
    long = " ".join("word" for _ in range(30))
    run, fake = run_script(run_virtual, Turn(long, interrupt_after_ms=1000), Turn("Short"), delay_s=0.2)
    interrupted, after = run.turns
    heard_ms = sum(1000 * part.duration_s for part in run.listener.heard("turn-1"))
    assert 1000 <= heard_ms <= 1015
    (cancelled,) = [(at_s, played_ms) for name, at_s, played_ms in fake.sent if name and isinstance(played_ms, int)]
    assert cancelled[0] == interrupted.barge_in_s
    assert abs(cancelled[1] - heard_ms) <= 1
    assert all(at_s <= interrupted.barge_in_s for name, at_s, _ in fake.sent if name == "turn-1")
    assert min(at_s for name, at_s, _ in fake.sent if name == "turn-2") == interrupted.barge_in_s
    measures = measure_turn(run, interrupted)
    assert (measures.outcome, measures.heard_text) == ("interrupted", "so far")
    assert measures.stop_ms == pytest.approx(20, abs=1e-6)
    assert 100 <= measures.late_ms <= 300  # 200 ms of audio were still to come
    assert measure_turn(run, after).outcome == "completed"
    assert run.listener.heard("turn-2")[0].start_s == pytest.approx(interrupted.barge_in_s + 0.1, abs=1e-9)


def test_a_turn_that_ends_before_its_barge_in_is_completed(run_virtual):
    run, _ = run_script(run_virtual, Turn("One two", interrupt_after_ms=5000))
    assert run.turns[0].barge_in_s is None
    assert measure_turn(run, run.turns[0]).outcome == "completed"


def test_turns_in_a_language_that_no_engine_speaks_are_skipped(run_virtual):
    turns = (Turn("One", language="en-GB"), Turn("二", language="zh"), Turn("Three"))
    run, fake = run_script(run_virtual, *turns, languages=["en"])
    assert {name for name, _, _ in fake.sent if name} == {"turn-1", "turn-3"}
    measures = measure_turn(run, run.turns[1])
    assert (measures.outcome, measures.note) == ("skipped", "no trained engine of this server speaks zh")


def test_a_lost_call_ends_the_run(run_virtual):
    with pytest.raises(IntoneCallError, match="gone"):
        run_script(run_virtual, Turn("One two"), Turn("three"), fail_at=" two")


def test_a_barge_in_on_an_utterance_that_had_already_ended_is_confirmed_by_the_notice(run_virtual):
    run, _ = run_script(run_virtual, Turn("One two three", interrupt_after_ms=200), fake=EndedBeforeCancel)
    assert measure_turn(run, run.turns[0]).stop_ms == pytest.approx(10, abs=1e-6)
