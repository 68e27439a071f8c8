"""The encoders of recordings, large and rarely used: kept in memory, or dropped after use and read again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from intone.server.domain import Recording
from intone.server.engines.indextts.checkpoint.config import ENGINE
from intone.server.engines.indextts.checkpoint.weights import Checkpoint
from intone.server.engines.indextts.voice.conditioning import FeatureStatistics, VoiceEncoder, VoiceParts
from intone.server.engines.indextts.voice.emotion import EmotionMatrix
from intone.server.engines.weights import CPU, Weights
from intone.server.errors import EngineError

ReloadCheckpoint = Callable[[], Checkpoint]
"""Reads the checkpoint of a loaded engine again."""


class Encoders:
    """A `VoiceEncoder` that may be dropped between uses. Not thread-safe."""

    def __init__(
        self, checkpoint: Checkpoint, reload: ReloadCheckpoint | None = None, device: torch.device = CPU
    ) -> None:
        """With `reload` the encoders are dropped after each use and rebuilt for the next one from what it returns."""
        self._fingerprint, self._reload, self._device = checkpoint.fingerprint, reload, device
        self._encoder: VoiceEncoder | None = _build(checkpoint, device)

    @property
    def loaded(self) -> bool:
        """Whether they are in memory."""
        return self._encoder is not None

    def enrol(self, recording: Recording) -> VoiceParts:
        """See `VoiceEncoder.enrol`; EngineError where the checkpoint has changed since it was loaded."""
        with self._open() as encoder:
            return encoder.enrol(recording)

    def emotion_of(self, clip: Recording) -> Tensor:
        """See `VoiceEncoder.emotion_of`; EngineError where the checkpoint has changed since it was loaded."""
        with self._open() as encoder:
            return encoder.emotion_of(clip)

    @contextmanager
    def _open(self) -> Iterator[VoiceEncoder]:
        if self._encoder is None:
            self._encoder = self._rebuild()
        try:
            yield self._encoder
        finally:
            if self._reload is not None:
                self._encoder = None

    def _rebuild(self) -> VoiceEncoder:
        assert self._reload is not None, "encoders are dropped only where they can be read again"
        checkpoint = self._reload()
        if checkpoint.fingerprint != self._fingerprint:
            raise EngineError(ENGINE, "the model's files have changed since they were loaded: restart the server")
        return _build(checkpoint, self._device)


def _build(checkpoint: Checkpoint, device: torch.device) -> VoiceEncoder:
    statistics, matrix = checkpoint.statistics, checkpoint.matrix
    with torch.inference_mode():
        return VoiceEncoder(
            checkpoint.config,
            Weights(checkpoint.gpt, device=device),
            Weights(checkpoint.w2v_bert, device=device),
            Weights(checkpoint.campplus, device=device),
            FeatureStatistics(statistics.mean.to(device), statistics.variance.to(device)),
            EmotionMatrix(matrix.speakers.to(device), matrix.emotions.to(device), matrix.counts),
        )
