"""The encoders and spectra of a voice's conditioning, against the official package."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from intone.server.engines.indextts.checkpoint.config import (
    CAMPPlusConfig,
    ConformerConfig,
    MelConfig,
    PerceiverConfig,
    W2vBertConfig,
)
from intone.server.engines.indextts.layers import sinusoids
from intone.server.engines.indextts.voice.campplus import CAMPPlus
from intone.server.engines.indextts.voice.conformer import Conformer
from intone.server.engines.indextts.voice.fbank import fbank, w2v_features
from intone.server.engines.indextts.voice.mel import mel_spectrogram
from intone.server.engines.indextts.voice.perceiver import Perceiver
from intone.server.engines.indextts.voice.resample import sinc_resample
from intone.server.engines.indextts.voice.w2v_bert import W2vBert
from intone.server.engines.pieces import complete
from intone.server.engines.weights import declared_shapes
from tests.oracles.indextts_golden import assert_close, golden, under
from tests.support.indextts_tiny import weights

pytestmark = pytest.mark.usefixtures("no_gradients")

Goldens = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]


@pytest.fixture(scope="module")
def conditioning(require: Callable[..., Any]) -> Goldens:
    return golden(require, "conditioning")


@pytest.fixture(scope="module")
def voice(require: Callable[..., Any]) -> Goldens:
    return golden(require, "voice")


def has_exactly(found: Goldens, expected: Shapes, *unused: str) -> None:
    assert {name: tuple(t.shape) for name, t in found.items() if not name.endswith(unused)} == expected


def test_conformer(conditioning: Goldens) -> None:
    tensors = under(conditioning, "conformer.w")
    config = ConformerConfig(input_dim=96, dim=64, feed_forward=128, heads=4, blocks=2)
    has_exactly(tensors, declared_shapes(partial(Conformer, config)), "pos_enc.pe")
    encoder = Conformer(config, weights(tensors))
    assert_close(complete(encoder(conditioning["conformer.in"])), conditioning["conformer.out"])
    assert_close(sinusoids(5000, 64, torch.device("cpu")), tensors["embed.pos_enc.pe"][0])


def test_perceiver(conditioning: Goldens) -> None:
    tensors = under(conditioning, "perceiver.w")
    config = PerceiverConfig(dim=64, context_dim=48, latents=3, heads=4)
    has_exactly(tensors, declared_shapes(partial(Perceiver, config)))
    assert_close(Perceiver(config, weights(tensors))(conditioning["perceiver.in"]), conditioning["perceiver.out"])


@pytest.mark.parametrize("frames", [230, 100, 57])
def test_campplus(voice: Goldens, frames: int) -> None:
    tensors = under(voice, "campplus.w")
    has_exactly(tensors, declared_shapes(partial(CAMPPlus, CAMPPlusConfig())), "num_batches_tracked")
    encoder = CAMPPlus(CAMPPlusConfig(), weights(tensors))
    assert_close(complete(encoder(voice[f"campplus.in.{frames}"])), voice[f"campplus.out.{frames}"])


def test_mel(voice: Goldens) -> None:
    mel = mel_spectrogram(voice["audio.in"], MelConfig(22050, 1024, 1024, 256, 80, 0.0, None))
    assert mel.shape == (80, 33075 // 256)
    assert_close(mel, voice["audio.out.mel"])


def test_resampling(voice: Goldens) -> None:
    audio = voice["audio.in"]
    assert_close(sinc_resample(audio, 22050, 16000), voice["audio.out.resampled"])
    assert_close(sinc_resample(audio, 22050, 44100), voice["audio.out.resampled_44100"])
    assert sinc_resample(audio, 16000, 16000) is audio


def test_filter_bank(voice: Goldens) -> None:
    # Rounding errors are relatively large in bands with little energy, and the logarithm amplifies them.
    assert_close(fbank(voice["audio.out.resampled"]), voice["audio.out.fbank"], 1e-4)


SMALL_W2V = W2vBertConfig(64, 96, 4, layers=2, kernel=7, left_positions=64, right_positions=8)


@pytest.mark.parametrize("samples", [24000, 16240, 4801])
def test_w2v_bert(require: Callable[..., Any], samples: int) -> None:
    goldens = golden(require, "w2v_bert")
    tensors = under(goldens, "w")
    used = {name: t for name, t in tensors.items() if not name.startswith(("encoder.layers.2", "masked"))}
    has_exactly(used, declared_shapes(partial(W2vBert, SMALL_W2V)))
    features, last_masked = w2v_features(goldens[f"in.{samples}"])
    assert last_masked == (not goldens[f"out.mask.{samples}"][-1])
    real = goldens[f"out.mask.{samples}"].bool()
    assert_close(features[real], goldens[f"out.features.{samples}"][real], 1e-4)  # normalising amplifies differences
    theirs = goldens[f"out.features.{samples}"]
    found = complete(W2vBert(SMALL_W2V, weights(tensors))(theirs, last_masked))
    assert_close(found, goldens[f"out.hidden2.{samples}"])
