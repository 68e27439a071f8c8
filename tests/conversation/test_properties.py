"""Properties of every conversation: random messages, emotions, interruptions and engine failures, on virtual time."""

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
    kind: str  # text, interrupt, interrupt all, flush, fail, recover
    turn: int = 0
    text: str = ""
    end: bool = False
    angry: bool = False
    engine: str = "voxcpm"
    step: int = 0


acts = st.builds(
    Act,
    after_s=st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0, 3.0]),
    kind=st.sampled_from(["text"] * 8 + ["interrupt", "interrupt all", "flush", "fail", "recover"]),
    turn=st.integers(0, 4),
    text=st.sampled_from(DELTAS),
    end=st.booleans(),
    angry=st.booleans(),
    engine=st.sampled_from(["voxcpm", "indextts"]),
    step=st.integers(0, 3),
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


async def play(script, policy, max_lead_ms=None, engine_count=2):
    """Run the script to the end of the conversation; return it with the text that counts, by utterance."""
    fast = ScriptedWorker(Script(step_s=0.04, first_s=0.05), name="voxcpm")
    slow = ScriptedWorker(Script(step_s=0.08, first_s=1.3), name="indextts", voices_emotion=True)
    server = {"pause_scale": 1.0, "max_open_utterances": 10}
    talk = Talk(*(fast, slow)[:engine_count], voice=VOICE, filler=policy, max_lead_ms=max_lead_ms, server=server)
    ended: dict[int, bool] = {}  # by turn that was started
    sent: dict[str, str] = defaultdict(str)
    for act in script:
        await asyncio.sleep(act.after_s)
        worker = talk.workers.get(act.engine)
        match act.kind:
            case "text":
                emotion = {"emotion": ANGRY} if act.angry and act.turn not in ended else {}
                if not ended.get(act.turn):  # text after the end is refused, or ignored with a warning
                    sent[f"u{act.turn}"] += act.text
                talk.text(f"u{act.turn}", act.text, act.end, **emotion)
                ended[act.turn] = ended.get(act.turn, False) or act.end
            case "interrupt":
                talk.session.receive(e.Interrupt(f"u{act.turn}"))
                ended.update({act.turn: True} if act.turn in ended else {})
            case "interrupt all":
                talk.session.receive(e.Interrupt(""))
                ended = dict.fromkeys(ended, True)
            case "flush":
                talk.session.receive(e.Flush(f"f{act.turn}"))
            case "fail" if worker is not None:
                worker.script.fail_at_step = act.step
            case "recover" if worker is not None:
                worker.script.fail_at_step, worker.failing = None, False
    await talk.finish()
    await talk.close()
    assert all(worker.live == [] for worker in talk.workers.values()), "an engine still works after the end"
    return talk, sent


def check_ends(utterances, started):
    """Each utterance ends once, and only an interruption of what is still playing comes after its end."""
    ended = {name for name, events in utterances.items() if events.of(e.Done) + events.of(e.Interrupted)}
    assert ended == started
    for name in started:
        utterance = utterances[name]
        done, interrupted = utterance.of(e.Done), utterance.of(e.Interrupted)
        assert len(done) <= 1 and len(interrupted) <= 1
        if done and interrupted:
            assert utterance.at(e.Done) <= utterance.at(e.Interrupted)
        kinds = [type(event) for _, event in utterance.events if not isinstance(event, e.Notice | e.RequestRefused)]
        first_end = min(kinds.index(kind) for kind in (e.Done, e.Interrupted) if kind in kinds)
        assert all(kind in (e.Done, e.Interrupted) for kind in kinds[first_end:])
        assert kinds.count(e.Started) <= 1 and (e.AudioChunk not in kinds or kinds[0] is e.Started)


def check_audio(utterances, policy):
    """An utterance's audio has no gap and no overlap; fillers come before speech unless the policy is EAGER."""
    for utterance in utterances.values():
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
        assert kinds[-1:] != [e.AudioKind.SILENCE] or not utterance.of(e.Done), "a pause with nothing after it"


def check_order(talk):
    """The audio of utterances is not interleaved."""
    owners = [event.utterance_id for event in talk.of(e.AudioChunk)]
    changes = [owner for i, owner in enumerate(owners) if i == 0 or owners[i - 1] != owner]
    assert len(changes) == len(set(changes))


def letters(text):
    """The characters of a text that are always spoken; isolated punctuation is not."""
    return "".join(character for character in text if not character.isspace() and character not in ".,")


def check_text(talk, sent, utterances):
    """A completed utterance was spoken whole and once; a failed one came with a warning."""
    for name, utterance in utterances.items():
        for done in utterance.of(e.Done):
            codes = [notice.code for notice in utterance.of(e.Notice)]
            assert (done.reason is e.DoneReason.FAILED) == (e.WarningCode.ENGINE_FAILED in codes)
            if done.reason is e.DoneReason.COMPLETED:
                expected, spoken = letters(sent[name]), letters(talk.spoken_text(name))
                assert spoken == "".join(chr(ord(character) % 256) for character in expected)


def check_silence(talk, utterances, policy):
    """After an utterance is routed and earlier audio has ended, a filler or speech follows within a bound."""
    played = heard(talk.events)
    for name, utterance in utterances.items():
        started_s, first_s = utterance.at(e.Started), utterance.at(e.AudioChunk)
        if started_s is None or first_s is None:
            continue
        losses_s = [at for at, event in utterance.events if getattr(event, "code", None) is e.WarningCode.ENGINE_FAILED]
        if losses_s and losses_s[0] <= first_s:  # the first unit is lost, and the next one may wait for text
            continue
        before = [one.end_s for one in played if one.chunk.utterance_id != name and one.start_s < first_s]
        since_s = max([started_s, *(end for end in before if end <= first_s + 10)])
        first = next((one for one in played if one.chunk.utterance_id == name and one.sounds), None)
        if first is not None and policy is not e.FillerPolicy.OFF and first.start_s > since_s:
            assert silence_s(played, since_s, first.start_s) <= MAX_SILENCE_S
    assert all(one.end_s <= other.start_s + 1e-9 for one, other in zip(played, played[1:], strict=False))


# Interrupts an utterance before it is heard, while another one waits behind it.
INTERRUPTED_BEFORE_AUDIO = [
    Act(0.0, "text", 1, " How are you today, my friend?", True, angry=True),
    Act(0.0, "text", 2, "Good morning.", True),
    Act(2.0, "text", 0, "Good morning.Good morning.", True),
    Act(1.6, "interrupt", 2),
]


@example(script=INTERRUPTED_BEFORE_AUDIO, policy=e.FillerPolicy.AUTO, max_lead_ms=None, engine_count=2)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    script=st.lists(acts, min_size=1, max_size=18),
    policy=st.sampled_from(list(e.FillerPolicy)),
    max_lead_ms=st.sampled_from([None, 500, 5000]),
    engine_count=st.integers(1, 2),
)
def test_properties_of_every_conversation(run_virtual, script, policy, max_lead_ms, engine_count):
    talk, sent = run_virtual(play(script, policy, max_lead_ms, engine_count))
    utterances = by_utterance(talk)
    check_ends(utterances, started={f"u{act.turn}" for act in script if act.kind == "text"})
    check_audio(utterances, policy)
    check_order(talk)
    check_text(talk, sent, utterances)
    check_silence(talk, utterances, policy)
    assert len(talk.of(e.Flushed)) == sum(act.kind == "flush" for act in script)


@pytest.mark.parametrize("policy", list(e.FillerPolicy))
def test_the_checks_apply_to_a_conversation_with_every_kind_of_event(run_virtual, policy):
    """The checks above do not pass merely because the conversations are empty."""
    script = [
        Act(0.0, "text", 0, "Good morning.", True),
        Act(3.0, "text", 1, " How are you today, my friend?", True, angry=True),
        Act(6.0, "text", 2, " Yes.", True),
        Act(0.2, "interrupt", 2),
        Act(0.0, "fail", engine="indextts", step=1),
        Act(0.0, "text", 3, "Good morning.", True, angry=True),
    ]
    talk, _ = run_virtual(play(script, policy))
    utterances = by_utterance(talk)
    assert [utterances[f"u{i}"].of(e.Started)[0].engine for i in (0, 1, 2)] == ["voxcpm", "indextts", "voxcpm"]
    assert utterances["u2"].of(e.Interrupted) and utterances["u3"].of(e.Done)
    kinds = {chunk.kind for chunk in talk.of(e.AudioChunk)}
    assert (e.AudioKind.FILLER in kinds) == (policy is not e.FillerPolicy.OFF)
    check_ends(utterances, started={"u0", "u1", "u2", "u3"})
    check_audio(utterances, policy)
