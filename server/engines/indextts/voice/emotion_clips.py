"""Emotion vectors of recordings whose emotion a unit imitates, with a cache: a clip is encoded once for many units."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor

from intone.server.domain import Recording
from intone.server.engines.indextts.voice.encoders import Encoders

CACHED_CLIPS = 16
"""An utterance has many units, and a conversation few clips."""


@dataclass(slots=True)
class EmotionClip:
    """A clip: its recording until the first unit needs its emotion vector, from then on the vector, `[D]`."""

    recording: Recording | None
    vector: Tensor | None = None


class EmotionClipCache:
    """The most recently used clips. Not thread-safe."""

    def __init__(self, encoder: Encoders) -> None:
        self._encoder = encoder
        self._clips: OrderedDict[bytes, EmotionClip] = OrderedDict()

    def get(self, data: bytes) -> EmotionClip:
        """Decode a whole sound file, or find it in the cache; no model work.

        Raises:
            CallerError: it cannot be decoded, or is too short, too long or silent (field `emotion.clip_id`).
        """
        from intone.server.audio.recordings import (  # only needed for clips
            MAX_EMOTION_CLIP_MS,
            MIN_EMOTION_CLIP_MS,
            read_recording,
        )

        key = hashlib.sha256(data).digest()
        if key not in self._clips:
            recording = read_recording(
                data, "", min_ms=MIN_EMOTION_CLIP_MS, max_ms=MAX_EMOTION_CLIP_MS, field="emotion.clip_id"
            )
            self._clips[key] = EmotionClip(recording)
        self._clips.move_to_end(key)
        if len(self._clips) > CACHED_CLIPS:
            self._clips.popitem(last=False)
        return self._clips[key]

    def vector(self, clip: EmotionClip) -> Tensor:
        """The emotion vector of a clip, `[D]`; encodes it on the first call."""
        if clip.vector is None:
            assert clip.recording is not None, "a clip has its recording until it has its vector"
            clip.vector, clip.recording = self._encoder.emotion_of(clip.recording), None
        return clip.vector
