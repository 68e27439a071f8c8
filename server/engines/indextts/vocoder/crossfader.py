"""Sound of chunks joined into one. The vocoder's last samples are not final until the next frames are known, but they
are sent all the same; where the next chunk then says otherwise, one fades into the other. Knows samples only.
"""

from dataclasses import dataclass, field

import numpy as np

from intone.server.domain import Samples

FADE_SAMPLES = 384
"""17 ms at 22.05 kHz: kept back of what is provisional in a chunk, to be faded into the next. The two are nearly the
same signal, so the fade is linear."""


@dataclass(slots=True)
class Crossfader:
    """Between two chunks of one unit.

    Attributes:
        ahead: samples sent beyond those that were final.
        kept: the provisional samples after those, not sent; at most `FADE_SAMPLES`.
    """

    ahead: int = 0
    kept: Samples = field(default_factory=lambda: np.zeros(0, np.float32))

    def join(self, final: Samples, provisional: Samples, last: bool) -> Samples:
        """What to send now.

        Args:
            final: the samples that have become final, `[n]`, from where the final ones ended before.
            provisional: those after them, as they look now, `[m]`; empty with `last`.
            last: nothing follows.
        """
        new = np.concatenate([final, provisional])[self.ahead :]
        fade = min(len(self.kept), len(new))
        if fade:
            weight = (np.arange(1, fade + 1, dtype=np.float32)) / (fade + 1)
            new[:fade] = self.kept[:fade] + weight * (new[:fade] - self.kept[:fade])
        guessed = len(new) - max(0, len(final) - self.ahead)
        keep = 0 if last else min(FADE_SAMPLES, guessed)  # what is final needs no fade
        sent = new[: len(new) - keep]
        self.ahead += len(sent) - len(final)
        self.kept = new[len(new) - keep :]
        return sent
