"""No value is read back from the device between a recording and its codes."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from intone.server.engines.indextts.checkpoint import sizes
from intone.server.engines.indextts.gpt.sampling import Sampling, uniforms
from intone.server.engines.indextts.reference.language_model import GPT
from intone.server.engines.indextts.reference.sampling import BatchSampling, cut, draw, seen_at_start
from intone.server.engines.indextts.voice.conditioning import FeatureStatistics, VoiceEncoder
from intone.server.engines.indextts.voice.emotion import EmotionMatrix, blended
from intone.server.engines.indextts.voice.mel import mel_spectrogram
from intone.server.engines.indextts.voice.resample import sinc_resample
from intone.server.engines.pieces import complete
from intone.server.engines.weights import Weights
from tests.support.indextts_tiny import weights

CPU = torch.device("cpu")


def shapes_only(tensors: Mapping[str, Tensor]) -> Weights:
    return weights({name: torch.empty(tensor.shape) for name, tensor in tensors.items()})


@pytest.mark.parametrize("size", ["nano", "nano-2"])
def test_no_value_is_read_back(size: str) -> None:
    made, points = sizes.in_memory(size), uniforms(0, 0, 2)
    config, codes = made.config, made.config.gpt.codes
    with torch.inference_mode(), FakeTensorMode(allow_non_fake_inputs=True):
        statistics = FeatureStatistics(torch.empty(config.feature_dim), torch.empty(config.feature_dim))
        matrix = EmotionMatrix(torch.empty(73, 64), torch.empty(73, config.gpt.dim), config.emotion_rows)
        parts = [shapes_only(tensors) for tensors in (made.gpt, made.w2v_bert, made.campplus)]
        encoder, model = VoiceEncoder(config, *parts, statistics, matrix), GPT(config, parts[0])
        audio = torch.empty(30000)
        low = sinc_resample(audio, 22050, 16000)
        features, style = complete(encoder.features(low)), complete(encoder.style(low))
        assert mel_spectrogram(audio, config.mel).shape == (80, 117)
        emotion = blended(complete(encoder.emotion(features)), matrix.nearest(style), [0.1] * 8)
        speaker = complete(encoder.speaker(style, features))
        begun = [model.begin(model.prefix([1, 2], speaker, emotion), 5) for _ in range(2)]
        units, rows = [unit for unit, _ in begun], torch.stack([hidden for _, hidden in begun])
        seen = torch.stack([seen_at_start(codes, config.gpt.start_code, CPU)] * 2)
        drawn = draw(*cut(model.logits(rows), seen, BatchSampling.of([Sampling()] * 2, codes, CPU)), points)
        assert model.advance(drawn, units).shape == (2, config.gpt.dim)
        with pytest.raises(DataDependentOutputException):  # a fake tensor has no values
            drawn.tolist()
