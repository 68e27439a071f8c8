"""Properties of every conversation: random messages, emotions, interruptions and engine failures, on virtual time."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from intone.server import events as e
from intone.server.conversation.context import FillerSettings
from intone.server.conversation.filler_player import GAP_BEFORE_FILLER_MS, RECHECK_S
from intone.server.domain import Emotion, Filler, Voice
from intone.server.settings import FillerPolicy
from tests.support.fakes import RATE_HZ, Script, ScriptedWorker
from tests.support.listener import heard, heard_samples, silence_s
from tests.support.talk import LIMITS, Talk

FILLERS = FillerSettings()
MAX_SILENCE_S = max(FILLERS.threshold_ms, GAP_BEFORE_FILLER_MS) / 1000 + RECHECK_S
ANGRY = Emotion((0, 1.0, 0, 0, 0, 0, 0, 0), 1.0)
DELTAS = (
    "Good morning.",
    " How are you today, my friend?",
    " Yes.",
    " 你好。",
    " I am fine",
    ", and you?",
    "x" * 40,
    " ...",
    "\n",
    "",
)


def clip(text, duration_ms, language):
    samples = np.full(RATE_HZ * duration_ms // 1000, 0.25, np.float32)
    return Filler(text, "neutral", language, samples, RATE_HZ, (duration_ms // 2, duration_ms))


VOICE = Voice(
    "default",
    fillers=tuple(
        clip(text, ms, language) for language in ("en", "zh") for text, ms in (("a", 250), ("b", 450), ("c", 900))
    ),
)


@dataclass(frozen=True)
class Act:
    """Something the client does, or that happens to an engine, `after_s` the act before it."""

    after_s: float
    kind: str  # start, text, interrupt, interrupt all, flush, fail, recover
    turn: int = 0
    text: str = ""
    end: bool = False
    angry: bool = False
    cover: bool = False
    position: str = ""  # of an interrupt: exact, of an unknown utterance, absurd; empty for none
    engine: str = "voxcpm"
    step: int = 0


acts = st.builds(
    Act,
    after_s=st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0, 3.0, 12.0]),
    kind=st.sampled_from(["text"] * 8 + ["start", "interrupt", "interrupt all", "flush", "fail", "recover"]),
    turn=st.integers(0, 4),
    text=st.sampled_from(DELTAS),
    end=st.booleans(),
    angry=st.booleans(),
    cover=st.booleans(),
    position=st.sampled_from(["", "", "exact", "unknown", "absurd"]),
    engine=st.sampled_from(["voxcpm", "indextts"]),
    step=st.integers(0, 3),
)


@dataclass(frozen=True)
class Conditions:
    """How a conversation is held."""

    policy: FillerPolicy = FillerPolicy.AUTO
    max_lead_ms: int | None = None
    engine_count: int = 2
    reports: bool = False
    delay_ms: int = 0
    chunk_ms: int | None = None
    ending: str = "half-close"  # finish, drain


conditions = st.builds(
    Conditions,
    policy=st.sampled_from(list(FillerPolicy)),
    max_lead_ms=st.sampled_from([None, 500, 5000]),
    engine_count=st.integers(1, 2),
    reports=st.booleans(),
    delay_ms=st.sampled_from([0, 0, 250]),
    chunk_ms=st.sampled_from([None, 20]),
    ending=st.sampled_from(["half-close", "finish", "drain"]),
)


@dataclass
class UtteranceEvents:
    """The events of one utterance, in order, with their times."""

    events: list[tuple[float, e.ServerEvent]] = field(default_factory=list)

    def of(self, kind):
        return [event for _, event in self.events if isinstance(event, kind)]

    def at(self, kind):
        return next((at for at, event in self.events if isinstance(event, kind)), None)


def by_utterance(talk):
    events = defaultdict(UtteranceEvents)
    for at_s, event in talk.events:
        if getattr(event, "utterance_id", ""):
            events[event.utterance_id].events.append((at_s, event))
    return events


class Client:
    """Plays a script, with a player that plays what arrives in real time and reports its position if asked to."""

    def __init__(self, how: Conditions) -> None:
        fast = ScriptedWorker(Script(step_s=0.04, first_s=0.05), name="voxcpm")
        slow = ScriptedWorker(Script(step_s=0.08, first_s=1.3), name="indextts", voices_emotion=True)
        self.talk = Talk(
            *(fast, slow)[: how.engine_count],
            voice=VOICE,
            filler=how.policy,
            max_lead_ms=how.max_lead_ms,
            playback_delay_ms=how.delay_ms,
            chunk_ms=how.chunk_ms,
            server={"pause_scale": 1.0, "limits": replace(LIMITS, max_open_utterances=10)},
        )
        self._how = how
        self.named: set[str] = set()
        """Ids that a start or a text named."""
        self.texts: dict[str, str] = defaultdict(str)
        self.heard_at_cut: dict[str, dict[str, float]] = {}
        """By interrupt: samples of each utterance that the player had played."""
        self.interrupts = 0
        self.stopped: dict[str, set[str]] = {}
        """By interrupt: the utterances that it stops or bars."""
        self.covers = False
        """Whether fillers cover a wait for text."""

    async def play(self, script: list[Act]) -> None:
        """Run the script to the end of the conversation."""
        reporter = asyncio.create_task(self._report()) if self._how.reports else None
        for act in script:
            await asyncio.sleep(act.after_s)
            self._do(act)
        match self._how.ending:
            case "half-close":
                self.talk.session.half_close()
            case "finish":
                self.talk.session.receive(e.Finish())
            case "drain":
                self.talk.session.drain(60_000)
        await self.talk._reader
        if reporter is not None:
            reporter.cancel()
            await asyncio.wait({reporter})
        await self.talk.close()
        assert all(worker.live == [] for worker in self.talk.workers.values()), "an engine still works after the end"

    def _do(self, act: Act) -> None:
        talk, turn = self.talk, f"u{act.turn}"
        worker = talk.workers.get(act.engine)
        match act.kind:
            case "start":
                self.named.add(turn)
                emotion = {"emotion": ANGRY} if act.angry else {}
                self.covers = self.covers or act.cover
                talk.start(turn, cover_after_ms=300 if act.cover else None, **emotion)
            case "text":
                self.named.add(turn)
                self.texts[turn] += act.text
                talk.text(turn, act.text, act.end)
            case "interrupt":
                self._interrupt(act, turn)
            case "interrupt all":
                self._interrupt(act)
            case "flush":
                talk.session.receive(e.Flush(f"f{act.turn}", turn if act.angry else ""))
            case "fail" if worker is not None:
                worker.script.fail_at_step = act.step
            case "recover" if worker is not None:
                worker.script.fail_at_step, worker.failing = None, False

    def _interrupt(self, act: Act, *turns: str) -> None:
        interrupt_id, now_s = f"i{self.interrupts}", asyncio.get_running_loop().time()
        played = heard(self.talk.events, self._how.delay_ms / 1000)
        names = {one.chunk.utterance_id for one in played}
        self.interrupts += 1
        position = {"exact": self._position(), "unknown": ("nobody", 5), "absurd": None}.get(act.position)
        if act.position == "absurd":
            turns = ()  # what the listener heard of others cannot be known after such a position
            current = self._position()
            position = None if current is None else (current[0], 10**15)
        else:
            self.heard_at_cut[interrupt_id] = {name: heard_samples(played, name, now_s) for name in names}
        self.stopped[interrupt_id] = set(turns or self.named)
        self.talk.interrupt(*turns, interrupt_id=interrupt_id, played=position)

    def _position(self) -> tuple[str, int] | None:
        now_s = asyncio.get_running_loop().time()
        played = heard(self.talk.events, self._how.delay_ms / 1000)
        last = next((one.chunk.utterance_id for one in reversed(played) if one.start_s < now_s), None)
        return None if last is None else (last, round(heard_samples(played, last, now_s)))

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            position = self._position()
            if position is not None:
                self.talk.report(*position)


def check_ends(client, utterances):
    """Each utterance ends in exactly one `Done`, the last of its events but notices; each interrupt has one answer."""
    talk = client.talk
    done = [event.utterance_id for event in talk.of(e.Done)]
    assert sorted(done) == sorted(client.named)
    for name in client.named:
        kinds = [type(event) for _, event in utterances[name].events if not isinstance(event, e.Notice)]
        assert kinds[-1] is e.Done
        assert kinds.count(e.Started) <= 1
        speech = [chunk for chunk in utterances[name].of(e.AudioChunk) if e.AudioKind.SPEECH in chunk.samples]
        assert not speech or utterances[name].at(e.Started) is not None
    answered = [event.interrupt_id for event in talk.of(e.Interrupted)]
    assert answered == [f"i{number}" for number in range(client.interrupts)]
    assert isinstance(talk.events[0][1], e.Configured) and isinstance(talk.events[-1][1], e.Closed)
    assert [type(event) for _, event in talk.events].count(e.Closed) == 1


def check_cuts(client):
    """Nothing follows an interruption, and the server's idea of what was heard is the player's, within 20 ms."""
    stopped: set[str] = set()
    for _, event in client.talk.events:
        assert not isinstance(event, e.AudioChunk | e.Started) or event.utterance_id not in stopped
        stopped |= client.stopped[event.interrupt_id] if isinstance(event, e.Interrupted) else set()
    for at_s, event in client.talk.events:
        if isinstance(event, e.Interrupted):
            assert len({cut.utterance_id for cut in event.cuts}) == len(event.cuts)
            for cut in event.cuts if event.interrupt_id in client.heard_at_cut else ():
                expected = client.heard_at_cut[event.interrupt_id].get(cut.utterance_id, 0.0)
                assert abs(cut.heard_samples - expected) <= 0.020 * RATE_HZ, (at_s, cut, expected)
                assert client.texts[cut.utterance_id].startswith(cut.heard_text)


def check_audio(client, utterances, how):
    """An utterance's audio has no gap and no overlap; fillers come before speech unless the policy is EAGER."""
    covers = client.covers
    for utterance in utterances.values():
        offset = 0
        for i, chunk in enumerate(utterance.of(e.AudioChunk)):
            assert (chunk.sequence, chunk.offset_samples) == (i, offset)
            offset += len(chunk.data) // 4
            assert chunk.sample_count == len(chunk.data) // 4
            assert not chunk.filler_text or e.AudioKind.FILLER in chunk.samples
        kinds = [chunk.kind for chunk in utterance.of(e.AudioChunk)]
        if e.AudioKind.SPEECH in kinds and how.policy is not FillerPolicy.EAGER and not covers:
            assert e.AudioKind.FILLER not in kinds[kinds.index(e.AudioKind.SPEECH) :]
        if how.policy is FillerPolicy.OFF:
            assert e.AudioKind.FILLER not in kinds
        if how.chunk_ms is not None and len(kinds) > 1:
            lengths = [chunk.sample_count for chunk in utterance.of(e.AudioChunk)]
            short = sum(length != RATE_HZ * how.chunk_ms // 1000 for length in lengths)
            assert short <= 1 + len(client.talk.of(e.Flushed))
        completed = [done for done in utterance.of(e.Done) if done.reason is e.DoneReason.COMPLETED]
        assert kinds[-1:] != [e.AudioKind.SILENCE] or not completed, "a pause with nothing after it"


def check_order(talk):
    """The audio of utterances is not interleaved."""
    owners = [event.utterance_id for event in talk.of(e.AudioChunk)]
    changes = [owner for i, owner in enumerate(owners) if i == 0 or owners[i - 1] != owner]
    assert len(changes) == len(set(changes))


def letters(text):
    """The characters of a text that are always spoken; isolated punctuation is not."""
    return "".join(character for character in text if not character.isspace() and character not in ".,")


def check_text(client, utterances, how):
    """A completed utterance was spoken whole and once; a failed one came with a notice."""
    for name, utterance in utterances.items():
        codes = [notice.code for notice in utterance.of(e.Notice)]
        expected = "".join(chr(ord(character) % 256) for character in letters(client.texts[name]))
        # A chunk of exact length may mix speech with pauses; that its audio is the same is tested elsewhere.
        spoken = letters(client.talk.spoken_text(name)) if how.chunk_ms is None else None
        for done in utterance.of(e.Done):
            if done.reason in (e.DoneReason.COMPLETED, e.DoneReason.EMPTY):
                assert e.NoticeCode.ENGINE_FAILED not in codes
                late = {e.NoticeCode.TEXT_TIMEOUT, e.NoticeCode.UTTERANCE_ENDED} & set(codes)
                assert spoken is None or (expected.startswith(spoken) if late else spoken == expected)
            elif done.reason is e.DoneReason.FAILED:
                assert e.NoticeCode.ENGINE_FAILED in codes


def check_silence(talk, utterances, how):
    """After an utterance is routed and earlier audio has ended, a filler or speech follows within a bound."""
    played = heard(talk.events, how.delay_ms / 1000)
    for name, utterance in utterances.items():
        started_s, first_s = utterance.at(e.Started), utterance.at(e.AudioChunk)
        if started_s is None or first_s is None:
            continue
        losses_s = [at for at, event in utterance.events if getattr(event, "code", None) is e.NoticeCode.ENGINE_FAILED]
        if losses_s and losses_s[0] <= first_s:  # the first unit is lost, and the next one may wait for text
            continue
        before = [one.end_s for one in played if one.chunk.utterance_id != name and one.start_s < first_s]
        since_s = max([started_s, *(end for end in before if end <= first_s + 10)])
        first = next((one for one in played if one.chunk.utterance_id == name and one.sounds), None)
        if first is not None and how.policy is not FillerPolicy.OFF and first.start_s > since_s:
            bound_s = MAX_SILENCE_S + how.delay_ms / 1000 + (how.chunk_ms or 0) / 1000
            assert silence_s(played, since_s, first.start_s) <= bound_s
    assert all(one.end_s <= other.start_s + 1e-9 for one, other in zip(played, played[1:], strict=False))


# Interrupts an utterance before it is heard, while another one waits behind it.
INTERRUPTED_BEFORE_AUDIO = [
    Act(0.0, "start", 1, angry=True),
    Act(0.0, "text", 1, " How are you today, my friend?", True),
    Act(0.0, "text", 2, "Good morning.", True),
    Act(2.0, "text", 0, "Good morning.Good morning.", True),
    Act(1.6, "interrupt", 2),
]


def check(client, how, script):
    utterances = by_utterance(client.talk)
    check_ends(client, utterances)
    check_cuts(client)
    check_audio(client, utterances, how)
    check_order(client.talk)
    check_text(client, utterances, how)
    check_silence(client.talk, utterances, how)
    assert len(client.talk.of(e.Flushed)) == sum(act.kind == "flush" for act in script)
    assert not client.talk.of(e.RequestRefused)
    return utterances


async def converse(script, how):
    client = Client(how)
    await client.play(script)
    return client


@example(script=INTERRUPTED_BEFORE_AUDIO, how=Conditions())
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(acts, min_size=1, max_size=18), how=conditions)
def test_properties_of_every_conversation(run_virtual, script, how):
    check(run_virtual(converse(script, how)), how, script)


@pytest.mark.parametrize("ending", ["half-close", "finish", "drain"])
@pytest.mark.parametrize("policy", list(FillerPolicy))
def test_the_checks_apply_to_a_conversation_with_every_kind_of_event(run_virtual, policy, ending):
    """The checks above do not pass merely because the conversations are empty."""
    script = [
        Act(0.0, "text", 0, "Good morning.", True),
        Act(3.0, "start", 1, angry=True),
        Act(0.0, "text", 1, " How are you today, my friend?", True),
        Act(6.0, "text", 2, " How are you today, my friend?", True),
        Act(0.5, "interrupt", 2, position="exact"),
        Act(0.0, "fail", engine="indextts", step=1),
        Act(0.0, "start", 3, angry=True),
        Act(0.0, "text", 3, "Good morning.", True),
    ]
    how = Conditions(policy, reports=True, ending=ending)
    client = run_virtual(converse(script, how))
    utterances = check(client, how, script)
    assert [utterances[f"u{i}"].of(e.Started)[0].engine for i in (0, 1, 2)] == ["voxcpm", "indextts", "voxcpm"]
    assert len(client.talk.cuts) == 1 and client.talk.cuts[0].heard_samples > 0
    kinds = {chunk.kind for chunk in client.talk.of(e.AudioChunk)}
    assert (e.AudioKind.FILLER in kinds) == (policy is not FillerPolicy.OFF)
