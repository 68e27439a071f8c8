"""Scripted conversations: the script, the listener in real time, barge-ins, what is measured."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import pytest

from intone.client import Audio, Done, Format, Interrupted, IntoneCallError, Started, Trace, Warning
from intone.client.events import Report
from intone.client.speech import Sent
from intone.client.tools.chat import Chat, Performance
from intone.client.tools.example_script import EXAMPLE_SCRIPT
from intone.client.tools.listener import Hole, Listener
from intone.client.tools.script import PAUSE_MS, Script, Turn, parse_script
from intone.client.tools.turns import measure_turn

EXAMPLES = Path(__file__).parents[2] / "examples"
RATE = Format("pcm_f32le", 1000)  # a sample is a millisecond
REPORT = Report(10.0, None, 0.0, 0.1, 100.0, 0.0, 10.0, {}, 1)


def chunk(received_s: float, length_ms: int, utterance: str = "u", kind: str = "speech", filler: str = "") -> Audio:
    data = np.full(length_ms, 0.5, "<f4").tobytes()
    return Audio(received_s, utterance, 0, 0, kind, data, "starter", None, {}, RATE, filler)


# ---- the script -----------------------------------------------------------------------------------------------------


def test_the_example_script_shows_everything():
    script = parse_script(EXAMPLE_SCRIPT)
    assert 8 <= len(script.turns) <= 10
    assert any(turn.emotion is not None for turn in script.turns)
    assert any(turn.text.startswith("[") for turn in script.turns)
    assert any(turn.language == "zh" for turn in script.turns)
    cut = next(index for index, turn in enumerate(script.turns) if turn.interrupt_after_ms)
    assert script.turns[cut + 1].pause_ms is None  # at once


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_examples_are_scripts(path):
    assert parse_script(path.read_text("utf8")).title


def test_a_turn_says_everything():
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
    assert first.pieces(8) == [(0.125, "One"), (0.125, "  two"), (0.125, "\nthree. ")]
    assert list(second.emotion.vector.weights) == [0, 0.5, 0, 0, 0, 0, 0, 0]
    assert second.pieces(8) == [(0.02, character) for character in "四个字啊"]
    assert Turn("Whole.", words_per_second=0).pieces(8) == [(0.0, "Whole.")]


@pytest.mark.parametrize(
    ("written", "what"),
    [
        ("", "no turns"),
        ("[[turn]", "not TOML"),
        ("[turn]\ntext = 'x'", "no turns"),
        ("[[turn]]\ntext = ' '", "turn 1: text is missing"),
        ("[[turn]]\ntext = 'x'\n[[turn]]\ntexts = 'x'", "turn 2: 'texts' is not one of text, emotion"),
        ("[[turn]]\ntext = 'x'\npause_ms = 0.5", "turn 1: pause_ms is not a whole number"),
        ("[[turn]]\ntext = 'x'\npause_ms = -5", "turn 1: pause_ms is negative"),
        ("[[turn]]\ntext = 'x'\nemotion = 'cheerful'", "turn 1: emotion: 'cheerful' is not one of"),
        ("[[turn]]\ntext = 'x'\nemotion = [1, 2]", "turn 1: emotion: an emotion vector has 8 numbers"),
        ("[[turn]]\ntext = 'x'\nemotion = 3", "turn 1: emotion"),
        ("[[turn]]\ntext = 'x'\noptions = { step = 3 }", "turn 1: options: 'step' is not one of steps"),
        ("[[turn]]\ntext = 'x'\nwords_per_second = 1\ncharacters_per_second = 1", "exclude each other"),
        ("voice = 'ada'\n[[turn]]\ntext = 'x'", "the script: 'voice' is not one of title"),
    ],
)
def test_what_is_wrong_with_a_script_is_said_with_its_place(written, what):
    with pytest.raises(ValueError, match=what.replace("[", r"\[")):
        parse_script(written)


# ---- the listener ---------------------------------------------------------------------------------------------------


def test_listener_hears_in_order_in_real_time_with_holes():
    now = [10.0]
    listener = Listener(lambda: now[0])
    assert (listener.played_ms, listener.end_s) == (0, -np.inf)
    for piece in (chunk(10.0, 200), chunk(10.1, 100), chunk(10.5, 100)):
        assert listener.take(piece)
    assert [(heard.start_s, round(heard.end_s, 6)) for heard in listener.heard("u")] == [
        (10.0, 10.2),
        (10.2, 10.3),
        (10.5, 10.6),
    ]
    (hole,) = listener.holes("u")
    assert max(abs(hole.start_s - 10.3), abs(hole.end_s - 10.5)) < 1e-9
    played = []
    for now[0] in (10.05, 10.25, 10.4, 10.55, 11.0):
        played.append(listener.heard_ms("u"))
    assert np.abs(np.array(played) - [50, 250, 300, 350, 400]).max() < 1e-6
    heard = listener.recording(9.9)
    expected = np.concatenate([np.zeros(100), np.full(300, 0.5), np.zeros(200), np.full(100, 0.5)])
    assert heard.shape == expected.shape and np.abs(heard - expected).max() == 0


def test_listener_drops_what_was_not_played_and_what_comes_late():
    now = [1.0]
    listener = Listener(lambda: now[0])
    for piece in (chunk(1.0, 100), chunk(1.0, 100), chunk(1.0, 100)):
        listener.take(piece)
    now[0] = 1.15
    listener.drop("u")
    assert not listener.take(chunk(1.16, 300))
    assert listener.take(chunk(1.2, 100, "v"))
    now[0] = 5.0
    assert (round(listener.heard_ms("u"), 6), listener.late_ms("u"), listener.played_ms) == (150, 300, 250)
    assert [len(heard.samples) for heard in listener.heard()] == [100, 50, 100]
    assert listener.holes("u") == listener.holes("v") == ()
    assert isinstance(Hole(0, 1, "u"), Hole)


# ---- the performance, on virtual time -------------------------------------------------------------------------------


@dataclass
class Agent:
    """A conversation whose server speaks 100 ms for each piece of text, a filler first, `delay_s` after it came."""

    trace: Trace
    delay_s: float = 0.3
    fail_at: str | None = None
    sent: list[tuple[str, float, object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._inbox: asyncio.Queue[object] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def _later(self, delay_s: float, make) -> None:
        self._loop.call_later(delay_s, lambda: self._inbox.put_nowait(make(self._loop.time())))

    async def send(self, text, utterance, *, emotion=None, voice="", options=None, end=False) -> None:
        now_s = self._loop.time()
        if text == self.fail_at:
            self._inbox.put_nowait(IntoneCallError(grpc.StatusCode.UNAVAILABLE, "gone"))
        new = not any(known == utterance for known, _, _ in self.sent)
        self.sent.append((utterance, now_s, text))
        if new:
            words = ("starter", "plain", "plain talk", (0.0,) * 8, RATE, "default", 1)
            self._later(0.1, lambda at_s: Started(at_s, utterance, *words))
            self._later(0.1, lambda at_s: chunk(at_s, 150, utterance, "filler", "Hmm"))
        if text:
            self.trace.sent.append(Sent(now_s, utterance, text))
            self._later(self.delay_s, lambda at_s: chunk(at_s, 100, utterance))
        if end:
            self._later(self.delay_s, lambda at_s: Done(at_s, utterance, "completed", None, REPORT))

    async def cancel(self, utterance="", played_ms=None) -> None:
        self.sent.append((utterance, self._loop.time(), played_ms))
        self._later(0.02, lambda at_s: Interrupted(at_s, utterance, "so far", "the rest", played_ms, REPORT))

    async def progress(self, played_ms: int) -> None:
        self.sent.append(("", self._loop.time(), played_ms))

    async def __aiter__(self):
        while True:
            event = await self._inbox.get()
            if isinstance(event, IntoneCallError):
                raise event
            if event is None:
                return
            self.trace.events.append(event)
            yield event


def perform(run_virtual, *turns: Turn, languages=None, **how) -> tuple[Chat, Agent]:
    async def main() -> tuple[Chat, Agent]:
        clock = asyncio.get_running_loop().time
        chat = Chat(Listener(clock))
        agent = Agent(chat.trace, **how)
        await Performance(chat, clock, languages=languages).perform(agent, Script(turns, words_per_second=10))
        return chat, agent

    return run_virtual(main())


def test_turns_wait_for_the_listener_and_then_pause(run_virtual):
    chat, agent = perform(run_virtual, Turn("One two three"), Turn("Four", pause_ms=250), Turn("Five"))
    first, second, third = (min(at_s for name, at_s, _ in agent.sent if name == f"turn-{n}") for n in (1, 2, 3))
    # Text at 0, .1 and .2 s. Heard: the filler from .1, speech from .3 to .6 s; then the watch's 10 ms and the pause.
    assert 0.85 <= second - first <= 0.87
    assert 0.4 + PAUSE_MS / 1000 <= third - second <= 0.42 + PAUSE_MS / 1000
    measures = measure_turn(chat, chat.turns[0])
    assert (measures.outcome, measures.engines, measures.heard_text) == ("completed", ("starter",), "One two three")
    assert measures.first_sound_ms == pytest.approx(100, abs=1e-6)
    assert measures.first_word_ms == pytest.approx(300, abs=1e-6)
    assert (round(measures.covered_ms, 6), measures.fillers) == (150, ("Hmm",))
    assert (round(measures.heard_ms, 6), round(measures.holes_ms, 6)) == (450, 0)
    told = [played_ms for name, _, played_ms in agent.sent if not name]
    assert told == sorted(told) and told[-1] <= chat.listener.played_ms


def test_a_barge_in_cuts_at_once_says_what_was_heard_and_the_next_turn_follows_at_once(run_virtual):
    long = " ".join("word" for _ in range(30))
    chat, agent = perform(run_virtual, Turn(long, interrupt_after_ms=1000), Turn("Short"), delay_s=0.2)
    cut, after = chat.turns
    heard_ms = sum(1000 * (piece.end_s - piece.start_s) for piece in chat.listener.heard("turn-1"))
    assert 1000 <= heard_ms <= 1015
    (cancelled,) = [(at_s, played_ms) for name, at_s, played_ms in agent.sent if name and isinstance(played_ms, int)]
    assert cancelled[0] == cut.barge_in_s
    assert abs(cancelled[1] - heard_ms) <= 1
    assert all(at_s <= cut.barge_in_s for name, at_s, _ in agent.sent if name == "turn-1")
    assert min(at_s for name, at_s, _ in agent.sent if name == "turn-2") == cut.barge_in_s
    measures = measure_turn(chat, cut)
    assert (measures.outcome, measures.heard_text) == ("interrupted", "so far")
    assert measures.stop_ms == pytest.approx(20, abs=1e-6)
    assert 100 <= measures.late_ms <= 300  # 200 ms of it were under way
    assert measure_turn(chat, after).outcome == "completed"
    assert chat.listener.heard("turn-2")[0].start_s == pytest.approx(cut.barge_in_s + 0.1, abs=1e-9)


def test_a_turn_that_ends_before_its_barge_in_is_heard_whole(run_virtual):
    chat, agent = perform(run_virtual, Turn("One two", interrupt_after_ms=5000))
    assert chat.turns[0].barge_in_s is None
    assert measure_turn(chat, chat.turns[0]).outcome == "completed"


def test_turns_in_a_language_that_nobody_speaks_are_left_out(run_virtual):
    turns = (Turn("One", language="en-GB"), Turn("二", language="zh"), Turn("Three"))
    chat, agent = perform(run_virtual, *turns, languages=["en"])
    assert {name for name, _, _ in agent.sent if name} == {"turn-1", "turn-3"}
    measures = measure_turn(chat, chat.turns[1])
    assert (measures.outcome, measures.note) == ("skipped", "no trained engine here speaks zh")


def test_a_lost_call_ends_the_performance(run_virtual):
    with pytest.raises(IntoneCallError, match="gone"):
        perform(run_virtual, Turn("One two"), Turn("three"), fail_at=" two")


def test_an_utterance_that_had_ended_when_the_barge_in_came_counts_as_stopped(run_virtual):
    class Late(Agent):
        async def cancel(self, utterance="", played_ms=None) -> None:
            self._later(0.01, lambda at_s: Warning(at_s, "utterance_ended", "too late", utterance))

    async def main() -> Chat:
        clock = asyncio.get_running_loop().time
        chat = Chat(Listener(clock))
        script = Script((Turn("One two three", interrupt_after_ms=200),))
        await Performance(chat, clock).perform(Late(chat.trace), script)
        return chat

    chat = run_virtual(main())
    assert measure_turn(chat, chat.turns[0]).stop_ms == pytest.approx(10, abs=1e-6)
