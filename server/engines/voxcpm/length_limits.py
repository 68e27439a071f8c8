"""How short and how long VoxCPM's speech may be. Knows nothing of the model."""

import math

from intone.server.domain import Options

SHORTEST_PATCHES = 4
"""Where a request names no minimum: the official loop never ends earlier."""

GUARD_PATCHES_PER_TOKEN = 6.0
GUARD_EXTRA_PATCHES = 10
UNTRAINED_MS_PER_TOKEN = 80
"""An untrained model never stops by itself and its tokens are bytes: it is cut after about the words' length."""


def limits(options: Options, tokens: int, patch_ms: float, trained: bool) -> tuple[int, int]:
    """First patch, from 0, that may be the last by the model's own wish; most patches."""
    if trained:
        most = int(GUARD_PATCHES_PER_TOKEN * tokens + GUARD_EXTRA_PATCHES)
    else:
        most = max(SHORTEST_PATCHES, math.ceil(UNTRAINED_MS_PER_TOKEN * tokens / patch_ms))
    least = SHORTEST_PATCHES if options.min_audio_ms is None else math.ceil(options.min_audio_ms / patch_ms)
    if options.max_audio_ms is not None:
        most = min(most, max(1, math.floor(options.max_audio_ms / patch_ms)))
    return max(0, least - 1), most
