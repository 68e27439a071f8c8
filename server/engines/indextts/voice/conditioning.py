"""Recordings to what the models are told of a voice or an emotion. Knows no text, no codes and no vocoder.

All of it depends on the recording alone: it is made once for each voice, never while somebody waits for speech.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from intone.server.domain import Recording
from intone.server.engines.indextts.checkpoint.config import ConformerConfig, IndexTTSConfig, PerceiverConfig
from intone.server.engines.indextts.layers import Linear
from intone.server.engines.indextts.voice import conformer, perceiver
from intone.server.engines.indextts.voice.campplus import CAMPPlus
from intone.server.engines.indextts.voice.conformer import Conformer
from intone.server.engines.indextts.voice.emotion import EmotionMatrix
from intone.server.engines.indextts.voice.fbank import RATE_HZ, fbank, w2v_features
from intone.server.engines.indextts.voice.mel import mel_spectrogram
from intone.server.engines.indextts.voice.perceiver import Perceiver
from intone.server.engines.indextts.voice.resample import sinc_resample
from intone.server.engines.indextts.voice.w2v_bert import W2vBert
from intone.server.engines.weights import Weights
from intone.server.errors import CallerError

LONGEST_S = 15
SHORTEST_MS = 200

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VoiceParts:
    """A recording as the models take it. D is the width of the language model, H that of semantic features.

    Attributes:
        style: `[192]`, who speaks.
        mel: `[80, P]`, the recording for the flow to go on from.
        features: `[T, H]`, semantic features at 50 Hz, normalised, not quantised.
        speaker: `[N, D]`, what the language model knows of the speaker: 32 rows in 2, one in 2.5.
        emotion: `[D]`, how the recording itself is spoken.
        emotion_rows: `[8, D]`, how this speaker would sound in each emotion.
    """

    style: Tensor
    mel: Tensor
    features: Tensor
    speaker: Tensor
    emotion: Tensor
    emotion_rows: Tensor


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """Mean and variance, `[H]` each, that semantic features are normalised with."""

    mean: Tensor
    variance: Tensor


class VoiceEncoder:
    """All encoders together; frozen once built.

    Args:
        gpt: of the language model's file; its conditioning part is used.
        w2v_bert, campplus: of their own files.
    """

    def __init__(
        self,
        config: IndexTTSConfig,
        gpt: Weights,
        w2v_bert: Weights,
        campplus: Weights,
        statistics: FeatureStatistics,
        matrix: EmotionMatrix,
    ) -> None:
        self._mel, self._statistics, self._matrix = config.mel, statistics, matrix
        self._w2v_bert = W2vBert(config.w2v_bert, w2v_bert)
        self._campplus = CAMPPlus(config.campplus, campplus)
        self._emotion = _Latents(*config.gpt.emotion, gpt, "emo_")
        self._emotion_out = Linear.read(gpt, "emovec_layer"), Linear.read(gpt, "emo_layer")
        self._speaker = _Latents(*config.gpt.speaker, gpt, "") if config.gpt.speaker else None
        self._style_out = None if config.gpt.speaker else Linear.read(gpt, "spk_emb_proj")
        self._device = statistics.mean.device

    def enrol(self, recording: Recording) -> VoiceParts:
        """What the models need of a voice; of a long recording its first 15 s.

        Raises:
            CallerError: the recording is too short or not finite (field `audio`).
        """
        with torch.inference_mode():
            audio = self._audio(recording, self._mel.sample_rate_hz)
            # Trained with two resamplings, one after the other: not the same as one from the recording's own rate.
            low = sinc_resample(audio, self._mel.sample_rate_hz, RATE_HZ)
            features, style = self.features(low), self.style(low)
            return VoiceParts(
                style=style,
                mel=mel_spectrogram(audio, self._mel),
                features=features,
                speaker=self.speaker(style, features),
                emotion=self.emotion(features),
                emotion_rows=self._matrix.nearest(style),
            )

    def emotion_of(self, clip: Recording) -> Tensor:
        """How a clip is spoken: `[D]`. Raises as `enrol` does."""
        with torch.inference_mode():
            return self.emotion(self.features(self._audio(clip, RATE_HZ)))

    def features(self, samples: Tensor) -> Tensor:
        """Semantic features of mono `[N]` at 16 kHz: `[T, H]`."""
        hidden = self._w2v_bert(*w2v_features(samples))
        return (hidden - self._statistics.mean) / self._statistics.variance.sqrt()

    def style(self, samples: Tensor) -> Tensor:
        """Who speaks in mono `[N]` at 16 kHz: `[192]`."""
        energies = fbank(samples)
        return self._campplus(energies - energies.mean(0))

    def speaker(self, style: Tensor, features: Tensor) -> Tensor:
        """The language model's rows for a speaker: `[N, D]`."""
        if self._speaker is not None:
            return self._speaker(features)
        assert self._style_out is not None, "built with one or the other"
        return self._style_out(style[None])

    def emotion(self, features: Tensor) -> Tensor:
        """The language model's row for the emotion in features: `[D]`."""
        first, second = self._emotion_out
        return second(first(self._emotion(features)))[0]

    def _audio(self, recording: Recording, rate_hz: int) -> Tensor:
        """The recording at a rate, cut: `[N]`."""
        import soxr  # only where voices are made

        if recording.duration_ms < SHORTEST_MS or not np.isfinite(recording.samples).all():
            raise CallerError("audio", f"the recording must be finite and last at least {SHORTEST_MS} ms")
        for words in cuts(recording):
            logger.warning("a recording: %s", words)
        samples = recording.samples[: (LONGEST_S + 1) * recording.sample_rate_hz].astype(np.float32)
        if recording.sample_rate_hz != rate_hz:
            samples = soxr.resample(samples, recording.sample_rate_hz, rate_hz)
        return torch.from_numpy(samples[: LONGEST_S * rate_hz].copy()).to(self._device)


def cuts(recording: Recording) -> tuple[str, ...]:
    """In words what of a recording is not used; nothing where all of it is."""
    if recording.duration_ms <= 1000 * LONGEST_S:
        return ()
    return (f"of {recording.duration_ms} ms the first {LONGEST_S} s are used",)


class _Latents:
    """An encoder and the perceiver on it."""

    def __init__(self, encoder: ConformerConfig, resampler: PerceiverConfig, gpt: Weights, prefix: str) -> None:
        self._encoder = Conformer(encoder, gpt.scope(f"{prefix}conditioning_encoder"))
        self._resampler = Perceiver(resampler, gpt.scope(f"{prefix}perceiver_encoder"))

    def __call__(self, features: Tensor) -> Tensor:
        """`[T, H]` → `[latents, dim]`."""
        return self._resampler(self._encoder(features))


def tensor_shapes(config: IndexTTSConfig) -> dict[str, tuple[int, ...]]:
    """Published name → shape of what the language model's file holds for conditioning."""
    gpt, (encoder, resampler) = config.gpt, config.gpt.emotion
    shapes = dict(_latent_shapes(encoder, resampler, "emo_"))
    linears = {"emovec_layer": (gpt.dim, resampler.dim), "emo_layer": (gpt.dim, gpt.dim)}
    if gpt.speaker:
        shapes |= _latent_shapes(*gpt.speaker, "")
    else:
        linears["spk_emb_proj"] = (gpt.dim, config.campplus.embedding)
    for name, shape in linears.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes


def _latent_shapes(encoder: ConformerConfig, resampler: PerceiverConfig, prefix: str) -> Mapping[str, tuple[int, ...]]:
    parts = {
        "conditioning_encoder": conformer.tensor_shapes(encoder),
        "perceiver_encoder": perceiver.tensor_shapes(resampler),
    }
    return {f"{prefix}{part}.{name}": shape for part, shapes in parts.items() for name, shape in shapes.items()}
