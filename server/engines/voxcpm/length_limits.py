"""Limits on the length of a unit's audio, and on the silence within it."""

import math
from dataclasses import dataclass

from intone.server.audio.encoding import is_audible
from intone.server.domain import Samples, SynthesisOptions

MIN_PATCHES = 4
"""The minimum if a request sets none, as in the official loop."""

GUARD_PATCHES_PER_TOKEN = 6.0
GUARD_EXTRA_PATCHES = 10
UNTRAINED_MS_PER_TOKEN = 80
"""An untrained model never stops by itself and its tokens are bytes: it is cut at about the length of the text."""

MAX_SILENCE_MS = 2000
"""A model that misses its end (nano: 1 in 1,000 strings of random words) continues with many seconds of silence. Pauses
within a unit are shorter than this, so no word is lost."""


@dataclass(slots=True)
class TrailingSilence:
    """The silence of a unit since its last sound.

    Attributes:
        samples: None before its first sound, which may come late.
    """

    samples: int | None = None

    def add(self, pcm: Samples) -> None:
        """Add the next audio `[T]`, float32, -1 to 1."""
        if is_audible(pcm):
            self.samples = 0
        elif self.samples is not None:
            self.samples += len(pcm)

    def is_end(self, rate_hz: int) -> bool:
        """Whether it is long enough to end the unit, at `rate_hz` samples per second."""
        return self.samples is not None and 1000 * self.samples >= MAX_SILENCE_MS * rate_hz


def limits(options: SynthesisOptions, tokens: int, patch_ms: float, trained: bool) -> tuple[int, int]:
    """The index of the first patch that the model may end with, and the maximum of patches."""
    min_audio_ms, max_audio_ms = options.number("min_audio_ms"), options.number("max_audio_ms")
    if trained:
        max_patches = int(GUARD_PATCHES_PER_TOKEN * tokens + GUARD_EXTRA_PATCHES)
    else:
        max_patches = max(MIN_PATCHES, math.ceil(UNTRAINED_MS_PER_TOKEN * tokens / patch_ms))
    min_patches = MIN_PATCHES if min_audio_ms is None else math.ceil(min_audio_ms / patch_ms)
    if max_audio_ms is not None:
        max_patches = min(max_patches, max(1, math.floor(max_audio_ms / patch_ms)))
    return max(0, min_patches - 1), max_patches
