"""Enrolment: transcripts as engines get them, and stored voices for engines that were loaded later."""

from dataclasses import replace

import numpy as np
import pytest

from intone.server.domain import Recording, VoiceNotice, VoiceNoticeCode
from intone.server.engines.pieces import complete
from intone.server.voices.enrolment import as_spoken, prepare_stored
from intone.server.voices.store import VoiceStore, build_voice
from tests.support.fakes import ScriptedEngine

MISMATCH = [VoiceNoticeCode.TRANSCRIPT_MISMATCH]


def recording(transcript, seconds=3.0):
    return Recording(np.zeros(int(8000 * seconds), np.float32), 8000, transcript)


async def shouted(text, language):
    return f"{text.upper()} {language}".strip()


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("It's 5 PM 🎉", "It's five P M"),
        ("我有3个苹果。", "我有三个苹果。"),
        ("I said no.", "I said no."),
        ("", ""),
        ("🎉 …", ""),
    ],
)
def test_numbers_are_in_words(run, written, spoken):
    given = recording(written)
    made = run(as_spoken(given))
    assert made.transcript == spoken and made.samples is given.samples


def test_a_normalizer_is_given_the_language(run):
    assert run(as_spoken(recording("ten plus 2"), "en-GB", shouted)).transcript == "TEN PLUS 2 en-GB"


def test_what_a_normalizer_loses_is_kept(run):
    async def nothing(text, language):
        return "…"

    assert run(as_spoken(recording("Keep this, please."), "", nothing)).transcript == "Keep this, please."


@pytest.mark.parametrize(
    ("transcript", "seconds", "codes"),
    [
        ("word " * 180, 2, MISMATCH),
        ("Hi.", 30, MISMATCH),
        ("今天天气很好" * 6, 2, MISMATCH),
        ("5551234567 5551234567", 2, MISMATCH),  # many words, once read
        ("", 30, []),
        ("Hi.", 1, []),
        ("As fast as an auctioneer says it all in one.", 2, []),
        ("今天天气很好，我们走吧。", 2, []),
    ],
)
def test_a_transcript_that_cannot_fit(run, transcript, seconds, codes):
    quiet = VoiceNotice(VoiceNoticeCode.RECORDING_QUIET, "very quiet")
    made = run(as_spoken(replace(recording(transcript, seconds), notices=(quiet,))))
    assert [notice.code for notice in made.notices] == [VoiceNoticeCode.RECORDING_QUIET, *codes]


class LocalWorker:
    """A worker that prepares voices at once."""

    def __init__(self):
        self.engine = ScriptedEngine()
        self.info, self.fingerprint = self.engine.info, self.engine.fingerprint

    async def prepare_voice(self, recording):
        return complete(self.engine.prepare_voice(recording))


def test_stored_voices_are_prepared_with_what_was_said_about_them(run):
    store = VoiceStore()
    made = replace(build_voice("ada", recording("and 2"), {}, 1.0), languages=("de",), labels={"team": "a"})
    store.add(made)
    run(prepare_stored(store, {"starter": LocalWorker()}, shouted))
    found = store.get("ada")
    assert found.prepared["starter"].text == "AND 2 de"
    assert replace(found, prepared={}) == made, "as it was written"
