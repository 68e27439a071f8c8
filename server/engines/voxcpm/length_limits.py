"""How short and how long VoxCPM's speech may be, and how long it may be silent. Knows nothing of the model."""

import math
from dataclasses import dataclass

from intone.server.audio.encoding import is_audible
from intone.server.domain import Samples, SynthesisOptions

SHORTEST_PATCHES = 4
"""Where a request names no minimum: the official loop never ends earlier."""

GUARD_PATCHES_PER_TOKEN = 6.0
GUARD_EXTRA_PATCHES = 10
UNTRAINED_MS_PER_TOKEN = 80
"""An untrained model never stops by itself and its tokens are bytes: it is cut after about the words' length."""

LONGEST_SILENCE_MS = 2000
"""A model that does not notice its own end (nano once in 1,000 strings of random words) goes on in silence, for many
seconds. Within a unit nobody pauses for so long, so that no word is lost."""


@dataclass(slots=True)
class Silence:
    """What a unit has been silent for since its last sound.

    Attributes:
        samples: None before its first sound, which may come late.
    """

    samples: int | None = None

    def hear(self, pcm: Samples) -> None:
        """Go on with `[T]`, float32, -1 to 1."""
        if is_audible(pcm):
            self.samples = 0
        elif self.samples is not None:
            self.samples += len(pcm)

    def is_end(self, rate_hz: int) -> bool:
        """Whether nothing more is to be expected, at so many samples a second."""
        return self.samples is not None and 1000 * self.samples >= LONGEST_SILENCE_MS * rate_hz


def limits(options: SynthesisOptions, tokens: int, patch_ms: float, trained: bool) -> tuple[int, int]:
    """First patch, from 0, that may be the last by the model's own wish; most patches."""
    if trained:
        most = int(GUARD_PATCHES_PER_TOKEN * tokens + GUARD_EXTRA_PATCHES)
    else:
        most = max(SHORTEST_PATCHES, math.ceil(UNTRAINED_MS_PER_TOKEN * tokens / patch_ms))
    least = SHORTEST_PATCHES if options.min_audio_ms is None else math.ceil(options.min_audio_ms / patch_ms)
    if options.max_audio_ms is not None:
        most = min(most, max(1, math.floor(options.max_audio_ms / patch_ms)))
    return max(0, least - 1), most
