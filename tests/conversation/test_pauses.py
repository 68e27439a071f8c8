"""Pauses between units: by punctuation, minus the silence that the audio already ends in."""

from dataclasses import replace

import numpy as np
import pytest

from intone.server import events as e
from intone.server.conversation.pauses import CLAUSE_MS, ELLIPSIS_MS, LINE_MS, PARAGRAPH_MS, SENTENCE_MS, pause_ms
from intone.server.settings import FillerPolicy
from tests.support.fakes import RATE_HZ, Script, ScriptedWorker
from tests.support.talk import Talk


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("Yes.", SENTENCE_MS),
        ("Yes. ", SENTENCE_MS),
        ('"Yes!" ', SENTENCE_MS),
        ("真的吗？", SENTENCE_MS),
        ("“走吧。”", SENTENCE_MS),
        ("Well,", CLAUSE_MS),
        ("好，", CLAUSE_MS),
        ("I think…", ELLIPSIS_MS),
        ("I think... ", ELLIPSIS_MS),
        ("Title\n", LINE_MS),
        ("The end.\n\n", PARAGRAPH_MS),
        ("The end. \n \t\n \n ", PARAGRAPH_MS),
        ("The end.\n\nNot", 0.0),
        ("Title \n ", LINE_MS),
        ('He said: "Well ..." ', ELLIPSIS_MS),
        ("... and so", 0.0),
        ("in the middle of", 0.0),
        ("3.5", 0.0),
        ("", 0.0),
    ],
)
def test_pause_after_a_text(text, expected_ms):
    assert pause_ms(text) == expected_ms


TEXT = "This is one sentence. This is another one."


async def spoken(script, scale=1.0):
    talk = Talk(ScriptedWorker(script), server={"pause_scale": scale}, filler=FillerPolicy.OFF)
    talk.text("u", TEXT, end=True)
    await talk.finish()
    await talk.close()
    return talk


def test_a_pause_is_sent_as_chunks_between_two_units(run_virtual):
    talk = run_virtual(spoken(Script(step_s=0.001)))
    chunks = talk.of(e.AudioChunk)
    pauses = [i for i, chunk in enumerate(chunks) if chunk.kind is e.AudioKind.SILENCE]
    assert pauses and pauses[0] > 0 and pauses[-1] < len(chunks) - 1
    assert not any(np.frombuffer(chunks[i].data, np.float32).any() for i in pauses)
    assert sum(chunks[i].duration_ms for i in pauses) == pytest.approx(SENTENCE_MS, abs=1)
    usage = talk.of(e.Done)[0].usage
    assert usage.pause_ms == pytest.approx(SENTENCE_MS, abs=1)
    assert usage.speech_ms == pytest.approx(50 * len(TEXT.replace(". ", ".")))
    samples = sum(len(chunk.data) // 4 for chunk in chunks)
    assert samples == round(RATE_HZ * (usage.speech_ms + usage.pause_ms) / 1000)


def test_the_audio_does_not_depend_on_the_engines_speed(run_virtual):
    quick, slow = (run_virtual(spoken(Script(step_s=0.001, first_s=first_s))) for first_s in (0.0, 5.0))
    audio = [b"".join(chunk.data for chunk in talk.of(e.AudioChunk)) for talk in (quick, slow)]
    assert audio[0] == audio[1]


def test_silence_at_the_end_of_a_unit_counts_as_pause(run_virtual):
    worker = ScriptedWorker(Script(step_s=0.001))

    class Trailing:
        """A worker whose units end in 100 ms of silence."""

        def __getattr__(self, name):
            return getattr(worker, name)

        def submit(self, request, slack_s):
            return Padded(worker.submit(request, slack_s))

    async def main():
        talk = Talk(Trailing(), server={"pause_scale": 1.0}, filler=FillerPolicy.OFF)
        talk.text("u", TEXT, end=True)
        await talk.finish()
        await talk.close()
        return talk

    assert run_virtual(main()).of(e.Done)[0].usage.pause_ms == pytest.approx(SENTENCE_MS - 100, abs=1)


class Padded:
    """A job whose last step ends in 100 ms of silence."""

    def __init__(self, job):
        self._job = job

    def __getattr__(self, name):
        return getattr(self._job, name)

    async def __aiter__(self):
        async for step in self._job:
            silence = np.zeros(RATE_HZ // 10 if step.done else 0, np.float32)
            yield replace(step, pcm=np.concatenate([step.pcm, silence]))


def test_pauses_can_be_scaled_and_turned_off(run_virtual):
    assert run_virtual(spoken(Script(), scale=2.0)).of(e.Done)[0].usage.pause_ms == pytest.approx(
        2 * SENTENCE_MS, abs=1
    )
    assert run_virtual(spoken(Script(), scale=0.0)).of(e.Done)[0].usage.pause_ms == 0
