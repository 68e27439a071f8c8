"""The starter engine: steps, reproducibility, length limits, and text that it refuses."""

import numpy as np
import pytest

from intone.server.audio.encoding import MIN_AUDIBLE_PEAK
from intone.server.domain import Recording, SpeakRequest, SynthesisOptions
from intone.server.engines.pieces import complete
from intone.server.engines.starter.engine import StarterEngine
from intone.server.errors import CallerError

pytest.importorskip("hibari", reason="the starter voice is an extra")

LONG = (
    "When the rain had stopped, and the long road was dry again, we took our coats, our bags and our two old dogs, "
    "and walked along the river until the evening, which was warm, quiet and full of stars."
)


@pytest.fixture(scope="module")
def engine():
    return StarterEngine.packaged(threads=1)


def steps(engine, text, seed=7, speed=None, **parameters):
    options = SynthesisOptions(speed, parameters)
    state, found = engine.start(SpeakRequest(text, seed, options=options)), []
    while not found or not found[-1].done:
        found += engine.step([state])
    return found


def pcm(found):
    return np.concatenate([np.zeros(0, np.float32)] + [step.pcm for step in found if step.pcm is not None])


def test_info(engine):
    info = engine.info
    assert (info.name, info.sample_rate_hz, info.languages) == ("starter", 24000, ("en",))
    assert info.trained and not info.clones_voices and not info.voices_emotion
    assert engine.fingerprint == StarterEngine.packaged(threads=1).fingerprint


def test_threads_speak_alike_and_do_not_spin_when_idle(engine):
    """Spinning threads make each sentence several times slower where another process works on the same cores."""
    two = StarterEngine.packaged(threads=2)
    assert np.array_equal(pcm(steps(two, LONG)), pcm(steps(engine, LONG)))
    options = two._model.sess.get_session_options()
    assert options.intra_op_num_threads == 2
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_one_step_for_each_sentence(engine):
    found = steps(engine, "Hello there. How are you? I am fine.")
    assert [step.done for step in found] == [False, False, True] and not any(step.cut for step in found)
    for step in found:
        assert step.pcm.dtype == np.float32 and np.abs(step.pcm).max() > 0.05 and np.isfinite(step.pcm).all()
        assert set(step.stage_ms) == {"synthesis"} and step.stage_ms["synthesis"] > 0
    assert 1.5 < len(pcm(found)) / 24000 < 6


def test_a_long_sentence_takes_several_steps(engine):
    lengths_s = [len(step.pcm) / 24000 for step in steps(engine, LONG)]
    assert len(lengths_s) >= 2 and max(lengths_s) < 10
    assert len(steps(engine, "word " * 120 + "end.")) >= 2


def test_silence_at_both_ends_is_trimmed(engine):
    for step in steps(engine, "Hello there. How are you? " + LONG):
        audible = np.flatnonzero(np.abs(step.pcm) >= MIN_AUDIBLE_PEAK)
        assert 1000 * audible[0] / 24000 <= 60, "silence before the first sound"
        assert 1000 * (len(step.pcm) - audible[-1]) / 24000 <= 360, "silence after the last sound"
        assert abs(step.pcm[0]) < 1e-4 and abs(step.pcm[-1]) < 1e-3


def test_same_seed_same_samples(engine):
    text = "Hello there. How are you?"
    assert np.array_equal(pcm(steps(engine, text, seed=3)), pcm(steps(engine, text, seed=3)))
    assert not np.array_equal(pcm(steps(engine, text, seed=3)), pcm(steps(engine, text, seed=4)))
    assert len(pcm(steps(engine, text, seed=2**64 - 1))) > 0


def test_steps_are_batch_invariant(engine):
    texts = ["One. Two. Three.", "Hello there.", LONG]
    states, found = [engine.start(SpeakRequest(text, 5)) for text in texts], [[], [], []]
    while live := [index for index in range(3) if not found[index] or not found[index][-1].done]:
        for index, step in zip(live, engine.step([states[index] for index in live]), strict=True):
            found[index].append(step)
    for text, together in zip(texts, found, strict=True):
        assert np.array_equal(pcm(together), pcm(steps(engine, text, seed=5)))


@pytest.mark.parametrize("limit_ms", [100, 1500, 2000])
def test_the_length_limit_cuts(engine, limit_ms):
    found = steps(engine, LONG, max_audio_ms=limit_ms)
    assert found[-1].cut and found[-1].done and len(pcm(found)) == limit_ms * 24
    assert abs(pcm(found)[-1]) < 1e-3


def test_a_limit_that_is_not_reached_cuts_nothing(engine):
    assert not steps(engine, "Hello.", max_audio_ms=60_000)[-1].cut


@pytest.mark.parametrize("text", ["你好。", "Привет", "...", "😀", "٣", " "])
def test_nothing_to_speak(engine, text):
    with pytest.raises(CallerError) as caught:
        engine.start(SpeakRequest(text, 0))
    assert caught.value.field == "text"


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "5",
        "é.",
        "Hello 你好 world",
        "C++ & x@y.z",
        "...5...",
        "(Hi) [there](x) {y}",
        "A\nB\n\nC",
        "x² ① ⑳",
        "5" * 99,
        "1" + ",000" * 30,
    ],
)
def test_odd_text_is_spoken(engine, text):
    assert np.abs(pcm(steps(engine, text))).max() > 0.05


def test_no_cloning(engine):
    with pytest.raises(CallerError, match="cannot clone"):
        complete(engine.prepare_voice(Recording(np.zeros(24000, np.float32), 24000)))
