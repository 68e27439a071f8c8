"""Voices of VoxCPM: continued recordings, references, and refused recordings. All with random weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from intone.server.domain import PreparedVoice, Recording, SpeakRequest, SynthesisOptions
from intone.server.engines.pieces import complete
from intone.server.engines.voxcpm import sizes
from intone.server.engines.voxcpm.engine import VoxCPMEngine
from intone.server.errors import CallerError, Reason
from tests.support.voxcpm_tiny import finish, joined, patch_samples, recording, tiny_engine

CLOSE = 1e-5
"""Float32, audio in [-1, 1]: sums in another order differ by about 1e-7, which feeds back for a few patches."""


@pytest.fixture(scope="module", params=[1, 2], ids=["v1", "v2"])
def engine(request: pytest.FixtureRequest) -> VoxCPMEngine:
    return tiny_engine(request.param)


def test_audio_continues_the_recording_exactly(engine: VoxCPMEngine) -> None:
    voice = complete(engine.prepare_voice(recording(engine, 3.1)))
    model = engine.model
    assert voice.text == "Some words." and voice.fingerprint == engine.fingerprint
    encoded = torch.from_numpy(voice.arrays["latents"])
    assert len(encoded) == 20  # 3.1 s, padded to whole patches of 160 ms
    state = engine.start(
        SpeakRequest("abc", seed=1, voice=voice, options=SynthesisOptions(parameters={"max_audio_ms": 800}))
    )
    latents, audio = [encoded.flatten(0, 1)], []
    while not state.done:
        step = engine.step([state])[0]
        audio.append(step.pcm)
        if len(latents) <= state.made:
            assert state.generation is not None
            latents.append(state.generation.patch)
    with torch.inference_mode():
        whole, _ = model.vae.decode(torch.cat(latents).T.unsqueeze(0), model.vae.initial_state())
    sound = whole[0, len(encoded) * patch_samples(engine) :].numpy()
    assert np.abs(np.concatenate(audio) - sound).max() <= CLOSE


def test_padding_keeps_the_end_of_a_continued_recording_and_the_start_of_a_reference() -> None:
    engine = tiny_engine(2)
    given = recording(engine, 1.0)  # 150 samples, 24 to a patch
    for transcript, padding in (("Words.", (18, 0)), ("", (0, 18))):
        voice = complete(engine.prepare_voice(replace(given, transcript=transcript)))
        with torch.inference_mode():
            expected = complete(
                engine.model.embed_audio(torch.nn.functional.pad(torch.from_numpy(given.samples), padding))
            )
        assert np.array_equal(voice.arrays["latents"], expected.latents.numpy())
        assert any(name.startswith("vae.") for name in voice.arrays) == bool(transcript)


def test_reference_needs_version_two() -> None:
    with pytest.raises(CallerError) as caught:
        complete(tiny_engine(1).prepare_voice(recording(tiny_engine(1), 1.0, transcript=" ")))
    assert caught.value.field == "transcript"
    engine = tiny_engine(2)
    voice = complete(engine.prepare_voice(recording(engine, 1.0, transcript="")))
    state = engine.start(SpeakRequest("abc", seed=1, voice=voice))
    assert state.prompt is not None
    assert state.prompt.tokens.tolist()[:10] == [103, *[0] * 7, 104, *sizes.byte_tokenizer().ids("a")]
    assert state.prompt.audio_positions.tolist() == list(range(1, 8))
    assert len(joined(finish(engine, state))) > 0


@pytest.mark.parametrize(
    ("samples", "fault"),
    [
        (np.zeros(0), Reason.RECORDING_INVALID),
        (np.array([0.0, np.nan]), Reason.RECORDING_INVALID),
        (np.zeros(150 * 9), Reason.RECORDING_INVALID),
    ],
)
def test_unusable_recordings_are_refused(engine: VoxCPMEngine, samples: NDArray[np.float64], fault: Reason) -> None:
    with pytest.raises(CallerError) as caught:
        complete(engine.prepare_voice(Recording(samples.astype(np.float32), 150, "Words.")))
    assert (caught.value.field, caught.value.reason) == ("audio", fault)


def test_recording_of_another_rate_is_resampled() -> None:
    nano = VoxCPMEngine.random("nano")
    seconds, tone_hz = 1.6, 200.0
    clips = []
    for rate_hz in (16000, 44100):
        t = np.arange(int(seconds * rate_hz)) / rate_hz
        samples = (0.3 * np.sin(2 * np.pi * tone_hz * t)).astype(np.float32)
        clips.append(complete(nano.prepare_voice(Recording(samples, rate_hz, "Beep."))).arrays["latents"])
    assert clips[0].shape == clips[1].shape == (10, 4, 64)
    assert np.abs(clips[0] - clips[1])[1:-1].max() < 0.05 * np.abs(clips[0]).max()


def test_a_prepared_voice_is_not_changed(engine: VoxCPMEngine) -> None:
    voice = complete(engine.prepare_voice(recording(engine, 1.5)))
    before = {name: array.copy() for name, array in voice.arrays.items()}
    for array in voice.arrays.values():
        array.flags.writeable = False  # like a mapped file
    first, second = (joined(finish(engine, engine.start(SpeakRequest("abc", seed=1, voice=voice)))) for _ in range(2))
    assert np.array_equal(first, second)
    assert all(np.array_equal(array, before[name]) for name, array in voice.arrays.items())
    assert isinstance(voice, PreparedVoice)
