"""How many codes a time takes, and how many a unit may have. Knows no model."""

from dataclasses import dataclass

from intone.server.domain import Options
from intone.server.engines.indextts.config import IndexTTSConfig
from intone.server.engines.indextts.length_regulator import nominal_ratio
from intone.server.engines.indextts.sampling import most_codes

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

    def codes_per_s(self, duration_factor: float = 1.0) -> float:
        """Codes in a second of sound, stretched by that factor."""
        frames_per_s = self.config.mel.sample_rate_hz / self.config.mel.hop_samples
        return float(frames_per_s * nominal_ratio(duration_factor) / self.config.features_per_code)

    def most_codes(self, tokens: int, options: Options, duration_factor: float) -> int:
        """Where a unit of so many text tokens is cut, at least 1.

        The model writes at its own pace, and its codes are stretched afterwards: only a limit in time depends on that.
        """
        most = most_codes(tokens, self.codes_per_s(), self.room)
        if not self.config.trained:
            most = min(self.room, round(UNTRAINED_S_PER_TOKEN * tokens * self.codes_per_s()))
        if options.max_audio_ms is not None:
            most = min(most, int(options.max_audio_ms * self.codes_per_s(duration_factor) / 1000))
        return max(1, most)
