"""Scripted conversations: parsing, the simulated listener, barge-ins, and the measures of turns."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import pytest

from intone.client import (
    AudioChunk,
    AudioPosition,
    Cut,
    Done,
    Event,
    Format,
    IntoneError,
    ResolvedEmotion,
    Route,
    SentText,
    Speech,
    SpeechSettings,
    Started,
    Unavailable,
    Usage,
)
from intone.client.tools.example_script import EXAMPLE_SCRIPT
from intone.client.tools.listener import Listener
from intone.client.tools.script import DEFAULT_PAUSE_MS, Script, Turn, parse_script
from intone.client.tools.script_runner import ScriptRun, ScriptRunner
from intone.client.tools.turn_measures import measure_turn

EXAMPLES = Path(__file__).parents[2] / "examples"
RATE = Format("pcm_f32le", 1000)  # a sample is a millisecond


def chunk(
    received_s: float, length_ms: int, utterance_id: str = "u", kind: str = "speech", filler: str = "", offset: int = 0
) -> AudioChunk:
    data = np.full(length_ms, 0.5, "<f4").tobytes()
    return AudioChunk(received_s, utterance_id, 0, offset, length_ms, kind, data, None, filler, {}, RATE)


# ---- the script -----------------------------------------------------------------------------------------------------


def test_the_built_in_script_uses_every_feature():
    script = parse_script(EXAMPLE_SCRIPT)
    assert 8 <= len(script.turns) <= 12
    assert any(turn.settings.emotion is not None for turn in script.turns)
    assert any(turn.think_ms and turn.cover_after_ms for turn in script.turns)
    assert any(turn.text.startswith("[") for turn in script.turns)
    assert any(turn.settings.language == "zh" for turn in script.turns)
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
        speed = 1.5
        volume_db = -6
        normalization = false
        engine_parameters = { steps = 4 }
        think_ms = 900
        cover_after_ms = 200
        [[turn]]
        text = "四个字啊"
        emotion = [0, 0.5, 0, 0, 0, 0, 0, 0]
        characters_per_second = 50
        """
    )
    first, second = script.turns
    assert first.settings == SpeechSettings(
        emotion="sad:0.5", voice="ada", speed=1.5, volume_db=-6, normalization=False, engine_parameters={"steps": 4}
    )
    assert (first.think_ms, first.cover_after_ms) == (900, 200)
    assert first.deltas(8) == [(0.125, "One"), (0.125, "  two"), (0.125, "\nthree. ")]
    assert second.settings.emotion == [0, 0.5, 0, 0, 0, 0, 0, 0]
    assert second.deltas(8) == [(0.02, character) for character in "四个字啊"]
    assert Turn("Whole.", words_per_second=0).deltas(8) == [(0.0, "Whole.")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no turns"),
        ("[[turn]", "not valid TOML"),
        ("[turn]\ntext = 'x'", "no turns"),
        ("[[turn]]\ntext = ' '", "turn 1: text is missing"),
        ("[[turn]]\ntext = 'x'\n[[turn]]\ntexts = 'x'", "turn 2: unknown key 'texts'; known keys: text, pause_ms"),
        ("[[turn]]\ntext = 'x'\npause_ms = 0.5", "turn 1: pause_ms must be a whole number"),
        ("[[turn]]\ntext = 'x'\npause_ms = -5", "turn 1: pause_ms must not be negative"),
        (
            "[[turn]]\ntext = 'x'\nemotion = '@/etc/passwd'",
            "turn 1: the recording '/etc/passwd' is not in the folder of the script, and would be sent to the server; "
            "--any-clip allows it",
        ),
        ("[[turn]]\ntext = 'x'\nemotion = [1, 2]", "turn 1: an emotion has 8 weights"),
        ("[[turn]]\ntext = 'x'\nemotion = { joy = 1 }", "turn 1: joy: not one of happy"),
        ("[[turn]]\ntext = 'x'\nemotion = 3", "turn 1: emotion must be a string, an array"),
        ("[[turn]]\ntext = 'x'\nfiller = 'often'", "turn 1: 'often' is not one of auto, off, eager"),
        ("[[turn]]\ntext = 'x'\nnormalization = 1", "turn 1: normalization must be true or false"),
        ("[[turn]]\ntext = 'x'\nseed = true", "turn 1: seed must be a whole number"),
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


def test_a_script_sends_recordings_of_its_own_folder_only(tmp_path: Path):
    folder = tmp_path / "script"
    folder.mkdir()
    (folder / "sad.wav").write_bytes(b"RIFF")
    (tmp_path / "secret.wav").write_bytes(b"RIFF")
    (folder / "link.wav").symlink_to(tmp_path / "secret.wav")

    def clip(name: str, **allowed: bool) -> Path | None:
        return parse_script(f"[[turn]]\ntext = 'x'\nemotion = '@{name}'", folder, **allowed).turns[0].settings.clip

    assert clip("sad.wav") == folder / "sad.wav"
    for outside in ("../secret.wav", str(tmp_path / "secret.wav"), "link.wav"):
        with pytest.raises(ValueError, match="is not in the folder of the script"):
            clip(outside)
        assert clip(outside, any_clip=True) is not None
    with pytest.raises(ValueError, match="there is no recording"):
        clip("missing.wav")


# ---- the listener ---------------------------------------------------------------------------------------------------


def test_listener_plays_chunks_in_order_in_real_time_and_notes_underruns():
    now = [10.0]
    listener = Listener(lambda: now[0])
    assert (listener.position, listener.end_s) == (None, -np.inf)
    for arrived in (chunk(10.0, 200), chunk(10.1, 100, offset=200), chunk(10.5, 100, offset=300)):
        assert listener.receive(arrived)
    assert [(heard.start_s, round(heard.end_s, 6)) for heard in listener.heard("u")] == [
        (10.0, 10.2),
        (10.2, 10.3),
        (10.5, 10.6),
    ]
    (underrun,) = listener.underruns("u")
    assert max(abs(underrun.start_s - 10.3), abs(underrun.end_s - 10.5)) < 1e-9
    played, positions = [], []
    for now[0] in (10.05, 10.25, 10.4, 10.55, 11.0):
        played.append(listener.heard_ms("u"))
        positions.append(listener.position)
    assert np.abs(np.array(played) - [50, 250, 300, 350, 400]).max() < 1e-6
    assert positions == [AudioPosition("u", sample) for sample in (50, 250, 300, 350, 400)]
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
    now[0] = 1.2
    assert listener.position == AudioPosition("u", 50)  # of the second chunk, whose place here is as the first one's
    assert not listener.receive(chunk(1.16, 300))
    assert listener.receive(chunk(1.2, 100, "v"))
    now[0] = 5.0
    assert (round(listener.heard_ms("u"), 6), listener.late_ms("u")) == (150, 300)
    assert listener.position == AudioPosition("v", 100)
    assert [len(heard.samples) for heard in listener.heard()] == [100, 50, 100]
    assert listener.underruns("u") == listener.underruns("v") == ()


# ---- the runner, on virtual time ------------------------------------------------------------------------------------


class FakeUtterance:
    """Answers its first text with a filler after 0.1 s, and each text with 100 ms of speech after the talk's delay."""

    def __init__(
        self, talk: "FakeTalk", settings: SpeechSettings, utterance_id: str, cover_after_ms: int | None
    ) -> None:
        self.id, self.settings, self.cover_after_ms = utterance_id, settings, cover_after_ms
        self.ended: asyncio.Future[Done] = talk.loop.create_future()
        self._talk = talk
        self._sent: list[SentText] = []
        self._events: list[Event] = []

    async def start(self) -> None:
        self._talk.sent.append((self.id, self._talk.loop.time(), "start"))

    async def send(self, delta: str) -> None:
        if delta == self._talk.fail_at:
            self.ended.set_exception(Unavailable(grpc.StatusCode.UNAVAILABLE, "gone"))
        if not self._sent:
            route = Route("starter", "plain", "neutral")
            self._later(0.1, lambda at_s: Started(at_s, self.id, route, ResolvedEmotion(), "default", 1))
            self._later(0.1, lambda at_s: chunk(at_s, 150, self.id, "filler", "Hmm"))
        self._sent.append(SentText(self._talk.loop.time(), delta))
        self._talk.sent.append((self.id, self._talk.loop.time(), delta))
        offset = 150 + 100 * (len(self._sent) - 1)
        self._later(self._talk.delay_s, lambda at_s: chunk(at_s, 100, self.id, offset=offset))

    async def end(self) -> None:
        self._later(self._talk.delay_s, lambda at_s: Done(at_s, self.id, "completed", None, 0))

    async def interrupt(self, position: AudioPosition | None) -> Cut | None:
        self._talk.sent.append((self.id, self._talk.loop.time(), position))
        await asyncio.sleep(0.02)
        if self.ended.done() and self._talk.nothing_to_stop:
            return None
        self._receive(Done(self._talk.loop.time(), self.id, "interrupted", None, 0))
        return Cut(self.id, position.sample, 6, "so far", "the rest", "reported")

    async def done(self) -> Done:
        return await asyncio.shield(self.ended)

    @property
    def speech(self) -> Speech:
        return Speech(self._sent, self._events, RATE)

    def _later(self, delay_s: float, make: Callable[[float], Event]) -> None:
        self._talk.loop.call_later(delay_s, lambda: self._receive(make(self._talk.loop.time())))

    def _receive(self, event: Event) -> None:
        self._events.append(event)
        self._talk.on_event(event)
        if isinstance(event, Done) and not self.ended.done():
            self.ended.set_result(event)


@dataclass
class FakeTalk:
    """A stream whose utterances are faked. `sent` has what was sent, with its utterance and its time."""

    on_event: Callable[[Event], None]
    delay_s: float = 0.3
    fail_at: str | None = None
    nothing_to_stop: bool = False
    sent: list[tuple[str, float, object]] = field(default_factory=list)
    utterances: list[FakeUtterance] = field(default_factory=list)
    finished_s: float | None = None

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()

    def utterance(self, settings: SpeechSettings, *, id: str, cover_after_ms: int | None) -> FakeUtterance:
        self.utterances.append(FakeUtterance(self, settings, id, cover_after_ms))
        return self.utterances[-1]

    async def report_playback(self, position: AudioPosition) -> None:
        self.sent.append(("", self.loop.time(), position))

    async def finish(self, timeout_s: float) -> Usage:
        self.finished_s = self.loop.time()
        return Usage()


def run_script(run_virtual, *turns: Turn, languages=None, **behaviour) -> tuple[ScriptRun, FakeTalk]:
    async def main() -> tuple[ScriptRun, FakeTalk]:
        clock = asyncio.get_running_loop().time
        run = ScriptRun(Listener(clock))
        runner = ScriptRunner(run, clock, languages=languages)
        talk = FakeTalk(runner.receive, **behaviour)
        await runner.run(talk, Script(turns, words_per_second=10))
        return run, talk

    return run_virtual(main())


def started_s(talk: FakeTalk, number: int) -> float:
    return min(at_s for name, at_s, _ in talk.sent if name == f"turn-{number}")


def test_a_turn_starts_after_the_one_before_was_heard_and_a_pause(run_virtual):
    run, talk = run_script(run_virtual, Turn("One two three"), Turn("Four", pause_ms=250), Turn("Five"))
    first, second, third = (started_s(talk, number) for number in (1, 2, 3))
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
    positions = [position for name, _, position in talk.sent if not name]
    assert positions == sorted(positions, key=lambda position: (position.utterance_id, position.sample))
    assert talk.finished_s >= run.listener.end_s


def test_a_turn_may_think_before_its_first_word(run_virtual):
    settings = SpeechSettings(voice="ada")
    run, talk = run_script(run_virtual, Turn("One two", settings, think_ms=800, cover_after_ms=200))
    (utterance,) = talk.utterances
    assert (utterance.settings, utterance.cover_after_ms) == (settings, 200)
    (_, start_s, _), (_, text_s, text) = [sent for sent in talk.sent if sent[0]][:2]
    assert (round(text_s - start_s, 6), text) == (0.8, "One")
    measures = measure_turn(run, run.turns[0])
    assert measures.first_sound_ms == pytest.approx(900, abs=1e-6)


def test_a_barge_in_stops_playback_interrupts_at_its_position_and_starts_the_next_turn_at_once(run_virtual):
    long = " ".join("word" for _ in range(30))
    run, talk = run_script(run_virtual, Turn(long, interrupt_after_ms=1000), Turn("Short"), delay_s=0.2)
    interrupted, after = run.turns
    heard_ms = sum(1000 * part.duration_s for part in run.listener.heard("turn-1"))
    assert 1000 <= heard_ms <= 1015
    ((interrupted_s, position),) = [
        (at_s, sent) for name, at_s, sent in talk.sent if name and isinstance(sent, AudioPosition)
    ]
    assert interrupted_s == interrupted.barge_in_s
    assert position.utterance_id == "turn-1" and abs(position.sample - heard_ms) <= 1
    assert all(at_s <= interrupted.barge_in_s for name, at_s, _ in talk.sent if name == "turn-1")
    assert started_s(talk, 2) == interrupted.barge_in_s
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


def test_a_barge_in_that_stops_nothing_is_answered_without_a_cut(run_virtual):
    turn = Turn("One two three", interrupt_after_ms=200, words_per_second=0)
    run, _ = run_script(run_virtual, turn, nothing_to_stop=True)
    measures = measure_turn(run, run.turns[0])
    assert measures.outcome == "completed" and measures.stop_ms == pytest.approx(20, abs=1e-6)


def test_turns_in_a_language_that_no_engine_speaks_are_skipped(run_virtual):
    english, chinese = SpeechSettings(language="en-GB"), SpeechSettings(language="zh")
    run, talk = run_script(run_virtual, Turn("One", english), Turn("二", chinese), Turn("Three"), languages=["en"])
    assert {utterance.id for utterance in talk.utterances} == {"turn-1", "turn-3"}
    measures = measure_turn(run, run.turns[1])
    assert (measures.outcome, measures.note) == ("skipped", "no trained engine of this server speaks zh")


def test_a_lost_call_ends_the_run(run_virtual):
    with pytest.raises(IntoneError, match="gone"):
        run_script(run_virtual, Turn("One two"), Turn("three"), fail_at=" two")
