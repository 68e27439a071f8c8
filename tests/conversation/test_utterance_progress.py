"""State of an utterance and the mapping from heard audio to heard text."""

import asyncio
from itertools import product

import pytest

from intone.server import events as e
from intone.server.conversation.utterance_progress import (
    LATIN_MS_PER_CHARACTER,
    TRANSITIONS,
    UtteranceProgress,
    UtteranceState,
)
from intone.server.domain import Unit
from tests.support.talk import Talk

QUEUED, SPEAKING, SENT, HEARD, STOPPED = UtteranceState
PATHS = {QUEUED: [], SPEAKING: [SPEAKING], SENT: [SPEAKING, SENT], HEARD: [SPEAKING, SENT, HEARD], STOPPED: [STOPPED]}
TEXT = "Good morning. How are you?"
FIRST, SECOND = Unit(0, 0, 13, TEXT[:13], True, TEXT[:13]), Unit(1, 13, 26, TEXT[13:], True, TEXT[13:])


@pytest.mark.parametrize(("before", "after"), list(product(UtteranceState, repeat=2)))
def test_only_the_transitions_of_the_table_are_possible(before, after):
    progress = UtteranceProgress(1000)
    for state in PATHS[before]:
        progress.advance(state)
    if after in TRANSITIONS[before]:
        progress.advance(after)
        assert progress.state is after
    else:
        with pytest.raises(RuntimeError, match=f"from {before.name} to {after.name}"):
            progress.advance(after)
        assert progress.state is before


def test_states_of_a_conversation(talk):
    async def body(t: Talk) -> None:
        t.text("a", "Good morning.", end=True)
        t.text("b", "This one is interrupted.", end=True)
        first, second = t.session._utterances.values()
        assert (first.progress.state, second.progress.state) == (QUEUED, QUEUED)
        states = {"a": [], "b": []}
        async for event in t.session:
            for utterance in (first, second):
                states[utterance.id].append(utterance.progress.state)
            if isinstance(event, e.AudioChunk) and event.utterance_id == "b":
                await asyncio.sleep(5.0)  # the first utterance is played
                t.session.receive(e.Interrupt("b"))
                t.session.half_close()
            if isinstance(event, e.Done):
                assert first.progress.state is SENT, "the state changes before the client is told"
        assert list(dict.fromkeys(states["a"])) == [SPEAKING, SENT, HEARD]
        assert list(dict.fromkeys(states["b"])) == [QUEUED, SPEAKING, STOPPED]

    async def alone(t: Talk) -> None:
        t._reader.cancel()  # the test reads instead
        await body(t)

    talk(alone)


def test_heard_characters_follow_the_units_audio():
    progress = UtteranceProgress(1000)  # one sample is one millisecond
    progress.add_other(500)  # a filler
    progress.start_unit(FIRST)
    progress.add_speech(1300)
    progress.complete_unit(FIRST)
    progress.add_other(200)  # a pause
    progress.start_unit(SECOND)
    progress.add_speech(100)
    assert (progress.audio_samples, progress.unit_count) == (2100, 2)
    assert progress.unit_has_audio(FIRST) and progress.unit_has_audio(SECOND)
    for heard_ms, heard in [(0, ""), (500, ""), (1150, "Good "), (1799, "Good morning"), (1800, "Good morning.")]:
        assert TEXT[: progress.heard_characters(TEXT, heard_ms)] == heard
    assert progress.heard_characters(TEXT, 2000) == 13, "a pause belongs to no unit"
    typical_ms = LATIN_MS_PER_CHARACTER * 13
    assert TEXT[: progress.heard_characters(TEXT, 2000 + typical_ms / 2)] == "Good morning. How "
    progress.complete_unit(SECOND)
    assert progress.heard_characters(TEXT, 2100) == len(TEXT), "all audio of the complete unit was heard"


def test_a_unit_without_audio_counts_as_heard_when_later_audio_is():
    progress = UtteranceProgress(1000)
    progress.complete_unit(FIRST)
    assert not progress.unit_has_audio(FIRST) and progress.unit_count == 1
    progress.start_unit(SECOND)
    progress.add_speech(1300)
    progress.complete_unit(SECOND)
    assert TEXT[: progress.heard_characters(TEXT, 1300)] == TEXT
    assert progress.heard_characters(TEXT, 0) == 0
