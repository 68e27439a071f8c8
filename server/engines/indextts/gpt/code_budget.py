"""Length limits of a unit in codes: requested durations, and guards against units that never end."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from intone.server.domain import SynthesisOptions
from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig
from intone.server.engines.indextts.s2mel.length_regulator import mel_frames, nominal_ratio

MAX_S_PER_TOKEN = 0.8
"""A unit is cut when its text tokens have lasted this long on average: about three times as long as in speech."""

EXTRA_S = 2.0
"""Added to every unit's limit."""

REPETITION_S = 3.0
MAX_PERIOD_S = 1.0

UNTRAINED_S_PER_TOKEN = 0.08
"""Length of a unit of an untrained model, which never stops by itself and whose tokens are bytes."""


@dataclass(frozen=True, slots=True)
class CodeBudget:
    """Length limits for one model.

    Attributes:
        model_max_codes: codes that the model has positions for.
    """

    config: IndexTTSConfig
    model_max_codes: int

    @property
    def frames_per_s(self) -> float:
        """Mel frames per second of audio."""
        return self.config.mel.sample_rate_hz / self.config.mel.hop_samples

    def codes_per_s(self, duration_factor: float = 1.0) -> float:
        """Codes per second of audio that is stretched by `duration_factor`."""
        return float(self.frames_per_s * nominal_ratio(duration_factor) / self.config.features_per_code)

    def min_codes(self, options: SynthesisOptions, duration_factor: float) -> int:
        """The fewest codes that last `min_audio_ms`; 0 where that is not set."""
        frames = math.ceil((options.number("min_audio_ms") or 0) * self.frames_per_s / 1000)
        codes = int(frames * nominal_ratio(duration_factor) / self.config.features_per_code)  # at most two too few
        while mel_frames(codes * self.config.features_per_code, duration_factor) < frames:
            codes += 1
        return codes

    def max_codes(self, tokens: int, options: SynthesisOptions, duration_factor: float) -> int:
        """The code at which a unit of `tokens` text tokens is cut, at least 1.

        The audio is stretched after the codes are generated, so `duration_factor` affects only `max_audio_ms`.
        """
        codes_per_s, min_codes = self.codes_per_s(), self.min_codes(options, duration_factor)
        if self.config.trained:
            guard = length_guard(tokens, codes_per_s, self.model_max_codes)
            max_codes = max(guard, min_codes + int(EXTRA_S * codes_per_s))
        else:
            max_codes = max(round(UNTRAINED_S_PER_TOKEN * tokens * codes_per_s), min_codes)
        max_codes = min(self.model_max_codes, max_codes)
        if (max_audio_ms := options.number("max_audio_ms")) is not None:
            max_codes = min(max_codes, int(max_audio_ms * self.codes_per_s(duration_factor) / 1000))
        return max(1, max_codes)


def length_guard(text_tokens: int, codes_per_s: float, model_max_codes: int) -> int:
    """The code at which a unit is cut if the model does not end it."""
    return min(model_max_codes, int(codes_per_s * (MAX_S_PER_TOKEN * text_tokens + EXTRA_S)))


def repeats(codes: Sequence[int], codes_per_s: float) -> bool:
    """Whether the last `REPETITION_S` of `codes` are one pattern of at most `MAX_PERIOD_S`, repeated."""
    window, max_period = int(REPETITION_S * codes_per_s), int(MAX_PERIOD_S * codes_per_s)
    end = np.asarray(codes[-window:])
    if len(end) < window:
        return False
    return any(bool((end[period:] == end[:-period]).all()) for period in range(1, max_period + 1))
