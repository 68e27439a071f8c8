"""Joins the audio of a unit's chunks. The vocoder's last samples are provisional until the next frames are known; most
are sent at once, and the last ones are crossfaded with the next chunk's version of them.
"""

from dataclasses import dataclass, field

import numpy as np

from intone.server.domain import Samples

FADE_SAMPLES = 384
"""17 ms at 22.05 kHz: provisional samples held back for the crossfade. Both versions are nearly equal, so the fade is
linear."""


@dataclass(slots=True)
class Crossfader:
    """The state between two chunks of one unit.

    Attributes:
        ahead: provisional samples that were sent.
        held: provisional samples after those, held back for the crossfade; at most `FADE_SAMPLES`.
    """

    ahead: int = 0
    held: Samples = field(default_factory=lambda: np.zeros(0, np.float32))

    def join(self, final: Samples, provisional: Samples, last: bool) -> Samples:
        """The samples to send now.

        Args:
            final: samples that have become final, `[n]`, following those of the previous call.
            provisional: the current version of the samples after them, `[m]`; empty with `last`.
            last: nothing follows.
        """
        new = np.concatenate([final, provisional])[self.ahead :]
        fade = min(len(self.held), len(new))
        if fade:
            weight = (np.arange(1, fade + 1, dtype=np.float32)) / (fade + 1)
            new[:fade] = self.held[:fade] + weight * (new[:fade] - self.held[:fade])
        provisional_count = len(new) - max(0, len(final) - self.ahead)
        hold = 0 if last else min(FADE_SAMPLES, provisional_count)  # final samples need no crossfade
        sent = new[: len(new) - hold]
        self.ahead += len(sent) - len(final)
        self.held = new[len(new) - hold :]
        return sent
