"""Enrolling a voice, and emotion vectors."""

import dataclasses
import logging

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from intone.server.domain import EMOTIONS, Recording
from intone.server.engines.indextts.checkpoint import sizes
from intone.server.engines.indextts.checkpoint.config import Variant
from intone.server.engines.indextts.checkpoint.weights import Checkpoint
from intone.server.engines.indextts.voice.conditioning import VoiceEncoder
from intone.server.engines.indextts.voice.emotion import BALANCE, EmotionMatrix, balanced, blended, merged
from intone.server.engines.indextts.voice.fbank import RATE_HZ
from intone.server.engines.indextts.voice.mel import mel_spectrogram
from intone.server.engines.pieces import complete
from intone.server.errors import CallerError
from tests.support.indextts_tiny import weights

pytestmark = pytest.mark.usefixtures("no_gradients")

WEIGHTS = st.lists(st.floats(0, 1.2), min_size=8, max_size=8)


def encoder_of(checkpoint: Checkpoint) -> VoiceEncoder:
    return VoiceEncoder(
        checkpoint.config,
        weights(checkpoint.gpt),
        weights(checkpoint.w2v_bert),
        weights(checkpoint.campplus),
        checkpoint.statistics,
        checkpoint.matrix,
    )


@pytest.fixture(scope="module", params=["nano", "nano-2"])
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    return sizes.in_memory(request.param)


@pytest.fixture(scope="module")
def encoder(checkpoint: Checkpoint) -> VoiceEncoder:
    return encoder_of(checkpoint)


def recording(seconds: float, rate_hz: int = 22050, seed: int = 0) -> Recording:
    count = round(seconds * rate_hz)
    noise = np.random.default_rng(seed).standard_normal(count)
    time = np.arange(count) / rate_hz
    return Recording((0.2 * np.sin(2 * np.pi * 170 * time) + 0.02 * noise).astype(np.float32), rate_hz)


# ---- enrolment ------------------------------------------------------------------------------------------------------


def test_a_voice(encoder: VoiceEncoder, checkpoint: Checkpoint) -> None:
    config = checkpoint.config
    voice = complete(encoder.enrol(recording(2.0)))
    assert voice.style.shape == (64,)
    assert voice.mel.shape == (80, 44100 // 256)
    assert voice.features.shape == ((1 + (32000 - 400) // 160 + 1) // 2, 128)
    assert voice.speaker.shape == ((32 if config.variant is Variant.V2 else 1), 256)
    assert voice.emotion.shape == (256,) and voice.emotion_rows.shape == (8, 256)
    for field in dataclasses.fields(voice):
        tensor: Tensor = getattr(voice, field.name)
        assert tensor.isfinite().all() and tensor.dtype == torch.float32
    samples = torch.from_numpy(recording(2.0).samples)
    assert torch.equal(voice.mel, mel_spectrogram(samples, config.mel))
    again = complete(encoder.enrol(recording(2.0)))
    other = complete(encoder.enrol(recording(2.0, seed=1)))
    assert torch.equal(again.features, voice.features) and not torch.equal(other.style, voice.style)


def test_features_are_normalised_with_the_published_statistics(checkpoint: Checkpoint) -> None:
    samples = torch.from_numpy(recording(0.6, RATE_HZ).samples)
    plain = complete(encoder_of(checkpoint).features(samples))
    statistics = dataclasses.replace(
        checkpoint.statistics, mean=torch.full((128,), 2.0), variance=torch.full((128,), 4.0)
    )
    changed = complete(encoder_of(dataclasses.replace(checkpoint, statistics=statistics)).features(samples))
    assert torch.allclose(changed, (plain - 2) / 2, atol=1e-5)


def test_a_long_recording_is_cut_with_a_warning(encoder: VoiceEncoder, caplog: pytest.LogCaptureFixture) -> None:
    long = recording(16.0, 24000)
    with caplog.at_level(logging.WARNING):
        voice = complete(encoder.enrol(long))
    assert "of 16000 ms the first 15 s are used" in caplog.text
    assert voice.mel.shape[1] == 15 * 22050 // 256
    assert voice.features.shape[0] == 749
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        first = complete(encoder.enrol(Recording(long.samples[: 15 * 24000], 24000)))
    assert not caplog.text
    # The last frames differ: there the longer recording continues.
    assert (first.mel[:, :-4] - voice.mel[:, :-4]).abs().max() < 1e-4


@pytest.mark.parametrize(
    "samples",
    [np.zeros(0), np.zeros(4000), np.full(22050, np.nan), np.full(22050, np.inf)],
    ids=["no", "0.18 s", "nan", "inf"],
)
def test_recordings_that_cannot_be_used(encoder: VoiceEncoder, samples: np.ndarray) -> None:
    for use in (encoder.enrol, encoder.emotion_of):
        with pytest.raises(CallerError, match="must be finite and last at least 200 ms") as caught:
            complete(use(Recording(samples.astype(np.float32), 22050)))
        assert caught.value.field == "audio"


@pytest.mark.parametrize("rate_hz", [8000, 16000, 22050, 48000])
def test_the_shortest_recording(encoder: VoiceEncoder, rate_hz: int) -> None:
    voice = complete(encoder.enrol(recording(0.2, rate_hz)))
    assert voice.style.isfinite().all() and voice.emotion.isfinite().all()


def test_the_emotion_of_a_clip(encoder: VoiceEncoder) -> None:
    clip = recording(1.0, RATE_HZ)
    features = complete(encoder.features(torch.from_numpy(clip.samples)))
    assert torch.equal(complete(encoder.emotion_of(clip)), complete(encoder.emotion(features)))


# ---- weights --------------------------------------------------------------------------------------------------------


def test_the_nearest_speaker_of_each_emotion() -> None:
    speakers = torch.tensor([[1.0, 0], [0, 1], [0, -1], [-3, 0.1], [1, 1], [5, 6], [1, 0], [0, 1], [1, 1], [-1, -1]])
    matrix = EmotionMatrix(speakers, torch.arange(10.0)[:, None], (2, 2, 1, 1, 1, 1, 1, 1))
    assert matrix.nearest(torch.tensor([0.1, 2.0]))[:, 0].tolist() == [1, 3, 4, 5, 6, 7, 8, 9]
    assert matrix.nearest(torch.tensor([2.0, -0.1]))[:, 0].tolist() == [0, 2, 4, 5, 6, 7, 8, 9]


@given(WEIGHTS)
def test_balanced_weights_are_bounded(asked: list[float]) -> None:
    balanced_now = balanced(asked)
    assert sum(balanced_now) <= 0.8 + 1e-9 and all(weight >= 0 for weight in balanced_now)
    for one, weight, strength in zip(asked, balanced_now, BALANCE, strict=True):
        assert weight <= one * strength + 1e-12
    assert balanced((0.5, *[0.0] * 7)) == (0.5 * 0.9375, *[0.0] * 7)
    assert balanced((0.0,) * 8) == (0.0,) * 8


def test_blending_completes_the_weights_with_the_speaker() -> None:
    own, rows = torch.full((3,), 10.0), torch.arange(8.0)[:, None].expand(8, 3)
    asked = [0.0] * 8
    assert torch.equal(blended(own, rows, asked), own)
    asked[EMOTIONS.index("surprised")] = 0.5
    assert torch.allclose(blended(own, rows, asked), torch.full((3,), 0.5 * 6 + 0.5 * 10))
    asked[EMOTIONS.index("happy")] = 0.25
    assert torch.allclose(blended(own, rows, asked), torch.full((3,), 0.5 * 6 + 0.25 * 10))
    assert torch.equal(merged(own, rows[3], 0.0), own) and torch.equal(merged(own, rows[3], 1.0), rows[3])
