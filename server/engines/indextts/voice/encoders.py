"""The encoders of recordings, which are large and rarely needed: kept in memory, or read again for each recording.

Knows nothing of what they compute.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from intone.server.domain import Recording
from intone.server.engines.indextts.checkpoint.config import ENGINE
from intone.server.engines.indextts.checkpoint.weights import Checkpoint
from intone.server.engines.indextts.voice.conditioning import VoiceEncoder, VoiceParts
from intone.server.engines.weights import Weights
from intone.server.errors import EngineError

Read = Callable[[], Checkpoint]
"""Reads a checkpoint that was read before."""


class Encoders:
    """Does what `VoiceEncoder` does. Not for use from several threads at once."""

    def __init__(self, checkpoint: Checkpoint, again: Read | None = None) -> None:
        """With `again` the encoders are dropped after every use, and built for the next one from what it reads."""
        self._fingerprint, self._again = checkpoint.fingerprint, again
        self._encoder: VoiceEncoder | None = _encoder_of(checkpoint)

    @property
    def there(self) -> bool:
        """Whether they are in memory."""
        return self._encoder is not None

    def enrol(self, recording: Recording) -> VoiceParts:
        """See `VoiceEncoder.enrol`; EngineError where the checkpoint is not what it was."""
        with self._open() as encoder:
            return encoder.enrol(recording)

    def emotion_of(self, clip: Recording) -> Tensor:
        """See `VoiceEncoder.emotion_of`; EngineError where the checkpoint is not what it was."""
        with self._open() as encoder:
            return encoder.emotion_of(clip)

    @contextmanager
    def _open(self) -> Iterator[VoiceEncoder]:
        if self._encoder is None:
            self._encoder = self._read()
        try:
            yield self._encoder
        finally:
            if self._again is not None:
                self._encoder = None

    def _read(self) -> VoiceEncoder:
        assert self._again is not None, "only what can be read again is dropped"
        checkpoint = self._again()
        if checkpoint.fingerprint != self._fingerprint:
            raise EngineError(ENGINE, "the files of the model are not those that it was loaded from: start it again")
        return _encoder_of(checkpoint)


def _encoder_of(checkpoint: Checkpoint) -> VoiceEncoder:
    def part(tensors: dict[str, Tensor]) -> Weights:
        return Weights(tensors, torch.float32, torch.device("cpu"))

    with torch.inference_mode():
        return VoiceEncoder(
            checkpoint.config,
            part(checkpoint.gpt),
            part(checkpoint.w2v_bert),
            part(checkpoint.campplus),
            checkpoint.statistics,
            checkpoint.matrix,
        )
