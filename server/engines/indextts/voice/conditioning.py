"""Recordings to the conditioning of language model and acoustic model: speaker embedding, features, emotion vector.

All of it depends on the recording alone, so it is computed once per voice, when the voice is created.
"""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from intone.server.domain import Recording, VoiceNotice, VoiceNoticeCode
from intone.server.engines.indextts.checkpoint.config import ConformerConfig, IndexTTSConfig, PerceiverConfig
from intone.server.engines.indextts.layers import Linear
from intone.server.engines.indextts.voice.campplus import CAMPPlus
from intone.server.engines.indextts.voice.conformer import Conformer
from intone.server.engines.indextts.voice.emotion import EmotionMatrix
from intone.server.engines.indextts.voice.fbank import RATE_HZ, fbank, w2v_features
from intone.server.engines.indextts.voice.mel import mel_spectrogram
from intone.server.engines.indextts.voice.perceiver import Perceiver
from intone.server.engines.indextts.voice.resample import sinc_resample
from intone.server.engines.indextts.voice.w2v_bert import W2vBert
from intone.server.engines.pieces import Pieces
from intone.server.engines.weights import Weights
from intone.server.errors import CallerError, Reason

MAX_RECORDING_S = 15
MIN_RECORDING_MS = 200

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VoiceParts:
    """The conditioning from one recording. D is the width of the language model, H that of semantic features.

    Attributes:
        style: `[192]`, the speaker embedding.
        mel: `[80, P]`, the mel spectrogram, which the flow continues.
        features: `[T, H]`, semantic features at 50 Hz, normalised, not quantised.
        speaker: `[N, D]`, the speaker's rows of the language model's prefix: 32 in IndexTTS-2, one in 2.5.
        emotion: `[D]`, the emotion vector of the recording itself.
        emotion_rows: `[8, D]`, emotion vectors of a similar speaker in each emotion.
    """

    style: Tensor
    mel: Tensor
    features: Tensor
    speaker: Tensor
    emotion: Tensor
    emotion_rows: Tensor


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """Mean and variance, `[H]` each, for normalising semantic features."""

    mean: Tensor
    variance: Tensor


class VoiceEncoder:
    """All encoders of recordings; immutable.

    Args:
        gpt: the language model's file; the tensors of `Conditioners` are read.
        w2v_bert, campplus: their own files.
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
        self._conditioners = Conditioners(config, gpt)
        self._device = statistics.mean.device

    @torch.inference_mode()
    def enrol(self, recording: Recording) -> Pieces[VoiceParts]:
        """The conditioning of a voice, in pieces; of a longer recording, the first 15 s are used.

        Raises:
            CallerError: the recording is too short or not finite (field `audio`).
        """
        audio = self._audio(recording, self._mel.sample_rate_hz)
        # Resampled twice as in training; a single resampling from the recording's own rate differs.
        low = sinc_resample(audio, self._mel.sample_rate_hz, RATE_HZ)
        features = yield from self.features(low)
        style = yield from self.style(low)
        mel = mel_spectrogram(audio, self._mel)
        speaker = yield from self.speaker(style, features)
        emotion = yield from self.emotion(features)
        return VoiceParts(style, mel, features, speaker, emotion, emotion_rows=self._matrix.nearest(style))

    @torch.inference_mode()
    def emotion_of(self, clip: Recording) -> Pieces[Tensor]:
        """The emotion vector of a clip: `[D]`. Raises as `enrol` does."""
        features = yield from self.features(self._audio(clip, RATE_HZ))
        return (yield from self.emotion(features))

    def features(self, samples: Tensor) -> Pieces[Tensor]:
        """Semantic features of mono `[N]` at 16 kHz: `[T, H]`."""
        hidden = yield from self._w2v_bert(*w2v_features(samples))
        return (hidden - self._statistics.mean) / self._statistics.variance.sqrt()

    def style(self, samples: Tensor) -> Pieces[Tensor]:
        """The speaker embedding of mono `[N]` at 16 kHz: `[192]`."""
        energies = fbank(samples)
        return self._campplus(energies - energies.mean(0))

    def speaker(self, style: Tensor, features: Tensor) -> Pieces[Tensor]:
        """See `Conditioners.speaker`."""
        return self._conditioners.speaker(style, features)

    def emotion(self, features: Tensor) -> Pieces[Tensor]:
        """See `Conditioners.emotion`."""
        return self._conditioners.emotion(features)

    def _audio(self, recording: Recording, rate_hz: int) -> Tensor:
        """The recording at `rate_hz`, at most `MAX_RECORDING_S`: `[N]`."""
        if recording.duration_ms < MIN_RECORDING_MS or not np.isfinite(recording.samples).all():
            message = f"the recording must be finite and last at least {MIN_RECORDING_MS} ms"
            raise CallerError("audio", message, Reason.RECORDING_INVALID)
        for notice in truncation_notices(recording):
            logger.warning("recording: %s", notice.message)
        samples = recording.samples[: (MAX_RECORDING_S + 1) * recording.sample_rate_hz].astype(np.float32)
        if recording.sample_rate_hz != rate_hz:
            import soxr  # needed only to create voices

            samples = soxr.resample(samples, recording.sample_rate_hz, rate_hz)
        return torch.from_numpy(samples[: MAX_RECORDING_S * rate_hz].copy()).to(self._device)


def truncation_notices(recording: Recording) -> tuple[VoiceNotice, ...]:
    """A notice where only part of the recording is used, else nothing."""
    if recording.duration_ms <= 1000 * MAX_RECORDING_S:
        return ()
    message = f"of {recording.duration_ms} ms the first {MAX_RECORDING_S} s are used"
    return (VoiceNotice(VoiceNoticeCode.RECORDING_CUT, message),)


class Conditioners:
    """The parts of the language model's file that turn features into rows of its prefix; immutable."""

    def __init__(self, config: IndexTTSConfig, gpt: Weights) -> None:
        dim, inner = config.gpt.dim, config.gpt.emotion[1].dim
        self._emotion = _Resampler(*config.gpt.emotion, gpt, "emo_")
        self._emotion_in = Linear.read(gpt, "emovec_layer", (dim, inner))
        self._emotion_out = Linear.read(gpt, "emo_layer", (dim, dim))
        self._speaker: _Resampler | None = None
        self._style: Linear | None = None
        if config.gpt.speaker:
            self._speaker = _Resampler(*config.gpt.speaker, gpt, "")
        else:
            self._style = Linear.read(gpt, "spk_emb_proj", (dim, config.campplus.embedding))

    def speaker(self, style: Tensor, features: Tensor) -> Pieces[Tensor]:
        """The speaker's rows of the language model's prefix: `[N, D]`."""
        if self._speaker is not None:
            return (yield from self._speaker(features))
        assert self._style is not None, "built with one or the other"
        return self._style(style[None])

    def emotion(self, features: Tensor) -> Pieces[Tensor]:
        """The emotion vector of features: `[D]`."""
        latents = yield from self._emotion(features)
        return self._emotion_out(self._emotion_in(latents))[0]


class _Resampler:
    """A conformer, and a perceiver on its output."""

    def __init__(self, encoder: ConformerConfig, resampler: PerceiverConfig, gpt: Weights, prefix: str) -> None:
        self._encoder = Conformer(encoder, gpt.scope(f"{prefix}conditioning_encoder"))
        self._resampler = Perceiver(resampler, gpt.scope(f"{prefix}perceiver_encoder"))

    def __call__(self, features: Tensor) -> Pieces[Tensor]:
        """`[T, H]` → `[latents, dim]`."""
        encoded = yield from self._encoder(features)
        return self._resampler(encoded)
