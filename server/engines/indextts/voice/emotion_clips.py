"""Emotion vectors of recordings whose emotion a unit imitates, with a cache: a clip is encoded once for many units."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor

from intone.server.domain import Recording
from intone.server.engines.indextts.voice.encoders import Encoders
from intone.server.engines.pieces import Pieces

CACHED_CLIPS = 16
"""An utterance has many units, and a conversation few clips."""


@dataclass(slots=True)
class EmotionClip:
    """A clip: its recording until a unit has needed its emotion vector, from then on the vector, `[D]`.

    Attributes:
        pieces: what is left of the work between the two; None before and after.
    """

    recording: Recording | None
    pieces: Pieces[Tensor] | None = None
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

    def advance(self, clip: EmotionClip) -> None:
        """Do a piece of the work to get the vector of a clip that has none.

        Raises:
            EngineError: the encoders cannot be read again. The next call begins anew.
        """
        assert clip.recording is not None, "a clip has its recording until it has its vector"
        pieces, clip.pieces = clip.pieces or self._encoder.emotion_of(clip.recording), None
        try:
            next(pieces)
        except StopIteration as end:
            clip.vector, clip.recording = end.value, None
        else:
            clip.pieces = pieces
