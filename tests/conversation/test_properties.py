"""What holds in every conversation: random turns, emotions, interruptions and failures, on virtual time."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from intone.server import events as e
from intone.server.conversation.context import FillerSettings
from intone.server.conversation.filler_player import GAP_BEFORE_FILLER_MS, RECHECK_S
from intone.server.domain import Emotion, Filler, Voice
from tests.support.fakes import RATE_HZ, Script, ScriptedWorker
from tests.support.listener import heard, silence_s
from tests.support.talk import Talk

COVER = FillerSettings()
ALLOWED_S = max(COVER.threshold_ms, GAP_BEFORE_FILLER_MS) / 1000 + RECHECK_S
ANGRY = Emotion((0, 1.0, 0, 0, 0, 0, 0, 0), 1.0)
SENTENCES = (
    "Good morning.",
    " How are you today, my friend?",
    " Yes.",
    " 你好。",
    " I am fine",
    ", and you?",
    " ...",
    "\n",
)


def clip(text, duration_ms, language):
    samples = np.full(RATE_HZ * duration_ms // 1000, 0.25, np.float32)
    return Filler(text, "neutral", language, samples, RATE_HZ, (duration_ms // 2, duration_ms))


VOICE = Voice(
    "default",
    fillers=tuple(
        clip(text, ms, tongue) for tongue in ("en", "zh") for text, ms in (("a", 250), ("b", 450), ("c", 900))
    ),
)


@dataclass(frozen=True)
class Act:
    """Something the client does, or that happens to an engine, `after_s` the act before it."""

    after_s: float
    kind: str  # text, cancel, flush, fail, heal
    turn: int = 0
    text: str = ""
    end: bool = False
    angry: bool = False
    engine: str = "voxcpm"
    step: int = 0


acts = st.builds(
    Act,
    after_s=st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0, 3.0]),
    kind=st.sampled_from(["text"] * 8 + ["cancel", "cancel", "flush", "fail", "heal"]),
    turn=st.integers(0, 4),
    text=st.sampled_from(SENTENCES),
    end=st.booleans(),
    angry=st.booleans(),
    engine=st.sampled_from(["voxcpm", "indextts"]),
    step=st.integers(0, 3),
)


@dataclass
class Told:
    """What the client was told of one utterance, in order."""

    events: list[tuple[float, e.ServerEvent]] = field(default_factory=list)

    def of(self, kind):
        return [event for _, event in self.events if isinstance(event, kind)]

    def at(self, kind):
        return next((at for at, event in self.events if isinstance(event, kind)), None)


def by_utterance(talk):
    told = defaultdict(Told)
    for at_s, event in talk.said:
        if getattr(event, "utterance_id", ""):
            told[event.utterance_id].events.append((at_s, event))
    return told


async def play(script, policy):
    """The whole script, to the end of the conversation; gives it with the text that was sent, by utterance."""
    fast = ScriptedWorker(Script(step_s=0.04, first_s=0.05), name="voxcpm")
    slow = ScriptedWorker(Script(step_s=0.08, first_s=1.3), name="indextts", voices_emotion=True)
    talk = Talk(fast, slow, voice=VOICE, filler=policy, server={"pause_scale": 1.0, "max_open_utterances": 10})
    begun: dict[int, bool] = {}
    sent: dict[str, str] = defaultdict(str)
    for act in script:
        await asyncio.sleep(act.after_s)
        match act.kind:
            case "text" if begun.get(act.turn) is not True:
                emotion = {"emotion": ANGRY} if act.angry and act.turn not in begun else {}
                begun[act.turn] = act.end
                sent[f"u{act.turn}"] += act.text
                talk.text(f"u{act.turn}", act.text, act.end, **emotion)
            case "cancel":
                talk.session.receive(e.Interrupt(f"u{act.turn}" if act.turn in begun else ""))
                begun.update({act.turn: True} if act.turn in begun else {})
            case "flush":
                talk.session.receive(e.Flush(f"f{act.turn}"))
            case "fail":
                talk.workers[act.engine].script.fail_at_step = act.step
            case "heal":
                worker = talk.workers[act.engine]
                worker.script.fail_at_step, worker.failing = None, False
    await talk.finish()
    await talk.close()
    assert all(worker.live == [] for worker in talk.workers.values()), "an engine still works for nobody"
    return talk, sent


def check_ends(told):
    """One end each, and nothing after it but an interruption of what was still being played."""
    for utterance in told.values():
        done, interrupted = utterance.of(e.Done), utterance.of(e.Interrupted)
        assert len(done) <= 1 and len(interrupted) <= 1 and done + interrupted
        if done and interrupted:
            assert utterance.at(e.Done) <= utterance.at(e.Interrupted)
        kinds = [type(event) for _, event in utterance.events if not isinstance(event, e.Notice | e.RequestRefused)]
        first_end = min(kinds.index(kind) for kind in (e.Done, e.Interrupted) if kind in kinds)
        assert all(kind in (e.Done, e.Interrupted) for kind in kinds[first_end:])
        assert kinds.count(e.Started) <= 1 and (e.AudioChunk not in kinds or kinds[0] is e.Started)


def check_audio(told, policy):
    """No gap and no overlap in the audio of an utterance; fillers before speech unless asked for inside it."""
    for utterance in told.values():
        offset = 0
        for i, chunk in enumerate(utterance.of(e.AudioChunk)):
            assert (chunk.sequence, chunk.offset_samples) == (i, offset)
            offset += len(chunk.data) // 4
            assert bool(chunk.filler_text) == (chunk.kind is e.AudioKind.FILLER)
        kinds = [chunk.kind for chunk in utterance.of(e.AudioChunk)]
        if e.AudioKind.SPEECH in kinds and policy is not e.FillerPolicy.EAGER:
            assert e.AudioKind.FILLER not in kinds[kinds.index(e.AudioKind.SPEECH) :]
        if policy is e.FillerPolicy.OFF:
            assert e.AudioKind.FILLER not in kinds
        assert kinds[-1:] != [e.AudioKind.SILENCE] or not utterance.of(e.Done), "a pause leads to nothing"


def check_order(talk):
    """Utterances are heard one after another, none again after the next has begun."""
    owners = [event.utterance_id for _, event in talk.said if isinstance(event, e.AudioChunk)]
    changes = [owner for i, owner in enumerate(owners) if i == 0 or owners[i - 1] != owner]
    assert len(changes) == len(set(changes))


def letters(text):
    """What is surely spoken of a text: marks that stand alone are not."""
    return "".join(character for character in text if not character.isspace() and character not in ".,")


def check_words(talk, sent, told):
    """What was completed was said whole and once; what was cut says so."""
    for name, utterance in told.items():
        for done in utterance.of(e.Done):
            codes = [notice.code for notice in utterance.of(e.Notice)]
            assert (done.reason is e.DoneReason.FAILED) == (e.WarningCode.ENGINE_FAILED in codes)
            if done.reason is e.DoneReason.COMPLETED:
                wanted, spoken = letters(sent[name]), letters(talk.voiced(name))
                assert spoken == "".join(chr(ord(character) % 256) for character in wanted)


def check_silence(talk, told, policy):
    """From when an utterance is routed and nothing else sounds, something is heard within what is allowed."""
    played = heard(talk.said)
    for name, utterance in told.items():
        begun_s, first_s = utterance.at(e.Started), utterance.at(e.AudioChunk)
        if begun_s is None or first_s is None:
            continue
        before = [one.end_s for one in played if one.chunk.utterance_id != name and one.start_s < first_s]
        since_s = max([begun_s, *(end for end in before if end <= first_s + 10)])
        first = next((one for one in played if one.chunk.utterance_id == name and one.sounds), None)
        if first is not None and policy is not e.FillerPolicy.OFF and first.start_s > since_s:
            assert silence_s(played, since_s, first.start_s) <= ALLOWED_S
    assert all(one.end_s <= other.start_s + 1e-9 for one, other in zip(played, played[1:], strict=False))


MOVED_UP = [  # what lies behind an interrupted utterance that had not begun to sound
    Act(0.0, "text", 1, " How are you today, my friend?", True, angry=True),
    Act(0.0, "text", 2, "Good morning.", True),
    Act(2.0, "text", 0, "Good morning.Good morning.", True),
    Act(1.6, "cancel", 2),
]


@example(script=MOVED_UP, policy=e.FillerPolicy.AUTO)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(acts, min_size=1, max_size=14), policy=st.sampled_from(list(e.FillerPolicy)))
def test_what_holds_in_every_conversation(run_virtual, script, policy):
    talk, sent = run_virtual(play(script, policy))
    told = by_utterance(talk)
    asked = {f"u{act.turn}" for act in script if act.kind == "text"}
    assert {name for name in told if told[name].of(e.Done) + told[name].of(e.Interrupted)} <= asked
    check_ends(told)
    check_audio(told, policy)
    check_order(talk)
    check_words(talk, sent, told)
    check_silence(talk, told, policy)


@pytest.mark.parametrize("policy", list(e.FillerPolicy))
def test_the_checks_see_real_conversations(run_virtual, policy):
    """A script that uses everything: the properties above are not true for want of anything to look at."""
    script = [
        Act(0.0, "text", 0, "Good morning.", True),
        Act(3.0, "text", 1, " How are you today, my friend?", True, angry=True),
        Act(6.0, "text", 2, " Yes.", True),
        Act(0.2, "cancel", 2),
        Act(0.0, "fail", engine="indextts", step=1),
        Act(0.0, "text", 3, "Good morning.", True, angry=True),
    ]
    talk, _ = run_virtual(play(script, policy))
    told = by_utterance(talk)
    assert [told[f"u{i}"].of(e.Started)[0].engine for i in (0, 1, 2)] == ["voxcpm", "indextts", "voxcpm"]
    assert told["u2"].of(e.Interrupted) and told["u3"].of(e.Done)
    kinds = {chunk.kind for chunk in talk.of(e.AudioChunk)}
    assert (e.AudioKind.FILLER in kinds) == (policy is not e.FillerPolicy.OFF)
    check_ends(told)
    check_audio(told, policy)
