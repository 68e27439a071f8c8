"""State of an utterance and the mapping from heard audio to heard text."""

import asyncio
from dataclasses import replace
from itertools import product

import pytest

from intone.server import events as e
from intone.server.conversation.spoken_unit import SpokenUnit
from intone.server.conversation.tagged_text import TextUnit
from intone.server.conversation.utterance_progress import (
    LATIN_MS_PER_CHARACTER,
    TRANSITIONS,
    UtteranceProgress,
    UtteranceState,
)
from intone.server.emotion.cues import read_cues
from intone.server.text.cues import TextFormat, join_texts
from intone.server.text.normalizer import Normalizer, WrittenText
from tests.support.talk import Talk

QUEUED, SPEAKING, SENT, HEARD, STOPPED = UtteranceState
PATHS = {QUEUED: [], SPEAKING: [SPEAKING], SENT: [SPEAKING, SENT], HEARD: [SPEAKING, SENT, HEARD], STOPPED: [STOPPED]}
TEXT = "Good morning. How are you?"


def spoken(text, index=0, start=0, normalize=False, text_format=TextFormat.PLAIN):
    """What is spoken for a unit that begins at `start` of an utterance."""
    (piece,) = read_cues(text, text_format)
    piece = replace(piece, start=start + piece.start, end=start + piece.end)
    unit = TextUnit(index, start, start + len(text), text, True, (piece,))
    written = join_texts(unit.pieces)
    read = Normalizer().read(WrittenText(written.text.text, readings=written.readings, normalize=normalize))
    return SpokenUnit.of(unit, written, read)


FIRST, SECOND = spoken(TEXT[:13]), spoken(TEXT[13:], 1, 13)


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
        first, second = t.session._utterances
        assert (first.progress.state, second.progress.state) == (QUEUED, QUEUED)
        states = {"a": [], "b": []}
        async for event in t.session:
            for utterance in (first, second):
                states[utterance.id].append(utterance.progress.state)
            if isinstance(event, e.AudioChunk) and event.utterance_id == "b":
                await asyncio.sleep(5.0)  # the first utterance is played
                t.interrupt()
                t.session.half_close()
            if isinstance(event, e.Done) and event.utterance_id == "a":
                assert first.progress.state is SENT, "the state changes before the client is told"
        assert list(dict.fromkeys(states["a"])) == [QUEUED, SPEAKING, SENT, HEARD]
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


@pytest.mark.parametrize(
    ("text", "spoken_words", "at"),
    [
        ("It cost $5 in all.", "It cost five dollars in all.", {"It cost five dol": "It cost "}),
        ("It cost $5 in all.", "It cost five dollars in all.", {"It cost five dollars": "It cost $5"}),
        ("Call 911 now, please.", "Call nine one one now, please.", {"Call nine one one no": "Call 911 "}),
        ("他花了50元。好", "他花了五十元。好", {"他花了五": "他花了", "他花了五十元": "他花了50元"}),
    ],
)
def test_what_is_spoken_in_other_words_is_heard_when_its_words_were(text, spoken_words, at):
    unit = spoken(text, normalize=True)
    assert unit.text == spoken_words
    progress = UtteranceProgress(100)
    progress.start_unit(unit)
    progress.add_speech(100 * len(spoken_words))
    progress.complete_unit(unit)
    for said, heard in at.items():
        assert text[: progress.heard_characters(text, 100 * len(said))] == heard


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (
            "See [here](https://e.org/a) now.",
            {"See": "See", "See he": "See ", "See here": "See [here](https://e.org/a)"},
        ),
        ("[The new docs](https://e.org) say so.", {"The new": "", "The new docs": "[The new docs](https://e.org)"}),
        ("Run `a b` now.", {"Run a": "Run ", "Run a b": "Run `a b`"}),
        ("It is <b>so</b> big.", {"It is so": "It is <b>so", "It is so b": "It is <b>so</b> "}),
    ],
)
def test_no_link_code_or_tag_is_cut(text, at):
    unit = spoken(text, normalize=True)
    progress = UtteranceProgress(100)
    progress.start_unit(unit)
    progress.add_speech(100 * len(unit.text))
    progress.complete_unit(unit)
    found = {said: text[: progress.heard_characters(text, 100 * len(said))] for said in at}
    assert found == at


def test_heard_text_ends_at_an_element_of_ssml_whose_words_were_heard():
    text = '<sub alias="World Wide Web Consortium">W3C</sub>'
    unit = spoken(text, text_format=TextFormat.SSML)
    progress = UtteranceProgress(100)
    progress.start_unit(unit)
    progress.add_speech(1000)
    progress.complete_unit(unit)
    assert [progress.heard_characters(text, samples) for samples in (0, 500, 1000)] == [0, 0, len(text)]
