"""Emotion, speed, steps, guidance and voices, with random weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from intone.server.domain import EMOTIONS, Emotion, SpeakRequest, SynthesisOptions
from intone.server.engines.pieces import complete
from intone.server.errors import CallerError, Reason
from intone.server.voices.store import build_voice, from_file, to_bytes
from tests.support.indextts_units import (
    CLOSE,
    FAST,
    TEXT,
    Subject,
    checkpoint_of,
    emotion_of,
    engine_of,
    features_per_code,
    finish,
    frames_of,
    recording,
    sound_file,
)

HOP = 256
ANGRY = Emotion(tuple(float(name == "angry") for name in EMOTIONS), 1.0)


# ---- emotion --------------------------------------------------------------------------------------------------------


def test_emotion_changes_the_audio_and_neutral_does_not(subject: Subject) -> None:
    clip = sound_file(recording(1.0, seed=9))
    sounds = {
        "none": subject.speak(),
        "angry": subject.speak(emotion=ANGRY),
        "half angry": subject.speak(emotion=replace(ANGRY, weights=tuple(w / 2 for w in ANGRY.weights))),
        "calm": subject.speak(emotion=Emotion(tuple(float(name == "calm") for name in EMOTIONS), 1.0)),
        "clip": subject.speak(emotion=Emotion(clip=clip, intensity=1.0)),
        "half a clip": subject.speak(emotion=Emotion(clip=clip, intensity=0.5)),
    }
    assert subject.speak(emotion=Emotion((0.0,) * 8, 0.0)).sound.tobytes() == sounds["none"].sound.tobytes()
    rows = [emotion_of(subject.engine, spoken.state) for spoken in sounds.values()]
    for index, row in enumerate(rows):
        assert all(float((row - other).abs().max()) > 1e-3 for other in rows[:index])
    assert len({tuple(spoken.state.all_codes) for spoken in sounds.values()}) >= 4
    assert len({spoken.sound.tobytes() for spoken in sounds.values()}) >= 4


def test_a_clip_of_the_voice_itself_changes_little(newer: Subject) -> None:
    """Only a different resampler and the rounding of the file."""
    row, own = (
        emotion_of(newer.engine, newer.engine.start(newer.request(emotion=emotion)))
        for emotion in (Emotion(clip=sound_file(recording()), intensity=1.0), Emotion())
    )
    clip = Emotion(clip=sound_file(recording(seed=5)), intensity=1.0)
    other = emotion_of(newer.engine, newer.engine.start(newer.request(emotion=clip)))
    assert float((row - own).norm()) < 0.2 * float((other - own).norm())


def test_a_clip_is_encoded_once(newer: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[float] = []
    encode = newer.engine._encoder.emotion_of
    monkeypatch.setattr(
        newer.engine._encoder, "emotion_of", lambda clip: calls.append(len(clip.samples)) or encode(clip)
    )
    clips = [sound_file(recording(seconds, seed=20)) for seconds in (1.5, 2.5)]
    for number in (0, 1, 0, 0, 1):
        newer.speak("Hm", emotion=Emotion(clip=clips[number], intensity=1.0))
    assert calls == [int(1.5 * 22050), int(2.5 * 22050)]


def test_units_are_stepped_while_a_clip_is_encoded(newer: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """One piece in a step, although two units wait for it; then both are begun."""
    pieces: list[int] = []
    advance = newer.engine._clips.advance
    monkeypatch.setattr(newer.engine._clips, "advance", lambda clip: pieces.append(1) or advance(clip))
    speaking = newer.engine.start(newer.request("A longer text that goes on meanwhile."))
    newer.engine.step([speaking])
    emotion = Emotion(clip=sound_file(recording(1.2, seed=33)), intensity=1.0)
    waiting = [newer.engine.start(newer.request("Hm", emotion=emotion)) for _ in range(2)]
    steps = 0
    while waiting[0].decoding is None:
        before = len(pieces), len(speaking.all_codes)
        newer.engine.step([*waiting, *([] if speaking.done else [speaking])])
        assert len(pieces) - before[0] <= 1 and (speaking.ended or len(speaking.all_codes) > before[1])
        steps += 1
    assert waiting[1].decoding is not None
    assert len(pieces) == steps - 1 > newer.engine.config.w2v_bert.layers


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (b"RIFF....WAVE nothing", "cut off|damaged"),
        (b"not a sound", "is text; a WAV, FLAC, Ogg or MP3 file is needed"),
        (sound_file(recording(0.4)), "too short"),
        (sound_file(recording(30.1, rate_hz=8000)), "too long"),
        (sound_file(replace(recording(), samples=np.zeros(22050, np.float32))), "silent"),
    ],
)
def test_bad_clips_are_refused(newer: Subject, clip: bytes, message: str) -> None:
    with pytest.raises(CallerError, match=message) as caught:
        newer.engine.start(newer.request(emotion=Emotion(clip=clip, intensity=1.0)))
    assert caught.value.field == "emotion.clip_id"


# ---- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.25, 2.0])
def test_speed_stretches_the_audio_of_the_same_codes(subject: Subject, speed: float) -> None:
    plain, changed = subject.speak(), subject.speak(options=replace(FAST, speed=speed))
    assert changed.state.all_codes == plain.state.all_codes
    frames = frames_of(len(plain.state.all_codes), features_per_code(subject), 1 / speed)
    assert len(changed.sound) == HOP * frames
    assert abs(len(changed.sound) - len(plain.sound) / speed) <= 2 * HOP


def test_steps_and_guidance_change_the_audio_and_not_the_codes(subject: Subject) -> None:
    plain = subject.speak()
    for options in (
        SynthesisOptions(parameters={"steps": 1}),
        SynthesisOptions(parameters={"steps": 2, "guidance": 1.0}),
        SynthesisOptions(parameters={"steps": 2, "guidance": 3.0}),
    ):
        other = subject.speak(options=options)
        assert other.state.all_codes == plain.state.all_codes
        assert np.abs(other.sound - plain.sound).max() > 1e-3
    same = subject.speak(options=SynthesisOptions(parameters={"steps": 2, "guidance": 1.7}))
    assert np.abs(same.sound - plain.sound).max() <= CLOSE
    assert len(subject.engine.start(subject.request(options=SynthesisOptions())).settings.times.lengths) == 25


@pytest.mark.parametrize("speed", [None, 0.7])
@pytest.mark.parametrize("max_audio_ms", [100, 700, 2500, 600_000])
def test_no_unit_is_longer_than_max_audio_ms(subject: Subject, max_audio_ms: int, speed: float | None) -> None:
    plain = subject.speak(options=replace(FAST, speed=speed))
    parameters = {**FAST.parameters, "max_audio_ms": max_audio_ms}
    spoken = subject.speak(options=SynthesisOptions(speed, parameters))
    code_ms = 1000 * features_per_code(subject) * 1.72 / (speed or 1) * HOP / 22050
    sound_ms = 1000 * len(spoken.sound) / 22050
    assert sound_ms <= max_audio_ms
    assert spoken.state.all_codes == plain.state.all_codes[: len(spoken.state.all_codes)]
    if len(spoken.state.all_codes) < len(plain.state.all_codes):
        assert sound_ms > max_audio_ms - code_ms - 1000 * HOP / 22050 and spoken.steps[-1].cut


# ---- voices ---------------------------------------------------------------------------------------------------------


def test_a_saved_voice_speaks_as_before(subject: Subject, tmp_path: Path) -> None:
    voice = build_voice("anna", recording(), {"indextts": subject.voice}, 1.0)
    path = tmp_path / "anna.safetensors"
    path.write_bytes(to_bytes(voice))
    loaded = from_file(path).prepared_for("indextts", subject.engine.fingerprint)
    assert loaded is not None
    for array in loaded.arrays.values():
        array.flags.writeable = False  # as a file mapped into memory is
    before = {name: array.copy() for name, array in loaded.arrays.items()}
    assert subject.speak(voice=loaded).sound.tobytes() == subject.speak().sound.tobytes()
    assert all(np.array_equal(array, before[name]) for name, array in loaded.arrays.items())


def test_a_voice_of_other_weights_is_refused(newer: Subject, subject: Subject, tmp_path: Path) -> None:
    voice = build_voice("anna", recording(), {"indextts": newer.voice}, 1.0)
    assert voice.prepared_for("indextts", "other weights") is None
    with pytest.raises(AssertionError, match="prepared again"):
        newer.engine.start(newer.request(voice=replace(newer.voice, fingerprint="other weights")))


def test_requests_without_a_voice_need_an_adopted_one() -> None:
    engine = engine_of(checkpoint_of("nano"))
    with pytest.raises(CallerError) as caught:
        engine.start(SpeakRequest(TEXT, seed=1))
    assert (caught.value.field, caught.value.reason) == ("voice", Reason.VOICE_UNSUPPORTED)
    engine.adopt_voice(recording())
    own, named = (
        finish(engine, engine.start(SpeakRequest("Hm", seed=1, voice=voice, options=FAST)))
        for voice in (None, complete(engine.prepare_voice(recording())))
    )
    assert [s.pcm is None or s.pcm.tobytes() for s in own] == [s.pcm is None or s.pcm.tobytes() for s in named]


def test_voices_differ(subject: Subject) -> None:
    other = complete(subject.engine.prepare_voice(recording(2.5, seed=2)))
    assert np.abs(subject.speak("Hm", voice=other).sound - subject.speak("Hm").sound).max() > 0.01


@pytest.mark.parametrize(
    "samples", [np.zeros(0), np.ones(100), np.full(22050, np.nan)], ids=["none", "too few", "not numbers"]
)
def test_unusable_recordings_are_refused(newer: Subject, samples: np.ndarray) -> None:
    with pytest.raises(CallerError) as caught:
        complete(newer.engine.prepare_voice(replace(recording(), samples=samples.astype(np.float32))))
    assert caught.value.field == "audio"
