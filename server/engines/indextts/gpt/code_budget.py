"""How many codes a time takes, and how many a unit may have. Knows no model."""

import math
from dataclasses import dataclass

from intone.server.domain import SynthesisOptions
from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig
from intone.server.engines.indextts.gpt.sampling import EXTRA_S, max_codes
from intone.server.engines.indextts.s2mel.length_regulator import mel_frames, nominal_ratio

UNTRAINED_S_PER_TOKEN = 0.08
"""An untrained model never stops by itself and its tokens are bytes: it is cut after about the words' length."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Of one model.

    Attributes:
        room: codes that it can count.
    """

    config: IndexTTSConfig
    room: int

    @property
    def frames_per_s(self) -> float:
        """Mel frames in a second of sound."""
        return self.config.mel.sample_rate_hz / self.config.mel.hop_samples

    def codes_per_s(self, duration_factor: float = 1.0) -> float:
        """Codes in a second of sound, stretched by that factor."""
        return float(self.frames_per_s * nominal_ratio(duration_factor) / self.config.features_per_code)

    def min_codes(self, options: SynthesisOptions, duration_factor: float) -> int:
        """The fewest that last `min_audio_ms`; 0 where nothing is asked."""
        frames = math.ceil((options.min_audio_ms or 0) * self.frames_per_s / 1000)
        codes = int(frames * nominal_ratio(duration_factor) / self.config.features_per_code)  # or one or two more
        while mel_frames(codes * self.config.features_per_code, duration_factor) < frames:
            codes += 1
        return codes

    def max_codes(self, tokens: int, options: SynthesisOptions, duration_factor: float) -> int:
        """Where a unit of so many text tokens is cut, at least 1.

        The model writes at its own pace, and its codes are stretched afterwards: only a limit in time depends on that.
        """
        codes_per_s, least = self.codes_per_s(), self.min_codes(options, duration_factor)
        if self.config.trained:
            most = max(max_codes(tokens, codes_per_s, self.room), least + int(EXTRA_S * codes_per_s))
        else:
            most = max(round(UNTRAINED_S_PER_TOKEN * tokens * codes_per_s), least)
        most = min(self.room, most)
        if options.max_audio_ms is not None:
            most = min(most, int(options.max_audio_ms * self.codes_per_s(duration_factor) / 1000))
        return max(1, most)
