"""The encoders of recordings, large and rarely used: kept in memory, or dropped after use and read again."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import torch
from torch import Tensor

from intone.server.domain import Recording
from intone.server.engines.indextts.checkpoint.config import ENGINE
from intone.server.engines.indextts.checkpoint.weights import Checkpoint
from intone.server.engines.indextts.voice.conditioning import FeatureStatistics, VoiceEncoder, VoiceParts
from intone.server.engines.indextts.voice.emotion import EmotionMatrix
from intone.server.engines.pieces import Pieces
from intone.server.engines.weights import CPU, Weights
from intone.server.errors import EngineError

T = TypeVar("T")

WAIT_S = 0.005
"""How long a piece waits for encoders that are being read."""

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
        self._users = 0  # pieces of work that are under way

    @property
    def loaded(self) -> bool:
        """Whether they are in memory."""
        return self._encoder is not None

    def enrol(self, recording: Recording) -> Pieces[VoiceParts]:
        """See `VoiceEncoder.enrol`; EngineError where the checkpoint has changed since it was loaded."""
        return self._with_encoder(lambda encoder: encoder.enrol(recording))

    def emotion_of(self, clip: Recording) -> Pieces[Tensor]:
        """See `VoiceEncoder.emotion_of`; EngineError where the checkpoint has changed since it was loaded."""
        return self._with_encoder(lambda encoder: encoder.emotion_of(clip))

    def _with_encoder(self, work: Callable[[VoiceEncoder], Pieces[T]]) -> Pieces[T]:
        self._users += 1
        try:
            encoder = self._encoder or (yield from self._read())
            self._encoder = encoder
            return (yield from work(encoder))
        finally:
            self._users -= 1
            if self._reload is not None and not self._users:
                self._encoder = None

    def _read(self) -> Pieces[VoiceEncoder]:
        """The encoders, read on a thread of its own: that takes seconds, in which units are to be stepped."""
        reader = ThreadPoolExecutor(1, "encoders")
        reading = reader.submit(self._rebuild)
        reader.shutdown(wait=False)
        while not wait([reading], WAIT_S).done:
            yield
        return reading.result()

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
