"""Recordings whose emotion is to be followed, each encoded once however many units follow it. Knows no voices."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor

from intone.server.audio.recordings import read_recording
from intone.server.domain import Recording
from intone.server.engines.indextts.voice.encoders import Encoders

SHORTEST_MS, LONGEST_MS = 500, 30_000

KEPT = 16
"""Clips that are remembered: an utterance has many units, and a conversation few clips."""


@dataclass(slots=True)
class Clip:
    """A clip: its recording until the first unit needs it, from then on its row for the language model, `[D]`."""

    recording: Recording | None
    row: Tensor | None = None


class Clips:
    """The clips of the last requests. Not for use from several threads at once."""

    def __init__(self, encoder: Encoders) -> None:
        self._encoder = encoder
        self._kept: OrderedDict[bytes, Clip] = OrderedDict()

    def read(self, data: bytes) -> Clip:
        """A whole sound file; no model work.

        Raises:
            CallerError: it cannot be read, or is too short, too long or silent (field `emotion.clip.audio`).
        """
        key = hashlib.sha256(data).digest()
        if key not in self._kept:
            recording = read_recording(data, "", min_ms=SHORTEST_MS, max_ms=LONGEST_MS, field="emotion.clip.audio")
            self._kept[key] = Clip(recording)
        self._kept.move_to_end(key)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]

    def row(self, clip: Clip) -> Tensor:
        """How a clip is spoken, to the language model: `[D]`."""
        if clip.row is None:
            assert clip.recording is not None, "a clip has its recording until it has its row"
            clip.row, clip.recording = self._encoder.emotion_of(clip.recording), None
        return clip.row
